"""The picture of a large tensor: root mean square over at most 32 x 32 blocks of its canonical matrix.

Columns are the output units, rows everything else in canonical order (of a convolution: height, width, input).
Without unit axes the last axis makes the columns; a vector is one row. Index i of n falls into band i * 32 // n.
Pooled axes make neither: the output of a recurrent layer is time by unit, whatever the number of inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.stats.folds import ScaledSums, fold_columns
from wexport.stats.results import Grid
from wexport.stats.streams import Streams
from wexport.stats.workspace import Prepared

Array = NDArray[Any]
Places = NDArray[np.int64]
ColumnTotals = Callable[[int], NDArray[np.float64]]

SIDE = 32
"""Blocks along a side, at most."""

_REMEMBERED = 1 << 18
"""Up to this many places of a row, their bands are worked out once."""
_LONG = 64
_SEGMENT_WORTH = 1_000
"""Values that can be summed in the time of one call."""


class _Side:
    """One side of the canonical matrix: which of its bands a place of one stream belongs to."""

    def __init__(self, streams: Streams, gate: int, axes: tuple[int, ...]) -> None:
        shape = streams.canonical_shape
        self.axes = axes
        self.length = math.prod(shape[axis] for axis in axes)
        self.bands = min(SIDE, self.length)
        self.offset = 0
        self.steps = []  # per axis: its stride in the stream, its extent there, its stride along this side
        for rank, axis in enumerate(axes):
            place = streams.axes.index(axis)
            weight = math.prod(shape[later] for later in axes[rank + 1 :])
            self.steps.append((math.prod(streams.dims[place + 1 :]), streams.dims[place], weight))
            if axis == streams.gate_axis:
                self.offset = gate * streams.dims[place] * weight

    def band(self, places: Places) -> Places:
        """The bands of places in the stream."""
        return (self.index(places) + self.offset) * self.bands // self.length

    def index(self, places: Places, below: int | None = None) -> Places:
        """What places in the stream add to the index; below: by their steps of lesser strides alone."""
        index = np.zeros(places.shape, np.int64)
        for stride, extent, weight in self.steps:
            if extent > 1 and (below is None or stride < below):
                index += places // stride % extent * weight
        return index

    def weight(self, axis: int) -> int:
        """What a step along an axis adds to the index."""
        return self.steps[self.axes.index(axis)][2] if axis in self.axes else 0

    def sizes(self) -> NDArray[np.float64]:
        """How many indices each band holds."""
        edges = -(-np.arange(self.bands + 1) * self.length // self.bands)
        return np.diff(edges).astype(np.float64)

    def runs_on(self, inner: int) -> bool:
        """Whether along each row of `inner` places this side's index is a constant plus the place."""
        return all(stride == weight for stride, extent, weight in self.steps if extent > 1 and stride < inner)

    def depends(self, inner: int) -> bool:
        """Whether the index depends on more than the place within a row."""
        return any(stride >= inner for stride, extent, _ in self.steps if extent > 1)


class GridSums:
    """Sums of squares per block of the grid."""

    def __init__(self, streams: Streams) -> None:
        self._parts = [part_of(streams, gate) for gate in range(streams.count)]
        rows, columns = self._parts[0].rows, self._parts[0].columns
        self._entry = _entry(streams)
        self._sums = ScaledSums(self._entry or (rows.bands, columns.bands))
        pooled = math.prod(streams.canonical_shape[axis] for axis in streams.pooled_axes)
        self._count = np.multiply.outer(rows.sizes(), columns.sizes()) * pooled

    @property
    def row(self) -> int:
        """Length of the runs that are cheapest to add in whole."""
        return self._parts[0].inner

    @property
    def sums(self) -> ScaledSums:
        """Sums of squares per block of the grid, or per place of an entry where these are summed up first."""
        return self._sums

    @property
    def count(self) -> Array:
        """Finite values per block of the grid, so far as is known."""
        return self._count

    def add(self, gate: int, block: Prepared, start: int) -> None:
        """Take a block of a gate's stream, the first value of which stands at `start`."""
        part = self._parts[gate]
        if block.low or block.high:
            squares = self._sums.matched(block.squares, block.exponent)
            columns = block.column_squares if squares is block.squares else None
            if not self._entry:
                part.add(squares, start, self._sums.total, columns)
            elif columns and not (start % self._entry or squares.size % self._entry):
                self._sums.total += columns(self._entry)
            else:
                fold_columns(np.add, squares, start % self._entry, self._sums.total)
        if block.lost is not None:
            missing = np.zeros_like(self._count)
            part.add(block.flags(block.lost), start, missing)
            self._count -= missing

    def result(self) -> Grid:
        """The grid over everything taken so far."""
        total = self._sums.total
        if self._entry:
            total = np.zeros_like(self._count)
            self._parts[0].add(self._sums.total, 0, total)
        mean = np.full_like(self._count, np.nan)
        np.divide(total, self._count, out=mean, where=self._count > 0)
        rows, cols = mean.shape
        return Grid(rows, cols, self._sums.root(mean))


def _entry(streams: Streams) -> int:
    """Values of one of the repetitions that are pooled, where these follow one another and are few enough to be summed
    place by place before they are put into bands; else 0.
    """
    pooled = len(streams.pooled_axes)
    if not pooled or streams.count > 1 or sorted(streams.axes[:pooled]) != sorted(streams.pooled_axes):
        return 0
    entry = math.prod(streams.dims[pooled:])
    return entry if entry <= _REMEMBERED else 0


class _Part:
    """How one stream's values add into the grid."""

    def __init__(self, streams: Streams, gate: int, rows: tuple[int, ...], columns: tuple[int, ...]) -> None:
        self.rows, self.columns = _Side(streams, gate, rows), _Side(streams, gate, columns)
        self.inner, axes = 1, None
        for extent, axis in zip(reversed(streams.dims), reversed(streams.axes), strict=True):
            if extent != 1:
                side = rows if axis in rows else columns
                if axis in streams.pooled_axes or axes not in (None, side):
                    break
                axes = side
                self.inner *= extent
        self._across = self.columns if axes == columns else self.rows
        self._along = self.rows if axes == columns else self.columns
        self._edges: Places | None = None
        self._bands: NDArray[np.uint8] | None = None
        if self._across.depends(self.inner):
            return
        if self._across.runs_on(self.inner):
            bands, length = self._across.bands, self._across.length
            edges = -(-np.arange(bands + 1) * length // bands) - self._across.offset
            first = int(np.searchsorted(edges, 0, side="right")) - 1
            last = int(np.searchsorted(edges, self.inner, side="left"))
            self._edges = np.maximum(edges[first:last], 0)
            self._bands = np.arange(first, last, dtype=np.uint8)
        elif self.inner <= _REMEMBERED:
            self._bands = self._across.band(np.arange(self.inner)).astype(np.uint8)

    @property
    def across_columns(self) -> bool:
        """Whether a row of the stream runs across the columns of the grid."""
        return self._across is self.columns

    def numbers(self, streams: Streams) -> list[int] | None:
        """The plan of this part as the compiled form wants it, see `grid.h`; None for one that it cannot follow."""
        if streams.pooled_axes or (self.inner > _REMEMBERED and not self.runs_on):
            return None
        along, across = self._along, self._across
        strides = (1, self.columns.bands) if along is self.columns else (self.columns.bands, 1)
        outer: list[tuple[int, int, int]] = []
        for place, (length, axis) in enumerate(zip(streams.dims, streams.axes, strict=True)):
            stride = math.prod(streams.dims[place + 1 :])
            if length > 1 and stride >= self.inner:
                outer.append((length, along.weight(axis), across.weight(axis)))
        plan = [self.inner]
        for side, step in zip((along, across), strides, strict=True):
            plan += (side.offset, side.bands, side.length, step)
        plan.append(len(outer) + 1)
        for which in (1, 2):
            plan += [number for each in outer for number in (each[0], each[which])]
            plan += (self.inner, 0)
        return plan

    @property
    def runs_on(self) -> bool:
        """Whether neighbours in a row of the stream are neighbours along their side of the grid."""
        return self._across.runs_on(self.inner)

    @property
    def long(self) -> bool:
        """Whether a band holds this many neighbours of a row that they are summed up at once."""
        return self.runs_on and (self._across.length // self._across.bands >= _LONG or self.inner > _REMEMBERED)

    def within(self) -> Places:
        """What each place of a row adds to the index of its side."""
        return self._across.index(np.arange(self.inner), below=self.inner)

    def add(self, values: Array, start: int, sums: Array, columns: ColumnTotals | None = None) -> None:
        """Add values, the first of which stands at `start` of the stream, to the grid's blocks.

        columns: gives the sums of `values` over the columns of rows of a length, if these may be known already.
        """
        if self._along is self.columns:
            sums = sums.T
        offset = start % self.inner
        head = min(self.inner - offset, values.size) if offset else 0
        body = (values.size - head) // self.inner * self.inner + head
        if body - head < values.size:
            columns = None
        for low, high in ((0, head), (head, body), (body, values.size)):
            if low < high:
                self._add_rows(values[low:high], start + low, sums, columns)

    def _add_rows(self, values: Array, start: int, sums: Array, columns: ColumnTotals | None) -> None:
        """Add whole rows, or a part of one."""
        length = min(self.inner, values.size)
        firsts = start + self.inner * np.arange(values.size // length)
        along = self._along.band(firsts)
        starts = self._segments(firsts, along)
        known = columns(length)[None] if columns and starts.size == 1 else None
        totals = _totals(values.reshape(-1, length), starts) if known is None else known
        if self._bands is None:
            places = firsts[starts][:, None] + np.arange(length)
            np.add.at(sums, (along[starts][:, None], self._across.band(places)), totals)
        else:
            self._fold(totals, start % self.inner, along[starts], sums)

    def _segments(self, firsts: Places, along: Places) -> NDArray[np.intp]:
        """Where rows begin to add to other blocks of the grid than the row before."""
        changes = along[1:] != along[:-1]
        if self._across.depends(self.inner):
            period = min(stride for stride, extent, _ in self._across.steps if extent > 1 and stride >= self.inner)
            changes |= firsts[1:] // period != firsts[:-1] // period
        return np.concatenate((np.zeros(1, np.intp), np.flatnonzero(changes) + 1))

    def _fold(self, totals: Array, offset: int, along: Places, sums: Array) -> None:
        assert self._bands is not None
        length = totals.shape[1]
        if self._edges is None:
            across = self._bands[offset : offset + length]
            np.add.at(sums, (along[:, None], across), totals)
            return
        first = int(np.searchsorted(self._edges, offset, side="right")) - 1
        last = int(np.searchsorted(self._edges, offset + length, side="left"))
        starts = np.maximum(self._edges[first:last] - offset, 0)
        folded = np.add.reduceat(totals, starts, axis=1)
        if along.size == 1:
            sums[along[0], self._bands[first:last]] += folded[0]
        else:
            np.add.at(sums, (along[:, None], self._bands[first:last]), folded)


@lru_cache(maxsize=64)  # the models of a folder are alike
def part_of(streams: Streams, gate: int) -> _Part:
    rank = len(streams.canonical_shape)
    free = [axis for axis in range(rank) if axis not in streams.pooled_axes]
    columns = streams.unit_axes or tuple(free[-1:])
    rows = tuple(axis for axis in free if axis not in columns)
    return _Part(streams, gate, rows, columns)


def _totals(rows: Array, starts: NDArray[np.intp]) -> Array:
    """Sums over the rows from each start to the next."""
    if len(rows) == 1:
        return rows
    if rows.shape[1] < 64 or len(starts) * _SEGMENT_WORTH > rows.size:
        return np.asarray(np.add.reduceat(rows, starts, axis=0))
    ends = [*starts[1:].tolist(), len(rows)]
    return np.stack([np.add.reduce(rows[start:end], axis=0) for start, end in zip(starts, ends, strict=True)])
