"""Sums over the tensors of every pair of models, and what follows from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from wexport.analysis import relations
from wexport.analysis.cosines import Block, Floats, Rows, correlations, pairwise_cosines
from wexport.analysis.matching import METHODS, Method
from wexport.analysis.rounding import Casts, cast_of

NAMED = 3
"""Slots that differ, of which this many are named."""
_LEAST_VALUES = 3
"""Values from which on a matrix has a correlation that chance does not make 1."""


@dataclass(frozen=True, slots=True)
class Side:
    """A tensor of some models: their numbers, samples, hashes as numbers, L2 norms, types and stored shapes as numbers,
    in one order.

    distinct: how many values of the sample are different, at least 1. evidence: whether equal values tell anything,
    which constants do not. lost: whether values are not finite. casts: see `rounding.Casts`. key: the tensor's number.
    matrix: whether it has two axes or more. statistic: whether it is counted and not trained.
    """

    key: int
    models: Sequence[int]
    rows: Rows
    hashes: NDArray[np.int64]
    norms: Floats
    dtypes: NDArray[np.int64]
    layouts: NDArray[np.int64]
    distinct: NDArray[np.int64]
    evidence: NDArray[np.bool_]
    lost: NDArray[np.bool_]
    casts: Casts
    matrix: bool
    statistic: bool

    def part(self, models: slice) -> Side:
        """The same of some of the models."""
        arrays = (
            self.hashes[models],
            self.norms[models],
            self.dtypes[models],
            self.layouts[models],
            self.distinct[models],
            self.evidence[models],
            self.lost[models],
            self.casts.part(models),
        )
        return Side(self.key, self.models[models], self.rows.part(models), *arrays, self.matrix, self.statistic)


class PairFigures(NamedTuple):
    """Matrices, models by models: see `similarity.Similarity`."""

    matrix: Floats
    standard_error: Floats
    coverage: Floats
    relative_l2: Floats
    tensors: Floats
    methods: NDArray[np.int8]
    confidence: Floats
    worst_relative_l2: Floats
    worst_key: NDArray[np.int32]
    changed: NDArray[np.int32]
    lacking: NDArray[np.int32]
    differing: NDArray[np.int32]
    correlation: Floats
    null: Floats
    relation: NDArray[np.int8]


class PairSums:
    """Sums over tensors, models by models, in the upper triangle."""

    def __init__(self, models: int) -> None:
        shape = models, models
        self._sums = np.zeros((10, *shape))
        self._weight, self._cosine, self._variance, self._matched, self._square, self._norms = self._sums[:6]
        self._tensors, self._equal, self._equal_matrices, self._matrices_matched = self._sums[6:]
        self._counts = np.zeros((3, *shape), np.int32)
        self._all, self._changed, self._rounded = self._counts
        self._correlation, self._matrices, self._chance = self._kernels = np.zeros((3, *shape))
        self._worst = np.full(shape, -1.0, np.float32)
        self._worst_key = np.full(shape, -1, np.int32)
        self._differing = np.full((NAMED, *shape), -1, np.int32)
        self._methods = np.zeros(shape, np.int8)
        self._confidence = np.ones(shape)

    @np.errstate(over="ignore", invalid="ignore")  # squares of what is near 1e308 are infinite, and so is the distance
    def add(self, left: Side, right: Side, method: Method, confidence: float = 1.0) -> None:
        """Add a tensor of some models, compared with the same of them, or with that of others."""
        size = left.rows.value_count
        figures = pairwise_cosines(left.rows, right.rows)
        same = left.hashes[:, None] == right.hashes[None, :]
        zeros = (left.norms == 0)[:, None], (right.norms == 0)[None, :]
        figures.cosine[same & ~zeros[0]] = 1.0
        # A tensor of zeros is far from one that has values.
        figures.cosine[zeros[0] ^ zeros[1]] = 0.0
        figures.variance[same | (zeros[0] ^ zeros[1])] = 0.0
        figures.mean_square[same] = 0.0
        broken = ~same & (left.lost[:, None] | right.lost[None, :])
        one, other = np.asarray(left.models)[:, None], np.asarray(right.models)[None, :]
        new = one < other if _overlap(left.models, right.models) else one != other
        matched = new & (broken | ~np.isnan(figures.mean_square))
        where: Any = _place(left.models, right.models)
        if not (one < other)[matched].all():
            where = np.minimum(one, other), np.maximum(one, other)
        self._add_change(left, right, figures, same, broken, matched, where)
        self._methods[where] |= np.where(matched, np.int8(1 << METHODS.index(method)), np.int8(0))
        self._confidence[where] = np.minimum(self._confidence[where], np.where(matched, confidence, 1.0))
        if left.statistic:
            return
        defined = matched & ~np.isnan(figures.cosine)
        squares, others = np.nan_to_num(left.norms) ** 2, np.nan_to_num(right.norms) ** 2
        self._weight[where] += size * defined
        self._cosine[where] += np.where(defined, size * figures.cosine, 0)
        self._variance[where] += np.where(defined, size**2 * np.nan_to_num(figures.variance), 0)
        self._matched[where] += size * matched
        self._square[where] += np.where(matched, size * np.nan_to_num(figures.mean_square), 0)
        self._norms[where] += np.where(matched, (squares[:, None] + others[None, :]) / 2, 0)
        self._tensors[where] += matched
        if left.matrix and left.rows.values.shape[1] >= _LEAST_VALUES:
            r = correlations(left.rows, right.rows)
            r[same] = 1
            r[zeros[0] | zeros[1]] = 0
            known = matched & ~np.isnan(r)
            self._correlation[where] += np.where(known, size * r, 0)
            self._matrices[where] += size * known
            # Values that repeat, as where all units are equal, are one draw of chance.
            draws = np.minimum(left.distinct[:, None], right.distinct[None, :])
            self._chance[where] += np.where(known, size**2 / draws, 0)

    def _add_change(
        self,
        left: Side,
        right: Side,
        figures: Block,
        same: NDArray[np.bool_],
        broken: NDArray[np.bool_],
        matched: NDArray[np.bool_],
        where: Any,
    ) -> None:
        """What is equal, what is rounded, and what differs most."""
        size = left.rows.value_count
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            longest = np.fmax(left.norms[:, None], right.norms[None, :])
            distance = np.sqrt(figures.mean_square * size) / longest
        distance = np.where(same | (longest == 0), 0.0, np.where(np.isnan(distance), np.inf, distance))
        # What is left of a tensor with NaN or infinities is not the tensor.
        distance[broken] = np.inf
        stored = left.dtypes[:, None] != right.dtypes[None, :]
        laid_out = stored | (left.layouts[:, None] != right.layouts[None, :])
        equal = same | (laid_out & (figures.mean_square == 0) & ~broken)
        # Of what has values of float16 or bfloat16 these tell; a length would let a small fine-tune pass as a cast.
        by_length = stored & ~left.casts.smaller[:, None] & ~right.casts.smaller[None, :]
        rounded = by_length & (distance <= relations.ROUNDING) | cast_of(left.casts, right.casts)
        rounded &= ~equal & ~broken
        changed = matched & ~equal & ~rounded
        self._all[where] += matched
        self._rounded[where] += matched & rounded
        if not left.statistic:
            told = matched & (equal | rounded) & left.evidence[:, None]
            self._equal[where] += np.where(told, size, 0)
            if left.matrix:
                self._equal_matrices[where] += told
                self._matrices_matched[where] += matched & ~changed
        keys = np.where(np.asarray(left.models)[:, None] < np.asarray(right.models)[None, :], left.key, right.key)
        counts = self._changed[where]
        for number in range(NAMED):
            self._differing[number][where] = np.where(
                changed & (counts == number), keys, self._differing[number][where]
            )
        self._changed[where] = counts + changed
        worse = matched & (distance > self._worst[where])
        self._worst[where] = np.where(worse, distance, self._worst[where])
        self._worst_key[where] = np.where(worse, keys, self._worst_key[where])

    def figures(
        self,
        parameters: Floats,
        tensors: NDArray[np.int64],
        matrices: NDArray[np.int64],
        runs: NDArray[np.int64],
        min_coverage: float,
        close: float = relations.CLOSE,
    ) -> PairFigures:
        """The figures of every pair, once all tensors are added.

        parameters, tensors, matrices: of each model; parameters and matrices that are trained, tensors all. runs: as
        numbers, -1 for none.
        """
        one_by_one = (self._methods, self._worst, self._worst_key, self._confidence)
        for total in (*self._sums, *self._counts, *self._kernels, *self._differing, *one_by_one):
            _mirror(total)
        with np.errstate(divide="ignore", invalid="ignore"):
            most = np.maximum(parameters[:, None], parameters[None, :])
            coverage = np.minimum(self._matched / most, 1.0)
            comparable = (coverage >= min_coverage) & (self._weight > 0)
            similarity = np.where(comparable, self._cosine / self._weight, np.nan)
            error = np.where(comparable, np.sqrt(self._variance) / self._weight, np.nan)
            distance = np.where(comparable & (self._norms > 0), np.sqrt(self._square / self._norms), np.nan)
            correlation = np.where(self._matrices > 0, self._correlation / self._matrices, np.nan)
            equal_share = np.minimum(self._equal / most, 1.0)
        null = relations.null_similarity(self._matrices, self._chance)
        worst = np.where(self._worst >= 0, self._worst.astype(np.float64), np.nan)
        alone = np.maximum(tensors[:, None] - self._all, 0) + np.maximum(tensors[None, :] - self._all, 0)
        relation = relations.judged(
            whole=(self._all >= np.maximum(tensors[:, None], tensors[None, :])) & (coverage > 0.999999),
            tensors=self._all,
            changed=self._changed,
            rounded=self._rounded,
            comparable=comparable,
            equal_share=equal_share,
            equal_matrices=self._equal_matrices,
            other_matrices=np.maximum(matrices[:, None], matrices[None, :]) - self._matrices_matched,
            one_run=(runs[:, None] == runs[None, :]) & (runs >= 0)[:, None],
            worst=worst,
            correlation=correlation,
            null=null,
            close=close,
        )
        for figure, value in ((similarity, 1.0), (error, 0.0), (coverage, 1.0), (distance, 0.0), (worst, 0.0)):
            np.fill_diagonal(figure, value)
        np.fill_diagonal(relation, 0)
        np.fill_diagonal(alone, 0)
        return PairFigures(
            similarity,
            error,
            coverage,
            distance,
            self._tensors,
            self._methods,
            self._confidence,
            worst,
            self._worst_key,
            self._changed,
            alone.astype(np.int32),
            self._differing,
            correlation,
            null,
            relation,
        )


def _mirror(matrix: NDArray[Any]) -> None:
    """Copy the upper triangle to the lower."""
    lower = np.tril_indices(len(matrix), -1)
    matrix[lower] = matrix.T[lower]


def _overlap(one: Sequence[int], other: Sequence[int]) -> bool:
    return not set(one).isdisjoint(other)


def _place(models: Sequence[int], partners: Sequence[int]) -> Any:
    """The index of their part of a matrix: slices where they can be, which is several times as fast."""
    if all(side[-1] - side[0] == len(side) - 1 for side in (models, partners)):
        return slice(models[0], models[-1] + 1), slice(partners[0], partners[-1] + 1)
    return np.ix_(models, partners)
