"""Histograms of one slot over several models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from wexport.errors import UsageError
from wexport.plot import limits, style
from wexport.plot.bins import Bins, Floats, counts_in, edges_for
from wexport.plot.data import ORDER, Table, fetch, listed, quoted
from wexport.plot.kinds import plots
from wexport.plot.overlays import labels, overlay
from wexport.plot.quantities import WEIGHT, Quantity, quantity_of

BARS = 60
RIDGES = 24
"""How many models a ridge plot has room for; of more, this many are drawn, those least like the others."""

_SQL = f"""
SELECT model, slot, kind, role, value_count, nan_count + inf_count AS missing, histogram
FROM weights
WHERE asked_for(slot, getvariable('slot')) AND asked_for(model, getvariable('model')) AND histogram IS NOT NULL
ORDER BY {ORDER}
"""


@dataclass(frozen=True, slots=True)
class Histograms:
    """One slot's histograms, of what `quantity` says. bins: of each model, in order; missing: values that are NaN or
    infinite.
    """

    slot: str
    models: list[str]
    bins: list[Bins]
    value_count: list[int]
    missing: list[int]
    quantity: Quantity = WEIGHT


@plots
def histogram(
    table: Table,
    slot: str = "",
    *,
    ax: Axes,
    model: str = "*",
    layout: str = "overlay",
    scale: str = "linear",
    bars: int = BARS,
) -> list[StepPatch]:
    """Histograms of a slot over several models, from the stored bins.

    slot: one slot. model: which models, a name or a pattern. layout, scale, bars: see `draw`.
    Raises UsageError if there is nothing to draw.
    """
    return draw(load(table, slot, model), ax, layout=layout, scale=scale, bars=bars)


def load(table: Table, slot: str, model: str = "*") -> Histograms:
    """The histograms of a slot in every model that has it.

    Raises UsageError if there is none, or the slot is a pattern that more than one slot fits.
    """
    rows = fetch(table, _SQL, {"slot": slot, "model": model}, f"no model has a slot {quoted(slot)}")
    slots = sorted({row["slot"] for row in rows})
    if len(slots) > 1:
        raise UsageError(f"{quoted(slot)} fits {len(slots):,} slots", hint=f"choose one: {listed(slots)}")
    return Histograms(
        slots[0],
        [row["model"] for row in rows],
        [Bins.of(row["histogram"]) for row in rows],
        [row["value_count"] for row in rows],
        [row["missing"] for row in rows],
        quantity_of(rows),
    )


def draw(
    data: Histograms, ax: Axes, *, layout: str = "overlay", scale: str = "linear", bars: int = BARS
) -> list[StepPatch]:
    """Draw onto axes: one outline a model, of the density (share of the finite values per unit of the value).

    layout: "overlay", or "ridge": the models one above the other, each to its own height. scale: of the density,
    "linear" or "log". bars: about how many; none is finer than what the table holds. In a linear overlay, a bar far
    above all others is cut off, and its height is written where it is cut; few values far from the others are beyond
    the axis, and the title counts them.

    Returns the outlines in the order of the models; in an overlay of many, the last is the range of the others.
    """
    style.choice("layout", layout, ("overlay", "ridge"))
    style.choice("scale", scale, ("linear", "log"))
    # A logarithmic scale is for looking at what is rare, so nothing is left out there.
    low, high, far = limits.reach_of(data.bins) if scale == "linear" else (-np.inf, np.inf, [])
    shown = [bins.within(low, high) for bins in data.bins]
    edges = edges_for(shown, bars)
    densities = [_density(bins, edges, of) for bins, of in zip(shown, data.bins, strict=True)]
    beyond = sum(int(of.count.sum() - bins.count.sum()) for bins, of in zip(shown, data.bins, strict=True))
    with style.settings():
        if layout == "ridge":
            artists = _ridge(data, ax, edges, densities)
            left_out = len(densities) - len(artists)
            y = "density, each model to its own height" + (f" ({left_out:,} models left out)" if left_out else "")
        else:
            artists = _overlay(data, ax, edges, densities)
            y = f"share of values per unit of {data.quantity.one}"
            if scale == "log":
                style.logarithmic(ax, nonpositive="clip")
            else:
                _cut(ax, edges, densities)
        ax.set_xlim(edges[0], edges[-1])
        if far:
            limits.note(ax, [(data.models[place], _end(data.bins[place])) for place in far])
        style.label(ax, title=_title(data, beyond), x=data.quantity.axis, y=y)
    return artists


def _end(bins: Bins) -> float:
    lowest, highest = float(bins.lower[0]), float(bins.upper[-1])
    return highest if highest >= -lowest else lowest


def _density(bins: Bins, edges: Floats, of: Bins) -> Floats:
    density: Floats = counts_in(bins, edges) / (max(1, int(of.count.sum())) * np.diff(edges))
    return density


def _overlay(data: Histograms, ax: Axes, edges: Floats, densities: list[Floats]) -> list[StepPatch]:
    if len(densities) == 1:
        return [ax.stairs(densities[0], edges, fill=True, color=style.COLOURS[0], alpha=0.85)]
    standing = [data.models[place] for place in limits.standing_out(densities)]
    named = dict(zip(data.models, densities, strict=True))
    artists = overlay(ax, edges, named, standing, width=1.4)
    for artist, words in zip(artists, labels(standing, len(densities)), strict=True):
        artist.set_label(words)
    style.legend(ax, loc="upper left" if _leans_right(edges, densities) else "upper right")
    return artists


def _leans_right(edges: Floats, densities: list[Floats]) -> bool:
    """Whether the bars stand more in the right half, so that the left has room."""
    middle = (edges[0] + edges[-1]) / 2
    right = (edges[:-1] + edges[1:]) / 2 > middle
    shares = [float((density * np.diff(edges))[right].sum()) for density in densities]
    return float(np.mean(shares)) > 0.5


def _ridge(data: Histograms, ax: Axes, edges: Floats, densities: list[Floats]) -> list[StepPatch]:
    """Models one above the other, the first on top."""
    lines = limits.standing_out(densities, RIDGES)
    artists = []
    for number, place in enumerate(lines):
        floor, density = float(len(lines) - 1 - number), densities[place]
        heights = floor + 0.92 * density / (density.max() or 1.0)
        artists.append(
            ax.stairs(heights, edges, baseline=floor, fill=True, facecolor=style.COLOURS[0], linewidth=0, alpha=0.85)
        )
    names = style.short_all([data.models[place] for place in lines])
    ax.set_yticks(range(len(lines)), names[::-1], parse_math=False)
    ax.set_ylim(-0.1, len(lines))
    ax.tick_params(axis="y", length=0)
    return artists


def _cut(ax: Axes, edges: Floats, densities: list[Floats]) -> None:
    """Cut off a bar that would flatten all others, and write its height where it is cut.

    Each model may have one such bar (a regularised model's zeros, say): the limit is set by the highest of the others.
    """
    values = np.sort(np.concatenate(densities))[::-1]
    rest = float(values[min(len(densities), values.size - 1)])
    if rest <= 0 or values[0] <= 4 * rest:
        return
    limit = 1.3 * rest
    ax.set_ylim(0, limit)
    place = int(np.argmax(max(densities, key=np.max)))
    middle = (edges[place] + edges[place + 1]) / 2
    side = "right" if middle > (edges[0] + edges[-1]) / 2 else "left"
    where: dict[str, Any] = {"xytext": (-4 if side == "right" else 4, -2), "textcoords": "offset points"}
    words = f"up to {values[0]:.3g} ▲"
    style.plain([ax.annotate(words, (middle, limit), ha=side, va="top", fontsize=8, **where)])


def _title(data: Histograms, beyond: int) -> str:
    missing = sum(data.missing)
    least, most = min(data.value_count), max(data.value_count)
    values = f"{least:,} values each" if least == most else f"{least:,} to {most:,} values: not all of one shape"
    models = f"{len(data.models):,} models, {values}" if len(data.models) > 1 else f"{data.models[0]}, {least:,} values"
    left_out = f"; {missing:,} NaN or infinite left out" if missing else ""
    if beyond:
        lowest = min(float(bins.lower[0]) for bins in data.bins if bins.count.size)
        highest = max(float(bins.upper[-1]) for bins in data.bins if bins.count.size)
        left_out += f"\n{beyond:,} far values beyond the axis: all are from {lowest:.3g} to {highest:.3g}"
    return f"{style.short(data.slot, 60)}: {style.short(models, 80)}{left_out}"
