"""Who is like whom: the words for it in one order, what each rests on, and the figures where it begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of two models.

    word: as answers have it. means: what it says. evidence: what it rests on. null: what unrelated models give of that.
    by: who finds it, the "table" (queries, clusters, the report), the "files" (`wexport relate`), or both.
    """

    word: str
    means: str
    evidence: str
    null: str
    by: frozenset[str]


_TABLE, _FILES = frozenset({"table"}), frozenset({"files"})
_BOTH = _TABLE | _FILES

RELATIONS = (
    Relation(
        "identical",
        "every tensor has its equal",
        "content hashes, or all samples where layouts differ; from files, all values",
        "never",
        _BOTH,
    ),
    Relation(
        "reordered",
        "the same function: hidden units in another order",
        "no tensor differs by more than rounding (1e-5 of its length) once units are in one order",
        "`null_similarity`, where this has 1",
        _FILES,
    ),
    Relation(
        "rescaled",
        "the same function: hidden units scaled by positive factors, or with their signs turned",
        "no tensor differs by more than rounding (1e-5 of its length) once units are in one order and of one scale",
        "`null_similarity`, where this has 1",
        _FILES,
    ),
    Relation(
        "rounded",
        "the same after casting to another type",
        "one has the values of the other in float16 or bfloat16, as far as samples tell; of other types, these differ, "
        "and no tensor by more than 1 %; from files, value for value",
        "never",
        _BOTH,
    ),
    Relation(
        "quantised",
        "one is the other on a grid of few values",
        "kernels of one lie on grids of at most 256 steps, those of the other do not, and they differ by half a step",
        "a value lies so near a grid with a chance of 1 in 100",
        _FILES,
    ),
    Relation(
        "pruned",
        "one is the other with some weights set to zero",
        "all values are equal bit for bit, but for zeros in one of them",
        "never",
        _FILES,
    ),
    Relation(
        "same_but",
        "the same but for the tensors that are named",
        "at least half of the parameters are equal bit for bit, or half of the tensors with a tenth of the parameters, "
        "or as many of the matrices as differ or are missing, which no two trainings give; constants do not count",
        "none equal but constants",
        _BOTH,
    ),
    Relation("same_run", "checkpoints of one run", "the file names", "never", _BOTH),
    Relation(
        "fine_tuned",
        "one training lies behind both: one was trained on from the other, or both from a third",
        "related, and what is learnt from constants (biases, normalisations) is equal bit for bit at 16 places or "
        "more, untouched since",
        "equal values at other places: at most a tenth of them",
        _FILES,
    ),
    Relation(
        "same_start",
        "one start lies behind both: the same initialisation, or one is the other before it was trained",
        "related, and weights are equal bit for bit at 16 places or more, untouched in both; or all vectors of one "
        "still are the constants that training starts from",
        "equal values at other places: at most a tenth of them",
        _FILES,
    ),
    Relation(
        "close",
        "close in every tensor, by direction and by length",
        "one architecture, and the worst relative L2 of all tensors, statistics included, is at most 0.1",
        "independent trainings have 1 to 1.4",
        _BOTH,
    ),
    Relation(
        "related",
        "more alike than models that were trained apart: one came from the other, or both from one start",
        "from the table, the correlation of the matrices is above `null_similarity`, or as far below 0; from files, by "
        "place, or the p-value of having been trained apart is at most 1e-6 and the aligned similarity above "
        "`null_similarity`",
        "`null_similarity`",
        _BOTH,
    ),
    Relation(
        "undecided",
        "more alike than chance gives, and the test of lineage does not decide",
        "the aligned similarity is above `null_similarity`, and p between 1e-6 and 0.01, or no layer can be tested",
        "`null_similarity`",
        _FILES,
    ),
    Relation(
        "strangers",
        "as unalike as independent trainings",
        "the correlation of the matrices is what independent trainings give; from files, the aligned similarity is "
        "what shuffled values give, or the test of lineage sees nothing",
        "this is the null",
        _BOTH,
    ),
    Relation(
        "not_aligned",
        "not alike by place, and how the hidden units hang together is not told: they may be the same in another order",
        "the file tells no graph of layers",
        "`null_similarity`, by place",
        _FILES,
    ),
    Relation(
        "not_comparable",
        "too little in common",
        "less than the least share of parameters has a partner, or no matrix has values that tell anything",
        "",
        _BOTH,
    ),
)
"""The closest first."""
WORDS = tuple(relation.word for relation in RELATIONS)
MEANINGS = {relation.word: relation.means for relation in RELATIONS}
INTERCHANGEABLE = ("identical", "rounded", "close")
"""Those of models that one of them represents."""

CLOSE = 0.1
"""The worst tensor's relative L2 up to which models are close: of such pairs 86 % agreed on 95 % of inputs."""
ROUNDING = 0.01
"""Relative L2 up to which another type than float16 and bfloat16 may be a cast; of these the values tell."""
SAME_SHARE, SAME_LEAST = 0.5, 0.1
"""Share of the parameters that are equal; and the least where at least half of the tensors are."""
NULL_FLOOR = 0.15
"""Correlation that independent trainings on one kind of data may share beside chance."""
NULL_Z = 4.5
"""Standard deviations of the correlation under independence: one-sided 3 in a million."""


def null_similarity(weight: Floats, variance: Floats) -> Floats:
    """The upper end of the correlation of matrices that independent models of these shapes have.

    The correlation of n independent values has a variance near 1/n, and the mean over tensors weighted by w has
    sum(w^2 / n) / sum(w)^2; n counts different values, as those that repeat are one draw. weight: sum(w). variance:
    sum(w^2 / n). NaN where there is no matrix.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Floats = np.where(weight > 0, NULL_FLOOR + NULL_Z * np.sqrt(variance) / weight, np.nan)
    return np.minimum(found, 1.0)


def judged(
    *,
    whole: NDArray[np.bool_],
    tensors: NDArray[np.integer],
    changed: NDArray[np.integer],
    rounded: NDArray[np.integer],
    comparable: NDArray[np.bool_],
    equal_share: Floats,
    equal_matrices: Floats,
    other_matrices: Floats,
    one_run: NDArray[np.bool_],
    worst: Floats,
    correlation: Floats,
    null: Floats,
    close: float = CLOSE,
) -> NDArray[np.int8]:
    """The relation of each pair, as its place in `RELATIONS`; all arguments have one shape.

    whole: whether all tensors of both have a partner. tensors: pairs of tensors. changed, rounded: how many of them
    differ by more than rounding, and by no more. comparable: whether enough has a partner. equal_share: of the
    parameters that are equal or rounded, and no constants; equal_matrices: so many matrices are, and other_matrices
    differ or are missing. correlation: NaN where no matrix tells anything.
    """
    with np.errstate(invalid="ignore"):
        conditions = {
            "identical": whole & (changed == 0) & (rounded == 0),
            "rounded": whole & (changed == 0),
            "same_but": (equal_share >= SAME_SHARE)
            | ((2 * changed <= tensors) & (equal_share >= SAME_LEAST))
            | ((equal_matrices >= 1) & (equal_matrices >= other_matrices)),
            "same_run": comparable & one_run,
            "close": comparable & whole & (worst <= close),
            # All signs turned, they are as far from independent.
            "related": comparable & (np.abs(correlation) > null),
            "strangers": comparable & ~np.isnan(correlation),
        }
    places = [WORDS.index(word) for word in conditions]
    return np.select(list(conditions.values()), places, WORDS.index("not_comparable")).astype(np.int8)
