"""The norm of each output unit of a slot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from wexport.errors import UsageError
from wexport.plot import limits, style
from wexport.plot.data import ORDER, Table, fetch, listed, quoted
from wexport.plot.kinds import plots
from wexport.plot.profiles import grey
from wexport.plot.quantities import WEIGHT, Quantity, quantity_of
from wexport.stats.histogram import NEAR_ZERO
from wexport.terminal.text import counted

Floats = NDArray[np.float64]

BARS = 64
"""Units of one model up to which each has a bar."""
_MARK = "black"

_SQL = f"""
SELECT
    model, slot, kind, role, shape_text(canonical_shape) AS shape, unit_count, nan_count + inf_count AS missing,
    [unit.l2_norm for unit in units] AS l2_norm, [unit.abs_max for unit in units] AS abs_max,
    -- As `check` has it; of outputs and gradients a unit is near zero by itself alone.
    CASE WHEN is_kernel(role) AND kind = 'weight' AND nan_count + inf_count = 0 AND unit_count > 1
        THEN collapse_norm(units, value_count, 1e-2) END AS collapsed
FROM weights
WHERE asked_for(slot, getvariable('slot')) AND asked_for(model, getvariable('model'))
ORDER BY {ORDER}
"""


@dataclass(frozen=True, slots=True)
class UnitNorms:
    """One slot. norms: of each model, the L2 norm of each unit's values, in the order of the units: of its incoming
    weights, of the gradients by them, or of its outputs, as `quantity` says.

    near_zero: units all of whose values are near zero, and those that have collapsed beside the others.
    left_out: models that have the slot, but not its units.
    """

    slot: str
    models: list[str]
    shapes: list[str]
    norms: list[Floats]
    near_zero: list[NDArray[np.bool_]]
    missing: int
    left_out: int
    quantity: Quantity = WEIGHT


@plots
def units(
    table: Table, slot: str = "", *, ax: Axes, model: str = "*", layout: str = "auto", scale: str = "linear"
) -> list[Artist]:
    """The norm of each unit of a slot: filters, neurons, hidden units; those near zero are marked and counted.

    layout, scale: see `draw`. Raises UsageError if the slot fits several, or the table holds no units of it.
    """
    return draw(load(table, slot, model), ax, layout=layout, scale=scale)


def whole(
    table: Table,
    slot: str,
    *,
    size: tuple[float, float] | None = None,
    model: str = "*",
    layout: str = "auto",
    scale: str = "linear",
) -> Figure:
    """A whole figure. Options as of `units`."""
    data = load(table, slot, model)
    with style.settings():
        figure = style.Picture(figsize=size or (9, 4.5))
        draw(data, figure.subplots(), layout=layout, scale=scale)
    return figure


def load(table: Table, slot: str, model: str = "*") -> UnitNorms:
    """The units of a slot in every model that has it. Raises UsageError as `units` does."""
    rows = fetch(table, _SQL, {"slot": slot, "model": model}, f"no model has a slot {quoted(slot)}")
    slots = sorted({row["slot"] for row in rows})
    if len(slots) > 1:
        raise UsageError(f"{quoted(slot)} fits {len(slots):,} slots", hint=f"choose one: {listed(slots)}")
    kept = [row for row in rows if row["l2_norm"]]
    if not kept:
        if rows[0]["unit_count"] is None:
            raise UsageError(
                f"{slots[0]!r} ({rows[0]['shape']}) has no units",
                hint="vectors have none, nor tensors of unknown layout",
            )
        raise UsageError(
            f"the table holds no figures of the {rows[0]['unit_count']:,} units of {slots[0]!r}",
            hint="they are kept for up to 4,096 units, in a table made with --detail full",
        )
    norms = [np.array(row["l2_norm"], np.float64) for row in kept]
    near_zero = [
        (np.array(row["abs_max"], np.float64) < NEAR_ZERO) | (norm < (row["collapsed"] or 0.0))
        for row, norm in zip(kept, norms, strict=True)
    ]
    missing = sum(row["missing"] or 0 for row in kept)
    names, shapes = [row["model"] for row in kept], [row["shape"] for row in kept]
    return UnitNorms(slots[0], names, shapes, norms, near_zero, missing, len(rows) - len(kept), quantity_of(rows))


def draw(data: UnitNorms, ax: Axes, *, layout: str = "auto", scale: str = "linear") -> list[Artist]:
    """Draw onto axes.

    layout: "bars", a bar a unit in their order, of one model; "sorted", a curve a model from the largest norm to the
    smallest; "auto" is bars for one model of few units. scale: of the norm, "linear" or "log", where zeros fall off.

    Returns the bars or curves in the order of the models (of many, those that stand out, then all others as one
    collection), and after them the marks of near-zero units, where there are any.
    """
    style.choice("layout", layout, ("auto", "bars", "sorted"))
    style.choice("scale", scale, ("linear", "log"))
    if layout == "auto":
        layout = "bars" if len(data.models) == 1 and data.norms[0].size <= BARS else "sorted"
    if layout == "bars" and len(data.models) > 1:
        raise UsageError(
            f"bars are for one model, and {len(data.models):,} have {data.slot!r}",
            hint=f"choose one: {listed(data.models)}",
        )
    with style.settings():
        artists = _bars(data, ax) if layout == "bars" else _curves(data, ax)
        if scale == "log":
            if not any((norms > 0).any() for norms in data.norms):
                raise UsageError("no norm is above 0", hint="choose scale linear")
            style.logarithmic(ax)
        else:
            top = max((float(np.nanmax(norms)) for norms in data.norms if np.isfinite(norms).any()), default=0.0)
            ax.set_ylim(-0.02 * (top or 1), 1.05 * (top or 1))
            if layout != "bars":
                sorted_norms = [np.sort(norms)[::-1] for norms in data.norms]
                limits.cut(ax, [np.arange(1, norms.size + 1) for norms in sorted_norms], sorted_norms, data.models)
        x = "unit, in the order of the file" if layout == "bars" else "units, from the largest norm to the smallest"
        style.label(ax, title=_title(data, scale), x=x, y=_side(data.quantity))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(ax.get_legend_handles_labels()[0]) > 1 or any(near.any() for near in data.near_zero):
            outside = {"loc": "upper left", "bbox_to_anchor": (1.01, 1)}
            style.legend(ax, **outside)
    return artists


def _side(quantity: Quantity) -> str:
    unit = f" [{quantity.unit}]" if quantity.unit else ""
    return f"L2 norm of the {'incoming weights' if quantity == WEIGHT else quantity.many} of each unit{unit}"


def _bars(data: UnitNorms, ax: Axes) -> list[Artist]:
    (norms,), (near_zero,) = data.norms, data.near_zero
    place = np.arange(norms.size)
    bars: BarContainer = ax.bar(place, norms, width=0.85, color=style.COLOURS[0], zorder=2)
    ax.set_xlim(-0.7, norms.size - 0.3)
    return [*bars.patches, *_marks(ax, place[near_zero], norms[near_zero], int(near_zero.sum()))]


def _curves(data: UnitNorms, ax: Axes) -> list[Artist]:
    shown = _standing_out(data)
    names = style.short_all([data.models[place] for place in shown])
    curves = []
    for norms, near_zero in zip(data.norms, data.near_zero, strict=True):
        order = np.argsort(-norms, kind="stable")  # NaN come last
        curves.append((np.arange(1, norms.size + 1), norms[order], near_zero[order]))
    artists: list[Artist] = []
    for number, (place, name) in enumerate(zip(shown, names, strict=True)):
        ranks, norms, near_zero = curves[place]
        near = int(near_zero.sum())
        label = f"{name} ({near:,} near zero)" if near else name
        marker = style.marker(number) if norms.size <= BARS else {}
        artists += ax.plot(ranks, norms, **style.look(number), **marker, label=label, linewidth=1.3, zorder=3)
    others = [curves[place] for place in sorted(set(range(len(curves))) - set(shown))]
    if others:
        near = sum(bool(near_zero.any()) for _, _, near_zero in others)
        label = f"{len(others):,} others" + (f" ({near:,} with near-zero units)" if near else "")
        artists.append(grey(ax, [(ranks, norms) for ranks, norms, _ in others], label))
    ax.set_xlim(0.4, max(norms.size for norms in data.norms) + 0.6)
    x = np.concatenate([ranks[near_zero] for ranks, _, near_zero in curves])
    y = np.concatenate([norms[near_zero] for _, norms, near_zero in curves])
    return [*artists, *_marks(ax, x, y, x.size)]


def _standing_out(data: UnitNorms) -> list[int]:
    """Which models are drawn by themselves: of many, first those with the most near-zero units."""
    count = len(data.models)
    if len(style.standing_out(count)) == count:
        return list(range(count))
    near = [int(near_zero.sum()) for near_zero in data.near_zero]
    first = sorted((place for place in range(count) if near[place]), key=lambda place: -near[place])[: style.SHOWN]
    rest = [place for place in range(count) if place not in first]
    more = style.SHOWN - len(first)
    ends = [np.array([norms.min(), np.median(norms), norms.max()]) for norms in (data.norms[place] for place in rest)]
    spread = [rest[place] for place in limits.standing_out(ends, more)[:more]] if more > 0 else []
    return sorted([*first, *spread])


def _marks(ax: Axes, x: NDArray[np.generic], y: Floats, count: int) -> list[Artist]:
    if not count:
        return []
    label = f"near zero, or collapsed beside the others ({count:,})"
    return [ax.scatter(x, y, marker="x", s=28, color=_MARK, linewidths=1.4, zorder=4, label=label, clip_on=False)]


def _title(data: UnitNorms, scale: str) -> str:
    counts = sorted({norms.size for norms in data.norms})
    amount = f"{counts[0]:,} units" if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,} units"
    near = sum(int(near.sum()) for near in data.near_zero)
    some = sum(bool(near.any()) for near in data.near_zero)
    if len(data.models) == 1:
        head = f"{style.short(data.models[0], 60)}, {amount}, {near:,} near zero"
    else:
        head = (
            f"{len(data.models):,} models, {amount} each"
            if len(counts) == 1
            else f"{len(data.models):,} models, {amount}"
        )
        head += f"; {near:,} near zero, in {counted(some, 'model')}" if near else "; none near zero"
    notes = []
    if len(set(data.shapes)) > 1:
        notes.append("not all of one shape: " + ", ".join(sorted(set(data.shapes))[:4]))
    if data.missing:
        notes.append(f"{data.missing:,} NaN or infinite values left out")
    if data.left_out:
        notes.append(f"{data.left_out:,} left out: the table holds no units of theirs")
    if scale == "log" and any((norms == 0).any() for norms in data.norms):
        notes.append("norms of 0 not shown")
    return f"{style.short(data.slot, 60)}: {head}" + (f"\n{'; '.join(notes)}" if notes else "")
