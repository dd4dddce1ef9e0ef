"""Figures of the difference between two streams of values, block by block in float64.

Where two vectors are close, 1 - cosine is made of their differences, as 1 - x y / (|x| |y|) would have no digit left:
1 - cos = (|x - y|^2 - (|x| - |y|)^2) / (2 |x| |y|), and |x| - |y| = (sum (x - y)(x + y)) / (|x| + |y|).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.differences.results import CHANGED, OTHER_DTYPE, ROUNDED, WITHIN, Change

Array = NDArray[Any]
Blocks = Iterable[tuple[Array, Array]]
"""Pairs of one-dimensional arrays of equal length: the values of two tensors in one order."""

_PIECE = 1 << 15
"""Values worked on at a time, few enough for three float64 copies to stay in the cache of one core."""
_SAFE = 300
"""Values between 2**-300 and 2**300 are squared and summed as they are; others are scaled first."""


def identical(blocks: Blocks) -> bool:
    """Whether all values are of one type and the same bits; any NaN equals any NaN. Stops at the first difference."""
    return all(a.dtype == b.dtype and bool(_same_bits(a, b)) for a, b in blocks)


def _same_bits(a: Array, b: Array) -> bool:
    bits = np.dtype(f"u{a.itemsize}")
    if np.array_equal(a.view(bits), b.view(bits)):
        return True
    if a.dtype.kind in "iub":
        return False
    return bool(np.all((a.view(bits) == b.view(bits)) | (np.isnan(a) & np.isnan(b))))


class Difference:
    """Sums over blocks of two tensors' values.

    tolerance, relative_tolerance: values differ if |a - b| > tolerance + relative_tolerance * max(|a|, |b|).
    """

    def __init__(
        self, dtypes: tuple[np.dtype[Any], np.dtype[Any]], tolerance: float = 0.0, relative_tolerance: float = 0.0
    ) -> None:
        self._dtypes = dtypes
        self._tolerance, self._relative = tolerance, relative_tolerance
        self._unequal = self._changed = self._nonfinite = 0
        self._max = -1.0
        self._x, self._y, self._xy, self._d, self._gap = (_Scaled() for _ in range(5))
        self._rounds_to = _narrower(*dtypes)
        self._wide = any(dtype.itemsize == 8 for dtype in dtypes)
        self._room = [np.empty(_PIECE) for _ in range(3)]
        self._flags = np.empty(_PIECE, np.bool_)

    def add(self, a: Array, b: Array) -> None:
        """Take a pair of blocks."""
        with np.errstate(all="ignore"):  # NaN, infinities and the edges of each type are provided for
            for start in range(0, a.size, _PIECE):
                self._add(a[start : start + _PIECE], b[start : start + _PIECE])

    def _add(self, a: Array, b: Array) -> None:
        if self._rounds_to is not None and _unlike(a.astype(self._rounds_to), b.astype(self._rounds_to)).any():
            self._rounds_to = None
        x, y, d = (room[: a.size] for room in self._room)
        np.copyto(x, a, casting="unsafe")
        np.copyto(y, b, casting="unsafe")
        # NaN and infinities show in the sums of squares; so do, in 64 bits, values that must be scaled, and integers
        # that float64 does not tell apart.
        squares = float(np.dot(x, x)), float(np.dot(y, y))
        if self._wide or not math.isfinite(sum(squares)):
            self._add_carefully(a, b, x, y)
        else:
            np.subtract(x, y, out=d)
            self._count(x, y, d, int(np.count_nonzero(np.not_equal(d, 0, out=self._flags[: d.size]))))
            self._sum(x, y, d, squares)

    def _add_carefully(self, a: Array, b: Array, x: Array, y: Array) -> None:
        unequal = _unlike(a, b)
        d = _subtracted(a, b, x, y)
        finite = np.isfinite(x) & np.isfinite(y)
        if not finite.all():
            lost = int(np.count_nonzero(unequal & ~finite))
            self._nonfinite += lost
            self._unequal += lost
            self._changed += lost
            x, y, d, unequal = x[finite], y[finite], d[finite], unequal[finite]
        if not x.size:
            return
        self._count(x, y, d, int(np.count_nonzero(unequal)))
        large, small = max(_exponent(x), _exponent(y)), _exponent(d)
        x, y = (np.ldexp(values, -large) if large else values for values in (x, y))
        if np.isfinite(d).all():
            d = np.ldexp(d, -small) if small else d
        else:  # the difference of two huge values
            d, small = x - y, large
        self._sum(x, y, d, (float(np.dot(x, x)), float(np.dot(y, y))), large, small)

    def _count(self, x: Array, y: Array, d: Array, unequal: int) -> None:
        self._unequal += unequal
        self._changed += self._beyond(x, y, d) if unequal and (self._tolerance or self._relative) else unequal

    def _sum(self, x: Array, y: Array, d: Array, squares: tuple[float, float], large: int = 0, small: int = 0) -> None:
        """Add finite values over 2**large, their sums of squares, and their differences over 2**small."""
        self._max = max(self._max, _ldexp(float(max(d.max(), -d.min())), small))
        self._x.add(squares[0], 2 * large)
        self._y.add(squares[1], 2 * large)
        self._xy.add(float(np.dot(x, y)), 2 * large)
        apart = float(np.dot(d, d))
        self._d.add(apart, 2 * small)
        # (x - y)(x + y) = 2 d y + d d
        self._gap.add(2 * float(np.dot(d, y)), small + large)
        self._gap.add(apart, 2 * small)

    def _beyond(self, x: Array, y: Array, d: Array) -> int:
        allowed: Any = self._tolerance
        if self._relative:
            allowed = allowed + self._relative * np.maximum(np.abs(x), np.abs(y))
        return int(np.count_nonzero(np.abs(d) > allowed))

    def result(self) -> Change:
        """What was found."""
        status, detail = self._status()
        distance = self._cosine_distance()
        ratios = [self._d.root_ratio(norm) for norm in (self._x, self._y)]
        known = [ratio for ratio in ratios if ratio is not None]
        return Change(
            status=status,
            changed_count=self._changed,
            max_abs_difference=self._max if 0 <= self._max < math.inf else None,
            relative_l2=min(known) if known else None,
            cosine=None if distance is None else 1 - distance,
            cosine_distance=distance,
            nonfinite_count=self._nonfinite,
            detail=detail,
        )

    def _status(self) -> tuple[str, str]:
        if not self._unequal:
            if self._dtypes[0] != self._dtypes[1]:
                return OTHER_DTYPE, ""
            return WITHIN, "only zeros of another sign"
        if not self._changed:
            return WITHIN, ""
        if self._rounds_to is not None:
            return ROUNDED, f"to {self._rounds_to.name}"
        return CHANGED, ""

    def _cosine_distance(self) -> float | None:
        """1 - cosine; see the head of this module."""
        top = max(self._x.exponent, self._y.exponent)
        x, y = (math.sqrt(norm.scaled(top)) for norm in (self._x, self._y))
        if not x or not y:
            return None
        d = math.sqrt(self._d.scaled(top))
        if d > max(x, y) / 2:  # not close: the terms below would be large, and their difference small
            distance = 1 - self._xy.scaled(top) / x / y
        else:
            gap = self._gap.scaled(top) / (x + y)
            distance = ((d / x) * (d / y) - (gap / x) * (gap / y)) / 2
        return min(2.0, max(0.0, distance))


def _unlike(a: Array, b: Array) -> NDArray[np.bool_]:
    """Where values are not equal; NaN equals NaN."""
    unequal: NDArray[np.bool_] = a.astype(b.dtype, copy=False) != b
    if a.dtype != b.dtype:  # both ways: an integer beyond 2**53 is not equal to the float that it becomes
        unequal |= b.astype(a.dtype) != a
    if a.dtype.kind not in "iub" and b.dtype.kind not in "iub":
        unequal &= ~(np.isnan(a) & np.isnan(b))
    return unequal


class _Scaled:
    """A sum as total * 2**exponent, so that squares neither overflow nor vanish."""

    def __init__(self) -> None:
        self.total = 0.0
        self.exponent = 0

    def add(self, value: float, exponent: int) -> None:
        if not value:
            return
        if not self.total:
            self.total, self.exponent = value, exponent
            return
        top = max(exponent, self.exponent)
        self.total = self.scaled(top) + math.ldexp(value, exponent - top)
        self.exponent = top

    def scaled(self, exponent: int) -> float:
        """The sum over 2**exponent."""
        return _ldexp(self.total, self.exponent - exponent)

    def root_ratio(self, other: _Scaled) -> float | None:
        """Square root of this over other; None if other is zero or the ratio is too large to say."""
        if not other.total:
            return None
        half, odd = divmod(self.exponent - other.exponent, 2)
        ratio = _ldexp(math.sqrt(self.total / other.total * 2**odd), half)
        return ratio if ratio < math.inf else None


def _ldexp(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.inf


def _exponent(values: Array) -> int:
    """0 where squares of the values can be summed as they are, else the power of two to scale them by."""
    largest = float(max(values.max(), -values.min()))
    exponent = math.frexp(largest)[1] if largest < math.inf else 0
    return exponent if largest and abs(exponent) > _SAFE else 0


def _subtracted(a: Array, b: Array, x: Array, y: Array) -> Array:
    """The differences as float64; those of integers are exact before they are rounded."""
    if a.dtype != b.dtype or a.dtype.kind not in "iu" or a.itemsize < 8:
        return x - y
    larger = a > b
    apart = np.where(larger, a, b).view(np.uint64) - np.where(larger, b, a).view(np.uint64)
    return np.where(larger, 1.0, -1.0) * apart


def _narrower(one: np.dtype[Any], other: np.dtype[Any]) -> np.dtype[Any] | None:
    """The narrower of two different floating types; None if they are not, or neither is."""
    if one == other or one.kind in "iub" or other.kind in "iub" or one.itemsize == other.itemsize:
        return None
    return min(one, other, key=lambda dtype: dtype.itemsize)
