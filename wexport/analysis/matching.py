"""Which tensor of one model is which of another: an alignment of the two by all evidence.

A wrong pair is worse than none: it would be told as a change of values. So what several pairs would explain equally
well stays without one, and is told as such.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from wexport.analysis import evidence
from wexport.analysis.evidence import Unit
from wexport.analysis.places import Place, compatible
from wexport.analysis.sequences import MOST_CELLS, Scores, aligned, assigned, confidence

Method = Literal["slot", "name", "order", "content"]
METHODS: tuple[Method, ...] = ("slot", "name", "order", "content")

__all__ = ["METHODS", "Alignment", "Match", "Method", "Place", "align", "match"]

_CONTENTS: tuple[Callable[[Place], Hashable], ...] = (lambda place: place.content, lambda place: place.sample)
"""What tells equal content, the surer first."""
_CERTAIN = 24.0
"""Nats for equal content: 1 - confidence is about 4e-11."""
_EVIDENCE = 16
"""Values whose equality is no chance, whatever the roles."""
_BOUND = 3.0
"""Nats for being the one tensor of its role in a layer whose partner is known."""


@dataclass(frozen=True, slots=True)
class Match:
    """A pair: positions in the two sequences that were given, what it rests on, and how sure it is.

    method: "slot" (equal places in the two models), "name" (equal names that somebody gave), "content" (equal or
    nearly equal values) or "order" (place among neighbours, shape and role): the first of them that holds.
    confidence: 0.5 (no better than another answer) to 1 (equal content), from the margin over the next best answer.
    """

    left: int
    right: int
    method: Method
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Alignment:
    """Two models side by side; each tensor is in one of `pairs` or `reshaped` at most.

    pairs: of equal canonical shape or equal content. reshaped: the same tensor in another shape, such as that of a
    widened layer. repeats: tensors without a partner of their own whose content another tensor of the other model
    has, such as tied weights that one file holds twice: their positions, one of which may be in a pair.
    ambiguous: what is left on both sides and could be paired in several ways that nothing tells apart.
    """

    pairs: list[Match]
    reshaped: list[Match]
    repeats: list[Match]
    ambiguous: list[tuple[list[int], list[int]]]


def match(left: Sequence[Place], right: Sequence[Place]) -> list[Match]:
    """The pairs of `align`."""
    return align(left, right).pairs


def align(left: Sequence[Place], right: Sequence[Place]) -> Alignment:
    """Two models' tensors side by side, in the order of `left`.

    1. Models of one architecture whose contents do not say otherwise are paired by slot.
    2. Equal content that each side holds once pairs tensors, whatever they are called, and so says which layer is
       which; the rest of such a layer follows by role and shape.
    3. Layers are aligned, in the model's order where both files have one: chosen names, shapes, roles, slots (where
       both models have as many layers of that sort, as an insertion shifts ordinals) and likeness of values are summed
       up, and the best answer counts where it is better than the next by a margin.
    4. What is left is aligned tensor by tensor in the same way.

    Kinds are not mixed, but for weights and arrays: a file that one reader takes for a model may be plain data to
    another. `align(right, left)` gives the same pairs the other way round.
    """
    pairs = _Pairs(left, right)
    if not _by_architecture(pairs):
        _by_content(pairs)
        _follow_layers(pairs)
        _by_layers(pairs)
        _follow_layers(pairs)
        _by_tensors(pairs)
        _reshaped(pairs)
    return pairs.result()


class _Pairs:
    """What is paired, and what is left on either side."""

    def __init__(self, left: Sequence[Place], right: Sequence[Place]) -> None:
        self.places = (left, right)
        self.found: list[Match] = []
        self.reshaped: list[Match] = []
        self.partners: tuple[dict[Hashable, Hashable], dict[Hashable, Hashable]] = ({}, {})
        """The layers that go together, from either side, in the order of what told it."""
        self.margins: dict[Hashable, float] = {}
        self._free = tuple(
            dict.fromkeys(sorted(range(len(side)), key=lambda number: side[number].index)) for side in self.places
        )

    def add(self, left: int, right: int, margin: float, *, by_content: bool = False) -> None:
        one, other = self.places[0][left], self.places[1][right]
        del self._free[0][left], self._free[1][right]
        method: Method = "content" if by_content else "order"
        if one.slot == other.slot and one.kind == other.kind:
            method = "slot"
        elif one.given_name is not None and one.given_name == other.given_name:
            method = "name"
        pair = Match(left, right, method, confidence(_CERTAIN if by_content else margin))
        # Equal bytes are equal tensors, though one of the files may not tell how it lays them out.
        alike = by_content or one.canonical_shape == other.canonical_shape
        (self.found if alike else self.reshaped).append(pair)

    def bind(self, one: Hashable, other: Hashable, margin: float) -> None:
        """Say that two layers go together, unless something surer said otherwise."""
        if one is None or other is None or one in self.partners[0] or other in self.partners[1]:
            return
        self.partners[0][one], self.partners[1][other] = other, one
        self.margins[one] = margin

    def bond(self, side: int, place: Place) -> Hashable:
        """The layer of a tensor and its partner, where that is known: what is left of it is no other layer's."""
        layer = place.layer
        partner = self.partners[side].get(layer) if layer else None
        if partner is None:
            return None
        return (layer, partner) if side == 0 else (partner, layer)

    def left_over(self, side: int) -> list[int]:
        """The numbers of the tensors without a pair, in the model's order."""
        return list(self._free[side])

    def result(self) -> Alignment:
        free = [set(self.left_over(side)) for side in (0, 1)]
        by_left = lambda pair: (pair.left, pair.right)  # noqa: E731
        repeats = sorted(_repeats(self.places, free), key=by_left)
        repeated = [{pair.left for pair in repeats}, {pair.right for pair in repeats}]
        rest = [free[side] - repeated[side] for side in (0, 1)]
        return Alignment(
            sorted(self.found, key=by_left), sorted(self.reshaped, key=by_left), repeats, _ambiguous(self, rest)
        )


# -- by architecture ---------------------------------------------------------------------------------------------------


def _by_architecture(pairs: _Pairs) -> bool:
    """Pair by slot if both models have the same tensors, and no content stands in another place."""
    left, right = pairs.places
    by_slot = [{(p.kind, p.slot): number for number, p in enumerate(places)} for places in pairs.places]
    if by_slot[0].keys() != by_slot[1].keys() or not len(left) == len(by_slot[0]) == len(right):
        return False
    both = [(number, by_slot[1][key]) for key, number in by_slot[0].items()]
    for one, other in both:
        a, b = left[one], right[other]
        if a.canonical_shape != b.canonical_shape or not compatible(a.word, b.word):
            return False
        if a.given_name != b.given_name and a.given_name and b.given_name and _swapped(left, right, a.given_name):
            return False
    for content in _CONTENTS:
        where = [_once((content(place), number) for number, place in enumerate(places)) for places in pairs.places]
        at = dict(both)
        if any(where[1].get(value, at[number]) != at[number] for value, number in where[0].items()):
            return False
    for one, other in both:
        same = left[one].content is not None and left[one].content == right[other].content
        named = left[one].given_name is not None and left[one].given_name == right[other].given_name
        margin = evidence.SLOT + evidence.ALIKE + (evidence.NAME if named else 0)
        pairs.add(one, other, _CERTAIN if same else margin)
    return True


def _swapped(left: Sequence[Place], right: Sequence[Place], name: str) -> bool:
    """Whether both models have a layer of that chosen name, so that the names contradict the slots."""
    return all(any(place.given_name == name for place in side) for side in (left, right))


# -- by content --------------------------------------------------------------------------------------------------------


def _by_content(pairs: _Pairs) -> None:
    """Pair what each side holds once; then of contents held several times what has one name or slot on either side."""
    weights: dict[tuple[Hashable, Hashable], int] = defaultdict(int)
    for content in _CONTENTS:
        # Once among all tensors, not only those left over: a vector of zeros that others hold too tells nothing.
        once = [_once((content(place), number) for number, place in enumerate(places)) for places in pairs.places]
        free = [set(pairs.left_over(side)) for side in (0, 1)]
        for value, left in once[0].items():
            right = once[1].get(value)
            if right is not None and left in free[0] and right in free[1]:
                one, other = pairs.places[0][left], pairs.places[1][right]
                if one.family == other.family and compatible(one.word, other.word):
                    pairs.add(left, right, _CERTAIN, by_content=True)
                    weights[one.layer, other.layer] += evidence.size(one)
    for (one_layer, other_layer), _ in sorted(weights.items(), key=lambda item: (-item[1], repr(item[0]))):
        pairs.bind(one_layer, other_layer, _CERTAIN)
    for content in _CONTENTS:
        for key in (_slot_key, _name_key):
            groups = [
                _once((_with(content(places[n]), key(places[n])), n) for n in pairs.left_over(side))
                for side, places in enumerate(pairs.places)
            ]
            for value, left in groups[0].items():
                if value in groups[1]:
                    one, other = pairs.places[0][left], pairs.places[1][groups[1][value]]
                    if pairs.bond(0, one) == pairs.bond(1, other):
                        pairs.add(left, groups[1][value], _CERTAIN, by_content=True)
                        pairs.bind(one.layer, other.layer, _CERTAIN)


def _slot_key(place: Place) -> Hashable:
    return place.family, place.slot


def _name_key(place: Place) -> Hashable:
    return None if place.given_name is None else (place.family, place.given_name, place.word)


def _with(content: Hashable, key: Hashable) -> Hashable:
    return None if content is None or key is None else (content, key)


def _once(items: Iterable[tuple[Hashable, int]]) -> dict[Hashable, int]:
    """Contents that are met once, and with what."""
    listed = [(content, value) for content, value in items if content is not None]
    counts = Counter(content for content, _ in listed)
    return {content: value for content, value in listed if counts[content] == 1}


def _repeats(places: tuple[Sequence[Place], Sequence[Place]], free: Sequence[set[int]]) -> list[Match]:
    """Left-over tensors that have their equal among all tensors of the other model."""
    found: dict[tuple[int, int], Match] = {}
    for side in (0, 1):
        for content in _CONTENTS:
            others: dict[Hashable, int] = {}
            for number, place in enumerate(places[1 - side]):
                others.setdefault((content(place), place.family), number)
            for number in free[side]:
                place = places[side][number]
                twin = None if content(place) is None else others.get((content(place), place.family))
                # Tied weights have two roles; of fewer values, those of two roles may be equal by chance.
                tied = evidence.size(place) >= _EVIDENCE
                if twin is not None and (tied or compatible(place.word, places[1 - side][twin].word)):
                    pair = (number, twin) if side == 0 else (twin, number)
                    found.setdefault(pair, Match(*pair, "content"))
    return list(found.values())


# -- layer by layer ----------------------------------------------------------------------------------------------------


def _by_layers(pairs: _Pairs) -> None:
    """Say which layers go together, of those whose contents did not."""
    layers = [_layers(pairs.places[side]) for side in (0, 1)]
    for family in sorted({key[0] for side in layers for key in side}):
        left_keys, right_keys = ([key for key in side if key[0] == family] for side in layers)
        keys = _open(left_keys, right_keys, pairs.partners)
        units = [[Unit.of(key, layers[side][key], pairs.places[side]) for key in keys[side]] for side in (0, 1)]
        for left, right, margin in _answer(
            units, lambda one, other: evidence.of_layers(one, other, pairs.partners[0]), pairs.partners
        ):
            pairs.bind(units[0][left].key, units[1][right].key, margin)


_Layer = tuple[str, str]


def _layers(places: Sequence[Place]) -> dict[_Layer, list[int]]:
    """The tensors of each layer, layers in the model's order; a tensor without a layer is in none."""
    members: dict[_Layer, list[int]] = defaultdict(list)
    for number in sorted(range(len(places)), key=lambda number: places[number].index):
        layer = places[number].layer
        if layer is not None:
            members[layer].append(number)
    return members


def _open(
    left: list[_Layer], right: list[_Layer], partners: Sequence[Mapping[Hashable, Hashable]]
) -> list[list[_Layer]]:
    """The layers without a partner, and those beside them, which say between which others they stand."""
    neighbours: list[set[Hashable]] = [set(), set()]
    for side, keys in enumerate((left, right)):
        known = [key in partners[side] for key in keys]
        for place, key in enumerate(keys):
            if not all(known[max(place - 1, 0) : place + 2]):
                neighbours[side].add(key)
    neighbours[0] |= {partners[1][key] for key in neighbours[1] if key in partners[1]}
    neighbours[1] |= {partners[0][key] for key in neighbours[0] if key in partners[0]}
    return [[key for key in keys if key in neighbours[side]] for side, keys in enumerate((left, right))]


def _answer(
    units: Sequence[Sequence[Unit]],
    evidence_of: Callable[[Sequence[Unit], Sequence[Unit]], Scores],
    partners: Sequence[Mapping[Hashable, Hashable]] = ({}, {}),
) -> list[tuple[int, int, float]]:
    """Pairs of units, in order where both sides have one and then whatever their order."""
    left, right = units
    in_order = all(unit.ordered for side in units for unit in side)
    if len(left) * len(right) > MOST_CELLS:
        # Too many to weigh, but not to see that they are the same from the first to the last.
        same = in_order and [unit.words for unit in left] == [unit.words for unit in right]
        return [(number, number, evidence.ALIKE) for number in range(len(left)) if same]
    if not left or not right:
        return []
    scores = evidence_of(left, right)
    found = aligned(scores) if in_order else []
    rest = [
        [
            number
            for number, unit in enumerate(units[side])
            if number not in {pair[side] for pair in found} and unit.key not in partners[side]
        ]
        for side in (0, 1)
    ]
    crossing = [(rest[0][one], rest[1][other], margin) for one, other, margin in assigned(scores[np.ix_(*rest)])]
    # What the order leaves open is not decided by leaving the order aside.
    return found + [pair for pair in crossing if not in_order or _is_only(scores, *pair[:2])]


def _is_only(scores: Scores, row: int, column: int) -> bool:
    """Whether no other unit at all, paired or not, comes near."""
    score = scores[row, column]
    others = [*scores[row, :column], *scores[row, column + 1 :], *scores[:row, column], *scores[row + 1 :, column]]
    return bool(score - max(others, default=0.0) >= 1)


def _follow_layers(pairs: _Pairs) -> None:
    """Pair what is left of layers that go together, by leaf, then by role, then by shape."""
    groups = [_bonded(pairs, side) for side in (0, 1)]
    for bond, lefts in groups[0].items():
        rights = groups[1].get(bond, [])
        margin = pairs.margins.get(bond[0], _BOUND)  # type: ignore[index]
        for left, right in evidence.within_layer(lefts, rights, pairs.places):
            pairs.add(left, right, margin)


def _bonded(pairs: _Pairs, side: int) -> dict[Hashable, list[int]]:
    found: dict[Hashable, list[int]] = defaultdict(list)
    for number in pairs.left_over(side):
        bond = pairs.bond(side, pairs.places[side][number])
        if bond is not None:
            found[bond].append(number)
    return found


# -- tensor by tensor --------------------------------------------------------------------------------------------------


def _by_tensors(pairs: _Pairs) -> None:
    """Pair what layers did not: files without layers, and layers of which a file holds another part."""
    found = True
    while found:
        found = False
        groups = [_alike(pairs, side) for side in (0, 1)]
        for key in sorted(groups[0].keys() & groups[1].keys(), key=_largest_first):
            units = [groups[0][key], groups[1][key]]
            for row, column, margin in _answer(units, lambda one, other: evidence.of_tensors(one, other, pairs.places)):
                left, right = units[0][row].numbers[0], units[1][column].numbers[0]
                one, other = pairs.places[0][left], pairs.places[1][right]
                # What larger tensors have bound meanwhile is another question, asked the next time round.
                if pairs.bond(0, one) == pairs.bond(1, other):
                    pairs.add(left, right, margin)
                    pairs.bind(one.layer, other.layer, margin)
                    found = True


_Alike = tuple[str, tuple[str, ...], tuple[int, ...], Hashable]


def _alike(pairs: _Pairs, side: int) -> dict[_Alike, list[Unit]]:
    """What is left of a side, by what two tensors must share to be the same."""
    found: dict[_Alike, list[Unit]] = defaultdict(list)
    for number in pairs.left_over(side):
        place = pairs.places[side][number]
        key = (place.family, place.sides, place.canonical_shape, pairs.bond(side, place))
        found[key].append(Unit.of(number, [number], pairs.places[side]))
    return found


def _largest_first(key: _Alike) -> tuple[int, str]:
    return -math.prod(key[2]), repr(key)


def _reshaped(pairs: _Pairs) -> None:
    """What is left of one slot on both sides is the same in another shape, where it stands in no layer."""
    by_slot = [{_slot_key(pairs.places[side][n]): n for n in pairs.left_over(side)} for side in (0, 1)]
    for key, left in by_slot[0].items():
        right = by_slot[1].get(key)
        if right is None or pairs.places[0][left].layer is not None:
            continue
        if compatible(pairs.places[0][left].word, pairs.places[1][right].word):
            pairs.add(left, right, evidence.SLOT)


def _ambiguous(pairs: _Pairs, rest: Sequence[set[int]]) -> list[tuple[list[int], list[int]]]:
    """What is left on both sides and could be the same."""
    left = [{key: [unit.numbers[0] for unit in units] for key, units in _alike(pairs, side).items()} for side in (0, 1)]
    groups = [{key: [n for n in numbers if n in rest[side]] for key, numbers in left[side].items()} for side in (0, 1)]
    both = sorted(groups[0].keys() & groups[1].keys(), key=_largest_first)
    return [(groups[0][key], groups[1][key]) for key in both if groups[0][key] and groups[1][key]]
