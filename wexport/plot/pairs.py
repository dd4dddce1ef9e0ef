"""Values of two models at the same positions, and how alike they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """The values of one slot at the positions that both models' samples hold, finite ones only.

    a, b: of each model. drawn: pairs held by both samples, also those that are not finite, of value_count.
    """

    slot: str
    role: str
    layer: str
    a: Floats
    b: Floats
    drawn: int
    value_count: int


def paired(a: dict[str, Any] | None, b: dict[str, Any] | None) -> tuple[str, Pairs | None]:
    """The pairs of one slot, or why there are none."""
    if a is None or b is None:
        return f"in {'b' if a is None else 'a'} only", None
    if a["canonical_shape"] != b["canonical_shape"]:
        return "of another shape", None
    if a["index"] is None or b["index"] is None:
        return "without a sample", None
    _, here, there = np.intersect1d(a["index"], b["index"], assume_unique=True, return_indices=True)
    values = np.asarray(a["value"], np.float64)[here], np.asarray(b["value"], np.float64)[there]
    finite = np.isfinite(values[0]) & np.isfinite(values[1])
    if not finite.any():
        return "without a finite pair", None
    role = a["role"] if a["role"] == b["role"] else "unknown"
    held = values[0][finite], values[1][finite]
    return "", Pairs(a["slot"], role, a["layer"], *held, drawn=len(here), value_count=a["value_count"])


def cosine(pairs: Sequence[Pairs]) -> tuple[float | None, float]:
    """Cosine similarity of two models' weights over some slots, and its standard error.

    Where a slot's sample does not hold all values, each pair stands for value_count / drawn of them; the standard error
    is the delta method's for a stratified sample with the finite population correction, 0 where all values are held.
    None where either is zero throughout.
    """
    weights = [pair.value_count / pair.drawn for pair in pairs]
    aa = sum(weight * float(pair.a @ pair.a) for weight, pair in zip(weights, pairs, strict=True))
    bb = sum(weight * float(pair.b @ pair.b) for weight, pair in zip(weights, pairs, strict=True))
    ab = sum(weight * float(pair.a @ pair.b) for weight, pair in zip(weights, pairs, strict=True))
    if not aa or not bb:
        return None, 0.0
    length = float(np.sqrt(aa) * np.sqrt(bb))
    found = max(-1.0, min(1.0, ab / length))
    variance = 0.0
    for pair, weight in zip(pairs, weights, strict=True):
        count = pair.a.size
        if weight > 1 and count > 1:
            influence = pair.a * pair.b / length - found / 2 * (pair.a**2 / aa + pair.b**2 / bb)
            variance += (weight * count) ** 2 * (1 - 1 / weight) * float(influence.var(ddof=1)) / count
    return found, float(np.sqrt(variance))
