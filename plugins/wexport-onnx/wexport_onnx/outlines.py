"""A model's own fields, found by stepping over them: enough to know one by, and where its graph stands.

The message is `ModelProto` of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import wexport
from wexport_onnx import nodes
from wexport_onnx.nodes import Span
from wexport_onnx.wire import BYTES, VARINT, Wire

# ModelProto's fields, with their wire types.
_VERSION, _PRODUCER, _PRODUCER_VERSION, _GRAPH, _FUNCTION = 1, 2, 3, 7, 25
_MODEL = {1: VARINT, 2: BYTES, 3: BYTES, 4: BYTES, 5: VARINT, 6: BYTES, 7: BYTES, 8: BYTES} | {
    14: BYTES,
    20: BYTES,
    25: BYTES,
    26: BYTES,
}
_GRAPHS = frozenset({1, 2, 5, 10, 11, 12, 13, 14, 15, 16})
"""GraphProto's fields, all of which have a length."""
LAST_VERSION = 100
_LATER = 26
"""Fields of higher numbers are of later versions of ONNX than we know."""
_MAX_LOOKED_AT = 64


@dataclass(slots=True)
class Outline:
    """The fields of a model at its top level. whole: whether they end where the file does."""

    version: int = 0
    producer: Span | None = None
    producer_version: Span | None = None
    graphs: list[Span] = field(default_factory=list)
    functions: list[Span] = field(default_factory=list)
    known: bool = True
    whole: bool = True


def outline(source: wexport.Source) -> tuple[Wire, Outline]:
    return source.shared("onnx", _walked)


def _walked(source: wexport.Source) -> tuple[Wire, Outline]:
    wire, found = Wire(source), Outline()
    position = 0
    try:
        # What is cut short ends behind the file: its last field is still of interest.
        for number, kind, value, end in wire.fields(0, 1 << 62):
            if _MODEL.get(number, kind if number > _LATER else None) != kind:
                found.known = False
                break
            position = end
            if number == _VERSION:
                found.version = value
            elif number == _PRODUCER:
                found.producer = value, end
            elif number == _PRODUCER_VERSION:
                found.producer_version = value, end
            elif number == _GRAPH:
                found.graphs.append((value, end))
            elif number == _FUNCTION:
                found.functions.append((value, end))
            if end > source.size:
                break
    except wexport.ReadError:
        pass
    found.whole = found.known and position == source.size
    return wire, found


def is_graph(wire: Wire, span: Span, size: int) -> bool:
    """Whether a message begins as a graph does, with nodes or tensors that are such."""
    seen = 0
    try:
        for number, kind, begin, end in wire.fields(*span):
            if number <= _LATER and (number not in _GRAPHS or kind != BYTES):
                return False
            if end > size:
                return seen > 0
            if number == 1:
                node = nodes.node(wire, begin, end)
                if not re.fullmatch(r"[A-Za-z_][\w.:-]*", node.op):
                    return False
            seen += 1
            if seen >= _MAX_LOOKED_AT:
                return True
    except wexport.ReadError:
        return False
    return seen > 0


def functions(wire: Wire, spans: list[Span]) -> Iterator[tuple[tuple[str, str], Span]]:
    for span in spans:
        name = domain = ""
        for number, kind, begin, end in wire.fields(*span):
            if number == 1 and kind == BYTES:
                name = wire.text(begin, end)
            elif number == 10 and kind == BYTES:
                domain = wire.text(begin, end)
        yield (domain, name), span


def text(wire: Wire, span: Span | None) -> str | None:
    return (wire.text(*span) or None) if span is not None else None
