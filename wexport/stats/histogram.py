"""Log-linear bins that are the same for every tensor and machine, counting into them, and quantiles.

Each octave [2**k, 2**(k+1)) of |w| from k = -126 up is divided into 8 equal bins, half-open towards larger |w| and
mirrored for negative values. Zero has a bin of its own; the other values below 2**-126 share one bin per sign. A
bin's key is an integer whose order is the order of the values: 0 is zero, 1 is (0, 2**-126), 2 is
[2**-126, 1.125 * 2**-126), and -key mirrors key.

Counting is finer than the bins: 128 cells an octave, told apart by the upper 16 bits of a float32, which is also how
float64 is counted below 2**128; types of at most 16 bits are counted value by value. A quantile is NumPy's "linear"
one with its two order statistics placed inside their cells by rank, so each is off by less than 2**-7 of its
magnitude (2**-133 below 2**-126), and not at all for types of at most 16 bits or where `stats` sorts.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from wexport.stats import form
from wexport.stats.results import Histogram

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS_PER_OCTAVE = 8
SMALLEST_EDGE = 2.0**-126
"""Edge of the lowest octave; what is nearer to zero, but not zero, shares one bin per sign."""
NEAR_ZERO = 2.0**-10
"""|w| below it counts as near zero; an edge of the bins."""

_BATCH = 1 << 16
"""Keys counted at once: few enough to stay in cache."""
_ONE = np.intp(1)
_FEW = 4_096
"""This many values or fewer are each put into its bin; of more, only the first of each bin."""
_LARGEST = float(np.finfo(np.float64).max)
_MANTISSA_BITS = 52
_SUB_BITS = BINS_PER_OCTAVE.bit_length() - 1
_FIRST = (1023 - 126) << _SUB_BITS  # the upper bits of 2**-126 as a float64


def bin_of(values: NDArray[np.floating]) -> Ints:
    """The int64 keys of the bins that finite `values` fall in."""
    wide = np.asarray(values, dtype=np.float64)
    keys: Ints = np.abs(wide).view(np.int64) >> (_MANTISSA_BITS - _SUB_BITS)
    keys -= _FIRST - 2
    np.maximum(keys, 1, out=keys)
    keys[wide == 0] = 0
    np.negative(keys, out=keys, where=wide < 0)
    return keys


def bounds(keys: Ints) -> tuple[Floats, Floats]:
    """Lower and upper edges, float64, of the bins with these keys; the last edge of all is float64's largest number."""
    magnitude = np.abs(np.asarray(keys, dtype=np.int64))
    near, far = _edge(magnitude), _edge(magnitude + 1)
    far[magnitude == 0] = 0.0
    negative = keys < 0
    return np.where(negative, -far, near), np.where(negative, -near, far)


def _edge(magnitude: Ints) -> Floats:
    edge = ((magnitude + (_FIRST - 2)) << (_MANTISSA_BITS - _SUB_BITS)).view(np.float64)
    edge[magnitude < 2] = 0.0
    return np.minimum(edge, _LARGEST)


@dataclass(frozen=True, slots=True)
class Cells:
    """Finite values by cell, ordered by value: the cell's ends (equal where it is one value) and its count."""

    lower: Floats
    upper: Floats
    count: Ints

    @classmethod
    def union(cls, parts: Sequence[Cells]) -> Cells:
        """All values of several lots together."""
        if len(parts) == 1:
            return parts[0]
        lower, upper, count = (
            np.concatenate([getattr(part, name) for part in parts]) for name in ("lower", "upper", "count")
        )
        order = np.lexsort((upper, lower))
        return cls(lower[order], upper[order], count[order])

    def near_zero_count(self) -> int:
        """Values with |w| < 2**-10; exact, because that is an edge of the cells."""
        inside = self._middle()
        first, last = np.searchsorted(inside, -NEAR_ZERO, "right"), np.searchsorted(inside, NEAR_ZERO, "left")
        return int(self.count[first:last].sum())

    def histogram(self) -> Histogram:
        """The cells gathered into bins."""
        keys = bin_of(self._middle())
        starts = np.flatnonzero(keys[1:] != keys[:-1]) + 1
        starts = np.concatenate((np.zeros(min(1, keys.size), starts.dtype), starts))
        total = np.add.reduceat(self.count, starts) if starts.size else self.count
        return Histogram(*bounds(keys[starts]), total)

    def _middle(self) -> Floats:
        """A value inside each cell, ascending."""
        return self.lower + (self.upper - self.lower) / 2

    def quantiles(self, probabilities: Sequence[float], low: float, high: float) -> list[float]:
        """NumPy's "linear" quantiles to the bound stated above, clipped to [low, high]; at least one value."""
        ends = np.cumsum(self.count)
        places = [probability * (int(ends[-1]) - 1) for probability in probabilities]
        return _linear(places, np.clip(self._order_statistics(_ranks(places), ends), low, high))

    def _order_statistics(self, ranks: Ints, ends: Ints) -> Floats:
        cell = np.searchsorted(ends, ranks, side="right")
        count, lower = self.count[cell], self.lower[cell]
        place = (ranks - (ends[cell] - count) + 0.5) / count
        statistics: Floats = lower + (self.upper[cell] - lower) * place
        return statistics


class Ordered:
    """Finite values in order: what `Cells` tells, exactly, for small tensors."""

    def __init__(self, values: NDArray[np.floating]) -> None:
        """values: of any floating type; only float32 is not widened to float64."""
        wide = values if values.dtype == np.float32 else values.astype(np.float64)
        self._values = np.sort(wide)
        self._gathered: tuple[Histogram, int] | None = None

    def _gather(self) -> tuple[Histogram, int]:
        """The bins and the number of values near zero, in one go over the values."""
        assert form.module
        if self._gathered is None:
            n = self._values.size
            lower, upper, count = np.empty(n), np.empty(n), np.empty(n, np.int64)
            bins, near_zero = form.module.ordered(self._values, self._values.itemsize, lower, upper, count)
            self._gathered = Histogram(lower[:bins].copy(), upper[:bins].copy(), count[:bins].copy()), near_zero
        return self._gathered

    def near_zero_count(self) -> int:
        """Values with |w| < 2**-10."""
        if form.module:
            return self._gather()[1]
        first, last = self._first_at(-NEAR_ZERO, "right"), self._first_at(NEAR_ZERO, "left")
        return last - first

    def histogram(self) -> Histogram:
        """The values gathered into bins."""
        if form.module:
            return self._gather()[0]
        values = self._values
        starts = self._changes() if values.size > _FEW else np.arange(values.size)
        keys = bin_of(values[starts])
        apart = np.flatnonzero(keys[1:] != keys[:-1]) + 1
        apart = np.concatenate((np.zeros(min(1, keys.size), apart.dtype), apart))
        ends = np.append(starts[apart[1:]], values.size) if keys.size else starts
        return Histogram(*bounds(keys[apart]), (ends - starts[apart]).astype(np.int64))

    def _changes(self) -> Ints:
        """Where a bin may begin: wherever the upper bits change, and at zero and behind it."""
        values = self._values
        upper = values.view(f"i{values.dtype.itemsize}") >> (49 if values.dtype == np.float64 else 20)
        changes = np.flatnonzero(upper[1:] != upper[:-1]) + 1
        zeros = (self._first_at(0.0, "left"), self._first_at(0.0, "right"))
        starts = np.unique(np.concatenate(((0, *zeros), changes)))
        return starts[starts < values.size]

    def quantiles(self, probabilities: Sequence[float], low: float, high: float) -> list[float]:
        """NumPy's "linear" quantiles; at least one value."""
        places = [probability * (self._values.size - 1) for probability in probabilities]
        return _linear(places, self._values[_ranks(places)].astype(np.float64))

    def _first_at(self, value: float, side: Literal["left", "right"]) -> int:
        return int(np.searchsorted(self._values, self._values.dtype.type(value), side))


def _ranks(places: Sequence[float]) -> Ints:
    """The two order statistics that each quantile lies between."""
    return np.array([rank for place in places for rank in (math.floor(place), math.ceil(place))])


def _linear(places: Sequence[float], statistics: Floats) -> list[float]:
    values = statistics.tolist()
    pairs = zip(values[::2], values[1::2], places, strict=True)
    return [_between(first, second, place % 1.0) for first, second, place in pairs]


def as_cells(values: Floats, out: NDArray[np.float32], room: Floats) -> NDArray[np.float32]:
    """Float32 numbers in the cells of finite float64 ones below 2**128 in magnitude, and none where there were none.

    Casting rounds, and would move values near an edge to the next cell; the bits below a cell's are cut off first.
    room: as large as `values`, overwritten.
    """
    np.bitwise_and(values.view(np.uint64), _CELL_BITS, out=room.view(np.uint64))
    np.copyto(out, room, casting="same_kind")
    return out


_CELL_BITS = np.uint64(((1 << 64) - 1) ^ ((1 << 45) - 1))


class Counter:
    """Counts the values of one stored type into cells, block by block.

    Memory: a table of 8 bytes a cell (512 KiB; 4 MiB for float64) and a buffer of keys of 512 KiB at most.
    """

    def __init__(self, dtype: np.dtype[Any], size: int) -> None:
        """Ready for about `size` values of `dtype`: float32, float64 or any type of at most 16 bits."""
        self._dtype = dtype
        self._exact = dtype.itemsize <= 2
        bits = 8 * dtype.itemsize
        self._words = np.dtype(f"u{dtype.itemsize}")
        self._shift = {32: 16, 64: 45}.get(bits, 0)
        self._table = np.zeros(1 << (bits - self._shift), np.intp)
        self._batch = max(1, min(size, _BATCH))
        self._keys = np.empty(0, np.intp)  # made when keys are
        self._zeros = np.zeros(2, np.int64)  # of either sign, +0 first
        self._halves: NDArray[np.intp] | None = None

    def add(self, block: NDArray[Any], zeros: int, negative_zeros: int) -> None:
        """Count a contiguous block in native byte order, this many values of which are zero, and -0.0 among these."""
        self._zeros += (zeros - negative_zeros, negative_zeros)
        words = block.view(self._words)
        if not self._keys.size:
            self._keys = np.empty(self._batch, np.intp)
        for start in range(0, words.size, self._keys.size):
            self._count(words[start : start + self._keys.size])

    def _count(self, words: NDArray[Any]) -> None:
        keys = self._keys[: words.size]
        if self._shift:
            np.right_shift(words, self._shift, out=keys, dtype=words.dtype, casting="unsafe")
        else:
            np.copyto(keys, words)
        # For indices of its own type and a scalar this is a plain loop, a quarter faster than np.bincount.
        np.add.at(self._table, keys, _ONE)

    def halves(self) -> NDArray[np.intp]:
        """A table of twice as many cells, for who counts by itself: a value may be counted in either half."""
        if self._halves is None:
            self._halves = np.zeros(2 * self._table.size, np.intp)
        return self._halves

    def note_zeros(self, zeros: int, negative_zeros: int) -> None:
        """Tell how many of the values that were counted in `halves` are zero, and -0.0 among these."""
        self._zeros += (zeros - negative_zeros, negative_zeros)

    def _settle(self) -> None:
        if self._halves is not None:
            self._table += self._halves[: self._table.size]
            self._table += self._halves[self._table.size :]
            self._halves = None

    def absorb(self, other: Counter) -> None:
        """Add what another counter of the same type has counted."""
        other._settle()
        self._table += other._table
        self._zeros += other._zeros

    def cells(self) -> Cells:
        """The finite values counted so far."""
        self._settle()
        return self._values() if self._exact else self._intervals()

    def _values(self) -> Cells:
        patterns = np.flatnonzero(self._table)
        with np.errstate(invalid="ignore"):  # among the patterns may be NaN
            values = patterns.astype(self._words).view(self._dtype).astype(np.float64)
        finite = np.isfinite(values)
        patterns, values = patterns[finite], values[finite]
        order = np.argsort(values, kind="stable")
        values = values[order]
        return Cells(values, values, self._table[patterns[order]].astype(np.int64))

    def _intervals(self) -> Cells:
        half = self._table.size // 2
        positive, negative = self._table[:half].copy(), self._table[half:].copy()
        positive[0] -= self._zeros[0]
        negative[0] -= self._zeros[1]
        left, right = np.flatnonzero(negative)[::-1], np.flatnonzero(positive)
        left, right = left[left < self._infinity()], right[right < self._infinity()]
        zero = np.zeros(1 if self._zeros.any() else 0)
        count = np.concatenate((negative[left], np.full(zero.size, self._zeros.sum()), positive[right]))
        return Cells(
            np.concatenate((-self._magnitude(left + 1), zero, self._magnitude(right))),
            np.concatenate((-self._magnitude(left), zero, self._magnitude(right + 1))),
            count.astype(np.int64),
        )

    def _infinity(self) -> int:
        word = np.array([np.inf], self._dtype).view(self._words)[0]
        return int(word) >> self._shift

    def _magnitude(self, cell: NDArray[np.intp]) -> Floats:
        edges = (cell.astype(self._words) << self._shift).view(self._dtype)
        # 2**128 is a number still, but no longer a float32.
        beyond = 2.0**128 if self._dtype.itemsize == 4 else np.finfo(np.float64).max
        return np.minimum(edges.astype(np.float64), beyond)


def _between(first: float, second: float, share: float) -> float:
    step = second - first
    return first + step * share if math.isfinite(step) else first * (1 - share) + second * share
