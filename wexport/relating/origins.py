"""What two related models have from where: a training that lies behind both, or a start.

How alike they are does not tell: two trainings from one start on the same data end nearer to each other than a model
and what it was fine-tuned to on other data. What tells is what training leaves alone. A value that no step has touched
is equal bit for bit in both; if it had been learnt before, one training lies behind both, and if not, one start does.
And a model whose vectors all still are the constants that they start as has not been trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wexport.model.roles import KERNELS
from wexport.relating.results import Floats, Read

LEAST_EQUAL = 16
"""Values that must be equal bit for bit, beside ten times as many as chance gives."""
_STARTS = {"bias": 0.0, "beta": 0.0, "gamma": 1.0, "scale": 1.0, "moving_mean": 0.0, "moving_variance": 1.0}
"""What vectors are before training; the forget gate's bias may be 1 too."""


@dataclass(frozen=True, slots=True)
class Origin:
    """relation: "fine_tuned" or "same_start". earlier: 0 or 1 for the model that came first, None where unknown."""

    relation: str
    evidence: str
    earlier: int | None = None


def origin_of(tensors: Sequence[Read], ones: Sequence[Floats], others: Sequence[Floats]) -> Origin | None:
    """What lies behind two related models whose units are in one order; None where no evidence tells."""
    fresh = [_untrained(tensors, side) for side in (ones, others)]
    if fresh[0] != fresh[1]:
        return Origin("same_start", "the vectors of one are the constants that training starts from", fresh.index(True))
    for relation, wanted in (("fine_tuned", _STARTS.keys()), ("same_start", KERNELS)):
        equal = chance = 0
        for tensor, x, y in zip(tensors, ones, others, strict=True):
            if tensor.role in wanted and x.size > 1:
                told = _not_start(tensor.role, x)
                equal += int(np.count_nonzero((x == y) & told))
                # Of other places: what two models have that share a set of values, and no origin.
                chance += int(np.count_nonzero((x.ravel() == np.roll(y.ravel(), x.size // 2)) & told.ravel()))
        if equal >= LEAST_EQUAL and equal > 10 * chance:
            what = "values that are learnt" if relation == "fine_tuned" else "weights"
            return Origin(relation, f"{equal:,} {what} are equal bit for bit, chance gives {chance:,}")
    return None


def _untrained(tensors: Sequence[Read], values: Sequence[Floats]) -> bool:
    """Whether there are vectors enough, and all are what they start as."""
    vectors = [(each.role, x) for each, x in zip(tensors, values, strict=True) if each.role in _STARTS and x.ndim == 1]
    return sum(x.size for _, x in vectors) >= LEAST_EQUAL and not any(_not_start(role, x).any() for role, x in vectors)


def _not_start(role: str, x: Floats) -> NDArray[np.bool_]:
    starts = (0.0, 1.0) if role == "bias" else (_STARTS.get(role, 0.0),)
    return ~np.isin(x, starts)
