"""A node of the graph: its operator, what goes in and out, and its attributes, which are read only where they count.

The messages are `NodeProto` and `AttributeProto` of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import re
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from wexport_onnx.stored import entry
from wexport_onnx.wire import BYTES, FIXED32, VARINT, Wire, signed

STANDARD = frozenset({"", "ai.onnx"})
"""Domains of ONNX's own operators."""
MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's operators."""
MAX_INPUTS = 4096
_MAX_VALUES = 256
_MAX_FLOATS = 1 << 20

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

    @property
    def label(self) -> str:
        """What to call it: its own name, or that of what comes out of it."""
        return self.name or next(iter(self.outputs), "") or self.op


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

    values: numbers and words by name, of long lists of integers the beginning. floats: lists of such. tensors, graphs:
    where such values stand. unread: numbers that are not read, by name, in words. referring: whether any is a parameter
    of the function that the node is in, hence not known here.
    """

    values: dict[str, Attribute] = field(default_factory=dict)
    floats: dict[str, array[float]] = field(default_factory=dict)
    tensors: dict[str, Span] = field(default_factory=dict)
    graphs: list[tuple[str, Span]] = field(default_factory=list)
    unread: dict[str, str] = field(default_factory=dict)
    referring: bool = False

    def numbers(self, name: str) -> int | float | Sequence[float] | None:
        """A number or list under one of the names that Constant has for each kind: `value_int`, `value_floats`, ..."""
        value = self.values.get(f"{name}_int", self.values.get(f"{name}_float"))
        if isinstance(value, int | float):
            return value
        return self.floats.get(f"{name}_floats", self.integers(f"{name}_ints"))

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
    """The attributes of a node; of long lists of integers the beginning."""
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
    floats, unread = array("f"), ""
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
        elif number == 7 and kind in (FIXED32, BYTES):  # one by one, or packed
            if len(floats) + (end - begin) // 4 > _MAX_FLOATS:
                unread = "list of too many numbers"
            elif kind == FIXED32:
                floats.append(struct.unpack("<f", wire.bytes(begin, end))[0])
            else:
                floats.extend(np.frombuffer(wire.bytes(begin, end, 4 * _MAX_FLOATS), "<f4").tolist())
        elif number in (22, 23) and kind == BYTES:
            unread = "sparse tensor"
        elif number == 10 and kind == BYTES:
            unread = "list of tensors"
        elif number in (6, 11) and kind == BYTES:
            graphs.append((begin, end))
        elif number == 8 and kind in (VARINT, BYTES) and len(several) < _MAX_VALUES:
            several += wire.integers(kind, begin, end, 10 * _MAX_VALUES)
        elif number == 21:
            found.referring = True
    if tensor is not None:
        found.tensors[name] = tensor
    if unread:
        found.unread[name] = unread
    elif floats:
        found.floats[name] = floats
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
