"""Mean, spread and shape of a distribution from blocks, in float64.

Each block is summed up about its own mean; blocks are merged with the pairwise formulas of Chan, Golub and LeVeque
(1979) and their extension to third and fourth moments by Pébay (Sandia report SAND2008-6212, 2008, eq. 2.1 and
following). Numbers near the limits of float64 are scaled by a power of two first, so that no square overflows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_DOT_LENGTH = 8192  # BLAS may share longer ones between threads, and then the sum depends on their number
_ONES = np.ones(_DOT_LENGTH)
_SAFE_EXPONENT = 200  # fourth powers of 2**200 times 2**60 values, and of 2**-200, are ordinary numbers
_NOTHING = -(10**6)  # exponent of a block of zeros: it never decides the scale


@dataclass(frozen=True, slots=True)
class Moments:
    """Sums over n finite values, each seen as w * 2**-exponent (low and high excepted).

    m2, m3, m4: sums of powers of the distance from the mean. l1: sum of |w|. low, high: smallest and largest w.
    """

    n: int = 0
    mean: float = 0.0
    m2: float = 0.0
    m3: float = 0.0
    m4: float = 0.0
    l1: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    exponent: int = _NOTHING

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of values together."""
        if not self.n or not other.n:
            return self if self.n else other
        exponent = max(self.exponent, other.exponent)
        a, b = self._scaled(exponent), other._scaled(exponent)
        n = a.n + b.n
        delta = b.mean - a.mean
        step = delta / n
        cross = step * delta * a.n * b.n
        return Moments(
            n=n,
            mean=a.mean + step * b.n,
            m2=a.m2 + b.m2 + cross,
            m3=a.m3 + b.m3 + cross * step * (a.n - b.n) + 3 * step * (a.n * b.m2 - b.n * a.m2),
            m4=a.m4
            + b.m4
            + cross * step * step * (a.n * a.n - a.n * b.n + b.n * b.n)
            + 6 * step * step * (a.n * a.n * b.m2 + b.n * b.n * a.m2)
            + 4 * step * (a.n * b.m3 - b.n * a.m3),
            l1=a.l1 + b.l1,
            low=min(a.low, b.low),
            high=max(a.high, b.high),
            exponent=exponent,
        )

    def _scaled(self, exponent: int) -> Moments:
        by = self.exponent - exponent
        if not by:
            return self
        return Moments(
            self.n,
            math.ldexp(self.mean, by),
            math.ldexp(self.m2, 2 * by),
            math.ldexp(self.m3, 3 * by),
            math.ldexp(self.m4, 4 * by),
            math.ldexp(self.l1, by),
            self.low,
            self.high,
            exponent,
        )

    def result(self) -> dict[str, float | None]:
        """The statistics' scalars by name; None where undefined."""
        if not self.n:
            return dict.fromkeys(_NAMES)
        variance = self.m2 / self.n
        spread = self.low < self.high
        return {
            "mean": _unscaled(self.mean, self.exponent),
            "std": _unscaled(math.sqrt(variance), self.exponent),
            "skewness": self.m3 / self.n / variance**1.5 if spread else None,
            "kurtosis": self.m4 / self.n / variance**2 - 3.0 if spread else None,
            "min": self.low,
            "max": self.high,
            "abs_max": max(-self.low, self.high),
            "abs_mean": _unscaled(self.l1 / self.n, self.exponent),
            "l1_norm": _unscaled(self.l1, self.exponent),
            "l2_norm": _unscaled(math.sqrt(self.m2 + self.n * self.mean * self.mean), self.exponent),
        }


_NAMES = ("mean", "std", "skewness", "kurtosis", "min", "max", "abs_max", "abs_mean", "l1_norm", "l2_norm")


def scale_of(low: float, high: float) -> int:
    """The exponent by which finite values in [low, high] are to be scaled; 0 for all but extreme ones."""
    largest = max(-low, high)
    exponent = math.frexp(largest)[1]
    return exponent if largest and abs(exponent) > _SAFE_EXPONENT else 0


def of_block(x: Floats, squares: Floats, spare: Floats, low: float, high: float, exponent: int) -> Moments:
    """Moments of the finite values x * 2**exponent, at least one, which lie in [low, high].

    squares: x * x. spare: room for as many numbers.
    """
    n = x.size
    if low == high:
        value = math.ldexp(low, -exponent)
        return Moments(n, value, l1=n * abs(value), low=low, high=high, exponent=exponent if value else _NOTHING)
    total = _total(x)
    l1 = abs(total) if low >= 0 or high <= 0 else _total(np.abs(x, out=spare))
    center = total / n
    second = _dot(x, x)
    if center * total > second / 4:
        # The mean is large against the spread: sums about zero would lose digits, so take them about the mean.
        x = np.subtract(x, center, out=spare)
        squares = x * x
        shift = float(np.add.reduce(x)) / n
        second = float(np.add.reduce(squares))
    else:
        # |mean| is at most half the root mean square: moving the centre afterwards costs a digit at most.
        shift, center = center, 0.0
    third, fourth = _dot(squares, x), _dot(squares, squares)
    return Moments(
        n=n,
        mean=center + shift,
        m2=second - n * shift**2,
        m3=third - 3 * shift * second + 2 * n * shift**3,
        m4=fourth - 4 * shift * third + 6 * shift**2 * second - 3 * n * shift**4,
        l1=l1,
        low=low,
        high=high,
        exponent=exponent,
    )


def _dot(a: Floats, b: Floats) -> float:
    whole = a.size - a.size % _DOT_LENGTH
    rest = float(np.dot(a[whole:], b[whole:]))
    if not whole:
        return rest
    rows = (-1, _DOT_LENGTH)
    return rest + float(np.add.reduce(np.vecdot(a[:whole].reshape(rows), b[:whole].reshape(rows))))


def _total(a: Floats) -> float:
    # As a product with ones it is twice as fast as np.add.reduce, and as exact to the tolerance that counts here.
    whole = a.size - a.size % _DOT_LENGTH
    rest = float(np.add.reduce(a[whole:]))
    return rest + float(np.add.reduce(np.vecdot(a[:whole].reshape(-1, _DOT_LENGTH), _ONES))) if whole else rest


def _unscaled(value: float, exponent: int) -> float:
    try:
        return math.ldexp(value, exponent)
    except OverflowError:
        return math.copysign(math.inf, value)
