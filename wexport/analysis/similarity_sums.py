"""Sums over the tensors of every pair of models, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wexport.analysis.cosines import Floats, Rows, pairwise_cosines
from wexport.analysis.matching import Method


@dataclass(frozen=True, slots=True)
class Side:
    """A tensor of some models: their numbers, samples, hashes as numbers, and L2 norms, in one order."""

    models: Sequence[int]
    rows: Rows
    hashes: NDArray[np.int64]
    norms: Floats

    def part(self, models: slice) -> Side:
        """The same of some of the models."""
        return Side(self.models[models], self.rows.part(models), self.hashes[models], self.norms[models])


class PairFigures(NamedTuple):
    """Matrices, models by models: see `similar.Similarity`."""

    matrix: Floats
    standard_error: Floats
    coverage: Floats
    relative_l2: Floats
    tensors: Floats
    by_order: Floats
    by_content: Floats


class PairSums:
    """Sums over tensors, models by models; either triangle may hold a part."""

    def __init__(self, models: int) -> None:
        self._sums = np.zeros((9, models, models))
        self._weight, self._cosine, self._variance, self._matched, self._square, self._norms = self._sums[:6]
        self._tensors, order, content = self._sums[6:]
        self._methods: dict[Method, Floats] = {"order": order, "content": content}

    def add(self, left: Side, right: Side, method: Method) -> None:
        """Add a tensor of some models, compared with that of others."""
        size = left.rows.value_count
        figures = pairwise_cosines(left.rows, right.rows)
        same = left.hashes[:, None] == right.hashes[None, :]
        zero = (left.norms[:, None] == 0) | (right.norms[None, :] == 0)
        figures.cosine[same & ~zero] = 1.0
        figures.variance[same & ~zero] = 0.0
        figures.mean_square[same] = 0.0
        new = np.asarray(left.models)[:, None] < np.asarray(right.models)[None, :]
        if method != "slot":
            new = np.ones_like(new)
        matched = new & ~np.isnan(figures.mean_square)
        defined = matched & ~np.isnan(figures.cosine)
        where = _place(left.models, right.models)
        squares, others = np.nan_to_num(left.norms) ** 2, np.nan_to_num(right.norms) ** 2
        self._weight[where] += size * defined
        self._cosine[where] += np.where(defined, size * figures.cosine, 0)
        self._variance[where] += np.where(defined, size**2 * np.nan_to_num(figures.variance), 0)
        self._matched[where] += size * matched
        self._square[where] += np.where(matched, size * figures.mean_square, 0)
        self._norms[where] += np.where(matched, (squares[:, None] + others[None, :]) / 2, 0)
        self._tensors[where] += matched
        if method != "slot":
            self._methods[method][where] += matched

    def figures(self, parameters: Floats, min_coverage: float) -> PairFigures:
        """The figures of every pair, once all tensors are added. parameters: of each model."""
        for total in self._sums:
            total += total.T
        with np.errstate(divide="ignore", invalid="ignore"):
            coverage = self._matched / np.maximum(parameters[:, None], parameters[None, :])
            comparable = (coverage >= min_coverage) & (self._weight > 0)
            similarity = np.where(comparable, self._cosine / self._weight, np.nan)
            error = np.where(comparable, np.sqrt(self._variance) / self._weight, np.nan)
            distance = np.where(comparable & (self._norms > 0), np.sqrt(self._square / self._norms), np.nan)
        for figure, value in ((similarity, 1.0), (error, 0.0), (coverage, 1.0), (distance, 0.0)):
            np.fill_diagonal(figure, value)
        counts = (self._tensors, self._methods["order"], self._methods["content"])
        return PairFigures(similarity, error, coverage, distance, *counts)


def _place(models: Sequence[int], partners: Sequence[int]) -> Any:
    """The index of their part of a matrix: slices where they can be, which is several times as fast."""
    if all(side[-1] - side[0] == len(side) - 1 for side in (models, partners)):
        return slice(models[0], models[-1] + 1), slice(partners[0], partners[-1] + 1)
    return np.ix_(models, partners)
