"""Which axes of which tensors number the same hidden units, and what may be done to these with no change of function.

Groups of units may change places together wherever they occur. Scales are what a group's values may be multiplied by
where they are made and divided by where they are read: any positive number behind a ReLU, a sign behind tanh.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]
POSITIVE, SIGN = "positive", "sign"


@dataclass(frozen=True, slots=True)
class Part:
    """Units along an axis of a tensor.

    tensor: its number. index: (units, places along the axis that belong to each). made: whether the tensor makes the
    units, or reads them.
    """

    tensor: int
    axis: int
    group: int
    index: Indices
    made: bool


@dataclass(frozen=True, slots=True)
class ScalePart:
    """Where a scale shows: the values there take its power, 1 where the units are made and -1 where they are read."""

    tensor: int
    axis: int
    scale: int
    index: Indices
    power: int


@dataclass(frozen=True, slots=True)
class Group:
    """Hidden units that may be in any order. layer: the first that makes them."""

    units: int
    layer: str


@dataclass(frozen=True, slots=True)
class Scale:
    """group: whose units it multiplies. allows: "positive", "sign" or both."""

    group: int
    allows: frozenset[str]


@dataclass(frozen=True, slots=True)
class UnitGraph:
    """groups: in the order in which the model makes them. not_understood: layers whose units are left as they are."""

    groups: Sequence[Group]
    parts: Sequence[Part]
    scales: Sequence[Scale]
    scale_parts: Sequence[ScalePart]
    not_understood: tuple[str, ...] = ()


# -- as it is built ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Segment:
    """Adjacent channels of a signal: `units` units of `inner` channels each. group, scale: None for fixed ones."""

    units: int
    group: int | None = None
    scale: int | None = None
    inner: int = 1

    @property
    def channels(self) -> int:
        return self.units * self.inner


@dataclass(frozen=True, slots=True)
class Signal:
    """What a layer gives. flat: None, or after a Flatten whether channels come "last" or "first" within a feature."""

    segments: tuple[Segment, ...]
    flat: str | None = None
    channels_first: bool = False

    @property
    def channels(self) -> int:
        return sum(segment.channels for segment in self.segments)


@dataclass
class Builder:
    """Groups and scales that may turn out to be one, and the parts found so far."""

    units: list[int] = field(default_factory=list)
    layers: list[str] = field(default_factory=list)
    _group_of: list[int] = field(default_factory=list)
    _fixed: set[int] = field(default_factory=set)
    _scale_of: list[int] = field(default_factory=list)
    _scale_group: list[int] = field(default_factory=list)
    _allows: list[frozenset[str]] = field(default_factory=list)
    _parts: list[tuple[int, int, int, Indices, bool]] = field(default_factory=list)
    _scale_parts: list[tuple[int, int, int, Indices, int]] = field(default_factory=list)
    not_understood: dict[str, None] = field(default_factory=dict)

    def group(self, units: int, layer: str) -> int:
        self.units.append(units)
        self.layers.append(layer)
        self._group_of.append(len(self._group_of))
        return len(self.units) - 1

    def scale(self, group: int) -> int:
        self._scale_of.append(len(self._scale_of))
        self._scale_group.append(group)
        self._allows.append(frozenset((POSITIVE, SIGN)))
        return len(self._scale_of) - 1

    def fix(self, signal: Signal) -> Signal:
        """The units of a signal stay where they are: they are the model's own, or nobody knows what reads them."""
        for segment in signal.segments:
            if segment.group is not None:
                self._fixed.add(self._group(segment.group))
            self._only(segment.scale, frozenset())
        return signal

    def allow(self, signal: Signal, *kinds: str) -> Signal:
        """What follows goes with these kinds of scales only."""
        for segment in signal.segments:
            self._only(segment.scale, frozenset(kinds))
        return signal

    def unite(self, one: Signal, other: Signal) -> Signal:
        """Two signals that are summed: their units are the same. Fixed where they do not fit."""
        shapes = [[(segment.units, segment.inner) for segment in signal.segments] for signal in (one, other)]
        if shapes[0] != shapes[1] or one.flat != other.flat:
            self.fix(one)
            self.fix(other)
            return Signal((Segment(max(one.channels, other.channels)),), one.flat or other.flat)
        for a, b in zip(one.segments, other.segments, strict=True):
            if a.group is None or b.group is None:
                self.fix(Signal((a, b)))
            else:
                self._unite_groups(a.group, b.group)
                self._unite_scales(a.scale, b.scale)
        return one

    def part(self, tensor: int, axis: int, signal: Signal, length: int, *, made: bool, blocks: int = 1) -> bool:
        """Note that an axis of `length` numbers the channels of a signal, in `blocks` blocks; False if it cannot."""
        channels = signal.channels
        if not channels or length % (channels * blocks) or (blocks * channels != length and signal.flat is None):
            self.fix(signal)
            return False
        places = np.arange(length).reshape((channels, -1) if signal.flat == "first" else (-1, channels))
        by_channel = places if signal.flat == "first" else places.T
        start = 0
        for segment in signal.segments:
            rows = by_channel[start : start + segment.channels].reshape(segment.units, -1)
            start += segment.channels
            if segment.group is not None:
                self._parts.append((tensor, axis, segment.group, rows, made))
                if segment.scale is not None and not made:
                    self._scale_parts.append((tensor, axis, segment.scale, rows, -1))
        return True

    def scaled(self, tensor: int, axis: int, scale: int, index: Indices, power: int = 1) -> None:
        self._scale_parts.append((tensor, axis, scale, index, power))

    def result(self) -> UnitGraph:
        """The groups that are free, with their parts."""
        fixed = {self._group(each) for each in self._fixed}
        roots = list(dict.fromkeys(self._group(number) for number in range(len(self.units))))
        free = [root for root in roots if root not in fixed and self.units[root] > 1]
        number = {root: place for place, root in enumerate(free)}
        parts = [
            Part(tensor, axis, number[self._group(group)], index, made)
            for tensor, axis, group, index, made in self._parts
            if self._group(group) in number
        ]
        scales: list[Scale] = []
        scale_number: dict[int, int] = {}
        for each in range(len(self._scale_of)):
            root = self._scale(each)
            group = self._group(self._scale_group[root])
            if root not in scale_number and self._allows[root] and group in number:
                scale_number[root] = len(scales)
                scales.append(Scale(number[group], self._allows[root]))
        shown = [
            ScalePart(tensor, axis, scale_number[self._scale(scale)], index, power)
            for tensor, axis, scale, index, power in self._scale_parts
            if self._scale(scale) in scale_number
        ]
        groups = [Group(self.units[root], self.layers[root]) for root in free]
        return UnitGraph(groups, parts, scales, shown, tuple(self.not_understood))

    def _group(self, number: int) -> int:
        while self._group_of[number] != number:
            number = self._group_of[number]
        return number

    def _scale(self, number: int) -> int:
        while self._scale_of[number] != number:
            number = self._scale_of[number]
        return number

    def _only(self, scale: int | None, kinds: frozenset[str]) -> None:
        if scale is not None:
            root = self._scale(scale)
            self._allows[root] &= kinds

    def _unite_groups(self, one: int, other: int) -> None:
        a, b = sorted((self._group(one), self._group(other)))
        self._group_of[b] = a
        if b in self._fixed:
            self._fixed.add(a)

    def _unite_scales(self, one: int | None, other: int | None) -> None:
        if one is None or other is None:
            self._only(one, frozenset())
            self._only(other, frozenset())
            return
        a, b = sorted((self._scale(one), self._scale(other)))
        self._scale_of[b] = a
        self._allows[a] &= self._allows[b]


def fixed_signal(channels: int, like: Signal | None = None) -> Signal:
    return Signal((Segment(channels),), channels_first=like.channels_first if like else False)


def config_word(value: Any) -> str:
    """An activation as configs have it: a word, or a mapping with a class or a registered name."""
    if isinstance(value, dict):
        inner = value.get("config")
        value = inner if isinstance(inner, str) else value.get("registered_name") or value.get("class_name")
    return str(value or "linear").rsplit(">", 1)[-1].lower().replace("_", "")
