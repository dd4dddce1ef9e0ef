"""The exponent of a power law's tail, by maximum likelihood.

Clauset, Shalizi & Newman, "Power-law distributions in empirical data" (2009): for every possible beginning of the tail
the exponent is 1 + n / sum(ln(x / x_min)), and the beginning is the one whose tail is nearest to its law by the
Kolmogorov-Smirnov distance. As the package `powerlaw` does, and WeightWatcher.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST_TAIL = 50
"""Of a tail with fewer values, no exponent is told: Clauset et al. find it too uncertain."""
MOST_BEGINNINGS = 8_192
"""Of more values, not every one is tried as the beginning."""
NOTHING = 1e-12
"""What is smaller than the largest by this factor is the rounding of zero."""


@dataclass(frozen=True, slots=True)
class PowerLaw:
    """alpha: density x^-alpha. distance: Kolmogorov-Smirnov. tail: how many values it has. begins: the smallest."""

    alpha: float
    distance: float
    tail: int
    begins: float


def power_law(values: Floats, least: int = LEAST_TAIL) -> PowerLaw | None:
    """The law of the tail of some values that are not negative; None for a tail of fewer than `least`."""
    x = np.sort(values[values > NOTHING * values.max()]) if values.size else values
    count = len(x)
    if count < least or x[0] == x[-1]:
        return None
    logs = np.log(x)
    sums = np.cumsum(logs[::-1])[::-1]
    best = (np.inf, 0, 0.0)
    for start in range(0, count - 1, -(-count // MOST_BEGINNINGS)):
        n = count - start
        spread = sums[start] - n * logs[start]
        if not spread > 0:
            continue
        alpha = 1 + n / spread
        above = -np.expm1((1 - alpha) * (logs[start:] - logs[start]))
        distance = float(np.abs(above - np.arange(n) / n).max())
        if distance < best[0]:
            best = (distance, start, float(alpha))
    distance, start, alpha = best
    return PowerLaw(alpha, distance, count - start, float(x[start])) if count - start >= least else None
