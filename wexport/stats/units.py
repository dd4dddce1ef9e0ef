"""Statistics per output unit, and units and inputs whose weights are all near zero.

A unit is an entry along the layout's unit axes; the gates of a recurrent layer are grouped, so that an (inputs, 4u)
kernel has u units. Tensors without unit axes, or of one dimension, have none.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.stats.folds import Fold, ScaledSums
from wexport.stats.histogram import NEAR_ZERO
from wexport.stats.results import Units
from wexport.stats.streams import Streams
from wexport.stats.workspace import Prepared

Array = NDArray[Any]

LISTED = 4_096
"""Units get a statistic each up to this many."""
COUNTED = 1 << 20
"""Units, and inputs, are counted up to this many."""

_PROBED = 4
"""Columns looked at before a whole row is: most inputs are found alive at once."""


@lru_cache(maxsize=256)  # the models of a folder are alike
def fold_of(streams: Streams, axes: tuple[int, ...]) -> Fold | None:
    """The fold onto these axes; None where there are no groups to speak of, or too many."""
    if not axes or len(streams.canonical_shape) < 2:
        return None
    fold = Fold(streams.dims, streams.axes, axes)
    return fold if 0 < fold.groups <= COUNTED else None


class UnitStatistics:
    """Sums per unit over all streams of a tensor."""

    def __init__(self, fold: Fold, value_count: int, *, listed: bool) -> None:
        self.fold = fold
        self._listed = listed and fold.groups <= LISTED
        self._per_unit = value_count // fold.groups
        self._abs_max = np.zeros(fold.groups)
        self._max = np.full(fold.groups if self._listed else 0, -np.inf)
        self._squares = ScaledSums(fold.groups if self._listed else 0)
        self._zeros = np.zeros(fold.groups if self._listed else 0)
        self._lost = np.zeros(0)  # values per unit that are not finite; made when there may be any

    @property
    def squares(self) -> ScaledSums:
        """Sums of squares per unit; of no unit where none is listed."""
        return self._squares

    def buffers(self) -> tuple[Array, Array | None, Array | None, Array]:
        """For who adds by itself: |w| at most, w at most, zeros and values lost, per unit; None where not wanted."""
        if not self._lost.size:
            self._lost = np.zeros(self.fold.groups)
        return self._abs_max, *((self._max, self._zeros) if self._listed else (None, None)), self._lost

    def add(self, block: Prepared, start: int) -> None:
        """Take a block of any stream, the first value of which stands at `start` of that stream."""
        self.fold.maximum(block.absolute(), start, self._abs_max)
        if self._listed:
            self._add_largest(block, start)
            if block.low or block.high:
                self._add_squares(block, start)
        if block.lost is not None:
            if not self._lost.size:
                self._lost = np.zeros(self.fold.groups)
            self.fold.add(block.flags(block.lost), start, self._lost)
        if self._listed and block.zeros:
            zero = block.values == 0
            if block.lost is not None:
                zero &= ~block.lost
            self.fold.add(block.flags(zero), start, self._zeros)

    def _add_largest(self, block: Prepared, start: int) -> None:
        if block.lost is not None:
            values = np.where(block.lost, -np.inf, block.values)
        else:
            values = block.absolute() if block.low >= 0 else block.values
        self.fold.maximum(values, start, self._max)

    def _add_squares(self, block: Prepared, start: int) -> None:
        groups = self.fold.groups
        if self.fold.row == groups and self.fold.inner == 1 and not start % groups and not block.x.size % groups:
            squares, start = block.column_squares(groups), 0  # the grid wants the same sums
        else:
            squares = block.squares
        self.fold.add(self._squares.matched(squares, block.exponent), start, self._squares.total)

    def zero_count(self) -> int:
        """Units all of whose weights are near zero; a NaN or an infinity is not."""
        near_zero = self._abs_max < NEAR_ZERO
        if self._lost.size:
            near_zero &= self._lost == 0
        return int(np.count_nonzero(near_zero))

    def result(self) -> Units | None:
        """The lists, in canonical order; None if they are not wanted."""
        if not self._listed:
            return None
        l2_norm = self._squares.root(self._squares.total)
        abs_max, largest = self._abs_max, self._max
        if self._lost.size:
            empty = self._lost == self._per_unit
            l2_norm[empty] = abs_max[empty] = largest[empty] = np.nan
        zero_fraction = self._zeros / self._per_unit
        return Units(*map(self.fold.canonical, (l2_norm, abs_max, largest, zero_fraction)))


class LiveInputs:
    """Which inputs have an outgoing weight that is not near zero."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold
        self._alive = np.zeros(fold.groups, np.bool_)
        self._all = False

    @property
    def fold(self) -> Fold:
        """Onto the inputs."""
        return self._fold

    def buffer(self) -> NDArray[np.bool_] | None:
        """For who looks by itself: which are alive so far; None if all are."""
        self._all = self._all or bool(self._alive.all())
        return None if self._all else self._alive

    def add(self, block: Prepared, start: int) -> None:
        """Take a block of any stream of this fold, the first value of which stands at `start` of that stream."""
        if self._all:
            return
        absolute = block.absolute()
        if block.lost is not None:
            absolute = np.where(block.lost, np.inf, absolute)
        inner, groups = self._fold.inner, self._fold.groups
        whole = self._fold.row == inner > 1 and not start % inner and not absolute.size % inner
        if whole:
            self._rows(absolute.reshape(-1, inner), start // inner % groups)
        else:
            largest = np.zeros(groups, absolute.dtype)
            self._fold.maximum(absolute, start, largest)
            self._alive |= largest >= NEAR_ZERO
        self._all = bool(self._alive.all())

    def _rows(self, rows: Array, first: int) -> None:
        group = np.arange(first, first + len(rows))
        if first + len(rows) > self._fold.groups:
            group %= self._fold.groups
        for column in range(min(_PROBED, rows.shape[1])):
            self._alive[group[rows[:, column] >= NEAR_ZERO]] = True
            pending = np.flatnonzero(~self._alive[group])
            if not pending.size:
                return
        for start in range(0, pending.size, 64):
            some = pending[start : start + 64]
            self._alive[group[some[rows[some].max(axis=1) >= NEAR_ZERO]]] = True

    def zero_count(self) -> int:
        """Inputs all of whose weights are near zero."""
        return int(np.count_nonzero(~self._alive))
