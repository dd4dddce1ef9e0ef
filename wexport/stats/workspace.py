"""A block of stored values made ready for arithmetic: what every statistic needs, worked out once, in reused memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.stats.folds import column_totals
from wexport.stats.histogram import as_cells
from wexport.stats.moments import scale_of

Array = NDArray[Any]
Floats = NDArray[np.float64]


_SIGN_ALONE: dict[int, tuple[type[np.signedinteger[Any]], int]] = {4: (np.int32, -(2**31)), 8: (np.int64, -(2**63))}
"""The bits of -0.0 as an integer of the same size, and its type."""


@dataclass(slots=True)
class Prepared:
    """A block and its views; they share memory with the workspace and live until the next block.

    counted: the values in a type whose bits can be counted. values: as float32 or float64, 0 for what is not finite.
    lost: where values are not finite; None when all are. nan, inf, zeros, negative_zeros: how many;
    zeros are of either sign.
    low, high: of the finite values; of no meaning when `finite` is 0.
    x: values * 2**-exponent as float64; squares: x * x; spare: room for as many.
    """

    counted: Array
    values: Array
    lost: NDArray[np.bool_] | None
    nan: int
    inf: int
    zeros: int
    negative_zeros: int
    low: float
    high: float
    exponent: int
    x: Floats
    squares: Floats
    spare: Floats
    _absolute: Array
    _ready: bool = False
    _columns: dict[int, Floats] = field(default_factory=dict)

    @property
    def finite(self) -> int:
        """Number of finite values."""
        return self.values.size - self.nan - self.inf

    def absolute(self) -> Array:
        """|values|."""
        if not self._ready:
            np.abs(self.values, out=self._absolute)
            self._ready = True
        return self._absolute

    def column_squares(self, width: int) -> Floats:
        """Sums of `squares` over the columns of rows of `width`, which divides the block."""
        if width not in self._columns:
            self._columns[width] = column_totals(np.add, self.squares, width)
        return self._columns[width]

    def flags(self, where: NDArray[np.bool_]) -> Floats:
        """1.0 where true, in the room that `spare` names."""
        np.copyto(self.spare, where)
        return self.spare


class Workspace:
    """Turns stored blocks of one type into prepared ones."""

    def __init__(self, dtype: np.dtype[Any], length: int) -> None:
        """For blocks of at most `length` values of `dtype`."""
        # Every value of a small type is a float32; larger integers are measured as float64.
        small = dtype.itemsize <= 2 or dtype == np.float32
        self._work = np.dtype(np.float32 if small else np.float64)
        self._converts = dtype != self._work
        self._counts_stored = small
        self._cells = np.empty(0 if small else length, np.float32)
        self._narrow = np.empty(length if self._converts else 0, self._work)
        self._absolute = np.empty(length, self._work)
        self._zero = np.empty(length, np.bool_)
        self._wide, self._squares, self._spare = (np.empty(length) for _ in range(3))

    def prepare(self, block: Array) -> Prepared:
        """The block, in native byte order, made ready."""
        n = block.size
        values = block
        if self._converts:
            values = self._narrow[:n]
            np.copyto(values, block, casting="unsafe")
        low, high = float(np.minimum.reduce(values)), float(np.maximum.reduce(values))
        lost, nan, inf = None, 0, 0
        if not (math.isfinite(low) and math.isfinite(high)):
            lost = ~np.isfinite(values)
            finite = values[~lost]
            nan = int(np.count_nonzero(np.isnan(values)))
            inf = n - nan - finite.size
            low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
        zeros = negative_zeros = 0
        if low <= 0 <= high:
            zeros = int(np.count_nonzero(np.equal(values, 0, out=self._zero[:n])))
            if zeros:
                kind, bits = _SIGN_ALONE[values.dtype.itemsize]
                negative_zeros = int(np.count_nonzero(np.equal(values.view(kind), bits, out=self._zero[:n])))
        counted = block if self._counts_stored else values
        if not self._counts_stored and max(-low, high) < 2.0**128:
            counted = as_cells(values, self._cells[:n], self._spare[:n])
        if lost is not None:
            values = np.where(lost, values.dtype.type(0), values)
        exponent = scale_of(low, high) if values.dtype == np.float64 else 0
        x = self._widened(values, exponent)
        squares = self._squares[:n]
        np.multiply(x, x, out=squares)
        return Prepared(
            counted,
            values,
            lost,
            nan,
            inf,
            zeros,
            negative_zeros,
            low,
            high,
            exponent,
            x,
            squares,
            self._spare[:n],
            self._absolute[:n],
        )

    def _widened(self, values: Array, exponent: int) -> Floats:
        if values.dtype == np.float64 and not exponent:
            return values
        wide = self._wide[: values.size]
        if exponent:
            np.ldexp(values, -exponent, out=wide)
        else:
            np.copyto(wide, values)
        return wide
