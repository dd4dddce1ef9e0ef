"""What a model stores: initialisers of its graphs, and the tensors and lists of numbers in its nodes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np

import wexport
from wexport_onnx import nodes
from wexport_onnx.nodes import Node, Span
from wexport_onnx.stored import Store
from wexport_onnx.values import Scope, Stored, Value
from wexport_onnx.wire import BYTES, Wire

MAX_TENSORS = 50_000
SETTINGS = "integers that are not weights"
FORMULAS = "constants of formulas"
_FEW = 16
"""So many integers of a node of another domain may as well be its settings, which are not named."""


class Stock:
    """Collects what is stored, each thing once and under a name of its own; what gives no tensor is named."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._store = Store(wire)
        self._by_place: dict[Span, Stored] = {}
        self.stored: list[Stored] = []
        self.skipped: list[wexport.Skipped] = []
        self.names: set[str] = set()

    def initializer(self, span: Span, scope: Scope) -> None:
        """A tensor of a graph's own list."""
        found = self._store.tensor(*span)
        name = found.name
        if scope.prefix:
            found = _named(found, scope.prefix + name)
        self._take(found, name, scope, span, constant=False)

    def sparse(self, begin: int, end: int) -> None:
        """A sparse initialiser, which is named and not read."""
        self.skip(wexport.Skipped("sparse tensor", self._sparse_name(begin, end), True, "not read"))

    def constant(self, node: Node, scope: Scope) -> None:
        """What the node Constant holds; old exporters kept weights like that."""
        if not node.outputs:
            return
        held = nodes.attributes(self._wire, node.attributes)
        name = scope.prefix + node.outputs[0]
        if (span := held.tensors.get("value")) is not None:
            if span in self._by_place:  # of a function that is called again
                stored = self._by_place[span]
                scope.values[node.outputs[0]] = Value(stored, stored.tensor.name)
                return
            self._take(self._store.tensor(*span, name), node.outputs[0], scope, span, constant=True)
        elif (numbers := held.numbers("value")) is not None:
            dtype = np.int64 if "value_int" in held.values or "value_ints" in held.values else np.float32
            tensor = wexport.Tensor.of_array(name, np.asarray(numbers, dtype))
            self._take(tensor, node.outputs[0], scope, None, constant=True)
        self._name_unread(held, name)

    def of_attributes(self, node: Node, scope: Scope) -> dict[str, Value]:
        """What a node of another domain than ONNX's own keeps in its attributes: coefficients, thresholds, tables."""
        held = nodes.attributes(self._wire, node.attributes)
        found: dict[str, Value] = {}
        for key, span in held.tensors.items():
            name = self.free(f"{scope.prefix}{node.label}/{key}")
            self._take(self._store.tensor(*span, name), key, inner := Scope(), span, constant=False)
            found |= inner.values
        for key, floats in held.floats.items():
            name = self.free(f"{scope.prefix}{node.label}/{key}")
            tensor = wexport.Tensor.of_array(name, np.asarray(floats, np.float32))
            self._take(tensor, key, inner := Scope(), None, constant=False)
            found |= inner.values
        for key, value in held.values.items():
            if isinstance(value, list) and len(value) > _FEW:
                self.skip(wexport.Skipped(SETTINGS, f"{scope.prefix}{node.label}/{key}"))
        self._name_unread(held, f"{scope.prefix}{node.label}")
        return found

    def _name_unread(self, held: nodes.Attributes, where: str) -> None:
        for key, what in held.unread.items():
            self.skip(wexport.Skipped(what, f"{where}/{key}", True, "not read"))

    def skip(self, skipped: wexport.Skipped) -> None:
        """Name something that gives no tensor."""
        self._count()
        self.skipped.append(skipped)

    def made(self, stored: Stored, name: str) -> Value:
        """Something that the graph makes of what is stored, before anything runs."""
        self._count()
        name = self.free(name)
        self.names.add(name)
        self.stored.append(stored)
        return Value(stored, name)

    # -- one at a time -------------------------------------------------------------------------------------------------

    def _take(
        self,
        found: wexport.Tensor | wexport.Skipped,
        name: str,
        scope: Scope,
        span: Span | None,
        *,
        constant: bool,
    ) -> None:
        """name: what the graph calls it."""
        if isinstance(found, wexport.Skipped):
            self.skip(found)
            return
        if found.name in self.names:
            self.skip(wexport.Skipped("second tensor of one name", found.name, True))
            return
        self._count()
        self.names.add(found.name)
        stored = Stored(found, constant)
        self.stored.append(stored)
        if span is not None:
            self._by_place[span] = stored
        scope.values[name] = Value(stored, found.name)

    def free(self, wanted: str) -> str:
        """A name that nothing else has."""
        name, number = wanted, 2
        while name in self.names:
            name, number = f"{wanted}~{number}", number + 1
        return name

    def _count(self) -> None:
        if len(self.stored) + len(self.skipped) >= MAX_TENSORS:
            raise wexport.HostileFileError(f"{self._wire.source.path}: holds more than {MAX_TENSORS:,} tensors")

    def _sparse_name(self, begin: int, end: int) -> str:
        for number, kind, value, stop in self._wire.fields(begin, end):
            if number == 1 and kind == BYTES:
                for inner, kind_, text, text_end in self._wire.fields(value, stop):
                    if inner == 8 and kind_ == BYTES:
                        return self._wire.text(text, text_end)
        return ""


def _named(found: wexport.Tensor | wexport.Skipped, name: str) -> wexport.Tensor | wexport.Skipped:
    return replace(found, name=name)


def names_of(values: Iterable[Value]) -> list[str]:
    """What values are called in the file: themselves, or what they are made of."""
    return [name for value in values for name in value.names]
