"""Stored histograms, made coarser for drawing without inventing what was not stored.

The table's bins have the same edges for every tensor, 8 to an octave of |w|, mirrored. Drawn bars begin and end at
such edges only, so a bar's count is an exact sum of stored counts and the bars of all models line up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wexport.errors import TableError
from wexport.stats.histogram import bin_of, bounds

Floats = NDArray[np.float64]

FAR_AWAY = 0.0025
"""The share of a histogram's values on each side that an axis may leave out, where they are far from the others."""


DRAWN = 1e300
"""No axis goes farther: its own margins and the distance between its ends have to be numbers still."""


@dataclass(frozen=True, slots=True)
class Bins:
    """A stored histogram: `lower` and `upper` edges and `count` of the bins that are not empty, ascending."""

    lower: Floats
    upper: Floats
    count: NDArray[np.int64]

    @classmethod
    def of(cls, histogram: dict[str, Sequence[float]]) -> Bins:
        """From a value of the table's column `histogram`. Raises TableError if that is none that wexport wrote."""
        try:
            found = cls(
                np.asarray(histogram["lower"], np.float64),
                np.asarray(histogram["upper"], np.float64),
                np.asarray(histogram["count"], np.int64),
            )
            sound = (
                len(found.lower) == len(found.upper) == len(found.count)
                and bool(np.isfinite([found.lower, found.upper]).all())
                and bool((found.lower <= found.upper).all() and (found.upper[:-1] <= found.lower[1:]).all())
                and bool((found.count > 0).all())
            )
        except (TypeError, ValueError, OverflowError):
            sound = False
        if not sound:
            raise TableError(
                "the table holds a histogram whose bins make no sense",
                hint="it is damaged, or was not written by wexport; write it anew with `wexport ingest`",
            )
        return found

    def within(self, low: float, high: float) -> Bins:
        """The bins that are whole between two weights."""
        kept = (self.lower >= low) & (self.upper <= high)
        return Bins(self.lower[kept], self.upper[kept], self.count[kept])

    @property
    def zeros(self) -> int:
        """Values in the zero bin."""
        return int(self.count[self.lower == self.upper].sum())


def reach(stored: Sequence[Bins]) -> tuple[float, float]:
    """Where an axis for several histograms begins and ends.

    At the lowest and highest weight, unless that leaves less than a third of the axis to nearly all of the values:
    then up to FAR_AWAY of each histogram's values on either side are beyond it.
    """
    held = [bins for bins in stored if bins.count.size]
    if not held:
        return 0.0, 0.0
    most = min(float(bins.lower[0]) for bins in held), max(float(bins.upper[-1]) for bins in held)
    lows, highs = [], []
    for bins in held:
        share = np.cumsum(bins.count) / bins.count.sum()
        lows.append(float(bins.lower[np.searchsorted(share, FAR_AWAY)]))
        highs.append(float(bins.upper[np.searchsorted(share, 1 - FAR_AWAY)]))
    nearly = max(min(lows), -DRAWN), min(max(highs), DRAWN)
    most = max(most[0], -DRAWN), min(most[1], DRAWN)
    return nearly if 0 < 3 * (nearly[1] - nearly[0]) < most[1] - most[0] else most


def edges_for(stored: Sequence[Bins], bars: int) -> Floats:
    """Edges for about `bars` bars over all of several histograms, ascending.

    Every edge is one that stored bins have. No bar is narrower than the range / bars,
    but for the last on each side; where stored bins are wider, they are the bars. One bar spans zero.
    """
    low = min((bins.lower.min() for bins in stored if bins.count.size), default=0.0)
    high = max((bins.upper.max() for bins in stored if bins.count.size), default=0.0)
    if low == high:
        return np.array([-1.0, 1.0]) if low == 0 else np.array([low, high])
    least = high / bars - low / bars  # the range itself may be larger than any number
    ladder = _ladder(max(-low, high))
    side = [ladder[np.searchsorted(ladder, least / 2)]]
    while side[-1] < max(-low, high):
        with np.errstate(over="ignore"):  # beyond the largest number is beyond the ladder
            place = np.searchsorted(ladder, side[-1] + least)
        side.append(ladder[min(place, ladder.size - 1)])
    both = np.array([*(-edge for edge in reversed(side)), *side])
    first = max(0, int(np.searchsorted(both, low, side="right")) - 1)
    last = int(np.searchsorted(both, high, side="left"))
    return both[first : last + 1]


def _ladder(top: float) -> Floats:
    """The positive stored edges, ascending, up to the first that is not below `top`."""
    edges = bounds(np.arange(1, int(bin_of(np.array([top]))[0]) + 1))[1]
    return edges[: int(np.searchsorted(edges, top)) + 1]


def counts_in(bins: Bins, edges: Floats) -> NDArray[np.int64]:
    """Counts of a stored histogram between `edges`: each stored bin falls whole into the bar that holds its middle."""
    middle = bins.lower / 2 + bins.upper / 2
    place = np.searchsorted(edges, middle, side="right") - 1
    found = np.zeros(len(edges) - 1, np.int64)
    np.add.at(found, np.clip(place, 0, len(found) - 1), bins.count)
    return found
