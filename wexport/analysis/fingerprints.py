"""What tells that two tensors hold the same values however they are stored: the values at fixed canonical places."""

from __future__ import annotations

import numpy as np
import xxhash
from numpy.typing import NDArray

MIN_DISTINCT = 3
"""Of fewer distinct values (zeros, ones, the ones and zeros of a fresh forget gate), equality is not evidence."""


def of_sample(canonical_shape: tuple[int, ...], values: NDArray[np.float64]) -> str | None:
    """A hash of a tensor's sample, as the table keeps it; None where it would tell nothing.

    Samples of one canonical shape are of the same places, so that equal hashes mean equal values there: all values of a
    tensor of up to 1,024, and 1,024 of a larger one.
    """
    if np.unique(values[:64]).size < MIN_DISTINCT and np.unique(values).size < MIN_DISTINCT:
        return None
    return xxhash.xxh3_128_hexdigest(f"{canonical_shape}\n".encode() + (values + 0.0).tobytes())
