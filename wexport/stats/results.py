"""The nouns `stats.measure` hands back: the figures of one tensor, plain and picklable.

A scalar that is undefined is None, never 0 and never NaN: moments, norms and quantiles of a tensor without a
finite value, skewness and kurtosis of a constant one. Inside arrays, where None has no place, NaN says the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

PROBABILITIES = (0.01, 0.05, 0.25, 0.50, 0.75, 0.95, 0.99)
"""Of the quantiles q01 ... q99, in the order of the fields."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts over the log-linear bins of `histogram`, ordered by value, empty bins left out.

    lower, upper: float64 edges; equal for the bin of zero.
    count: int64, sums to the number of finite values.
    """

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    count: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Values at fixed places of the canonical array.

    index: int64 canonical flat positions, ascending.
    value: float64, as stored (NaN and infinities included).
    """

    index: NDArray[np.int64]
    value: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Grid:
    """Root mean square over the blocks of the canonical array, seen as a matrix with the units as columns.

    rms: float64 of shape (rows, cols); NaN where a block has no finite value.
    """

    rows: int
    cols: int
    rms: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Units:
    """One entry per output unit, in canonical order.

    l2_norm, abs_max, max: float64 over the finite values; NaN for a unit that has none.
    zero_fraction: float64, exact zeros among all values of the unit.
    """

    l2_norm: NDArray[np.float64]
    abs_max: NDArray[np.float64]
    max: NDArray[np.float64]
    zero_fraction: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How values lie, whatever their place. Counts are of values; all else is over the finite ones.

    near_zero_count: |w| < 2**-10, zeros included.
    std: of the population. kurtosis: excess (a normal distribution has 0).
    abs_mean: mean of |w|. l1_norm, l2_norm: infinite only if they exceed float64.
    q01 ... q99: NumPy's "linear" quantiles; `histogram` states their error bound.
    """

    value_count: int
    nan_count: int
    inf_count: int
    zero_count: int
    near_zero_count: int
    mean: float | None
    std: float | None
    skewness: float | None
    kurtosis: float | None
    min: float | None
    max: float | None
    abs_max: float | None
    abs_mean: float | None
    l1_norm: float | None
    l2_norm: float | None
    q01: float | None
    q05: float | None
    q25: float | None
    q50: float | None
    q75: float | None
    q95: float | None
    q99: float | None
    histogram: Histogram

    @property
    def finite_count(self) -> int:
        """Values that are neither NaN nor infinite."""
        return self.value_count - self.nan_count - self.inf_count

    @property
    def zero_fraction(self) -> float | None:
        """Exact zeros among all values; None for an empty tensor."""
        return self.zero_count / self.value_count if self.value_count else None

    @property
    def near_zero_fraction(self) -> float | None:
        """Values below 2**-10 in magnitude among all values; None for an empty tensor."""
        return self.near_zero_count / self.value_count if self.value_count else None

    @property
    def nan_fraction(self) -> float | None:
        """NaN among all values; None for an empty tensor."""
        return self.nan_count / self.value_count if self.value_count else None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateStatistics(Distribution):
    """The distribution of one gate's values.

    gate: its name, as `Layout.gates` has it.
    """

    gate: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorStatistics(Distribution):
    """Everything measured of one tensor.

    content_hash: XXH3-128 in hexadecimal, see `stats.measure`.
    unit_count: output units, gates grouped; None for vectors, without a layout and above `units.COUNTED`.
    zero_unit_count: units all of whose incoming weights are below 2**-10 in magnitude; None as unit_count.
    zero_input_count: inputs all of whose outgoing weights are; None also where no input axis is known.
    units: None as unit_count, above `units.LISTED`, and without detail.
    sample: None without detail. grid: None too where the sample holds every value.
    gates: in canonical order; None for a tensor without gates.
    """

    content_hash: str
    unit_count: int | None
    zero_unit_count: int | None
    zero_input_count: int | None
    units: Units | None
    sample: Sample | None
    grid: Grid | None
    gates: tuple[GateStatistics, ...] | None
