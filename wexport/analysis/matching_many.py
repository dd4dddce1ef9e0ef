"""Which tensors of many models match by order or content: what slots do not pair.

Models of one architecture are alike in all but their values, so order is asked once for each two architectures. Where
files without an order leave tensors of one shape, their contents may tell, and these are asked of each two models.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

from wexport.analysis.matching import Match, Method, Place, match

MOST_ARCHITECTURE_PAIRS = 300
"""So many pairs of architectures are matched by order as well; in a table of more, tensors match by slot alone."""
MOST_CONTENTS = 400_000
"""So many tensors are looked at for their contents, counted in each pair of models: a few seconds."""

Model = Sequence[tuple[int, Place]]
"""The tensors of a model: what each is called by the caller, and its place."""
Contents = Callable[[set[int]], Mapping[tuple[int, int], str]]
"""Given models, what tells the content of their tensors, by model and tensor."""


@dataclass(frozen=True, slots=True)
class Partners:
    """A tensor of some models that goes with one of others."""

    left: int
    left_models: Sequence[int]
    right: int
    right_models: Sequence[int]
    method: Method


def by_order_or_content(models: Sequence[Model], contents: Contents) -> Iterator[Partners]:
    """Pairs of tensors that have not the same slot and shape. contents: asked once, for the models that need it."""
    architectures: dict[tuple[tuple[int, str, bool], ...], list[int]] = defaultdict(list)
    for number, tensors in enumerate(models):
        architectures[tuple((key, place.role, place.ordered) for key, place in tensors)].append(number)
    if math.comb(len(architectures), 2) > MOST_ARCHITECTURE_PAIRS:
        return
    unsure: list[tuple[list[int], list[int]]] = []
    left_to_look_at = MOST_CONTENTS
    for one, other in combinations(architectures.values(), 2):
        found = _matched(models[one[0]], models[other[0]])
        size = len(one) * len(other) * (len(models[one[0]]) + len(models[other[0]]))
        if size <= left_to_look_at and _may_be_told(models[one[0]], models[other[0]], found):
            left_to_look_at -= size
            unsure.append((one, other))
        else:
            yield from _partners(models[one[0]], one, models[other[0]], other, found)
    told = contents({model for sides in unsure for side in sides for model in side}) if unsure else {}
    for one, other in unsure:
        for left, right in product(one, other):
            sides = [_told(models[model], model, told) for model in (left, right)]
            yield from _partners(sides[0], [left], sides[1], [right], _matched(*sides))


def _matched(left: Model, right: Model) -> list[Match]:
    return match([place for _, place in left], [place for _, place in right])


def _partners(
    left: Model, left_models: Sequence[int], right: Model, right_models: Sequence[int], found: Sequence[Match]
) -> Iterator[Partners]:
    for pair in found:
        if pair.method != "slot":
            yield Partners(left[pair.left][0], left_models, right[pair.right][0], right_models, pair.method)


def _may_be_told(left: Model, right: Model, found: Sequence[Match]) -> bool:
    """Whether an order would have to tell tensors apart that are left on both sides, and one has none."""
    sides = ((left, {pair.left for pair in found}), (right, {pair.right for pair in found}))
    rest = [[place for number, (_, place) in enumerate(side) if number not in paired] for side, paired in sides]
    in_both = {place.canonical_shape for place in rest[0]} & {place.canonical_shape for place in rest[1]}
    return any(place.canonical_shape in in_both and not place.ordered for side in rest for place in side)


def _told(model: Model, number: int, contents: Mapping[tuple[int, int], str]) -> Model:
    return [(key, replace(place, sample=contents.get((number, key)))) for key, place in model]
