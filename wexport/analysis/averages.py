"""Which models are averages of others: a mean of checkpoints, a mix, an exponential moving average, a soup.

A model w is an average of v_1 ... v_k if w = sum(c_i v_i) with c_i >= 0 and sum(c_i) = 1. Which of some models are
averages of which is told by the convex hull of all: those that are averages of others lie within it, and only its
corners can be what they were made of. So the corners are found first, then each other model is written in terms of
these, by least squares with coefficients that sum to one. The least squares are solved from inner products of
differences in float64: values are read once, and memory is for one product, not for all differences.

Where corners are collinear (the difference of one to another is a combination of other differences), coefficients are
not unique: then none are told.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

MOST_MODELS = 64
"""Every model is held against all others."""
LEAST_PART = 1e-3
"""Smallest coefficient that is told: below it, rounding to a small type would do."""
UNEXPLAINED = 0.01
"""Length of what is left over, by the distance to the nearest part, up to which a model counts as an average.
Candidates that have nothing to do with it leave about sqrt(1 - k / n) for n values, which is 1."""
COLLINEAR = 1e-10
"""Smallest eigenvalue of the products of differences, by the largest, from which on coefficients are unique."""
BLOCK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Average:
    """model: what is an average of `parts`, with `coefficients` that are positive and sum to one.

    residual: length of what is left over, by the length of the model. unexplained: the same by the distance to the
    nearest part. chance: what k candidates that have nothing to do with it would leave of that. rank: of the parts'
    differences, `len(parts) - 1` where coefficients are unique. values: how many were compared. parts, coefficients:
    empty where they are not unique; reason says so.
    """

    model: str
    parts: tuple[str, ...]
    coefficients: tuple[float, ...]
    residual: float
    unexplained: float
    chance: float
    rank: int
    values: int
    reason: str = ""


def averages(names: Sequence[str], tensors: Sequence[Sequence[NDArray[np.floating[Any]]]]) -> list[Average]:
    """Every model that is an average of others among them.

    names: of the models. tensors: of each model, in one order and of the same shapes. Values that are not finite in any
    of the models are left out. SciPy is needed.
    """
    products, lengths, values = _products(tensors)
    count = len(names)
    if count < 3 or not values:
        return []
    scale = products.diagonal().max()
    if not scale > 0:
        return []
    corners = list(range(count))
    inside: list[int] = []
    for target in _from_the_middle(products):
        others = [each for each in corners if each != target]
        if len(others) > 1 and _left_over(products, target, others)[1] <= UNEXPLAINED:
            inside.append(target)
            corners = others
    found = []
    for target in sorted(inside):
        average = _written(names, products, lengths, values, target, corners)
        if average is not None:
            found.append(average)
    return found


def _products(tensors: Sequence[Sequence[NDArray[np.floating[Any]]]]) -> tuple[Floats, Floats, int]:
    """Inner products of the models less their mean, their lengths, and how many values they have."""
    count = len(tensors)
    products, squares, values = np.zeros((count, count)), np.zeros(count), 0
    for each in zip(*tensors, strict=True):
        flat = [tensor.ravel() for tensor in each]
        for start in range(0, flat[0].size, BLOCK):
            block = np.array([part[start : start + BLOCK] for part in flat], np.float64)
            block = block[:, np.isfinite(block).all(axis=0)]
            squares += np.square(block).sum(axis=1)
            values += block.shape[1]
            block -= block.mean(axis=0)
            products += block @ block.T
    return products, np.sqrt(squares), values


def _from_the_middle(products: Floats) -> list[int]:
    """Models in the order in which they are asked: an average lies nearer to the middle than its farthest part."""
    return [int(each) for each in np.argsort(products.diagonal(), kind="stable")]


def _differences(products: Floats, target: int, others: Sequence[int]) -> tuple[Floats, Floats]:
    """Products of the others' differences to the target."""
    rows = np.array([target, *others])
    part = products[np.ix_(rows, rows)]
    found = part[1:, 1:] - part[1:, :1] - part[:1, 1:] + part[0, 0]
    return (found + found.T) / 2, np.sqrt(np.maximum(found.diagonal(), 0))


def _left_over(products: Floats, target: int, others: Sequence[int]) -> tuple[Floats, float]:
    """Coefficients of the point of the others' convex hull that is nearest, and how far off it is.

    The distance is by that of the nearest of the others. Nonnegative least squares, with the sum of one as a heavy row.
    """
    from scipy.optimize import nnls  # type: ignore[import-untyped, unused-ignore]

    products, distances = _differences(products, target, others)
    nearest = distances.min()
    if not nearest > 0:
        return np.zeros(len(others)), 0.0
    values, vectors = np.linalg.eigh(products / distances.max() ** 2)
    factor = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    weight = 1e3
    coefficients, _ = nnls(np.vstack([factor, np.full(len(others), weight)]), np.r_[np.zeros(len(factor)), weight])
    total = coefficients.sum()
    coefficients = coefficients / total if total > 0 else coefficients
    left = float(np.sqrt(max(coefficients @ products @ coefficients, 0.0)))
    return coefficients, left / nearest


def _written(
    names: Sequence[str], products: Floats, lengths: Floats, values: int, target: int, corners: Sequence[int]
) -> Average | None:
    """A model in terms of the corners; None where it is a copy of one, or too near to one for its type."""
    coefficients, _ = _left_over(products, target, corners)
    parts = [each for each, share in zip(corners, coefficients, strict=True) if share > LEAST_PART]
    if len(parts) < 2:
        return None
    apart, distances = _differences(products, target, parts)
    # Least squares with a sum of one: the minimum of c' A c with sum(c) = 1, by the differences to the first part.
    first = np.array([apart[0, 0] - apart[0, n] - apart[m, 0] + apart[m, n] for m in range(1, len(parts))
                      for n in range(1, len(parts))]).reshape(len(parts) - 1, -1)  # fmt: skip
    spread = np.linalg.eigvalsh(first)
    rank = int((spread > COLLINEAR * spread.max()).sum())
    chance = float(np.sqrt(max(0.0, 1 - (len(parts) - 1) / values)))
    everyone = [each for each in corners if each != parts[0]]
    unique = rank == len(parts) - 1 and _independent(products, parts[0], everyone)
    rest = np.linalg.lstsq(first, apart[0, 0] - apart[1:, 0], rcond=None)[0]
    shares = np.r_[1 - rest.sum(), rest]
    left = float(np.sqrt(max(shares @ apart @ shares, 0.0)))
    unexplained = left / float(distances.min())
    if unexplained > UNEXPLAINED or shares.min() < 0:
        return None
    told = Average(
        model=names[target],
        parts=(),
        coefficients=(),
        residual=left / float(lengths[target]) if lengths[target] else 0.0,
        unexplained=unexplained,
        chance=chance,
        rank=rank,
        values=values,
        reason="it is an average, and the models that it may be one of are collinear: of which is not told",
    )
    if not unique:
        return told
    order = np.argsort(-shares, kind="stable")
    return replace(
        told,
        parts=tuple(names[parts[each]] for each in order),
        coefficients=tuple(float(shares[each]) for each in order),
        reason="",
    )


def _independent(products: Floats, first: int, others: Sequence[int]) -> bool:
    """Whether no difference of corners is a combination of the others."""
    spread = np.linalg.eigvalsh(_differences(products, first, others)[0])
    return bool(spread.min() > COLLINEAR * spread.max())
