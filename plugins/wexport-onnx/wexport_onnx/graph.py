"""A walk over a graph that follows what is stored to the nodes that use it.

The message is `GraphProto` of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Nodes stand sorted: what one
takes was made before. So one pass suffices, which keeps only nodes that touch weights.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import replace

import wexport
from wexport_onnx import nodes, paths
from wexport_onnx.meaning import meaning, one_dimensional, vector_length
from wexport_onnx.nodes import Attributes, Node, Span
from wexport_onnx.nouns import Meaning, Part
from wexport_onnx.paths import Path
from wexport_onnx.stored import Store
from wexport_onnx.values import LAST, Layer, Output, Scope, Stored, Use, Value
from wexport_onnx.wire import BYTES, Wire

MAX_TENSORS = 50_000
MAX_DEPTH = 8
"""Graphs in graphs, and functions that call functions."""
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15
_WITH_GRAPHS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
# Operators that hand a weight on: as it is, with its axes in another order, or in another shape.
_AS_IT_IS = frozenset({"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"})
_RESHAPED = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})
_INTEGERS = frozenset({"int32", "int64", "bool"})


class Walk:
    """Collects what a model stores and what its graph makes of it."""

    def __init__(self, wire: Wire, functions: Mapping[tuple[str, str], Span]) -> None:
        self._wire, self._functions = wire, functions
        self._store = Store(wire)
        self.stored: list[Stored] = []
        self.skipped: list[wexport.Skipped] = []
        self.layers: list[Layer] = []
        self._names: set[str] = set()

    def graph(self, span: Span, scope: Scope) -> None:
        """Walk a graph: first what it stores, which stands behind its nodes, then the nodes."""
        begins, ends = array("Q"), array("Q")
        for number, kind, begin, end in self._wire.fields(*span):
            if kind != BYTES:
                continue
            if number == _NODE:
                begins.append(begin)
                ends.append(end)
            elif number == _INITIALIZER:
                self._initializer(begin, end, scope)
            elif number == _SPARSE:
                self._skip(wexport.Skipped("sparse tensor", self._sparse_name(begin, end), True, "not read"))
        for begin, end in zip(begins, ends, strict=True):
            self._node(nodes.node(self._wire, begin, end), scope)

    # -- what is stored ------------------------------------------------------------------------------------------------

    def _initializer(self, begin: int, end: int, scope: Scope) -> None:
        found = self._store.tensor(begin, end)
        if scope.prefix:
            found = _named(found, scope.prefix + found.name)
        if isinstance(found, wexport.Skipped):
            self._skip(found)
        elif found.name in self._names:
            self._skip(wexport.Skipped("second tensor of one name", found.name, True))
        else:
            self._add(found, found.name.removeprefix(scope.prefix), scope, constant=False)

    def _skip(self, skipped: wexport.Skipped) -> None:
        self._count()
        self.skipped.append(skipped)

    def _count(self) -> None:
        if len(self.stored) + len(self.skipped) >= MAX_TENSORS:
            raise wexport.HostileFileError(f"{self._wire.source.path}: holds more than {MAX_TENSORS:,} tensors")

    def _add(self, tensor: wexport.Tensor, name: str, scope: Scope, *, constant: bool) -> None:
        self._count()
        self._names.add(tensor.name)
        stored = Stored(tensor, constant)
        self.stored.append(stored)
        scope.values[name] = Value(stored, tensor.name)

    def _constant(self, node: Node, scope: Scope) -> None:
        """A tensor in a node; old exporters kept weights like that."""
        span = nodes.attributes(self._wire, node.attributes).tensors.get("value")
        if span is None or not node.outputs:
            return
        name = scope.prefix + node.outputs[0]
        found = self._store.tensor(*span, name)
        if isinstance(found, wexport.Skipped):
            if found.problem:
                self._skip(found)
        elif name not in self._names:
            self._add(found, node.outputs[0], scope, constant=True)

    def _sparse_name(self, begin: int, end: int) -> str:
        for number, kind, value, stop in self._wire.fields(begin, end):
            if number == 1 and kind == BYTES:
                for inner, kind_, text, text_end in self._wire.fields(value, stop):
                    if inner == 8 and kind_ == BYTES:
                        return self._wire.text(text, text_end)
        return ""

    # -- what the nodes make of it -------------------------------------------------------------------------------------

    def _node(self, node: Node, scope: Scope) -> None:
        op = node.standard
        if op == "Constant":
            self._constant(node, scope)
            return
        for name in node.inputs:
            if name in scope.outputs:
                scope.outputs[name].uses += 1
        if op in _WITH_GRAPHS:
            self._inner_graphs(node, scope)
        weights = {
            number: value
            for number, name in enumerate(node.inputs)
            if name and (value := scope.value(name)) is not None
        }
        if (function := self._functions.get((node.domain, node.op))) is not None:
            self._call(function, node, weights, scope)
        elif op in _AS_IT_IS or op in _RESHAPED or op == "Transpose":
            self._hand_on(op, node, weights, scope)
        elif weights:
            self._use(node, weights, scope)

    def _inner_graphs(self, node: Node, scope: Scope) -> None:
        for name, span in nodes.attributes(self._wire, node.attributes).graphs:
            inner = Scope(scope, prefix=f"{scope.prefix}{node.name or node.op}/{name}/", depth=scope.depth + 1)
            if inner.depth > MAX_DEPTH:
                self._skip(wexport.Skipped("graphs nested too deep", inner.prefix, True))
                continue
            self.graph(span, inner)

    def _call(self, function: Span, node: Node, weights: Mapping[int, Value], scope: Scope) -> None:
        """The nodes of a function of the model's own, with what is stored under the names that it gives its inputs."""
        if not weights or scope.depth >= MAX_DEPTH:
            return
        inner = Scope(prefix=f"{scope.prefix}{node.name or node.op}/", depth=scope.depth + 1)
        parameters: list[str] = []
        spans: list[Span] = []
        for number, kind, begin, end in self._wire.fields(*function):
            if number == 4 and kind == BYTES and len(parameters) < nodes.MAX_INPUTS:
                parameters.append(self._wire.text(begin, end))
            elif number == 7 and kind == BYTES:
                spans.append((begin, end))
        inner.values = {parameters[number]: value for number, value in weights.items() if number < len(parameters)}
        for span in spans:
            self._node(nodes.node(self._wire, *span), inner)

    def _hand_on(self, op: str, node: Node, weights: Mapping[int, Value], scope: Scope) -> None:
        """New names for what a node hands on, be it stored or a layer's output, whose values it does not change."""
        if not node.inputs or not node.outputs:
            return
        value, output = weights.get(0), scope.outputs.get(node.inputs[0])
        if output is not None and op != "DequantizeLinear":
            scope.outputs[node.outputs[0]] = self._moved(op, node, output)
        if value is None:
            if weights and op not in _RESHAPED:  # the scale of what flows through
                self._use(node, weights, scope)
            return
        name, axes, intact = value.name, value.axes, value.intact and op not in _RESHAPED
        if op == "Identity" and (other := scope.prefix + node.outputs[0]) not in self._names:
            name = other  # equal tensors are stored once, and each keeps its name like that
            self._names.add(name)
        elif op == "Transpose" and value.shape is not None:
            rank = len(value.shape)
            given = nodes.attributes(self._wire, node.attributes).integers("perm") or list(range(rank))[::-1]
            if sorted(given) != list(range(rank)):
                intact = False
            else:
                order = tuple(given if axes is None else (axes[axis] for axis in given))
                axes = None if order == tuple(range(rank)) else order
        quantised = (
            {key: other for key, other in weights.items() if key} if op == "DequantizeLinear" else value.quantised
        )
        scope.values[node.outputs[0]] = Value(value.stored, name, axes, intact, quantised)

    def _moved(self, op: str, node: Node, output: Output) -> Output:
        """A layer's output behind a node that changes no value: where the axis of the units is now."""
        trailing, direct = output.trailing, output.direct and op not in _RESHAPED
        if op == "Transpose":
            order = nodes.attributes(self._wire, node.attributes).integers("perm") or []
            axis = len(order) - 1 - trailing
            direct = direct and axis in order
            trailing = len(order) - 1 - order.index(axis) if direct else 0
        return Output(output.layer, output.units, trailing, direct, output)

    def _use(self, node: Node, weights: Mapping[int, Value], scope: Scope) -> None:
        if node.standard == "Add" and self._added(node, weights, scope):
            return
        attributes = nodes.attributes(self._wire, node.attributes)
        said = self._meaning(node, attributes, weights)
        if all(value.is_told for number, value in weights.items() if said is None or number in said.parts) and (
            said is not None or node.standard
        ):
            # A layer that is called again, or one of which all is known: what comes of it may still get a bias.
            return
        layer = self._layer(node, weights, said, scope)
        for number, value in weights.items():
            parts = said.parts.get(number, (Part(),)) if said is not None else (Part(),)
            value.stored.uses.append(_use(layer, number, value, parts))
            for key, other in value.quantised.items():
                other.stored.uses.append(_use(layer, LAST + 2 * number + key, other, (_quantised(parts[0], key),)))
        if said is not None and said.units and node.outputs:
            scope.outputs[node.outputs[0]] = Output(layer, said.units, said.trailing)

    def _meaning(self, node: Node, attributes: Attributes, weights: Mapping[int, Value]) -> Meaning | None:
        shapes = {number: value.shape for number, value in weights.items()}
        op = node.standard
        if not op or (op == "Gather" and 0 in weights and weights[0].stored.tensor.dtype in _INTEGERS):
            return None
        found = meaning(op, attributes, shapes, sum(1 for name in node.inputs if name))
        return one_dimensional(found, node.name, shapes) if found is not None else None

    def _added(self, node: Node, weights: Mapping[int, Value], scope: Scope) -> bool:
        """Whether an addition is that of a layer's bias, by its place behind the layer and by its length."""
        if len(weights) != 1 or len(node.inputs) != 2:
            return False
        ((number, value),) = weights.items()
        output = scope.outputs.get(node.inputs[1 - number])
        shape = value.shape
        if output is None or shape is None or vector_length(shape) != output.units:
            return False
        if output.direct:
            behind = len(shape) - 1 - max((axis for axis, length in enumerate(shape) if length != 1), default=0)
            if output.units != 1 and behind != output.trailing:
                return False
        elif not output.layer.path or self._path(node, weights)[0] != output.layer.path:
            return False  # reshaped since, so that it takes the file's own names to tell
        if not value.is_told:
            use = _use(output.layer, LAST, value, (Part(role="bias", view=(output.units,)),))
            otherwise = _use(self._layer(node, weights, None, scope), number, value, (Part(),))
            value.stored.uses.append(replace(use, sure=output, otherwise=otherwise))
        return True

    def _layer(self, node: Node, weights: Mapping[int, Value], said: Meaning | None, scope: Scope) -> Layer:
        path, scoped = self._path(node, weights)
        if not path and scope.depth:
            path = paths.of_module_scope(f"/{scope.prefix}")
        layer = Layer(
            index=len(self.layers),
            class_name=said.layer_class if said is not None else node.op,
            path=path,
            scoped=scoped,
            label=f"{node.op}_{len(self.layers)}",
            wrapper=said.wrapper if said is not None else None,
            standard=bool(node.standard),
            computes=(said.computes or said.layer_class) if said is not None else None,
        )
        self.layers.append(layer)
        return layer

    def _path(self, node: Node, weights: Mapping[int, Value]) -> tuple[Path, bool]:
        names = [value.name for value in weights.values()]
        path = paths.of_parameters(names) or nodes.module_path(self._wire, node.metadata)
        path = path or paths.of_module_scope(node.name)
        if path:
            return path, False
        return paths.of_scopes([node.name, *names]), True


def _named(found: wexport.Tensor | wexport.Skipped, name: str) -> wexport.Tensor | wexport.Skipped:
    return replace(found, name=name)


def _quantised(part: Part, key: int) -> Part:
    """Scale (1) or zero point (2) of a quantised weight."""
    if part.role == "unknown":
        return part
    return Part(role="scale", leaf=f"{part.role}_scale") if key == 1 else Part(leaf=f"{part.role}_zero_point")


def _use(layer: Layer, number: int, value: Value, parts: tuple[Part, ...]) -> Use:
    if not value.intact:
        parts = tuple(Part(role=part.role, known=False, leaf=part.leaf) for part in parts)
    if len(parts) > 1 and value.axes is not None:
        parts = (Part(),)  # its parts do not lie one after the other
    return Use(layer, number, value.name, value.axes, parts)
