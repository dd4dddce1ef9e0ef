"""How far apart the tensors of two models are, position by position."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from wexport.relating.results import Floats

BLOCK = 1 << 13
"""Values that are worked on at once: they stay in the processor's cache, and BLAS starts no threads for them."""


def similarity(ones: Sequence[Floats], others: Iterable[Floats], kernels: Sequence[bool]) -> float | None:
    """Mean of the cosines of kernels, weighted by their sizes; a kernel of zeros has the cosine 0 to all others."""
    total, weight = 0.0, 0
    for x, y, is_kernel in zip(ones, others, kernels, strict=True):
        if is_kernel and x.size:
            total += x.size * cosine(x, y)
            weight += x.size
    return total / weight if weight else None


def cosine(x: Floats, y: Floats) -> float:
    """Of all values as one vector; those that are not finite count as zero, and of zeros it is 0."""
    xx, yy, xy, _ = _sums(x, y)
    if not np.isfinite(xx + yy + xy):
        xx, yy, xy, _ = _sums(*(np.nan_to_num(each.astype(np.float64), posinf=0, neginf=0) for each in (x, y)))
    length = float(np.sqrt(xx) * np.sqrt(yy))
    return xy / length if length else 0.0


def relative_l2(x: Floats, y: Floats) -> float:
    """||x - y|| / max(||x||, ||y||), from 0 to 2; infinite where either has values that are not finite."""
    xx, yy, _, apart = _sums(x, y)
    length = float(np.sqrt(max(xx, yy)))
    found = float(np.sqrt(apart)) / length if length else 0.0
    return found if np.isfinite(found) else float("inf")


def _sums(x: Floats, y: Floats) -> tuple[float, float, float, float]:
    """Sums of x^2, y^2, xy and (x - y)^2 in float64, block by block: a copy of a large tensor costs more."""
    found = np.zeros(4)
    left, right = x.ravel(), y.ravel()
    with np.errstate(invalid="ignore", over="ignore"):
        for start in range(0, left.size, BLOCK):
            a, b = (each[start : start + BLOCK].astype(np.float64) for each in (left, right))
            apart = a - b
            found += (a @ a, b @ b, a @ b, apart @ apart)
    return float(found[0]), float(found[1]), float(found[2]), float(found[3])


def percent(part: float, whole: float) -> str:
    """A share in words."""
    return f"{100 * part / whole:.0f} %" if whole else "nothing"
