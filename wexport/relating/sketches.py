"""Long rows of weights made short, so that inner products and distances between them stay what they are, nearly.

A row of n values is folded to `WIDTH` sums, each value with a sign of chance: the count sketch of Charikar, Chen &
Farach-Colton, "Finding frequent items in data streams" (2002), with places in turn. A product of two sketches has the
rows' product as its mean and an error of about |x| |y| / sqrt(WIDTH); the sketch of a difference is the difference of
the sketches, so equal rows stay equal and near ones near.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Rows = dict[int | None, Floats]
"""Rows by the scale that they turn their sign with; None for those that turn with none."""
WIDTH = 512
EXACT = 1_024
"""Rows of at most this length stay as they are."""


@dataclass(frozen=True, slots=True)
class Normed:
    """Values, and what brings their root mean square to 1; vectors less their mean, which tells nothing of an order."""

    values: Floats
    factor: float

    @classmethod
    def of(cls, array: Floats | None) -> Normed | None:
        """None for nothing; what is not finite counts as 0."""
        if array is None or not array.size:
            return None
        values = np.asarray(array, np.float32)
        square = float(np.vdot(values, values))
        if not np.isfinite(square):
            values = np.where(np.isfinite(values), values, 0)
        if values.ndim == 1:
            values = values - values.mean()
        size = float(np.sqrt(np.mean(np.square(values), dtype=np.float64)))
        return cls(values, 1 / size if size > 0 else 1.0)


class Folded:
    """Rows that are put together from parts; folded: whether long ones are, with the same signs for the same parts."""

    def __init__(self, units: int, length: int, *, folded: bool) -> None:
        self._folded = folded and length > EXACT
        self._units, self._width = units, WIDTH if self._folded else length
        self._offset = 0
        self.found: Rows = {}

    def add(self, scale: int | None, rows: Floats, factor: Floats | np.float32, seed: tuple[int, ...]) -> None:
        """Add (units, n) values times a factor; seed: what the part is called."""
        into = self.found.get(scale)
        if into is None:
            into = self.found[scale] = np.zeros((self._units, self._width), np.float32)
        length = rows.shape[1]
        if not self._folded:
            into[:, self._offset : self._offset + length] = rows * factor
            self._offset += length
            return
        signs = np.random.default_rng(seed).integers(0, 2, length, np.int8).astype(np.float32) * 2 - 1
        done = 0
        while done < length:
            place = (self._offset + done) % self._width
            some = min(self._width - place, length - done)
            columns = slice(done, done + some)
            into[:, place : place + some] += rows[:, columns] * (signs[columns] * factor)
            done += some
        self._offset += length
