"""The nouns `stats.measure` hands back: the statistics of one tensor, plain and picklable, each declared once.

A scalar that is undefined is None, never 0 and never NaN: moments, norms and quantiles of a tensor without a
finite value, skewness and kurtosis of a constant one. Inside arrays, where None has no place, NaN says the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.stats.declared import Fraction, Statistic, statistic, statistics_of

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


_QUANTILE = (
    "over finite values, linear between order statistics; exact for small tensors and 8- and 16-bit types, else within "
    "2^-7 (0.8 %) of the order statistic's magnitude"
)


def _quantile(level: str) -> Any:
    return statistic(f"{int(level)} % quantile {_QUANTILE}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Distribution:
    """How values lie, whatever their place. Counts are of values; all else is over the finite ones.

    l1_norm, l2_norm: infinite only if they exceed float64.
    """

    value_count: int = statistic("Number of values.", unit="values", of_model="sum(value_count)")
    nan_count: int = statistic("Values that are NaN.", unit="values", of_model="sum(nan_count)")
    inf_count: int = statistic("Values that are infinite.", unit="values", of_model="sum(inf_count)")
    zero_count: int = statistic("Values that are exactly zero.", unit="values", of_model="sum(zero_count)")
    near_zero_count: int = statistic(
        "Values with |w| < 2^-10, zeros included.", unit="values", of_model="sum(near_zero_count)"
    )
    q01: float | None = _quantile("01")
    q05: float | None = _quantile("05")
    q25: float | None = _quantile("25")
    q50: float | None = _quantile("50")
    q75: float | None = _quantile("75")
    q95: float | None = _quantile("95")
    q99: float | None = _quantile("99")
    skewness: float | None = statistic("Third standardised moment over finite values; NULL for a constant.", unit="")
    kurtosis: float | None = statistic("Excess kurtosis (normal = 0) over finite values; NULL for a constant.", unit="")
    l1_norm: float | None = statistic("Sum of |w| over finite values.", of_model="sum(l1_norm)")
    abs_mean: float | None = statistic("Mean of |w| over finite values.")
    abs_max: float | None = statistic("Largest |w| over finite values.", of_model="max(abs_max)", reported=True)
    min: float | None = statistic("Smallest finite value.", of_model="min(min)")
    max: float | None = statistic("Largest finite value.", of_model="max(max)")
    l2_norm: float | None = statistic(
        "Square root of the sum of squares over finite values.",
        of_model="sqrt(sum(l2_norm * l2_norm))",
        last=True,
        reported=True,
    )
    mean: float | None = statistic("Mean over finite values.", last=True, reported=True)
    std: float | None = statistic(
        "Population standard deviation over finite values; 0 for a constant.", last=True, reported=True
    )
    histogram: Histogram


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
    unit_count: None for vectors, without a layout and above `units.COUNTED`; so are zero_unit_count and
        zero_input_count, the latter also where no input axis is known.
    units: None as unit_count, above `units.LISTED`, and without detail.
    sample: None without detail. grid: None too where the sample holds every value.
    gates: in canonical order; None for a tensor without gates.
    """

    content_hash: str
    unit_count: int | None = statistic(
        "Output units: filters, neurons, hidden units (the gates of a recurrent layer count once).",
        unit="units",
        of_model="sum(unit_count)",
    )
    zero_unit_count: int | None = statistic(
        "Units whose incoming weights are all near zero. Weights alone do not prove a unit dead.",
        unit="units",
        of_model="sum(zero_unit_count)",
    )
    zero_input_count: int | None = statistic(
        "Inputs whose outgoing weights are all near zero.", unit="inputs", of_model="sum(zero_input_count)"
    )
    units: Units | None
    sample: Sample | None
    grid: Grid | None
    gates: tuple[GateStatistics, ...] | None


DISTRIBUTION = statistics_of(Distribution)
"""The statistics of a tensor and of each of its gates."""
OF_TENSORS = statistics_of(TensorStatistics)
"""Those of a whole tensor alone."""
FRACTIONS = (
    Fraction("zero_fraction", "zero_count", reported=True),
    Fraction("near_zero_fraction", "near_zero_count"),
    Fraction("nan_fraction", "nan_count"),
)
"""Those that follow from the counts."""
STATISTICS: tuple[Statistic | Fraction, ...] = (*DISTRIBUTION, *OF_TENSORS, *FRACTIONS)
"""All of a tensor."""
