"""Small tasks made of random numbers: images of strokes, tables, token sequences and waves."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
SIDE = 12
"""Images are this many pixels wide and high."""
WORDS = 60
LENGTH = 20
"""Tokens of a sequence, and time steps of a wave."""


@dataclass(frozen=True, slots=True)
class Data:
    """Inputs and targets, split. Targets are one-hot classes, or the values to predict."""

    x: Floats
    y: Floats
    x_test: Floats
    y_test: Floats


def _one_hot(classes: NDArray[np.int64], count: int) -> Floats:
    return np.eye(count, dtype=np.float32)[classes]


def strokes(rng: np.random.Generator, world: int, count: int) -> tuple[Floats, Floats]:
    """Images (count, 12, 12, 1) of ten signs, each of a few lines, moved and noisy. world: which ten signs."""
    signs = np.random.default_rng(1000 + world).uniform(1.5, SIDE - 2.5, (10, 4, 2, 2))
    classes = rng.integers(0, 10, count)
    lines = signs[classes] + rng.normal(0, 0.8, (count, 1, 1, 2)) + rng.normal(0, 0.35, (count, 4, 2, 2))
    along = np.linspace(0, 1, 9)[:, None]
    points = lines[:, :, 0, None] * (1 - along) + lines[:, :, 1, None] * along  # count, lines, points, 2
    pixels = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"), -1).reshape(-1, 2)
    near = ((points.reshape(count, -1, 1, 2) - pixels) ** 2).sum(-1).min(1)
    images = np.exp(-near / 0.7) + rng.normal(0, 0.12, near.shape)
    return images.reshape(count, SIDE, SIDE, 1).astype(np.float32), _one_hot(classes, 10)


def table(rng: np.random.Generator, world: int, count: int) -> tuple[Floats, Floats]:
    """Rows of 20 features in four classes, which a random network of one hidden layer drew."""
    drawn = np.random.default_rng(2000 + world)
    inward, outward = drawn.normal(0, 0.2, (20, 24)), drawn.normal(0, 1, (24, 4))
    x = rng.normal(0, 1, (count, 20))
    return x.astype(np.float32), _one_hot(np.argmax(np.tanh(x @ inward) @ outward, 1), 4)


def words(rng: np.random.Generator, world: int, count: int) -> tuple[Floats, Floats]:
    """Sequences of 20 of 60 tokens in four classes: which two of a class' own words come, in which order."""
    pairs = np.random.default_rng(3000 + world).permutation(WORDS)[:8].reshape(4, 2)
    classes = rng.integers(0, 4, count)
    x = rng.integers(0, WORDS, (count, LENGTH))
    x[np.isin(x, pairs)] = np.setdiff1d(np.arange(WORDS), pairs)[0]
    places = np.sort(np.argsort(rng.random((count, LENGTH)), 1)[:, :4], 1)
    for row in range(4):
        x[np.arange(count), places[:, row]] = pairs[classes, row % 2]
    return x.astype(np.float32), _one_hot(classes, 4)


def waves(rng: np.random.Generator, world: int, count: int) -> tuple[Floats, Floats]:
    """Series of 20 steps and three channels in five classes, each with its own frequencies and phases."""
    drawn = np.random.default_rng(4000 + world)
    frequency, phase = drawn.uniform(0.2, 1.4, (5, 3)), drawn.uniform(0, 2, (5, 3))
    classes = rng.integers(0, 5, count)
    time = np.arange(LENGTH)[:, None]
    x = np.sin(frequency[classes][:, None] * time + phase[classes][:, None] + rng.normal(0, 0.5, (count, 1, 1)))
    return (x + rng.normal(0, 0.3, x.shape)).astype(np.float32), _one_hot(classes, 5)


def copied_strokes(rng: np.random.Generator, world: int, count: int) -> tuple[Floats, Floats]:
    """Images to be given back without their noise."""
    x, _ = strokes(rng, world, count)
    return x, np.where(x > 0.3, x, 0).astype(np.float32)


TASKS: dict[str, Callable[[np.random.Generator, int, int], tuple[Floats, Floats]]] = {
    "strokes": strokes,
    "table": table,
    "words": words,
    "waves": waves,
    "copied strokes": copied_strokes,
}


@lru_cache(maxsize=64)
def data(task: str, seed: int, *, world: int = 0, count: int) -> Data:
    """Examples of a task. seed: which examples; world: which task of this kind."""
    rng = np.random.default_rng([seed, world, 7])
    x, y = TASKS[task](rng, world, count + 500)
    return Data(x[:count], y[:count], x[count:], y[count:])
