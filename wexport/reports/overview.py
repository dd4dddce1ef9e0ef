"""The page's first screen: a row a model, and the four answers above it.

Which are the same, which are sick and why, which is best, and how they group.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from wexport.analysis.similarity import MIN_COVERAGE, measure
from wexport.findings.finding import Finding
from wexport.findings.meanings import meaning
from wexport.plot import dendrograms, limits, style
from wexport.plot.bins import Bins, counts_in, edges_for
from wexport.reports.closeness import names
from wexport.reports.comparison import Comparison
from wexport.sessions.session import Session
from wexport.terminal.text import counted, safe

MOST = 20
"""Models that have a row; the page's table of models has the others."""
BARS = 24
_HISTOGRAMS = """
SELECT model, histogram FROM weights
WHERE is_kernel(role) AND histogram IS NOT NULL AND list_contains(getvariable('models'), model)
"""
_MOST_SAID = 4
"""Groups of equal models, or sick models, that an answer names."""


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle: place and size in a drawing's own units. fill: its colour. words: its value."""

    x: float
    y: float
    width: float
    height: float
    fill: str = ""
    words: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """A model. share: its metric's bar, from 0 to 1. state: error, warning, info, or well. first: begins a group."""

    model: str
    value: str
    share: float | None
    best: bool
    state: str
    what: str
    nearest: str
    bars: list[Bar]
    cells: list[Bar]
    first: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the four questions with its answer. tone: error, warning or well, or nothing."""

    question: str
    text: str
    tone: str = ""
    link: str = ""


@dataclass(frozen=True, slots=True)
class Overview:
    """metric: its name, empty without. left_out: models without a row. matrix: how many cells a row has."""

    answers: list[Answer]
    rows: list[Row]
    metric: str = ""
    left_out: int = 0
    matrix: int = 0
    scale: list[Bar] = field(default_factory=list)


def overview(session: Session, found: Comparison) -> Overview:
    """The first screen of a comparison."""
    clusters = {row["model"]: row for row in found.clusters.to_pylist()}
    ranked = [] if found.rank is None else [row for row in found.rank.to_pylist() if row["value"] is not None]
    worst: dict[str, Finding] = {}
    for each in found.findings:
        worst.setdefault(each.model, each)
    everyone: list[str] = found.models["model"].to_pylist()
    order, matrix = _order(session, _shown(everyone, worst, ranked), clusters)
    bars = _histograms(session, order)
    values = {row["model"]: row for row in ranked}
    shares = _shares(ranked)
    rows = [
        Row(
            safe(model),
            f"{values[model]['value']:.4g}" if model in values else "",
            shares.get(model),
            bool(ranked) and values.get(model, {}).get("place") == ranked[0]["place"],
            _state(worst.get(model)),
            _what(worst.get(model)),
            _nearest(clusters.get(model)),
            bars.get(model, []),
            [] if matrix is None else _cells(order, place, matrix[place]),
            place > 0 and _family(clusters, model) != _family(clusters, order[place - 1]),
        )
        for place, model in enumerate(order)
    ]
    return Overview(
        [_same(clusters), _sick(worst, len(everyone)), _best(ranked, found), _groups(clusters)],
        rows,
        safe(ranked[0]["metric"]) if ranked else "",
        len(everyone) - len(order),
        0 if matrix is None else len(order),
        [Bar(place, 0, 1, 1, _colour(place / 19)) for place in range(20)],
    )


# -- the rows ----------------------------------------------------------------------------------------------------------


def _shown(everyone: Sequence[str], worst: Mapping[str, Finding], ranked: Sequence[Mapping[str, Any]]) -> list[str]:
    """Who has a row: of too many, the sick, then the best and the worst by the metric, then the first."""
    if len(everyone) <= MOST:
        return list(everyone)
    known = set(everyone)
    by_metric = [row["model"] for row in ranked if row["model"] in known]
    sick = [model for model, each in worst.items() if each.severity != "info" and model in known]
    wanted = dict.fromkeys([*by_metric[:1], *sick[: MOST // 2], *by_metric[: MOST // 3], *by_metric[-3:], *everyone])
    return list(wanted)[:MOST]


def _order(
    session: Session, models: list[str], clusters: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], np.ndarray | None]:
    """The models, like beside like, families together and the largest first, and their similarities in that order."""
    if len(models) < 2:
        return models, None
    measured = measure(session, "*", MIN_COVERAGE)
    at = {name: place for place, name in enumerate(measured.models)}
    kept = [model for model in models if model in at]
    places = [at[model] for model in kept]
    matrix = measured.matrix[np.ix_(places, places)]
    leaves = dendrograms.leaves(dendrograms.average_linkage(1 - matrix), len(kept))
    position = {kept[leaf]: number for number, leaf in enumerate(leaves)}
    families: dict[str, list[str]] = {}
    for model in sorted(kept, key=position.__getitem__):
        families.setdefault(_family(clusters, model), []).append(model)
    ordered = [model for family in sorted(families.values(), key=lambda each: -len(each)) for model in family]
    index = {model: number for number, model in enumerate(kept)}
    again = [index[model] for model in ordered]
    return ordered, matrix[np.ix_(again, again)]


def _family(clusters: Mapping[str, Mapping[str, Any]], model: str) -> str:
    return str((clusters.get(model) or {}).get("family") or model)


def _cells(order: Sequence[str], place: int, similarities: np.ndarray) -> list[Bar]:
    return [
        Bar(
            column, 0, 1, 1, _colour(float(value)) if np.isfinite(value) else "#e4e4e4",
            f"{safe(order[place])} and {safe(order[column])}: "
            + (f"{value:.3f}" if np.isfinite(value) else "cannot be compared"),
        )
        for column, value in enumerate(similarities)
    ]  # fmt: skip


def _colour(similarity: float) -> str:
    return to_hex(mpl.colormaps[style.SEQUENTIAL](max(0.0, min(1.0, similarity))))


def _histograms(session: Session, models: Sequence[str]) -> dict[str, list[Bar]]:
    """How the weights of all kernels of a model are spread, between the same edges for all but those far beyond."""
    stored: dict[str, list[Bins]] = {}
    for row in session.ask(_HISTOGRAMS, {"models": list(models)}).to_pylist():
        stored.setdefault(row["model"], []).append(Bins.of(row["histogram"]))
    if not stored:
        return {}
    wide = [
        Bins(
            np.array([min(each.lower[0] for each in bins if each.count.size)]),
            np.array([max(each.upper[-1] for each in bins if each.count.size)]),
            np.array([1]),
        )
        if any(each.count.size for each in bins)
        else Bins(np.array([]), np.array([]), np.array([], np.int64))
        for bins in stored.values()
    ]
    low, high, far = limits.reach_of(wide)
    inside = {model: [each.within(low, high) for each in bins] for model, bins in stored.items()}
    edges = edges_for([each for bins in inside.values() for each in bins], BARS)
    if len(edges) < 3:
        return {}
    found: dict[str, list[Bar]] = {}
    left, width = edges[0], edges[-1] - edges[0]
    for place, (model, bins) in enumerate(inside.items()):
        density = sum((counts_in(each, edges) for each in bins), np.zeros(len(edges) - 1)) / np.diff(edges)
        if place in far or not density.max():
            continue  # none of its shape is on this axis
        heights = density / density.max()
        found[model] = [
            Bar(round(100 * (start - left) / width, 1), round(20 * (1 - height), 1),
                round(100 * (end - start) / width, 1), round(20 * height, 1))
            for start, end, height in zip(edges[:-1], edges[1:], heights, strict=True) if height
        ]  # fmt: skip
    return found


def _shares(ranked: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """How long each metric's bar is: as its value, from 0, unless some are below it; far ones are full."""
    values = {row["model"]: float(row["value"]) for row in ranked if np.isfinite(row["value"])}
    if not values:
        return {}
    low = min(0.0, *values.values())
    most = max(values.values())
    usual = float(np.median([abs(value) for value in values.values()]))
    high = max(value for value in values.values() if value <= 10 * usual) if 0 < 10 * usual < most else most
    width = (high - low) or 1.0
    return {model: max(0.0, min(1.0, (value - low) / width)) for model, value in values.items()}


def _state(worst: Finding | None) -> str:
    return worst.severity if worst is not None else "well"


def _what(worst: Finding | None) -> str:
    """What is wrong, and where: the cause alone."""
    if worst is None:
        return "nothing found"
    where = f" in {worst.place}" if worst.place else ""
    return safe(f"{worst.finding.replace('_', ' ')}{where}: {worst.seen.split('; with it:')[0]}")


def _nearest(row: Mapping[str, Any] | None) -> str:
    if row is None or row["nearest"] is None:
        return ""
    name = safe(row["nearest"])
    if row["verdict"] == "identical":
        return f"= {name}"
    if row["verdict"] in ("strangers", "not_comparable"):
        return "like none"
    alike = "" if row["nearest_similarity"] is None else f" {row['nearest_similarity']:.2f}"
    return f"{name}{alike}"


# -- the answers -------------------------------------------------------------------------------------------------------


def _same(clusters: Mapping[str, Mapping[str, Any]]) -> Answer:
    groups: dict[Any, list[str]] = {}
    for model, row in clusters.items():
        if row["verdict"] in ("identical", "rounded"):
            groups.setdefault(row["represented_by"] or row["family"], []).append(model)
    if not groups:
        text = "No two hold the same values." if len(clusters) > 1 else "There is only one model."
        return Answer("Which are the same?", text, link="#closeness" if len(clusters) > 1 else "")
    parts = [
        "\N{NO-BREAK SPACE}= ".join(safe(each) for each in group[:3])
        + (f" = {len(group) - 3:,} more" if len(group) > 3 else "")
        for group in list(groups.values())[:_MOST_SAID]
    ]
    more = f" and {counted(len(groups) - _MOST_SAID, 'more group')}" if len(groups) > _MOST_SAID else ""
    return Answer("Which are the same?", "; ".join(parts) + more + ".", link="#closeness")


def _sick(worst: Mapping[str, Finding], models: int) -> Answer:
    sick = [each for each in worst.values() if each.severity != "info"]
    if not sick:
        return Answer(
            "Which are sick?", f"None of {counted(models, 'model')}, as far as weights show.", "well", "#findings"
        )
    parts = [f"{safe(each.model)}: {meaning(each)}" for each in sick[:2]]
    more = f"; and {len(sick) - 2:,} more" if len(sick) > 2 else ""
    tone = "error" if any(each.severity == "error" for each in sick) else "warning"
    return Answer("Which are sick, and why?", "; ".join(parts) + more + ".", tone, "#findings")


def _best(ranked: Sequence[Mapping[str, Any]], found: Comparison) -> Answer:
    if not ranked:
        text = "Weights do not tell. Give your metrics: --metrics FILE."
        return Answer("Which is best?", text if found.rank is None else "No model has the metric.")
    first = [row for row in ranked if row["place"] == ranked[0]["place"]]
    value = f"{safe(ranked[0]['metric'])} {ranked[0]['value']:.4g}"
    return Answer("Which is best?", f"{names([row['model'] for row in first])}, by {value}.", link="#rank")


def _groups(clusters: Mapping[str, Mapping[str, Any]]) -> Answer:
    if len(clusters) < 2:
        return Answer("How do they group?", "There is only one model.")
    families: dict[str, list[str]] = {}
    for model in clusters:
        families.setdefault(_family(clusters, model), []).append(model)
    several = sorted((each for each in families.values() if len(each) > 1), key=lambda each: -len(each))
    alone = [each[0] for each in families.values() if len(each) == 1]
    parts = [f"{len(each):,} around {safe(each[0])}" for each in several[:3]]
    if len(several) > 3:
        parts.append(counted(len(several) - 3, "more group"))
    if alone:
        parts.append(f"{names(alone) if len(alone) <= 2 else f'{len(alone):,} models'} alone")
    return Answer("How do they group?", "; ".join(parts) + ".", link="#closeness")
