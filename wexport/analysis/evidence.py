"""What speaks for two layers, or two tensors, being the same, in nats: the log of how much likelier it makes that.

The weights are set by judgement, in this order: equal values settle it; a name that somebody chose is seldom given to
another layer; equal shapes and roles are common within a model; a slot is worth as much only where nothing was put in.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wexport.analysis.places import Place, compatible, without_ordinals
from wexport.analysis.sequences import Scores

ALIKE = 4.0
"""Equal roles and shapes of all tensors."""
UNTOLD = 3.0
"""Equal shapes where one side does not tell the roles."""
KIN = 1.0
"""The same sort of layer, in other shapes; up to 2 more by the share of values in tensors of equal shape."""
SLOT = 3.0
"""The same slot, where both models have as many layers of that sort."""
NAME = 6.0
"""The same name, if somebody chose it."""
BOUND = 24.0
"""Layers that are known to go together."""
LIKE = 12.0
"""Correlated values, at most."""
_LEAST_VALUES, _LEAST_Z, _LEAST_CORRELATION = 32, 5.0, 0.1
_GRAIN = 64
"""Scores are multiples of 1 / 64, so that sums are exact and the same in any order."""
_LEAVES = {"parametrizations/weight/original0": "weight_g", "parametrizations/weight/original1": "weight_v"}


def size(place: Place) -> int:
    """Values in a tensor."""
    return math.prod(place.canonical_shape)


@dataclass(frozen=True, slots=True)
class Unit:
    """A layer, or a tensor by itself, that is to be aligned. numbers: its tensors, the largest first."""

    key: Hashable
    family: str
    numbers: list[int]
    slot: str
    name: str | None
    sides: tuple[str, ...]
    words: tuple[tuple[str, tuple[int, ...]], ...]
    ordered: bool
    shape: tuple[int, ...]
    values: NDArray[np.float64] | None

    @classmethod
    def of(cls, key: Hashable, numbers: Sequence[int], places: Sequence[Place]) -> Unit:
        members = sorted(numbers, key=lambda number: (-size(places[number]), places[number].index))
        first = places[members[0]]
        of_layer = len(numbers) > 1 or isinstance(key, tuple)
        slot = first.layer[1] if of_layer and first.layer is not None else first.slot
        return cls(
            key,
            first.family,
            members,
            slot,
            first.given_name,
            first.sides,
            tuple(sorted((places[number].word, places[number].canonical_shape) for number in members)),
            all(places[number].ordered for number in members),
            first.canonical_shape,
            first.values if len(first.canonical_shape) > 1 else None,
        )


def of_layers(left: Sequence[Unit], right: Sequence[Unit], partners: Mapping[Hashable, Hashable]) -> Scores:
    """What speaks for each pair of layers. partners: of the layers of the left, where they are known."""
    scores = _likeness_of_words(left, right)
    scores[_codes(left, right, lambda unit: unit.sides) == 0] = 0
    possible = scores > 0
    scores += possible * (SLOT * _equal_slots(left, right) + NAME * _codes(left, right, lambda unit: unit.name))
    scores += possible * _likeness(left, right)
    rows = {unit.key: row for row, unit in enumerate(left)}
    columns = {unit.key: column for column, unit in enumerate(right)}
    known = [(rows[one], columns[other]) for one, other in partners.items() if one in rows and other in columns]
    scores[[row for row, _ in known]] = 0
    scores[:, [column for _, column in known]] = 0
    for row, column in known:
        scores[row, column] = BOUND
    return scores


def of_tensors(left: Sequence[Unit], right: Sequence[Unit], places: Sequence[Sequence[Place]]) -> Scores:
    """What speaks for each pair of tensors of one shape."""
    words = [[side[unit.numbers[0]].word for unit in units] for side, units in zip(places, (left, right), strict=True)]
    stated = {word for side in words for word in side} - {"unknown"}
    scores = np.zeros((len(left), len(right)), np.float32)
    for one in set(words[0]):
        for other in set(words[1]):
            # Of several roles in one shape (the vectors of a normalisation) nothing tells which comes first.
            score = UNTOLD if compatible(one, other) and (one == other or len(stated) == 1) else 0.0
            score = ALIKE if one == other != "unknown" else score
            block = np.ix_([w == one for w in words[0]], [w == other for w in words[1]])
            scores[block] = score
    possible = scores > 0
    scores += possible * (SLOT * _equal_slots(left, right) + NAME * _codes(left, right, lambda unit: unit.name))
    scores += possible * _likeness(left, right)
    return scores


# -- kinds of evidence -------------------------------------------------------------------------------------------------


def _codes(left: Sequence[Unit], right: Sequence[Unit], key: Callable[[Unit], Hashable]) -> NDArray[np.bool_]:
    """Where the keys are equal, and not None."""
    codes: dict[Hashable, int] = {}
    one, other = (
        np.array([-1 - side if key(unit) is None else codes.setdefault(key(unit), len(codes)) for unit in units])
        for side, units in enumerate((left, right))
    )
    equal: NDArray[np.bool_] = one[:, None] == other[None, :]
    return equal


def _equal_slots(left: Sequence[Unit], right: Sequence[Unit]) -> NDArray[np.bool_]:
    """Equal slots, where both have as many of that sort: else something was put in, and the ordinals shifted."""
    counts = [Counter(without_ordinals(unit.slot) for unit in units) for units in (left, right)]

    def slot(unit: Unit) -> str | None:
        sort = without_ordinals(unit.slot)
        return unit.slot if counts[0][sort] == counts[1][sort] else None

    return _codes(left, right, slot)


_Words = tuple[tuple[str, tuple[int, ...]], ...]
_Kind = tuple[str, _Words]
"""A layer's slot without ordinals, and the roles and shapes of its tensors."""


def _likeness_of_words(left: Sequence[Unit], right: Sequence[Unit]) -> Scores:
    """How alike the layers are in roles and shapes."""
    kinds: list[dict[_Kind, int]] = [{}, {}]
    codes: list[NDArray[np.intp]] = []
    examples: list[list[_Kind]] = []
    for units, seen in zip((left, right), kinds, strict=True):
        codes.append(
            np.array([seen.setdefault((without_ordinals(unit.slot), unit.words), len(seen)) for unit in units])
        )
        examples.append(list(seen))
    table = np.zeros((len(examples[0]), len(examples[1])), np.float32)
    # Kinds of layers that share neither a sort nor a tensor's shape are not looked at pair by pair.
    near: dict[Hashable, list[int]] = defaultdict(list)
    for column, (sort, words) in enumerate(examples[1]):
        for mark in {sort, *(shape for _, shape in words)}:
            near[mark].append(column)
    for row, (sort, words) in enumerate(examples[0]):
        for column in {place for mark in {sort, *(shape for _, shape in words)} for place in near[mark]}:
            other_sort, other_words = examples[1][column]
            table[row, column] = _kinship(words, other_words, same_sort=sort == other_sort)
    found: Scores = table[codes[0]][:, codes[1]]
    return found


def _kinship(one: _Words, other: _Words, *, same_sort: bool) -> float:
    if one == other:
        return ALIKE
    shapes = [sorted(shape for _, shape in words) for words in (one, other)]
    roles = [Counter(word for word, _ in words) for words in (one, other)]
    if shapes[0] == shapes[1] and any(not role.keys() - {"unknown"} for role in roles):
        return UNTOLD
    both = Counter(one) & Counter(other)
    total = max(sum(math.prod(shape) for _, shape in words) for words in (one, other))
    share = sum(math.prod(shape) * count for (_, shape), count in both.items()) / max(total, 1)
    if not share and not (same_sort and roles[0] == roles[1]):
        return 0.0
    ranks = [sorted(len(shape) for shape in side) for side in shapes]
    if not share and ranks[0] != ranks[1]:
        return 0.0
    return KIN + round(2 * share * _GRAIN) / _GRAIN


def _likeness(left: Sequence[Unit], right: Sequence[Unit]) -> Scores:
    """Correlation of the values of two layers' largest matrices.

    Under independence the correlation of n values is near normal with variance 1/n, so that z = r sqrt(n) tells z^2 / 2
    nats; it is counted from 5 standard deviations on and up to a limit, as a few directions may be common to all
    trainings on one kind of data.
    """
    found = np.zeros((len(left), len(right)), np.float32)
    groups: list[dict[tuple[tuple[int, ...], int], list[int]]] = [defaultdict(list), defaultdict(list)]
    for side, units in enumerate((left, right)):
        for number, unit in enumerate(units):
            if unit.values is not None and len(unit.values) >= _LEAST_VALUES:
                groups[side][unit.shape, len(unit.values)].append(number)
    for key in groups[0].keys() & groups[1].keys():
        rows, columns = groups[0][key], groups[1][key]
        count = key[1]
        r = _standard([left[row] for row in rows]) @ _standard([right[column] for column in columns]).T
        z = r * math.sqrt(count)
        sure = (z >= _LEAST_Z) & (r >= _LEAST_CORRELATION)
        nats = np.where(sure, np.minimum(z**2 / 2, LIKE * (1 + r) / 2), 0)
        found[np.ix_(rows, columns)] = np.round(nats * _GRAIN) / _GRAIN
    return found


def _standard(units: Sequence[Unit]) -> NDArray[np.float64]:
    """Values less their mean, by their length; 0 where these are not finite."""
    rows = np.stack([unit.values for unit in units if unit.values is not None])
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        rows = rows - rows.mean(axis=1, keepdims=True)
        rows = rows / np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
    return np.where(np.isfinite(rows).all(axis=1)[:, None], rows, 0.0)


# -- within a layer ----------------------------------------------------------------------------------------------------


def within_layer(
    lefts: Sequence[int], rights: Sequence[int], places: Sequence[Sequence[Place]]
) -> list[tuple[int, int]]:
    """Pairs of the tensors of two layers that are the same: by leaf, role and shape, the surest first."""
    found: list[tuple[int, int]] = []
    free = [list(lefts), list(rights)]
    for key, in_order in _KEYS:
        groups: list[dict[Hashable, list[int]]] = [defaultdict(list), defaultdict(list)]
        for side in (0, 1):
            for number in free[side]:
                mark = key(places[side][number])
                if mark is not None:
                    groups[side][mark].append(number)
        for mark, ones in groups[0].items():
            others = groups[1].get(mark, [])
            if len(ones) != len(others) or (len(ones) > 1 and not (in_order and _in_order(ones, others, places))):
                continue
            new = list(zip(ones, others, strict=True))
            if all(compatible(places[0][one].word, places[1][other].word) for one, other in new):
                found += new
                free[0] = [number for number in free[0] if number not in ones]
                free[1] = [number for number in free[1] if number not in others]
    return found


def _in_order(ones: Sequence[int], others: Sequence[int], places: Sequence[Sequence[Place]]) -> bool:
    """Whether a framework's own order tells the tensors apart; that of a file of plain arrays is anybody's."""
    members = [places[0][number] for number in ones], [places[1][number] for number in others]
    one_untold = any(all(place.word == "unknown" for place in side) for side in members)
    one_role = len({place.word for side in members for place in side}) == 1
    one_layer = len({place.layer for side in members for place in side}) == 1
    weights = all(place.kind == "weight" for side in members for place in side)
    return all(place.ordered for side in members for place in side) and (
        one_role or (one_untold and one_layer and weights)
    )


_KEYS: tuple[tuple[Callable[[Place], Hashable], bool], ...] = (
    (lambda place: (place.sides, place.leaf, place.word, place.canonical_shape), False),
    (lambda place: (place.sides, place.word, place.canonical_shape) if place.word != "unknown" else None, True),
    (lambda place: (place.sides, place.canonical_shape), True),
    (lambda place: (place.sides, place.leaf, place.word, len(place.canonical_shape)), False),
)
