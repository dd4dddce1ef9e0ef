"""What the walk over a graph remembers: what is stored, under which names it goes, and which layers use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from numpy.typing import NDArray

import wexport
from wexport_onnx.nouns import Part
from wexport_onnx.paths import Path

LAST = 1 << 16
"""The number of an input that is not the layer's own node's: it comes behind all that are."""
MAX_NAMES = 64


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
    """Something stored, or made of such before anything runs.

    constant: it stands in a node, where a single number is part of a formula. made: how the graph makes it of others,
    and folded_by the node that does.
    """

    tensor: wexport.Tensor
    constant: bool
    uses: list[Use] = field(default_factory=list)
    made: Made | None = None
    folded_by: Layer | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """What a node makes of constants: slices of them, several in one, their product.

    inputs: the values that its numbers are of. evaluate: given their arrays, its own. main: which of the inputs its
    numbers come from, place by place; the others are factors, offsets, exponents. moves: whether it only moves numbers
    and changes none.
    """

    inputs: tuple[Value, ...]
    evaluate: Callable[[list[NDArray[Any]]], NDArray[Any]]
    main: tuple[int, ...]
    moves: bool


@dataclass(frozen=True, slots=True)
class Quantised:
    """What makes values of integers: (codes - zero point) x scale, along an axis in blocks.

    axis: of the value that the node sees; None where scale and zero point are single numbers. block: how many values
    along it share a scale. factor: a number that the scale is to be multiplied with, as for biases.
    """

    scale: Value
    zero_point: Value | None = None
    axis: int | None = None
    block: int = 1
    factor: Value | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """What a node makes of something stored.

    number: which of the layer's inputs it is. name: what it is called there. axes: the axes of `view` in the node's
    order, None if that is the stored one; view: the shape that the stored values are seen in, None if it is their own.
    quantised: what makes values of them. sure: what must not be used elsewhere for this to hold, else `otherwise` does.
    """

    layer: Layer
    number: int
    name: str
    axes: tuple[int, ...] | None
    parts: tuple[Part, ...]
    view: tuple[int, ...] | None = None
    quantised: Quantised | None = None
    sure: Output | None = None
    otherwise: Use | None = None

    @property
    def described(self) -> bool:
        """Whether it says a role."""
        return self.parts[0].role != "unknown"


@dataclass(frozen=True, slots=True)
class Value:
    """Something stored as a node sees it.

    axes, view: as in `Use`. intact: they are all that was done to its shape. cast: the type that it was cast to.
    quantised: what made it of integers.
    """

    stored: Stored
    name: str
    axes: tuple[int, ...] | None = None
    intact: bool = True
    view: tuple[int, ...] | None = None
    cast: str | None = None
    quantised: Quantised | None = None

    @property
    def names(self) -> list[str]:
        """What it is called in the file, or what it is made of is."""
        if self.stored.made is None:
            return [self.name]
        return [origin.tensor.name for origin in islice(origins(self.stored), MAX_NAMES)]

    @property
    def is_described(self) -> bool:
        """Whether its role under this name is known."""
        return any(use.described and use.name == self.name for use in self.stored.uses)

    @property
    def shape(self) -> tuple[int, ...] | None:
        if not self.intact:
            return None
        shape = self.stored.tensor.shape if self.view is None else self.view
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


def origins(stored: Stored) -> Iterator[Stored]:
    """What something is made of, down to what is stored, each once, in the order of the nodes' inputs."""
    seen = {stored}
    waiting = [stored]
    while waiting:
        here = waiting.pop()
        if here.made is None:
            yield here
            continue
        fresh = [value.stored for value in here.made.inputs if value.stored not in seen]
        seen.update(fresh)
        waiting += list(dict.fromkeys(fresh))[::-1]


def meanings(stored: Stored) -> Iterator[Use]:
    """What something stored is: one use for each name that it goes by, roles before those that say none."""
    sure = [use.otherwise or use if use.sure is not None and not use.sure.used_once else use for use in stored.uses]
    sure.sort(key=lambda use: not use.described)
    by_name: dict[str, Use] = {}
    for use in sure:
        by_name.setdefault(use.name, use)
    named = list(by_name.values())
    yield from named[:1]
    for use in named[1:]:
        if use.described:
            yield use
