"""Which tensors of many models match: the alignment of `matching`, asked once for models that are alike.

Models of one architecture are alike in all but their values, so that slots pair them, unless their contents say that
somebody renamed the layers. Of two architectures, each two models are aligned with their contents, up to a number; then
one of each for all of its architecture, without them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, product

import numpy as np
from numpy.typing import NDArray

from wexport.analysis import fingerprints
from wexport.analysis.matching import Alignment, Method, Place, align

MOST_TENSORS = 200_000
"""So many tensors are aligned, counted in each pair of models: some seconds."""

_BY_SLOT = 0.999
"""Confidence of a pair by slot in one architecture, about what `align` gives it."""

Model = Sequence[tuple[int, Place]]
"""The tensors of a model: what each is called by the caller, and its place."""
Samples = Callable[[set[int]], Mapping[tuple[int, int], NDArray[np.float64]]]
"""Given models, the samples of their tensors, by model and tensor."""


@dataclass(frozen=True, slots=True)
class Partners:
    """A tensor of some models that goes with one of others; right_models is None for all pairs among left_models."""

    left: int
    left_models: Sequence[int]
    right: int
    right_models: Sequence[int] | None
    method: Method
    confidence: float


def partners(models: Sequence[Model], samples: Samples) -> list[Partners]:
    """The pairs of tensors of every two models. samples: asked once, for the models that need it."""
    groups = [group for alike in _architectures(models).values() for group in _without_displaced(models, alike)]
    found = [
        Partners(key, members, key, None, "slot", _BY_SLOT)
        for members in groups
        if len(members) > 1
        for key, _ in models[members[0]]
    ]
    each: list[tuple[list[int], list[int]]] = []
    once: list[tuple[list[int], list[int]]] = []
    left = MOST_TENSORS
    for one, other in combinations(groups, 2):
        size = len(models[one[0]]) + len(models[other[0]])
        pairs = len(one) * len(other)
        if size * pairs <= left:
            left -= size * pairs
            each.append((one, other))
        else:
            left -= size
            once.append((one, other))
    for one, other in once:
        if left > 0:
            aligned = align(_places(models[one[0]]), _places(models[other[0]]))
            found += _as_matches(models[one[0]], one, models[other[0]], other, aligned)
        else:
            found += _by_slot(models[one[0]], one, models[other[0]], other)
    values = samples({model for sides in each for side in sides for model in side}) if each else {}
    members = {number for sides in each for side in sides for number in side}
    whole = {number: _with_values(models[number], number, values) for number in members}
    for one, other in each:
        for a, b in product(one, other):
            found += _as_matches(models[a], [a], models[b], [b], align(whole[a], whole[b]))
    return _gathered(found, groups)


def _architectures(models: Sequence[Model]) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    for number, tensors in enumerate(models):
        signs = [(key, place.role, place.ordered, place.given_name) for key, place in tensors]
        found[tuple(sorted(signs, key=repr))].append(number)
    return found


def _without_displaced(models: Sequence[Model], group: list[int]) -> Iterator[list[int]]:
    """The models of an architecture, and by themselves those that hold a content in another tensor than the others."""
    where: dict[Hashable, Counter[int]] = defaultdict(Counter)
    once: list[dict[Hashable, int]] = []
    for number in group:
        counts = Counter(place.content for _, place in models[number])
        once.append({place.content: key for key, place in models[number] if counts[place.content] == 1})
        for content, key in once[-1].items():
            if content is not None:
                where[content][key] += 1
    usual = {content: keys.most_common(1)[0][0] for content, keys in where.items() if len(keys) > 1}
    displaced = {
        number
        for number, contents in zip(group, once, strict=True)
        if any(contents.get(content, key) != key for content, key in usual.items())
    }
    rest = [number for number in group if number not in displaced]
    if rest:
        yield rest
    for number in sorted(displaced):
        yield [number]


def _places(model: Model) -> list[Place]:
    return [replace(place, content=None) for _, place in model]


def _with_values(model: Model, number: int, values: Mapping[tuple[int, int], NDArray[np.float64]]) -> list[Place]:
    found = []
    for key, place in model:
        sample = values.get((number, key))
        if sample is not None and len(sample):
            print_ = fingerprints.of_sample(place.canonical_shape, sample)
            place = replace(place, sample=print_, values=sample)
        found.append(place)
    return found


def _as_matches(
    left: Model, left_models: Sequence[int], right: Model, right_models: Sequence[int], found: Alignment
) -> Iterator[Partners]:
    for pair in [*found.pairs, *found.repeats]:
        keys = left[pair.left][0], right[pair.right][0]
        yield Partners(keys[0], left_models, keys[1], right_models, pair.method, pair.confidence)


def _by_slot(left: Model, left_models: Sequence[int], right: Model, right_models: Sequence[int]) -> Iterator[Partners]:
    keys = {key for key, _ in right}
    for key, _ in left:
        if key in keys:
            yield Partners(key, left_models, key, right_models, "slot", 0.5)


def _gathered(found: list[Partners], groups: Sequence[Sequence[int]]) -> list[Partners]:
    """The same with fewer parts: a tensor that all groups which have it call the same is one."""
    group_of = {model: number for number, group in enumerate(groups) for model in group}
    by_key: dict[int, list[Partners]] = defaultdict(list)
    rest = []
    for part in found:
        if part.left == part.right and part.method == "slot":
            by_key[part.left].append(part)
        else:
            rest.append(part)
    for key, parts in by_key.items():
        members = {m for part in parts for m in (*part.left_models, *(part.right_models or ()))}
        held = {group_of[member] for member in members}
        size = sum(len(groups[number]) for number in held)
        pairs = sum(
            len(part.left_models) * len(part.right_models)
            if part.right_models is not None
            else len(part.left_models) * (len(part.left_models) - 1) // 2
            for part in parts
        )
        if len(parts) > 1 and pairs == size * (size - 1) // 2:
            rest.append(Partners(key, sorted(members), key, None, "slot", min(part.confidence for part in parts)))
        else:
            rest += parts
    return rest
