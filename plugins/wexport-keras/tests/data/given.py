"""The inputs on which tf.keras and Keras 3 are held against each other."""

from __future__ import annotations

import numpy as np


def inputs_of(shapes: list[list[int | None]], whole: list[bool]) -> list[np.ndarray]:
    """Three of each; lengths that the model leaves open are 7."""
    rng = np.random.default_rng(0)
    found = []
    for shape, is_whole in zip(shapes, whole, strict=True):
        fixed = (3, *(length or 7 for length in shape[1:]))
        found.append(rng.integers(0, 5, fixed) if is_whole else rng.random(fixed).astype("float32"))
    return found
