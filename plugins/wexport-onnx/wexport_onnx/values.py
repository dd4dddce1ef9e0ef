"""What the walk over a graph remembers: what is stored, under which names it goes, and which layers use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import wexport
from wexport_onnx.nouns import Part
from wexport_onnx.paths import Path

LAST = 1 << 16
"""The number of an input that is not the layer's own node's: it comes behind all that are."""


@dataclass(eq=False, slots=True)
class Layer:
    """A node that uses weights, and others that do so for the same layer.

    index: its place among these. path: names from the model inwards, () where the file has none. scoped: whether they
    are TensorFlow's scopes, which begin with the model's own. label: tells it from all others. standard: whether the
    operator is one of ONNX's own. computes: the layer of Keras' whose axes its kernel has.
    """

    index: int
    class_name: str
    path: Path
    scoped: bool
    label: str
    wrapper: str | None = None
    standard: bool = True
    computes: str | None = None


@dataclass(eq=False, slots=True)
class Stored:
    """Something stored. constant: it stands in a node, so it counts only if it turns out to be a weight."""

    tensor: wexport.Tensor
    constant: bool
    uses: list[Use] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Use:
    """What a node makes of something stored.

    number: which of the layer's inputs it is. name: what it is called there. axes: the stored axes in the node's
    order, None if that is the stored one. sure: what must not be used elsewhere for this to hold, else
    `otherwise` does.
    """

    layer: Layer
    number: int
    name: str
    axes: tuple[int, ...] | None
    parts: tuple[Part, ...]
    sure: Output | None = None
    otherwise: Use | None = None

    @property
    def told(self) -> bool:
        """Whether it says a role."""
        return self.parts[0].role != "unknown"


@dataclass(frozen=True, slots=True)
class Value:
    """Something stored as a node sees it.

    intact: its axes are the stored ones, in the order `axes`. quantised: scale and zero point that made it of integers.
    """

    stored: Stored
    name: str
    axes: tuple[int, ...] | None = None
    intact: bool = True
    quantised: Mapping[int, Value] = field(default_factory=dict)

    @property
    def is_told(self) -> bool:
        """Whether its role under this name is known."""
        return any(use.told and use.name == self.name for use in self.stored.uses)

    @property
    def shape(self) -> tuple[int, ...] | None:
        shape = self.stored.tensor.shape
        if not self.intact:
            return None
        return shape if self.axes is None else tuple(shape[axis] for axis in self.axes)


@dataclass(eq=False, slots=True)
class Output:
    """What a layer gives out, to which its bias may still be added. direct: nothing has reshaped it since."""

    layer: Layer
    units: int
    trailing: int
    direct: bool = True
    before: Output | None = None
    uses: int = 0

    @property
    def used_once(self) -> bool:
        here: Output | None = self
        while here is not None and here.uses == 1:
            here = here.before
        return here is None


@dataclass(slots=True)
class Scope:
    """Names of one graph, and of those around it."""

    around: Scope | None = None
    values: dict[str, Value] = field(default_factory=dict)
    outputs: dict[str, Output] = field(default_factory=dict)
    prefix: str = ""
    depth: int = 0

    def value(self, name: str) -> Value | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.values:
                return scope.values[name]
            scope = scope.around
        return None


def meanings(stored: Stored) -> Iterator[Use]:
    """What something stored is: one use for each name that it goes by, roles before those that say none."""
    sure = [use.otherwise or use if use.sure is not None and not use.sure.used_once else use for use in stored.uses]
    sure.sort(key=lambda use: not use.told)
    by_name: dict[str, Use] = {}
    for use in sure:
        by_name.setdefault(use.name, use)
    named = list(by_name.values())
    yield from named[:1]
    for use in named[1:]:
        if use.told:
            yield use
