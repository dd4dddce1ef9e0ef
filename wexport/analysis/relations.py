"""Who is like whom: the words for it in one order, what each rests on, and the figures where it begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation of two models.

    word: as answers have it. means: what it says. evidence: what it rests on, and what would be there by chance.
    """

    word: str
    means: str
    evidence: str


RELATIONS = (
    Relation("identical", "every tensor has its equal", "content hashes, or all samples where layouts differ"),
    Relation(
        "rounded",
        "the same after casting to another type",
        "types differ, and no tensor by more than 1 %; or one has the values of the other in float16 or bfloat16",
    ),
    Relation(
        "same_but",
        "the same but for the tensors that are named",
        "at least half of the parameters are equal bit for bit, or half of the tensors with a tenth of the parameters, "
        "or as many tensors as differ or are missing, and two, which no two trainings give; constants do not count",
    ),
    Relation("same_run", "checkpoints of one run", "the file names"),
    Relation(
        "close",
        "close in every tensor, by direction and by length",
        "one architecture, and the worst relative L2 of all tensors, statistics included, is at most 0.1; independent "
        "trainings have 1 to 1.4",
    ),
    Relation(
        "related",
        "alike in direction, and not close",
        "the correlation of the matrices is above what independent trainings give (`null_similarity`)",
    ),
    Relation(
        "strangers",
        "as unalike as independent trainings",
        "the correlation of the matrices is what independent trainings give",
    ),
    Relation(
        "not_comparable",
        "too little in common",
        "less than the least share of parameters has a partner, or none of the matrices has values that tell anything",
    ),
)
"""The closest first."""
WORDS = tuple(relation.word for relation in RELATIONS)
INTERCHANGEABLE = ("identical", "rounded", "close")
"""Those of models that one of them represents."""

CLOSE = 0.1
"""The worst tensor's relative L2 up to which models are close: of such pairs 86 % agreed on 95 % of inputs."""
ROUNDING = 0.01
"""Relative L2 that casting gives at most: bfloat16 has 0.002 for values of one scale."""
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
    missing: NDArray[np.integer],
    comparable: NDArray[np.bool_],
    equal_share: Floats,
    equal_tensors: Floats,
    one_run: NDArray[np.bool_],
    worst: Floats,
    correlation: Floats,
    null: Floats,
    close: float = CLOSE,
) -> NDArray[np.int8]:
    """The relation of each pair, as its place in `RELATIONS`; all arguments have one shape.

    whole: whether all tensors of both have a partner. tensors: pairs of tensors. changed, rounded: how many of them
    differ by more than rounding, and by no more. missing: tensors of the larger without a partner. comparable: whether
    enough has a partner. equal_share: of the parameters that are equal or rounded, and no constants; equal_tensors: so
    many tensors are. correlation: NaN where no matrix tells anything.
    """
    with np.errstate(invalid="ignore"):
        conditions = [
            whole & (changed == 0) & (rounded == 0),
            whole & (changed == 0),
            (equal_share >= SAME_SHARE)
            | ((2 * changed <= tensors) & (equal_share >= SAME_LEAST))
            | ((equal_tensors >= 2) & (equal_tensors >= changed + missing)),
            comparable & one_run,
            comparable & whole & (worst <= close),
            comparable & (correlation > null),
            comparable & ~np.isnan(correlation),
        ]
    return np.select(conditions, range(len(conditions)), len(conditions)).astype(np.int8)
