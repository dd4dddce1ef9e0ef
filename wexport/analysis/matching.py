"""Which tensor of one model is which of another.

A wrong pair is worse than none: it would be told as a change of values. So what several pairs would explain equally
well stays without one.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from wexport.model.roles import ROLES

Method = Literal["slot", "order", "content"]

_SIDES = frozenset({"forward", "backward", "query", "key", "value", "attention_output"})
"""Parts of a slot that are words of the layer's own: a layer of one such word is never one of another."""


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor as matching sees it.

    slot, kind, role, canonical_shape: as in the table. index: its place in the file.
    content: a hash of the values as stored; None where it is not known, which only leaves out what it would tell.
    sample: the same of values at fixed places of the canonical layout, which tells equal content however it is stored.
    ordered: whether the places of the file are the model's own order; False for files that sort by name.
    """

    slot: str
    kind: str
    role: str
    canonical_shape: tuple[int, ...]
    index: int
    content: Hashable = None
    sample: Hashable = None
    ordered: bool = True


_CONTENTS: tuple[Callable[[Place], Hashable], ...] = (lambda place: place.content, lambda place: place.sample)
"""What tells equal content, the surer first."""


@dataclass(frozen=True, slots=True)
class Match:
    """A pair: positions in the two sequences that were given, and what it rests on."""

    left: int
    right: int
    method: Method


def match(left: Sequence[Place], right: Sequence[Place]) -> list[Match]:
    """Pairs of two models' tensors, in the order of `left`; each tensor is in one pair at most.

    1. slot: equal kind, slot and canonical shape.
    2. order: of the rest, layers whose tensors are alike (equal roles and canonical shapes), if both models have
       equally many of them; then, in the same way, single tensors; then tensors whose roles only one side tells, if
       they are of one layer, or of one role. Several at once only where both files have the model's order; else where
       each side has one only.
       Not where equal content says that the order is another, nor between layers of which other tensors are paired
       elsewhere.
    3. content: of the rest, equal content that each side holds once. Then by order again, as there may now be one
       candidate where there were several.

    Kinds are not mixed, but for weights and arrays: a file that one reader takes for a model may be plain data to
    another. `match(right, left)` gives the same pairs the other way round.
    """
    pairs = _Pairs(left, right)
    _by_slot(pairs)
    _by_order(pairs)
    if _by_content(pairs):
        _by_order(pairs)
    return sorted(pairs.found, key=lambda pair: pair.left)


class _Pairs:
    """What is paired, and what is left on either side."""

    def __init__(self, left: Sequence[Place], right: Sequence[Place]) -> None:
        self.places = (left, right)
        self.found: list[Match] = []
        self._partners: tuple[dict[Hashable, Hashable], dict[Hashable, Hashable]] = ({}, {})
        self._free = tuple(
            dict.fromkeys(sorted(range(len(side)), key=lambda number: side[number].index)) for side in self.places
        )

    def add(self, left: int, right: int, method: Method) -> None:
        del self._free[0][left], self._free[1][right]
        self.found.append(Match(left, right, method))
        one, other = _layer(self.places[0][left]), _layer(self.places[1][right])
        if one and other:
            self._partners[0].setdefault(one, other)
            self._partners[1].setdefault(other, one)

    def torn(self, left: int, right: int) -> bool:
        """Whether one of their layers goes with another layer than that of this pair."""
        one, other = _layer(self.places[0][left]), _layer(self.places[1][right])
        if not one or not other:
            return False
        return self._partners[0].get(one, other) != other or self._partners[1].get(other, one) != one

    def bond(self, side: int, place: Place) -> Hashable:
        """The layer of a tensor and its partner, if others of it are paired: what is left of it is no other layer's."""
        layer = _layer(place)
        partner = self._partners[side].get(layer) if layer else None
        if partner is None or self._partners[1 - side].get(partner) != layer:
            return None
        return (layer, partner) if side == 0 else (partner, layer)

    def left_over(self, side: int) -> list[int]:
        """The numbers of the tensors without a pair, in the model's order."""
        return list(self._free[side])

    def grouped(self, key: Callable[[int, Place], Hashable]) -> Iterator[tuple[list[int], list[int]]]:
        """Left-over tensors of equal key that both sides have, in the model's order."""
        sides = [
            _gathered((key(side, places[number]), number) for number in self.left_over(side))
            for side, places in enumerate(self.places)
        ]
        both = [(numbers, sides[1][value]) for value, numbers in sides[0].items() if value in sides[1]]
        # The largest first, as they tell most of which layer is which; the same order from either side.
        yield from sorted(both, key=lambda groups: self._weight(groups[0][0]))

    def _weight(self, number: int) -> tuple[int, str, str]:
        place = self.places[0][number]
        return -math.prod(place.canonical_shape), str(place.canonical_shape), _role(place)


def _gathered(pairs: Iterable[tuple[Hashable, int]]) -> dict[Hashable, list[int]]:
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for key, number in pairs:
        groups[key].append(number)
    return groups


# -- by slot -----------------------------------------------------------------------------------------------------------


def _by_slot(pairs: _Pairs) -> None:
    for lefts, rights in pairs.grouped(lambda _, place: (place.kind, place.slot, place.canonical_shape)):
        if len(lefts) == len(rights) == 1:
            pairs.add(lefts[0], rights[0], "slot")


# -- by order ----------------------------------------------------------------------------------------------------------


def _by_order(pairs: _Pairs) -> None:
    layers = [_layers(pairs, side) for side in (0, 1)]
    for key, lefts in layers[0].items():
        _pair_in_order(pairs, lefts, layers[1].get(key, []))
    for one, other in pairs.grouped(
        lambda side, p: (_family(p), pairs.bond(side, p), _side(p), _role(p), p.canonical_shape)
    ):
        _pair_in_order(pairs, [[number] for number in one], [[number] for number in other])
    for one, other in pairs.grouped(lambda _, p: (p.kind, _layer(p), p.canonical_shape)):
        # Within a layer the order is the framework's own; that of a file of plain arrays is anybody's.
        if pairs.places[0][one[0]].kind == "weight" and _layer(pairs.places[0][one[0]]) and _untold(pairs, one, other):
            _pair_in_order(pairs, [[number] for number in one], [[number] for number in other])
    for one, other in pairs.grouped(lambda side, p: (_family(p), pairs.bond(side, p), _side(p), p.canonical_shape)):
        words = [{_role(pairs.places[side][number]) for number in group} for side, group in enumerate((one, other))]
        # Of several roles in one shape (the vectors of a normalisation) nothing tells which comes first.
        if {"unknown"} in words and len(words[0] | words[1]) == 2:
            _pair_in_order(pairs, [[number] for number in one], [[number] for number in other])


def _untold(pairs: _Pairs, one: list[int], other: list[int]) -> bool:
    """Whether one side tells none of the roles."""
    sides = zip(pairs.places, (one, other), strict=True)
    return any(all(_role(places[number]) == "unknown" for number in numbers) for places, numbers in sides)


def _layers(pairs: _Pairs, side: int) -> dict[Hashable, list[list[int]]]:
    """The left-over tensors of each layer, layers in order, by what tells whether two may be the same."""
    places = pairs.places[side]

    def what(number: int) -> tuple[str, tuple[int, ...], str]:
        # The last word of the slot tells gates that are tensors of their own apart, whatever order they stand in.
        return _role(places[number]), places[number].canonical_shape, places[number].slot.rpartition("/")[2]

    found: dict[Hashable, list[list[int]]] = defaultdict(list)
    layers = _gathered((_layer(places[number]) or number, number) for number in pairs.left_over(side))
    for numbers in layers.values():
        first = places[numbers[0]]
        alike = tuple(sorted(what(number)[:2] for number in numbers))
        found[_family(first), pairs.bond(side, first), _side(first), alike].append(sorted(numbers, key=what))
    return found


def _pair_in_order(pairs: _Pairs, lefts: list[list[int]], rights: list[list[int]]) -> None:
    """Pair groups of equally many tensors one by one, unless there are not as many, or contents say otherwise.

    Without an order, only where there is one group on either side.
    """
    if len(lefts) != len(rights) or _contradicted(pairs, lefts, rights):
        return
    if len(lefts) > 1 and not (_ordered(pairs, 0, lefts) and _ordered(pairs, 1, rights)):
        return
    new = [pair for group, other in zip(lefts, rights, strict=True) for pair in zip(group, other, strict=True)]
    if not any(pairs.torn(left, right) for left, right in new):
        for left, right in new:
            pairs.add(left, right, "order")


def _ordered(pairs: _Pairs, side: int, groups: list[list[int]]) -> bool:
    return all(pairs.places[side][number].ordered for group in groups for number in group)


def _contradicted(pairs: _Pairs, lefts: list[list[int]], rights: list[list[int]]) -> bool:
    """Whether a content that each side holds once stands at two different places."""
    for content in _CONTENTS:
        where = [
            _once(
                (content(pairs.places[side][number]), place) for place, group in enumerate(groups) for number in group
            )
            for side, groups in enumerate((lefts, rights))
        ]
        if any(place != where[1].get(value, place) for value, place in where[0].items()):
            return True
    return False


def _once(items: Iterable[tuple[Hashable, int]]) -> dict[Hashable, int]:
    """Contents that are met once, and with what."""
    listed = [(content, value) for content, value in items if content is not None]
    counts = Counter(content for content, _ in listed)
    return {content: value for content, value in listed if counts[content] == 1}


# -- by content --------------------------------------------------------------------------------------------------------


def _by_content(pairs: _Pairs) -> bool:
    """Whether any pair was found."""
    before = len(pairs.found)
    for content in _CONTENTS:
        _by_equal(pairs, content)
    return len(pairs.found) > before


def _by_equal(pairs: _Pairs, content: Callable[[Place], Hashable]) -> None:
    # Once among all tensors, not only the left-over ones: a vector of zeros that others hold too tells nothing.
    once = [_once((content(place), number) for number, place in enumerate(places)) for places in pairs.places]
    free = [set(pairs.left_over(side)) for side in (0, 1)]
    for value, left in once[0].items():
        right = once[1].get(value)
        if right is None or left not in free[0] or right not in free[1]:
            continue
        one, other = pairs.places[0][left], pairs.places[1][right]
        words = {_role(one), _role(other)}
        if _family(one) == _family(other) and (len(words) == 1 or "unknown" in words):
            pairs.add(left, right, "content")


# -- what a place tells ------------------------------------------------------------------------------------------------


def _family(place: Place) -> str:
    return "weight" if place.kind == "array" else place.kind


def _layer(place: Place) -> tuple[str, str] | None:
    """The layer, by its kind and slot; None in a file without groups."""
    layer, slash, _ = place.slot.rpartition("/")
    return (_family(place), layer) if slash else None


def _side(place: Place) -> tuple[str, ...]:
    return tuple(part for part in place.slot.split("/")[:-1] if part in _SIDES)


def _role(place: Place) -> str:
    """The role; where the file does not tell it, the last word of the slot if that is exactly one (`gamma:0`)."""
    if place.role != "unknown":
        return place.role
    word = place.slot.rpartition("/")[2].partition(":")[0]
    return word if word in ROLES else "unknown"
