"""A walk over a graph that follows what is stored to the nodes that use it.

The message is `GraphProto` of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Nodes stand sorted: what one
takes was made before. So one pass suffices, which keeps only nodes that touch weights.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from dataclasses import replace

from wexport import Skipped
from wexport_onnx import nodes, paths, quantised
from wexport_onnx.folding import FOLDED, RESHAPING, Folder
from wexport_onnx.meaning import matrix_of_codes, meaning, one_dimensional, vector_length
from wexport_onnx.nodes import Attributes, Node, Span
from wexport_onnx.nouns import Meaning, Part
from wexport_onnx.paths import Path
from wexport_onnx.stock import Stock, names_of
from wexport_onnx.stored import name_of_type
from wexport_onnx.values import LAST, Layer, Output, Quantised, Scope, Use, Value
from wexport_onnx.wire import BYTES, Wire

MAX_DEPTH = 8
"""Graphs in graphs, and functions that call functions."""
_NODE, _INITIALIZER, _SPARSE = 1, 5, 15
_WITH_GRAPHS = frozenset({"If", "Loop", "Scan", "SequenceMap"})
# Operators that hand a weight on: as it is, with its axes in another order, or in another shape.
_AS_IT_IS = frozenset({"Identity", "Cast", "QuantizeLinear", "DequantizeLinear"})
_INTEGERS = frozenset({"int32", "int64", "bool"})


class Walk:
    """Collects what a model stores and what its graph makes of it."""

    def __init__(self, wire: Wire, functions: Mapping[tuple[str, str], Span]) -> None:
        self._wire, self._functions = wire, functions
        self.stock = Stock(wire)
        self.folder = Folder(wire.source.size)
        self.layers: list[Layer] = []

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
                self.stock.initializer((begin, end), scope)
            elif number == _SPARSE:
                self.stock.sparse(begin, end)
        for begin, end in zip(begins, ends, strict=True):
            self._node(nodes.node(self._wire, begin, end), scope)

    # -- what the nodes make of it -------------------------------------------------------------------------------------

    def _node(self, node: Node, scope: Scope) -> None:
        op = node.standard
        if op == "Constant":
            self.stock.constant(node, scope)
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
        elif op in _AS_IT_IS or op in RESHAPING or op == "Transpose":
            self._hand_on(op, node, weights, scope)
        elif op in FOLDED and weights and all(number in weights for number, name in enumerate(node.inputs) if name):
            self._fold(node, weights, scope)
        else:
            if not op and node.attributes:
                held = self.stock.of_attributes(node, scope).values()
                weights |= dict(enumerate(held, len(node.inputs)))
            if weights:
                self._use(node, weights, scope)

    def _fold(self, node: Node, weights: Mapping[int, Value], scope: Scope) -> None:
        """What a node makes of constants alone is one as well; where that is not known, it uses them."""
        attributes = nodes.attributes(self._wire, node.attributes)
        made = self.folder.fold(node, attributes, [weights.get(number) for number in range(len(node.inputs))])
        if made is None:
            self._use(node, weights, scope)
            return
        layer = self._layer(node, weights, None, scope)
        for output, stored in zip(node.outputs, made, strict=True):
            stored.folded_by = layer
            scope.values[output] = self.stock.made(stored, scope.prefix + output)

    def _inner_graphs(self, node: Node, scope: Scope) -> None:
        for name, span in nodes.attributes(self._wire, node.attributes).graphs:
            inner = Scope(scope, prefix=f"{scope.prefix}{node.name or node.op}/{name}/", depth=scope.depth + 1)
            if inner.depth > MAX_DEPTH:
                self.stock.skip(Skipped("graphs nested too deep", inner.prefix, True))
                continue
            self.graph(span, inner)

    def _call(self, function: Span, node: Node, weights: Mapping[int, Value], scope: Scope) -> None:
        """The nodes of a function of the model's own, with what is stored under the names that it gives its inputs."""
        if scope.depth >= MAX_DEPTH:
            self.stock.skip(Skipped("functions nested too deep", scope.prefix, True))
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
            if weights and op not in RESHAPING:  # the scale of what flows through
                self._use(node, weights, scope)
            return
        attributes = nodes.attributes(self._wire, node.attributes)
        if op == "Identity" and (other := scope.prefix + node.outputs[0]) not in self.stock.names:
            value = replace(value, name=other)  # equal tensors are stored once, and each keeps its name like that
            self.stock.names.add(other)
        elif op == "Cast":
            value = replace(value, cast=name_of_type(attributes.integer("to", 0)))
        elif op == "DequantizeLinear":
            value = replace(value, quantised=quantised.of_linear(attributes, weights))
        elif op == "Transpose" and value.shape is not None:
            value = _transposed(value, attributes.integers("perm"))
        elif op in RESHAPING:
            inputs = [weights.get(number) for number in range(len(node.inputs))]
            shape = self.folder.reshaped(op, attributes, inputs)
            value = self._in_shape(node, value, shape, scope)
        scope.values[node.outputs[0]] = value

    def _in_shape(self, node: Node, value: Value, shape: tuple[int, ...] | None, scope: Scope) -> Value:
        """The value in another shape; None for one that is not known."""
        if shape is not None and value.axes is None and value.quantised is None:
            return replace(value, view=shape) if shape != value.shape else value
        made = self.folder.in_shape(value, shape, node.outputs[0]) if shape and value.quantised is None else None
        if made is None:
            return replace(value, intact=False)
        made.folded_by = self._layer(node, {0: value}, None, scope)
        return self.stock.made(made, scope.prefix + node.outputs[0])

    def _moved(self, op: str, node: Node, output: Output) -> Output:
        """A layer's output behind a node that changes no value: where the axis of the units is now."""
        trailing, direct = output.trailing, output.direct and op not in RESHAPING
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
        known = self._meaning(node, attributes, weights)
        if all(value.is_described for number, value in weights.items() if known is None or number in known.parts) and (
            known is not None or node.standard
        ):
            # A layer that is called again, or one of which all is known: what comes of it may still get a bias.
            return
        layer = self._layer(node, weights, known, scope)
        codes = quantised.of_operator(node.op, attributes, weights, scope.value)
        for number, value in weights.items():
            parts = known.parts.get(number, (Part(),)) if known is not None else (Part(),)
            made_by = value.quantised or codes.get(number)
            value.stored.uses.append(_use(layer, number, value, parts, made_by))
            if value.quantised is not None:
                self._use_scale(layer, number, value.quantised, parts[0])
        if known is not None and known.units and node.outputs:
            scope.outputs[node.outputs[0]] = Output(layer, known.units, known.trailing)

    def _use_scale(self, layer: Layer, number: int, made_by: Quantised, part: Part) -> None:
        """What a DequantizeLinear takes belongs to the layer that its values go to."""
        for key, other in enumerate((made_by.scale, made_by.zero_point), 1):
            if other is not None:
                other.stored.uses.append(_use(layer, LAST + 2 * number + key, other, (_quantised(part, key),)))

    def _meaning(self, node: Node, attributes: Attributes, weights: Mapping[int, Value]) -> Meaning | None:
        shapes = {number: value.shape for number, value in weights.items()}
        op = node.standard
        if not op:
            return matrix_of_codes(node.op, attributes, weights) if node.domain == nodes.MICROSOFT else None
        if op == "Gather" and 0 in weights and weights[0].stored.tensor.dtype in _INTEGERS:
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
        if not value.is_described:
            use = _use(output.layer, LAST, value, (Part(role="bias", view=(output.units,)),))
            otherwise = _use(self._layer(node, weights, None, scope), number, value, (Part(),))
            value.stored.uses.append(replace(use, sure=output, otherwise=otherwise))
        return True

    def _layer(self, node: Node, weights: Mapping[int, Value], known: Meaning | None, scope: Scope) -> Layer:
        path, scoped = self._path(node, weights)
        if not path and scope.depth:
            path = paths.of_module_scope(f"/{scope.prefix}")
        layer = Layer(
            index=len(self.layers),
            class_name=known.layer_class if known is not None else node.op,
            path=path,
            scoped=scoped,
            label=f"{node.op}_{len(self.layers)}",
            wrapper=known.wrapper if known is not None else None,
            standard=bool(node.standard),
            computes=(known.computes or known.layer_class) if known is not None else None,
        )
        self.layers.append(layer)
        return layer

    def _path(self, node: Node, weights: Mapping[int, Value]) -> tuple[Path, bool]:
        names = names_of(weights.values())
        path = paths.of_parameters(names) or nodes.module_path(self._wire, node.metadata)
        path = path or paths.of_module_scope(node.name)
        if path:
            return path, False
        return paths.of_scopes([node.name, *names]), True


def _transposed(value: Value, given: list[int] | None) -> Value:
    """The value with its axes in another order, by default the reverse."""
    rank = len(value.shape or ())
    order = given or list(range(rank))[::-1]
    if sorted(order) != list(range(rank)):
        return replace(value, intact=False)
    axes = tuple(order if value.axes is None else (value.axes[axis] for axis in order))
    return replace(value, axes=None if axes == tuple(range(rank)) else axes)


def _quantised(part: Part, key: int) -> Part:
    """Scale (1) or zero point (2) of a quantised weight."""
    if part.role == "unknown":
        return part
    return Part(role="scale", leaf=f"{part.role}_scale") if key == 1 else Part(leaf=f"{part.role}_zero_point")


def _use(layer: Layer, number: int, value: Value, parts: tuple[Part, ...], made_by: Quantised | None = None) -> Use:
    if not value.intact:
        parts = tuple(Part(role=part.role, known=False, leaf=part.leaf) for part in parts)
    if len(parts) > 1 and value.axes is not None:
        parts = (Part(),)  # its parts do not lie one after the other
    return Use(layer, number, value.name, value.axes, parts, value.view, made_by)
