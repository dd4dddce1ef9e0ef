"""Cosines and distances of many vectors with many others, and how sure a sample of their values makes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_NEAR = 1e-5
"""1 - cosine below which products of unit vectors lose too many digits; such pairs are taken from differences ..."""
_NEAR_PAIRS = 20_000
"""... but for no more pairs of a block than these, the nearest ones; beyond, 1 - cosine is good to about 1e-15."""
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Rows:
    """A tensor of several models: their samples, float64, a row a model, of `value_count` values each.

    unit: by the length over finite values; 0 where a value is not finite. square, cube: of unit. length: that length.
    finite: which values are finite, or None for all.
    """

    values: Floats
    unit: Floats
    square: Floats
    cube: Floats
    length: Floats
    finite: Floats | None
    value_count: int

    @classmethod
    @np.errstate(over="ignore")
    def of(cls, values: Floats, value_count: int) -> Rows:
        finite = np.isfinite(values)
        mask = None if finite.all() else finite.astype(np.float64)
        filled = values if mask is None else np.where(finite, values, 0.0)
        scale = np.abs(filled).max(axis=1, initial=0.0)[:, None]
        scale[scale == 0] = 1.0
        scaled = filled / scale
        length = np.sqrt(np.einsum("ij,ij->i", scaled, scaled))
        scaled /= np.where(length == 0, 1.0, length)[:, None]
        square = scaled * scaled
        return cls(filled, scaled, square, square * scaled, length * scale[:, 0], mask, value_count)

    def part(self, rows: slice) -> Rows:
        finite = None if self.finite is None else self.finite[rows]
        parts = (self.values[rows], self.unit[rows], self.square[rows], self.cube[rows], self.length[rows])
        return Rows(*parts, finite, self.value_count)


@dataclass(frozen=True, slots=True)
class Block:
    """Figures of every row with every other: NaN where undefined.

    cosine; variance, the square of its standard error; mean_square, of the differences over the pairs of finite values.
    """

    cosine: Floats
    variance: Floats
    mean_square: Floats


def pairwise_cosines(left: Rows, right: Rows) -> Block:
    """Every row of one side with every row of the other, by products of matrices.

    The variance is the delta method's, for a simple random sample without replacement: with unit vectors u and v and
    their cosine c, a value contributes uv - c (u^2 + v^2) / 2.
    """
    count = _pair_counts(left, right)
    one, other = _sums(left.square, left, right), _sums(right.square, right, left).T
    product = left.unit @ right.unit.T
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        both = np.sqrt(one * other)
        cosine = np.where(both > 0, product / both, np.nan)
        lengths = left.length[:, None], right.length[None, :]
        square = one * lengths[0] ** 2 + other * lengths[1] ** 2 - 2 * product * lengths[0] * lengths[1]
        mean_square = np.where(count > 0, np.maximum(square, 0) / count, np.nan)
        spread = _spread(left, right, one, other, cosine)
    block = Block(cosine, spread, mean_square)
    _refine(block, left, right)
    np.clip(cosine, -1, 1, out=cosine)
    with np.errstate(divide="ignore", invalid="ignore"):
        block.variance[...] *= np.maximum(1 - count / left.value_count, 0) * count / (count - 1)
    return block


def correlations(left: Rows, right: Rows) -> Floats:
    """Pearson's correlation of every row of one side with every row of the other, over pairs of finite values.

    Of unit vectors, from sums of products: NaN where a row is constant there.
    """
    count = _pair_counts(left, right)
    x, y = _sums(left.unit, left, right), _sums(right.unit, right, left).T
    x2, y2 = _sums(left.square, left, right), _sums(right.square, right, left).T
    product = left.unit @ right.unit.T
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.maximum(x2 - x * x / count, 0) * np.maximum(y2 - y * y / count, 0)
        found: Floats = np.where(spread > 1e-24, (product - x * y / count) / np.sqrt(spread), np.nan)
    return np.clip(found, -1, 1)


def _pair_counts(left: Rows, right: Rows) -> Floats:
    shape = left.values.shape[0], right.values.shape[0]
    if left.finite is None and right.finite is None:
        return np.full(shape, float(left.values.shape[1]))
    return _mask(left) @ _mask(right).T


def _mask(rows: Rows) -> Floats:
    return np.ones_like(rows.values) if rows.finite is None else rows.finite


def _sums(powers: Floats, rows: Rows, partners: Rows, times: Floats | None = None) -> Floats:
    """Sums of powers of the rows' values, times others, over what is finite in the partner, too."""
    if partners.finite is not None:
        return (powers if times is None else powers * times) @ partners.finite.T
    sums = powers.sum(axis=1) if times is None else np.einsum("ij,ij->i", powers, times)
    return np.broadcast_to(sums[:, None], (len(rows.values), len(partners.values)))


def _spread(left: Rows, right: Rows, one: Floats, other: Floats, cosine: Floats) -> Floats:
    """Sum of the squared contributions to the cosine; 0 where all values are known."""
    if left.values.shape[1] >= left.value_count:
        return np.zeros_like(cosine)
    mixed = left.cube @ right.unit.T / one
    mixed += left.unit @ right.cube.T / other
    squares = left.square @ right.square.T
    fourth = _sums(left.cube, left, right, left.unit) / one**2 + _sums(right.cube, right, left, right.unit).T / other**2
    both = one * other
    squares /= both
    mixed *= cosine
    mixed /= np.sqrt(both)
    fourth += 2 * squares
    fourth *= cosine**2 / 4
    squares -= mixed
    squares += fourth
    return np.maximum(squares, 0, out=squares)


def _refine(block: Block, left: Rows, right: Rows) -> None:
    """Nearly equal pairs again, from their differences."""
    near = np.argwhere(block.cosine > 1 - _NEAR)
    if len(near) > _NEAR_PAIRS:
        nearest = np.argsort(block.cosine[tuple(near.T)])[-_NEAR_PAIRS:]
        near = near[nearest]
    step = max(1, _CHUNK // max(1, left.values.shape[1]))
    for begin in range(0, len(near), step):
        i, j = near[begin : begin + step].T
        known = _mask(left)[i] * _mask(right)[j] if left.finite is not None or right.finite is not None else 1.0
        with np.errstate(over="ignore", invalid="ignore"):
            block.mean_square[i, j] = np.sum(((left.values[i] - right.values[j]) * known) ** 2, axis=1) / np.sum(
                np.broadcast_to(known, left.values[i].shape), axis=1
            )
        u, v = left.unit[i] * known, right.unit[j] * known
        u /= np.sqrt(np.sum(u * u, axis=1))[:, None]
        v /= np.sqrt(np.sum(v * v, axis=1))[:, None]
        apart = np.sum((u - v) ** 2, axis=1) / 2
        block.cosine[i, j] = 1 - apart
        if left.values.shape[1] < left.value_count:
            contribution = (apart[:, None] * (u * u + v * v) - (u - v) ** 2) / 2
            block.variance[i, j] = np.sum(contribution**2, axis=1)
