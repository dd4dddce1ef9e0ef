"""The compiled form of the one pass: block by block into the same sums that the NumPy form adds to.

It is used where the package was built with a C compiler. It does what `workspace`, `distribution`, `units` and `grid`
do, in one go over each block. What it does not know it leaves to them: pooled axes, and blocks of float64 so large or
small that they have to be scaled. Both forms find the same counts, extremes, cells, histograms and quantiles to the
bit; sums of floats (moments and norms) are added in another order, and differ by less than `DIFFERENCE`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.stats import form
from wexport.stats.distribution import DistributionSums, Found
from wexport.stats.folds import Fold
from wexport.stats.grid import GridSums, part_of
from wexport.stats.moments import Moments
from wexport.stats.streams import Streams
from wexport.stats.units import LiveInputs, UnitStatistics

Array = NDArray[Any]

DIFFERENCE = 1e-12
"""Norms, std, abs_mean and grid of the two forms differ by less than this share of themselves, mean of abs_mean; std no
more finely than 1e-15 of abs_max."""

_TYPES = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 3, "int16": 4, "uint16": 5}
_TYPES |= {"int32": 6, "uint32": 7, "int64": 8, "uint64": 9}
_BYTES = 10


class Kernel:
    """The compiled form for the blocks of one tensor."""

    def __init__(
        self,
        dtype: np.dtype[Any],
        streams: Streams,
        sums: list[DistributionSums],
        units: UnitStatistics | None,
        inputs: LiveInputs | None,
        grid: GridSums | None,
    ) -> None:
        """The sums are those that the NumPy form would add to."""
        self._sums, self._units, self._inputs, self._grid = sums, units, inputs, grid
        self._of = _type_of(dtype)
        self._unit_walk = _walk_of(units.fold) if units else None
        self._input_walk = _walk_of(inputs.fold) if inputs else None
        listed = units is not None and bool(units.squares.total.size)
        self._squares = np.zeros_like(units.squares.total) if units and listed else None
        walk, gates = self._unit_walk if listed else None, range(streams.count if grid else 0)
        self._plans = [_plan_of(streams, gate, walk) for gate in gates]
        self._grid_sums = np.zeros_like(grid.sums.total) if grid else None
        self._places = np.zeros(0)

    @classmethod
    def of(cls, dtype: np.dtype[Any], streams: Streams, *sums: Any) -> Kernel | None:
        """The compiled form, for whom it runs and is able to."""
        if form.module is None or streams.pooled_axes or _type_of(dtype).number < 0:
            return None
        kernel = cls(dtype, streams, *sums)
        return kernel if all(plan.numbers is not None for plan in kernel._plans) else None

    def add(self, gate: int, start: int, block: Array) -> bool:
        """Add a block of a gate's stream that begins at `start`; False if nothing was done: it has to be scaled."""
        assert form.module is not None
        sums, units, grid = self._sums[gate], self._units, self._grid
        if (units and not units.squares.plain) or (grid and not grid.sums.plain):
            return False
        plan = self._plans[gate] if grid else None
        kept = np.empty(block.size, self._of.work) if sums.exact else None
        table = None if sums.exact else sums.counter(self._of.counted).halves()
        alive = self._inputs.buffer() if self._inputs else None
        if self._squares is not None:
            self._squares.fill(0)
        if self._grid_sums is not None:
            self._grid_sums.fill(0)
        found = form.module.take(
            self._of.number,
            block if self._of.words is None else block.view(self._of.words),
            start,
            self._of.byte_values,
            table,
            kept,
            (self._unit_walk, None if plan and plan.shares else self._squares, *units.buffers()) if units else None,
            (self._input_walk, alive) if alive is not None else None,
            self._grid_arguments(plan) if plan else None,
        )
        if found is None:
            return False
        nan, inf, zeros, negative_zeros, *rest = found
        n, mean, m2, m3, m4, l1, low, high = rest
        moments = Moments(n, mean, m2, m3, m4, l1, low, high, 0) if n and (low or high) else Moments()
        if n and not (low or high):
            moments = Moments(n, low=0.0, high=0.0)
        sums.add_found(
            Found(nan, inf, zeros, negative_zeros, moments),
            block.size,
            None if kept is None else kept[:n],
            self._of.counted,
        )
        if low or high:
            if units and self._squares is not None:
                units.squares.add_plain(self._squares)
            if grid and self._grid_sums is not None:
                grid.sums.add_plain(self._grid_sums)
        return True

    def _grid_arguments(self, plan: _Plan) -> tuple[Any, ...]:
        assert self._grid
        if plan.places > self._places.size:
            self._places = np.zeros(plan.places)
        places = self._places if plan.places else None
        shared = self._squares if plan.shares else None
        return plan.numbers, plan.within, self._grid_sums, self._grid.count, places, shared


@dataclass(frozen=True, slots=True)
class _Plan:
    """How one gate adds to the grid. places: of a row, 0 where bands are summed up at once. shares: these are units."""

    numbers: NDArray[np.int64] | None
    within: NDArray[np.int64] | None
    places: int
    shares: bool


@lru_cache(maxsize=256)  # the models of a folder are alike
def _plan(streams: Streams, gate: int, units_in_a_row: int) -> _Plan:
    part = part_of(streams, gate)
    numbers = part.numbers(streams)
    if numbers is None:
        return _Plan(None, None, 0, False)
    shares = part.across_columns and units_in_a_row == part.inner
    within = None if part.runs_on else part.within()
    places = part.inner if shares or not part.long else 0
    return _Plan(np.array(numbers, np.int64), within, places, shares)


def _plan_of(streams: Streams, gate: int, unit_walk: NDArray[np.int64] | None) -> _Plan:
    neighbours = unit_walk is not None and unit_walk[-1] == 1 and not unit_walk[1:-2:2].any()
    return _plan(streams, gate, int(unit_walk[-2]) if unit_walk is not None and neighbours else 0)


@lru_cache(maxsize=256)
def _walk_of(fold: Fold) -> NDArray[np.int64]:
    return np.array(fold.walk(), np.int64).reshape(-1)


@dataclass(frozen=True, slots=True)
class _Type:
    """How the compiled form knows a type of values: its number, or -1.

    byte_values: of all bytes, for a type of one. work: what values are kept as. counted: the type of their cells.
    words: what they are seen as, where NumPy gives no buffer of the type itself.
    """

    number: int
    byte_values: NDArray[np.float32] | None
    work: np.dtype[Any]
    counted: np.dtype[Any]
    words: np.dtype[Any] | None


@lru_cache(maxsize=64)
def _type_of(dtype: np.dtype[Any]) -> _Type:
    small = dtype.itemsize <= 2 or dtype == np.float32
    one = np.dtype(np.float32)
    return _Type(
        _BYTES if dtype.itemsize == 1 else _TYPES.get(dtype.name, -1),
        _values_of_bytes(dtype) if dtype.itemsize == 1 else None,
        one if small else np.dtype(np.float64),
        dtype if small else one,
        None if dtype.kind in "fiub" else np.dtype(f"u{dtype.itemsize}"),
    )


def _values_of_bytes(dtype: np.dtype[Any]) -> NDArray[np.float32]:
    patterns = np.arange(256, dtype=np.uint8)
    with np.errstate(invalid="ignore"):
        return (patterns != 0 if dtype.kind == "b" else patterns.view(dtype)).astype(np.float32)
