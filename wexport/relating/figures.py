"""How far apart the tensors of two models are, position by position."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from wexport.relating.results import Floats


def similarity(ones: Sequence[Floats], others: Sequence[Floats], kernels: Sequence[bool]) -> float | None:
    """Mean of the cosines of kernels, weighted by their sizes; a kernel of zeros has the cosine 0 to all others."""
    total, weight = 0.0, 0
    for x, y, is_kernel in zip(ones, others, kernels, strict=True):
        if is_kernel and x.size:
            total += x.size * cosine(x, y)
            weight += x.size
    return total / weight if weight else None


def cosine(x: Floats, y: Floats) -> float:
    """Of all values as one vector; those that are not finite count as zero, and of zeros it is 0."""
    left, right = (np.nan_to_num(each.ravel().astype(np.float64), posinf=0, neginf=0) for each in (x, y))
    length = float(np.linalg.norm(left) * np.linalg.norm(right))
    return float(left @ right) / length if length else 0.0


def relative_l2(x: Floats, y: Floats) -> float:
    """||x - y|| / max(||x||, ||y||), from 0 to 2; infinite where either has values that are not finite."""
    left, right = x.astype(np.float64), y.astype(np.float64)
    length = max(float(np.linalg.norm(left)), float(np.linalg.norm(right)))
    apart = float(np.linalg.norm(left - right)) / length if length else 0.0
    return apart if np.isfinite(apart) else float("inf")


def percent(part: float, whole: float) -> str:
    """A share in words."""
    return f"{100 * part / whole:.0f} %" if whole else "nothing"
