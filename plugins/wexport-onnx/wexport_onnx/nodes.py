"""A node of the graph: its operator, what goes in and out, and its attributes, which are read only where they count.

The messages are `NodeProto` and `AttributeProto` of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field

from wexport_onnx.stored import entry
from wexport_onnx.wire import BYTES, FIXED32, VARINT, Wire, signed

STANDARD = frozenset({"", "ai.onnx"})
"""Domains of ONNX's own operators."""
MAX_INPUTS = 4096
_MAX_VALUES = 256

Attribute = int | float | str | list[int] | list[str]
Span = tuple[int, int]


@dataclass(slots=True)
class Node:
    """inputs: names of values, "" for one that is left out. attributes, metadata: where their messages stand."""

    name: str = ""
    op: str = ""
    domain: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    attributes: list[Span] = field(default_factory=list)
    metadata: list[Span] = field(default_factory=list)

    @property
    def standard(self) -> str:
        """The operator, if it is one of ONNX's own."""
        return self.op if self.domain in STANDARD else ""


def node(wire: Wire, start: int, end: int) -> Node:
    """The node whose message stands from `start` to `end`."""
    found = Node()
    for number, kind, value, stop in wire.fields(start, end):
        if kind != BYTES:
            continue
        if number == 1:
            if len(found.inputs) < MAX_INPUTS:
                found.inputs.append(wire.text(value, stop))
        elif number == 2:
            if len(found.outputs) < MAX_INPUTS:
                found.outputs.append(wire.text(value, stop))
        elif number == 3:
            found.name = wire.text(value, stop)
        elif number == 4:
            found.op = wire.text(value, stop)
        elif number == 5:
            if len(found.attributes) < MAX_INPUTS:
                found.attributes.append((value, stop))
        elif number == 7:
            found.domain = wire.text(value, stop)
        elif number == 9 and len(found.metadata) < MAX_INPUTS:
            found.metadata.append((value, stop))
    return found


@dataclass(slots=True)
class Attributes:
    """What the attributes of a node say.

    values: numbers and words by name. tensors, graphs: where such values stand. referring: whether any is a parameter
    of the function that the node is in, hence not known here.
    """

    values: dict[str, Attribute] = field(default_factory=dict)
    tensors: dict[str, Span] = field(default_factory=dict)
    graphs: list[tuple[str, Span]] = field(default_factory=list)
    referring: bool = False

    def integer(self, name: str, default: int) -> int:
        value = self.values.get(name, default)
        return value if isinstance(value, int) else default

    def number(self, name: str, default: float) -> float:
        value = self.values.get(name, default)
        return float(value) if isinstance(value, (int, float)) else default

    def word(self, name: str, default: str) -> str:
        value = self.values.get(name, default)
        return value if isinstance(value, str) else default

    def integers(self, name: str) -> list[int] | None:
        value = self.values.get(name)
        return [item for item in value if isinstance(item, int)] if isinstance(value, list) else None


def attributes(wire: Wire, spans: list[Span]) -> Attributes:
    """The attributes of a node, without long lists."""
    found = Attributes()
    for span in spans:
        _add(wire, span, found)
    return found


def _add(wire: Wire, span: Span, found: Attributes) -> None:
    name = ""
    value: Attribute | None = None
    several: list[int] = []
    tensor: Span | None = None
    graphs: list[Span] = []
    for number, kind, begin, end in wire.fields(*span):
        if number == 1 and kind == BYTES:
            name = wire.text(begin, end)
        elif number == 2 and kind == FIXED32:
            (value,) = struct.unpack("<f", wire.bytes(begin, end))
        elif number == 3 and kind == VARINT:
            value = signed(begin)
        elif number == 4 and kind == BYTES and end - begin <= _MAX_VALUES:
            value = wire.text(begin, end)
        elif number == 5 and kind == BYTES:
            tensor = begin, end
        elif number in (6, 11) and kind == BYTES:
            graphs.append((begin, end))
        elif number == 8 and kind in (VARINT, BYTES) and len(several) < _MAX_VALUES:
            several += wire.integers(kind, begin, end, 10 * _MAX_VALUES)
        elif number == 21:
            found.referring = True
    if tensor is not None:
        found.tensors[name] = tensor
    found.graphs += [(name, graph) for graph in graphs]
    if several:
        found.values[name] = several
    elif value is not None:
        found.values[name] = value


def module_path(wire: Wire, spans: list[Span]) -> tuple[str, ...]:
    """The torch module that a node was traced from, as torch's newer exporter writes it beside the node; else ().

    `['', 'layer1', 'layer1.0', 'conv2d']` are the modules from the model inwards and, last, the traced call.
    """
    for span in spans:
        key, text = entry(wire, *span)
        if key == "pkg.torch.onnx.name_scopes":
            scopes = re.findall(r"'([^']*)'", text)[:-1]
            return tuple(part for part in scopes[-1].split(".") if part) if scopes else ()
    return ()
