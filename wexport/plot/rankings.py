"""The metric of models against a figure of their weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox
from numpy.typing import NDArray

from wexport import library
from wexport.errors import UsageError
from wexport.plot import columns, style
from wexport.plot.data import Table
from wexport.plot.kinds import plots
from wexport.plot.quantities import WEIGHT, Quantity, quantity_of
from wexport.queries.metrics import gathered
from wexport.sessions.connection import PathLike
from wexport.sessions.session import Session
from wexport.stats.results import STATISTICS
from wexport.terminal.text import counted

Floats = NDArray[np.float64]

LABELLED = 15
"""Of more models, this many are named, the best ones."""
WHOLE_MODEL = "(all)"
"""The slot that stands for the whole model, as in the query `predictors`."""

_FIGURES = """
SELECT found.model, found.value AS figure, architecture
FROM weight_statistics('weights', [getvariable('statistic')]) AS found
JOIN (
    SELECT model, md5(string_agg(concat(slot, canonical_shape::VARCHAR), ' ' ORDER BY slot)) AS architecture
    FROM weights GROUP BY model
) USING (model)
WHERE slot = getvariable('figure_slot')
"""
_KINDS = f"""
SELECT DISTINCT kind, role FROM weights
WHERE getvariable('figure_slot') IN (slot, '{WHOLE_MODEL}') AND NOT is_statistic(role)
"""
_BEST_NAME = "#d55e00"
_OF_MODELS = [each.name for each in STATISTICS if each.of_model]
"""What a whole model has."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Models that have both the metric and the figure, the best first.

    slot: of the figure, or "(all)". direction: "higher" or "lower" is better, None where all are equal.
    without_metric, without_figure: how many models are left out for want of one. architectures: how many there are.
    quantity: what it is a figure of.
    """

    metric: str
    statistic: str
    slot: str
    direction: str | None
    models: list[str]
    values: Floats
    figures: Floats
    without_metric: int
    without_figure: int
    architectures: int
    quantity: Quantity = WEIGHT


@plots
def rank(
    table: Table,
    metrics: PathLike | Sequence[PathLike] = "",
    statistic: str = "l2_norm",
    *,
    ax: Axes,
    slot: str = WHOLE_MODEL,
    metric: str = "",
    direction: str = "",
    model: str = "*",
    run: str = "",
    kinds: Sequence[str] = (),
) -> list[Artist]:
    """The metric against a figure of the weights: a point a model, the best one marked.

    metrics: your files of metrics, as for the query `rank`; metric, direction, run: as there. statistic: the figure, of
    the slot, or of the whole model. kinds: as of `figure`.
    Raises UsageError if no model has both, QueryError if the file of metrics is not understood.
    """
    asked = {"slot": slot, "metric": metric, "direction": direction, "model": model, "run": run}
    return draw(load(table, metrics, statistic, **asked, kinds=kinds), ax)


def load(
    table: Table,
    metrics: PathLike | Sequence[PathLike],
    statistic: str = "l2_norm",
    *,
    slot: str = WHOLE_MODEL,
    metric: str = "",
    direction: str = "",
    model: str = "*",
    run: str = "",
    kinds: Sequence[str] = (),
) -> Ranking:
    """The metric and the figure of each model. Raises as `rank` does."""
    columns.number(statistic)
    if isinstance(table, Session):
        raise UsageError("an open session cannot take metrics", hint="give the table's path")
    asked = {"model": model, "metric": metric, "direction": direction, "run": run}
    with gathered(table, metrics) as files, Session(table, files, kinds=kinds) as session:
        ranked = session.ask(library.get("rank").sql, asked).to_pylist()
        found = session.ask(_FIGURES, {"statistic": statistic, "figure_slot": slot}).to_pylist()
        quantity = quantity_of(session.ask(_KINDS, {"figure_slot": slot}).to_pylist())
    figures = {row["model"]: row for row in found if row["figure"] is not None}
    measured = [row for row in ranked if row["value"] is not None]
    both = [row for row in measured if row["model"] in figures]
    if not both:
        raise UsageError(_nothing(measured, statistic, slot), hint=_way_out(ranked, measured, slot))
    first, last = measured[0]["value"], measured[-1]["value"]
    return Ranking(
        both[0]["metric"],
        statistic,
        slot,
        "lower" if first < last else "higher" if first > last else None,
        [row["model"] for row in both],
        np.array([row["value"] for row in both]),
        np.array([figures[row["model"]]["figure"] for row in both]),
        len(ranked) - len(measured),
        len(measured) - len(both),
        len({figures[row["model"]]["architecture"] for row in both}),
        quantity,
    )


def _nothing(measured: Sequence[Any], statistic: str, slot: str) -> str:
    if not measured:
        return "no model of the table has a metric"
    return f"no model with a metric has a {statistic} of {'the whole model' if slot == WHOLE_MODEL else repr(slot)}"


def _way_out(ranked: Sequence[Any], measured: Sequence[Any], slot: str) -> str:
    if not measured:
        return next((row["reason"] for row in ranked if row["reason"]), "`wexport query rank` says why")
    if slot == WHOLE_MODEL:
        return f"choose a slot, or {', '.join(_OF_MODELS)}"
    return "`wexport query tensors` lists slots; moving statistics have no figure here"


def draw(data: Ranking, ax: Axes) -> list[Artist]:
    """Draw onto axes: a point a model, named where there are few; of many, the best ones are.

    Returns the points, the best one's mark, and the names.
    """
    with style.settings():
        points = ax.scatter(data.figures, data.values, s=30, color=style.COLOURS[0], zorder=3, linewidths=0)
        best = ax.scatter(
            data.figures[:1], data.values[:1], s=170, marker="*", color=_BEST_NAME, zorder=4, label="best by the metric"
        )
        ax.margins(0.12)
        for axis, values in ((ax.xaxis, data.figures), (ax.yaxis, data.values)):
            if np.ptp(values) == 0:
                width = 0.1 * abs(float(values[0])) or 1.0
                (ax.set_xlim if axis is ax.xaxis else ax.set_ylim)(values[0] - width, values[0] + width)
        better = {"lower": " (lower is better)", "higher": " (higher is better)", None: ""}[data.direction]
        of = "the whole model" if data.slot == WHOLE_MODEL else style.short(data.slot, 60)
        x = f"{columns.axis(data.statistic, data.quantity)} of {of}"
        style.label(ax, title=_title(data, of), x=x, y=style.short(data.metric, 60) + better)
        names = _name(ax, data.figures, data.values, style.short_all(data.models[:LABELLED], 28))
    return [points, best, *names]


def _title(data: Ranking, of: str) -> str:
    models = counted(len(data.models), "model")
    best = ("best " if len(data.models) > 1 else "") + f"{style.short(data.models[0], 40)}, {data.values[0]:.4g}"
    notes = []
    if len(data.models) > LABELLED:
        notes.append(f"the {LABELLED} best are named")
    if data.architectures > 1:
        notes.append(f"{data.architectures:,} architectures: their figures hardly compare")
    if data.without_metric:
        notes.append(f"{data.without_metric:,} without the metric left out")
    if data.without_figure:
        notes.append(f"{data.without_figure:,} without the figure left out")
    head = f"{style.short(data.metric, 40)} against {data.statistic} of {of}: {models}, {best}"
    return head + (f"\n{'; '.join(notes)}" if notes else "")


# -- names beside points, none upon another ----------------------------------------------------------------------------

_DIRECTIONS = [(1, 0), (1, 1), (1, -1), (-1, 0), (-1, 1), (-1, -1), (0, 1), (0, -1)]
_DISTANCES = (7, 14, 24, 36, 50, 66, 84, 104, 128, 160)
_TIED = 7
"""Distance, in points, beyond which a thin line leads from the name to its point."""


def _name(ax: Axes, x: Floats, y: Floats, names: Sequence[str]) -> list[Artist]:
    """Write names beside the first points, each where it covers no other name and no point, nearest first.

    A name for which there is no such place is left out.
    """
    figure = ax.figure.figure  # the whole one, also where the axes are in a part of it
    figure.draw_without_rendering()  # lays out the axes, on which the places of points depend
    scale = figure.dpi / 72
    dots = ax.transData.transform(np.column_stack([x, y]))
    halves = [7 * scale, *([4 * scale] * (len(dots) - 1))]  # the best one has a larger mark
    taken = [Bbox([dot - half, dot + half]) for dot, half in zip(dots, halves, strict=True)]
    inside = ax.get_window_extent()
    made: list[Artist] = []
    for number, name in enumerate(names):
        text = ax.annotate(
            name,
            (x[number], y[number]),
            xytext=(0, 0),
            textcoords="offset points",
            fontsize=8,
            ha="center",
            va="center",
            annotation_clip=False,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.5},
            zorder=5,
        )
        style.plain([text])
        text.set_in_layout(False)
        size = text.get_window_extent()
        found = _free_place(dots[number], (size.width + 2 * scale, size.height), taken, inside, scale)
        if found is None:
            text.remove()
            continue
        box, shift, far = found
        text.set_position(shift)
        taken.append(box)
        made.append(text)
        if far:
            _lead(ax, (x[number], y[number]), shift)
    return made


def _lead(ax: Axes, point: tuple[float, float], shift: tuple[float, float]) -> None:
    """A thin line from a name to its point."""
    look = {"arrowstyle": "-", "color": "#5f6368", "linewidth": 0.7, "shrinkA": 0, "shrinkB": 2}
    line = ax.annotate("", point, xytext=shift, textcoords="offset points", arrowprops=look, annotation_clip=False)
    line.set_in_layout(False)


def _free_place(
    dot: Floats, size: tuple[float, float], taken: Sequence[Bbox], inside: Bbox, scale: float
) -> tuple[Bbox, tuple[float, float], bool] | None:
    """The nearest free place for a name of a size, in pixels; None if there is none.

    Returns the box that it takes, its middle's distance from the point in points of 1/72 inch, and whether it is far.
    """
    width, height = size
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            reach = distance * scale * (0.7 if right and up else 1)
            shift = (right * (reach + width / 2), up * (reach + height / 2))
            box = Bbox.from_bounds(dot[0] + shift[0] - width / 2, dot[1] + shift[1] - height / 2, width, height)
            if _within(box, inside) and not box.count_overlaps(taken):
                return box, (shift[0] / scale, shift[1] / scale), distance > _TIED
    return None


def _within(box: Bbox, outer: Bbox) -> bool:
    return bool(box.x0 >= outer.x0 and box.x1 <= outer.x1 and box.y0 >= outer.y0 and box.y1 <= outer.y1)
