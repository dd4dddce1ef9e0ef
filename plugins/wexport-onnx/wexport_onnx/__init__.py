"""ONNX models for wexport: what a graph stores, and what its nodes say it is.

The file is walked in place: neither the graph nor a weight is ever held as a whole, whatever the model's size.
"""

from __future__ import annotations

from collections.abc import Sequence

import wexport
from wexport_onnx.graph import Walk
from wexport_onnx.outlines import LAST_VERSION, functions, is_graph, outline, text
from wexport_onnx.tensors import tensors
from wexport_onnx.values import Scope


def sniff(source: wexport.Source) -> float:
    """0.9 for a message whose fields are a model's, and whose graph's are a graph's; 0.5 for the beginning of one.

    Protobuf has no signature, so all fields of the top level are stepped over and the first of the graph looked at.
    """
    if not source.head.startswith(b"\x08"):
        return 0.0
    wire, model = outline(source)
    if not model.known or not 0 < model.version <= LAST_VERSION or len(model.graphs) != 1:
        return 0.0
    if not is_graph(wire, model.graphs[0], source.size):
        return 0.0
    return 0.9 if model.whole else 0.5


def open_(source: wexport.Source) -> wexport.Model:
    """What a model's graph stores, in the order of the nodes that use it.

    Raises ReadError for a damaged file, HostileFileError for one that declares what no model has, BudgetError for one
    of too many fields.
    """
    wire, model = outline(source)
    if not model.whole or len(model.graphs) != 1:
        raise wexport.ReadError(
            f"{source.path}: is cut short or no ONNX model: its fields end at another place than the file",
            hint="copy or save it again",
        )
    walk = Walk(wire, dict(functions(wire, model.functions)))
    walk.graph(model.graphs[0], Scope())
    found, skipped = tensors(walk)
    producer = text(wire, model.producer)
    return wexport.Model(
        tensors=found,
        format="onnx",
        framework=_FRAMEWORKS.get(producer or "", producer),
        framework_version=text(wire, model.producer_version),
        skipped=[*walk.stock.skipped, *skipped],
    )


_FRAMEWORKS = {"pytorch": "torch"}
"""What exporters call themselves, where other files of the framework have another word for it."""

READER = wexport.Reader(name="onnx", reads="ONNX models", sniff=sniff, open=open_, suffixes=(".onnx",))


@wexport.hookimpl
def wexport_readers() -> Sequence[wexport.Reader]:
    return [READER]
