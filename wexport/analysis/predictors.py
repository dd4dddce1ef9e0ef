"""Which figures of the weights go with a metric: the answer of `predictors`, for any number of models."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from wexport.sessions.session import Session
from wexport.terminal.text import counted

FEWEST_MODELS = 10
"""Below this many models chance alone finds a figure that seems to fit."""
LEVEL = 0.05
"""Up to this p a correlation is called hardly chance."""
_SLACK = 1e-9
"""Correlations that differ by less than this are equal but for rounding."""
_FIGURES_AT_ONCE = 4_096

Floats = npt.NDArray[np.float64]

# The variables are the query's parameters, so the macros choose just what its SQL form chooses.
_JUDGED = """
WITH scores AS MATERIALIZED (
    FROM model_scores(
        'metrics', getvariable('metric'), getvariable('direction'), getvariable('run'), getvariable('epoch_shift'),
        getvariable('epoch'))
    WHERE asked_for(model, getvariable('model'))
),
judged AS MATERIALIZED (FROM comparable_scores('scores'))
"""
_MODELS = f"{_JUDGED} FROM judged ORDER BY model"
_FIGURES = f"""{_JUDGED},
models AS MATERIALIZED (FROM judged WHERE left_out IS NULL)
SELECT slot, statistic, list(value ORDER BY model) AS figures
FROM weight_statistics('models', getvariable('statistics'))
WHERE asked_for(slot, getvariable('slot'))
GROUP BY slot, statistic
HAVING count(*) = (SELECT count(*) FROM models) AND min(value) < max(value)
"""
_SCHEMA = pa.schema(
    [
        ("slot", pa.string()),
        ("statistic", pa.string()),
        ("rho", pa.float64()),
        ("p", pa.float64()),
        ("better_when", pa.string()),
        ("models", pa.int64()),
        ("figures", pa.int64()),
        ("verdict", pa.string()),
    ]
)


def predictors(session: Session, parameters: Mapping[str, Any]) -> pa.Table:
    """The answer of the query `predictors`: the same as its SQL form, by one matrix product.

    session: with the user's metrics under the name `metrics`. parameters: all of the query's.
    """
    judged = session.ask(_MODELS, parameters).to_pylist()
    kept = [row for row in judged if row["left_out"] is None]
    values = np.array([row["value"] for row in kept], float)
    left_out = _left_out(judged)
    if len(kept) < FEWEST_MODELS:
        why = f"{counted(len(kept), 'model')} of one architecture with a metric, {FEWEST_MODELS} are needed"
        return _no_answer(why, len(kept), left_out)
    if values.min() == values.max():
        return _no_answer(f"all models have the same {kept[0]['metric']}", len(kept), left_out)
    found = session.ask(_FIGURES, parameters)
    if not found.num_rows:
        return _no_answer("no figure is known for all models and differs between them", len(kept), left_out)
    ranks = _unit_ranks(np.array(found["figures"].combine_chunks().values).reshape(found.num_rows, len(kept)))
    metric = _unit_ranks(values[None])[0]
    names = [row["model"] for row in kept]
    rho = ranks @ metric
    p = _p_values(rho, ranks, _shuffled(metric, names, parameters["permutations"], parameters["seed"]))
    direction = kept[0]["direction"]
    order = sorted(
        range(found.num_rows),
        key=lambda place: (
            -round(abs(rho[place]), 9),
            found["slot"][place].as_py(),
            found["statistic"][place].as_py(),
        ),
    )
    verdicts = ["hardly chance" if p[place] <= LEVEL else "may be chance" for place in order]
    verdicts[0] = "; ".join(filter(None, (verdicts[0], left_out)))
    return pa.table(
        {
            "slot": found["slot"].take(order),
            "statistic": found["statistic"].take(order),
            "rho": rho[order],
            "p": p[order],
            "better_when": [_better_when(rho[place] * direction) for place in order],
            "models": [len(kept)] * len(order),
            "figures": [len(order)] * len(order),
            "verdict": verdicts,
        },
        schema=_SCHEMA,
    )


def _left_out(judged: Sequence[Mapping[str, Any]]) -> str:
    others = sum(row["left_out"] == "another architecture" for row in judged)
    earlier = sum(row["left_out"] == "earlier checkpoint" for row in judged)
    parts = [f"{counted(others, 'model')} of other architectures left out"] if others else []
    return ", ".join(parts + ([f"{counted(earlier, 'earlier checkpoint')} left out"] if earlier else []))


def _no_answer(why: str, models: int, left_out: str) -> pa.Table:
    verdict = "; ".join(filter(None, (f"no answer: {why}", left_out)))
    row = dict.fromkeys(_SCHEMA.names) | {"models": models, "figures": 0, "verdict": verdict}
    return pa.Table.from_pylist([row], schema=_SCHEMA)


def _better_when(sign: float) -> str | None:
    return "higher" if sign > 0 else "lower" if sign < 0 else None


def _unit_ranks(values: Floats) -> Floats:
    """Ranks along each row, the mean of their ranks for ties, centred and scaled to length 1; shape as given."""
    rows, count = values.shape
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    # Equal values in a row are one group; a row's first value always begins one.
    begins = np.ones(values.shape, bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    group = np.cumsum(begins) - 1
    sums = np.bincount(group, np.tile(np.arange(count, dtype=float), rows))
    ranks = np.empty(values.shape)
    np.put_along_axis(ranks, order, (sums / np.bincount(group))[group].reshape(rows, count), axis=1)
    ranks -= (count - 1) / 2
    scaled: Floats = ranks / np.sqrt((ranks * ranks).sum(axis=1, keepdims=True))
    return scaled


def _shuffled(metric: Floats, names: Sequence[str], permutations: int, seed: int) -> Floats:
    """The metric's ranks in as many orders: an array (models, permutations).

    An order depends on the seed and the names alone, by MD5 as in the SQL form: every machine draws the same.
    """
    ends = [f" {name}".encode() for name in names]
    drawn = np.empty((len(names), permutations))
    for draw in range(permutations):
        begin = f"{seed} {draw + 1}".encode()
        keys = [hashlib.md5(begin + end, usedforsecurity=False).digest() for end in ends]
        drawn[:, draw] = metric[sorted(range(len(keys)), key=keys.__getitem__)]
    return drawn


def _p_values(rho: Floats, ranks: Floats, shuffled: Floats) -> Floats:
    """(1 + shuffles whose greatest |rho| over all figures is no less) / (1 + shuffles), a figure each.

    The maximum over figures makes it the p of the whole search, not of one look (Westfall and Young 1993).
    """
    greatest = np.zeros(shuffled.shape[1])
    for start in range(0, len(ranks), _FIGURES_AT_ONCE):
        found = np.abs(ranks[start : start + _FIGURES_AT_ONCE] @ shuffled)
        np.maximum(greatest, found.max(axis=0), out=greatest)
    greatest.sort()
    reached = len(greatest) - np.searchsorted(greatest, np.abs(rho) - _SLACK)
    shares: Floats = (1 + reached) / (1 + len(greatest))
    return shares
