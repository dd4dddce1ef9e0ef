"""Limits that one model far from all others does not set, marks for what lies beyond, and who stands out."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from wexport.plot import style
from wexport.plot.bins import Bins, reach

Floats = NDArray[np.float64]
Numbers = NDArray[np.float64] | NDArray[np.int64]

FAR = 6.0
"""A line is beyond the limits if it goes farther from the middle lines than this many times their own extent."""
NAMED = 3
"""This many of the lines that go beyond are named at the edge; of the others the number is told."""


def within(lines: Sequence[Floats]) -> tuple[float, float] | None:
    """Where an axis ends that shows all lines but those far from the middle ones; None where there are no such lines.

    lines: the values of each. The middle of the lines is from the median of their least values to the median of their
    largest; what is asked of a line is that it stays within `FAR` times that extent. Of two lines neither is the odd
    one.
    """
    ends = [
        (float(known.min()), float(known.max()))
        for known in (np.asarray(line, np.float64)[np.isfinite(line)] for line in lines)
        if known.size
    ]
    if len(ends) < 3:
        return None
    low, high = (float(np.median([each[side] for each in ends])) for side in (0, 1))
    extent = (high - low) or 0.1 * max(abs(low), abs(high))
    if not extent:
        return None
    least, most = low - FAR * extent, high + FAR * extent
    inside = [each for each in ends if each[0] >= least and each[1] <= most]
    if len(inside) == len(ends) or 2 * len(inside) <= len(ends):
        return None
    return min(each[0] for each in inside), max(each[1] for each in inside)


def cut(ax: Axes, x: Sequence[Numbers], lines: Sequence[Floats], names: Sequence[str]) -> list[int]:
    """Let the y axis show all lines but those far away; mark where these leave it, and name them with how far they go.

    x, lines: of each line; values that are not finite are not a reason for anything. Returns which lines go beyond.
    """
    limits = within(lines)
    if limits is None:
        return []
    low, high = limits
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    bottom, top = (low - margin if low < 0 else max(0.0, low - margin)), high + margin
    ax.set_ylim(bottom, top)
    beyond = []
    for place, (across, line) in enumerate(zip(x, lines, strict=True)):
        known = np.isfinite(line)
        for side, out, edge in (("^", known & (line > top), top), ("v", known & (line < bottom), bottom)):
            if out.any():
                ax.scatter(
                    np.asarray(across)[out], np.full(int(out.sum()), edge), marker=side, s=26, color=style.beyond(),
                    clip_on=False, zorder=5,
                )  # fmt: skip
                beyond.append(place)
    beyond = list(dict.fromkeys(beyond))
    if beyond:
        note(ax, [(names[place], _farthest(lines[place])) for place in beyond])
    return beyond


def reach_of(stored: Sequence[Bins]) -> tuple[float, float, list[int]]:
    """Where an axis for several histograms begins and ends, as `bins.reach`, and which of them are far beyond it."""
    ends = [np.array(reach([bins])) if bins.count.size else np.array([np.nan]) for bins in stored]
    limits = within(ends)
    if limits is None:
        return *reach(stored), []
    far = [place for place, end in enumerate(ends) if end[0] < limits[0] or end[-1] > limits[1]]
    return *reach([bins for place, bins in enumerate(stored) if place not in far]), far


def note(ax: Axes, beyond: Sequence[tuple[str, float]]) -> None:
    """Name what lies beyond the axis, at its upper edge. beyond: names, and how far each goes."""
    words = [f"{style.short(name, 28)} to {far:.3g}" for name, far in beyond[:NAMED]]
    if len(beyond) > NAMED:
        words.append(f"{len(beyond) - NAMED:,} more")
    text = "beyond the axis: " + ", ".join(words)
    made = ax.annotate(
        text, (0.01, 1.0), xycoords="axes fraction", xytext=(0, -9), textcoords="offset points", ha="left", va="top",
        fontsize=8, color=style.beyond(), zorder=6,
        bbox={"facecolor": ax.get_facecolor(), "edgecolor": "none", "alpha": 0.8, "pad": 1},
    )  # fmt: skip
    style.plain([made])


def _farthest(line: Floats) -> float:
    known = line[np.isfinite(line)]
    return float(known[np.abs(known).argmax()])


def standing_out(figures: Sequence[Floats], shown: int = style.SHOWN) -> list[int]:
    """Which of several lines are drawn by themselves: all, or the `shown` that are least like the others.

    figures: the values of each at the same places, NaN where it has none. How unlike one is: the mean distance from the
    median line, in units of the median distance there. In the order of the lines; of equal ones the first.
    """
    count = len(figures)
    if count <= shown + 1:
        return list(range(count))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # places where no line has a value
        table = np.asarray(figures, np.float64)
        table = np.where(np.isfinite(table), table, np.nan)
        distance = np.abs(table - np.nanmedian(table, axis=0))
        usual = np.nanmedian(distance, axis=0)
        scores = np.nanmean(distance / np.where(usual > 0, usual, 1.0), axis=1)
    scores = np.nan_to_num(scores, nan=-1.0, posinf=np.inf)
    if np.isfinite(scores).all() and scores.min() == scores.max():
        return style.standing_out(count, shown)
    return sorted(sorted(range(count), key=lambda place: -scores[place])[:shown])
