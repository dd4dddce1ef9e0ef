"""How values lie, whatever their place: counts, moments, quantiles and histogram of one stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.stats import moments
from wexport.stats.histogram import Cells, Counter, Ordered
from wexport.stats.results import PROBABILITIES
from wexport.stats.workspace import Prepared

_QUANTILES = tuple(f"q{round(100 * probability):02}" for probability in PROBABILITIES)


@dataclass(frozen=True, slots=True)
class Found:
    """What the compiled form found of a block: how many values of a kind, and the moments of the finite ones."""

    nan: int
    inf: int
    zeros: int
    negative_zeros: int
    moments: moments.Moments


class DistributionSums:
    """What is known of the values so far."""

    def __init__(self, size: int, *, exact: bool) -> None:
        """size: values to come; exact: keep them all, for exact quantiles."""
        self._size = size
        self._exact = exact
        self._counters: dict[np.dtype[Any], Counter] = {}  # more than one only for float64 of both sides of 2**128
        self._kept: list[NDArray[Any]] = []
        self._moments = moments.Moments()
        self._nan = self._inf = self._zeros = self._values = 0

    @property
    def exact(self) -> bool:
        """Whether all values are kept."""
        return self._exact

    def counter(self, dtype: np.dtype[Any]) -> Counter:
        """What counts values in the cells of a type."""
        if dtype not in self._counters:
            self._counters[dtype] = Counter(dtype, self._size)
        return self._counters[dtype]

    def add_found(self, found: Found, values: int, kept: NDArray[Any] | None, counted: np.dtype[Any]) -> None:
        """Take what the compiled form found of a block of this many values.

        kept: the finite ones, if all are to be kept; else they are in the `halves` of the counter of type `counted`.
        """
        self._values += values
        self._nan += found.nan
        self._inf += found.inf
        self._zeros += found.zeros
        if kept is not None:
            self._kept.append(kept)
        else:
            self.counter(counted).note_zeros(found.zeros, found.negative_zeros)
        self._moments = self._moments.merge(found.moments)

    def add(self, block: Prepared) -> None:
        """Take a block. Its `spare` is overwritten."""
        self._values += block.values.size
        self._nan += block.nan
        self._inf += block.inf
        self._zeros += block.zeros
        x, squares, spare, finite = block.x, block.squares, block.spare, block.values
        if block.lost is not None:
            keep = ~block.lost
            x, squares, spare, finite = x[keep], squares[keep], spare[keep], finite[keep]
        if self._exact:
            self._kept.append(finite.copy())
        else:
            self.counter(block.counted.dtype).add(block.counted, block.zeros, block.negative_zeros)
        if x.size:
            found = moments.of_block(x, squares, spare, block.low, block.high, block.exponent)
            self._moments = self._moments.merge(found)

    def absorb(self, other: DistributionSums) -> DistributionSums:
        """Add what another one of the same kind knows; returns itself."""
        self._values += other._values
        self._nan += other._nan
        self._inf += other._inf
        self._zeros += other._zeros
        self._kept += other._kept
        for dtype, counter in other._counters.items():
            if dtype in self._counters:
                self._counters[dtype].absorb(counter)
            else:
                self._counters[dtype] = counter
        self._moments = self._moments.merge(other._moments)
        return self

    def result(self) -> dict[str, Any]:
        """The fields of `results.Distribution` by name."""
        cells: Cells | Ordered
        if self._exact:
            cells = Ordered(np.concatenate(self._kept) if self._kept else np.zeros(0))
        else:
            cells = Cells.union([counter.cells() for counter in self._counters.values()])
        quantiles: list[float] | list[None] = [None] * len(PROBABILITIES)
        if self._moments.n:
            quantiles = cells.quantiles(PROBABILITIES, self._moments.low, self._moments.high)
        return {
            "value_count": self._values,
            "nan_count": self._nan,
            "inf_count": self._inf,
            "zero_count": self._zeros,
            "near_zero_count": cells.near_zero_count(),
            **self._moments.result(),
            **dict(zip(_QUANTILES, quantiles, strict=True)),
            "histogram": cells.histogram(),
        }
