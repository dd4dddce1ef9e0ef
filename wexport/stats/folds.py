"""Reducing a flat stream of values to one number per unit, or per input, block by block.

Most layouts put the wanted axes side by side in the stored order, which makes the stream an (outer, group, inner)
array; these are reduced at memory speed. All others are reduced through an index, slower and just as right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

_WIDE = 512
"""Reducing rows narrower than this is dominated by NumPy's cost per row: several are seen as one."""
_NARROW = 48
"""Up to this length, a row is reduced faster column by column."""


class Fold:
    """Sends each value of a stream to the group that its place along `keep` names.

    groups: number of groups. Results stand in the stored order of the kept dimensions; `canonical` reorders them.
    """

    def __init__(self, dims: Sequence[int], axes: Sequence[int], keep: Sequence[int]) -> None:
        """dims, axes: of the stream, as in `Streams`; keep: canonical axes, in canonical order."""
        kept = [place for place, axis in enumerate(axes) if axis in keep]
        self._dims = tuple(dims)
        self._shape = [dims[place] for place in kept]
        self._order = [[axes[place] for place in kept].index(axis) for axis in keep]
        self.groups = math.prod(self._shape)
        wide = [place for place in range(len(dims)) if dims[place] != 1]
        kept_wide = [place for place in wide if place in kept]
        first = wide.index(kept_wide[0]) if kept_wide else len(wide)
        last = first + len(kept_wide)
        self._simple = wide[first:last] == kept_wide
        self.inner = math.prod(dims[place] for place in wide[last:])
        """Neighbours in the stream that share a group; 1 when the groups themselves are neighbours."""
        self._strides = [
            (math.prod(dims[place + 1 :]), dims[place], math.prod(self._shape[rank + 1 :]))
            for rank, place in enumerate(kept)
        ]

    def walk(self) -> list[tuple[int, int]]:
        """Dimensions of the stream, outermost first: their lengths, and what a step along each adds to the group."""
        weights = {stride: weight for stride, length, weight in self._strides if length > 1}
        strides = [math.prod(self._dims[place + 1 :]) for place in range(len(self._dims))]
        wide = zip(self._dims, strides, strict=True)
        return merged([(length, weights.get(stride, 0)) for length, stride in wide if length > 1])

    @property
    def row(self) -> int:
        """Length of the runs in the stream that reduce at once; blocks of whole runs are cheapest."""
        if not self._simple:
            return 1
        return self.groups if self.inner == 1 else self.inner

    def add(self, values: Array, start: int, out: Array) -> None:
        """Add values, the first of which stands at `start` of the stream, to their groups in `out`."""
        self._reduce(np.add, values, start, out)

    def maximum(self, values: Array, start: int, out: Array) -> None:
        """Raise the groups in `out` to the largest of their values."""
        self._reduce(np.maximum, values, start, out)

    def canonical(self, groups: Array) -> Array:
        """Groups in canonical order; the last axis of the argument runs over the groups."""
        if self._order == sorted(self._order):
            return groups
        shape = groups.shape[:-1]
        order = (*range(len(shape)), *(len(shape) + rank for rank in self._order))
        return groups.reshape(*shape, *self._shape).transpose(order).reshape(*shape, -1)

    def index(self, start: int, count: int) -> NDArray[np.intp]:
        """The group of each of `count` places of the stream from `start`."""
        places = np.arange(start, start + count)
        group = np.zeros(count, np.intp)
        for stride, length, weight in self._strides:
            group += places // stride % length * weight
        return group

    def _reduce(self, ufunc: np.ufunc, values: Array, start: int, out: Array) -> None:
        if not values.size:
            return
        if not self._simple:
            ufunc.at(out, self.index(start, values.size), values)
        elif self.inner == 1:
            fold_columns(ufunc, values, start % self.groups, out)
        else:
            first = start // self.inner
            fold_columns(ufunc, _row_totals(ufunc, values, start % self.inner, self.inner), first % self.groups, out)


def merged(walk: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The same walk, (length, weight) of each dimension, of as few dimensions as can be, at least one."""
    found: list[tuple[int, int]] = []
    for length, weight in walk:
        if found and found[-1][1] == weight * length:
            found[-1] = (found[-1][0] * length, weight)
        else:
            found.append((length, weight))
    return found or [(1, 0)]


class ScaledSums:
    """Sums of squares of numbers whose scale may change from block to block."""

    def __init__(self, shape: int | tuple[int, ...]) -> None:
        self.total = np.zeros(shape)
        self._exponent: int | None = None

    @property
    def plain(self) -> bool:
        """Whether nothing in it is scaled."""
        return not self._exponent

    def add_plain(self, sums: Array) -> None:
        """Add sums of squares that are not scaled, of numbers not all of which are zero, where `plain`."""
        self._exponent = 0
        self.total += sums

    def matched(self, squares: Array, exponent: int) -> Array:
        """(w * 2**-exponent)**2 in the scale of `total`; the larger of the two scales wins."""
        if self._exponent is None or exponent > self._exponent:
            if self._exponent is not None:
                self.total = np.ldexp(self.total, 2 * (self._exponent - exponent))
            self._exponent = exponent
        if exponent < self._exponent:
            return np.asarray(np.ldexp(squares, 2 * (exponent - self._exponent)))
        return squares

    def root(self, sums: Array) -> NDArray[np.float64]:
        """Square roots of sums in this scale, as plain numbers."""
        return np.ldexp(np.sqrt(sums), self._exponent or 0)


def _row_totals(ufunc: np.ufunc, values: Array, offset: int, length: int) -> Array:
    """One number per row of `length` values; the first row begins `offset` values before the first value."""
    if offset or values.size % length:
        return np.asarray(ufunc.reduceat(values, np.r_[0, np.arange(length - offset, values.size, length)]))
    rows = values.reshape(-1, length)
    if length > _NARROW:
        return np.asarray(ufunc.reduce(rows, axis=1))
    total: Array = rows[:, 0].copy()
    for column in range(1, length):
        ufunc(total, rows[:, column], out=total)
    return total


def fold_columns(ufunc: np.ufunc, values: Array, offset: int, out: Array) -> None:
    """Fold values into out[offset], out[offset + 1], ... around and around."""
    if offset or values.size < out.size:
        head = min(out.size - offset, values.size)
        ufunc(out[offset : offset + head], values[:head], out=out[offset : offset + head])
        values = values[head:]
    rest = values.size % out.size
    if rest:
        ufunc(out[:rest], values[-rest:], out=out[:rest])
        values = values[:-rest]
    if values.size:
        ufunc(out, column_totals(ufunc, values, out.size), out=out)


def column_totals(ufunc: np.ufunc, values: Array, width: int) -> Array:
    """Reduce rows of `width` values, at least one and all whole, to one."""
    rows = values.size // width
    if width >= _WIDE or rows == 1:
        return np.asarray(ufunc.reduce(values.reshape(rows, width), axis=0))
    side = min(max(1, _WIDE // width), rows)
    tail = rows % side * width
    body = values[: values.size - tail]
    total = np.asarray(ufunc.reduce(body.reshape(-1, side * width), axis=0))
    if side > 1:
        total = np.asarray(ufunc.reduce(total.reshape(side, width), axis=0))
    if tail:
        total = ufunc(total, ufunc.reduce(values[values.size - tail :].reshape(-1, width), axis=0))
    return total
