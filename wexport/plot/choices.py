"""What is drawn where nothing was asked for: the tensor, the pair, the layer or the run that tells most."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wexport.errors import UsageError
from wexport.plot.data import Table, listed, quoted
from wexport.sessions.session import Session, opened

# How much a slot differs between models, by the middle half of them: one that diverged does not decide.
_SLOTS = """
SELECT
    slot, count(DISTINCT model) AS models,
    quantile_cont(ln(l2_norm), 0.75) FILTER (l2_norm > 0) - quantile_cont(ln(l2_norm), 0.25) FILTER (l2_norm > 0)
        AS spread,
    max(coalesce(zero_unit_count, 0)) AS dead
FROM weights
WHERE asked_for(model, getvariable('model')) AND value_count > 1 AND {fits}
GROUP BY slot
ORDER BY models DESC, {first} bool_or(is_kernel(role)) DESC, round(coalesce(spread, 0), 6) DESC,
    max(value_count) DESC, slot
"""
_RUNS = """
SELECT run, count(DISTINCT step) AS steps FROM weights
WHERE run IS NOT NULL AND step IS NOT NULL AND asked_for(model, getvariable('model'))
GROUP BY run ORDER BY steps DESC, run
"""
_OUTPUTS = """
SELECT slot, model, count(*) OVER (PARTITION BY model) AS slots FROM tensors
WHERE kind = 'activation' AND role = 'output' AND asked_for(model, getvariable('model'))
    AND len(canonical_shape) BETWEEN {least} AND {most} AND (sample IS NOT NULL OR grid IS NOT NULL)
ORDER BY model, tensor_index DESC, slot
"""
_FILTERS = """
len(canonical_shape) >= 3 AND unit_axes IS NOT NULL AND len(sample.value) = value_count
    AND role NOT IN ('input', 'output') AND coalesce(layer_class, 'Conv') LIKE '%Conv%'
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """Options with what was chosen for those left open. words: what was chosen, why, and how to choose; or empty."""

    options: dict[str, Any]
    words: str = ""


def complete(kind: str, table: Table, options: Mapping[str, Any]) -> Choice:
    """The options of a kind of plot, whatever is left open chosen from the table.

    Raises UsageError where the table has nothing for that kind.
    """
    choose = _CHOOSERS.get(kind)
    given = {name: value for name, value in options.items() if not (name in _OPEN and not value)}
    return Choice(given) if choose is None else choose(table, given)


def _slot(fits: str, nothing: str, *, by_dead: bool = False) -> Callable[[Table, dict[str, Any]], Choice]:
    def choose(table: Table, options: dict[str, Any]) -> Choice:
        if "slot" in options:
            return Choice(options)
        model = options.get("model", "*")
        sql = _SLOTS.format(fits=fits, first="dead DESC," if by_dead else "")
        with opened(table) as session:
            rows = session.ask(sql, {"model": model}).to_pylist()
            if not rows:
                from wexport.plot.data import unless_any_fits

                models = unless_any_fits(session, model)
                if models:
                    raise UsageError(f"there is no model {quoted(model)}", hint=models)
                raise UsageError(nothing, hint="`wexport query tensors` lists what there is")
        best = rows[0]
        if by_dead and best["dead"]:
            why = "has the most units near zero"
        elif best["models"] > 1 and best["spread"]:
            why = "differs most between the models"
        else:
            why = "is the largest kernel" if len(rows) > 1 else "is the only one"
        others = [row["slot"] for row in rows[1:]]
        return Choice({**options, "slot": best["slot"]}, _words(f"{best['slot']}, which {why}", "--slot", others))

    return choose


def _words(chosen: str, option: str, others: list[str]) -> str:
    more = f"; {option} chooses another: {listed(others[:6])}" if others else ""
    return f"drawn is {chosen}{more}"


def _pair(table: Table, options: dict[str, Any]) -> Choice:
    if "a" in options and "b" in options:
        return Choice(options)
    from wexport.analysis.similarity import MIN_COVERAGE, measure

    with opened(table) as session:
        found = measure(session, "*", MIN_COVERAGE)
    models, matrix = found.models, np.array(found.matrix, np.float64)
    if len(models) < 2:
        raise UsageError("two models are needed, and there is only one" if models else "there is no model")
    np.fill_diagonal(matrix, np.nan)
    for side in ("a", "b"):
        if side in options:
            if options[side] not in models:
                raise UsageError(
                    f"there is no model {options[side]!r}", hint=f"models are {listed(models, options[side])}"
                )
            rest = [place for place, name in enumerate(models) if name != options[side]]
            matrix[np.ix_(rest, rest)] = np.nan
    unlike = np.where(matrix < 1 - 1e-9, matrix, np.nan)  # of equal ones there is nothing to see
    use = unlike if np.isfinite(unlike).any() else matrix
    if not np.isfinite(use).any():
        raise UsageError("no two models can be compared weight by weight", hint="name two with --a and --b")
    one, other = sorted(divmod(int(np.nanargmax(use)), len(models)))
    if options.get("a") == models[other] or options.get("b") == models[one]:
        one, other = other, one
    words = f"{models[one]} and {models[other]}, the most alike that are not equal"
    rest_names = [name for name in models if name not in (models[one], models[other])]
    hint = f"drawn are {words}; --a and --b choose others: {listed(rest_names[:6])}"
    return Choice({**options, "a": models[one], "b": models[other]}, hint if len(models) > 2 else f"drawn are {words}")


def _trajectory(table: Table, options: dict[str, Any]) -> Choice:
    if options.get("run", "*") != "*" or options.get("slot", "*") != "*":
        return Choice(options)
    with opened(table) as session:
        runs = session.ask(_RUNS, {"model": options.get("model", "*")}).to_pylist()
    if len(runs) < 2:
        return Choice(options)
    best = runs[0]
    words = _words(f"the run {best['run']}, of most checkpoints", "--run", [row["run"] for row in runs[1:]])
    return Choice({**options, "run": best["run"]}, f"{words}; --slot draws one slot of all runs")


def _output(least: int, most: int) -> Callable[[Table, dict[str, Any]], Choice]:
    def choose(table: Table, options: dict[str, Any]) -> Choice:
        if "slot" in options:
            return Choice(options)
        with opened(table) as session:
            sql = _OUTPUTS.format(least=least, most=most)
            rows = session.ask(sql, {"model": options.get("model", "*")}).to_pylist()
        if not rows:  # what there is instead is said where the output is looked for
            return Choice({**options, "slot": "*"})
        best = rows[0]
        others = [row["slot"] for row in rows[1:] if row["model"] == best["model"]]
        words = _words(f"{best['slot']} of {best['model']}, the last that this kind can draw", "--slot", others)
        return Choice({**options, "slot": best["slot"], "model": best["model"]}, words)

    return choose


def _metrics(table: Table, options: dict[str, Any]) -> Choice:
    if "metrics" in options or isinstance(table, Session):
        return Choice(options)
    raise UsageError(
        "a ranking needs your metrics",
        hint="--metrics FILE: a CSV with a column model and a column a metric, such as val_loss",
    )


_OPEN = frozenset({"slot", "a", "b", "metrics"})
"""Options that are left open by an empty text or None."""
_ANY = "value_count > 0"
_CHOOSERS: Mapping[str, Callable[[Table, dict[str, Any]], Choice]] = {
    "histogram": _slot("histogram IS NOT NULL", "no tensor has a histogram"),
    "heatmap": _slot(
        "(sample IS NOT NULL OR grid IS NOT NULL) AND len(canonical_shape) > 1",
        "no tensor can be drawn as a matrix: the table holds neither values nor grids",
    ),
    "units": _slot("units IS NOT NULL AND len(units) > 1", "the table holds no figures of units", by_dead=True),
    "filters": _slot(_FILTERS, "no model has a small convolution that the table holds whole"),
    "scatter": _pair,
    "trajectory": _trajectory,
    "rank": _metrics,
    "curves": _output(2, 3),
    "maps": _output(3, 4),
}
