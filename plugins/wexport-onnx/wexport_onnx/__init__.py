"""ONNX models for wexport: what a graph stores, and what its nodes say it is.

The file is walked in place: neither the graph nor a weight is ever held as a whole, whatever the model's size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import wexport
from wexport import roles
from wexport_onnx import paths
from wexport_onnx.graph import Walk
from wexport_onnx.meaning import Part
from wexport_onnx.outlines import LAST_VERSION, functions, is_graph, outline, text
from wexport_onnx.values import Layer, Scope, Stored, Use, meanings


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
    tensors, unused = _tensors(walk)
    return wexport.Model(
        tensors=tensors,
        format="onnx",
        framework=text(wire, model.producer),
        framework_version=text(wire, model.producer_version),
        skipped=[*walk.skipped, *unused],
    )


READER = wexport.Reader(name="onnx", reads="ONNX models", sniff=sniff, open=open_, suffixes=(".onnx",))


@wexport.hookimpl
def wexport_readers() -> Sequence[wexport.Reader]:
    return [READER]


# -- its tensors -------------------------------------------------------------------------------------------------------


def _tensors(walk: Walk) -> tuple[list[wexport.Tensor], list[wexport.Skipped]]:
    """Tensors in the order of their layers, those that nothing uses last; and what holds no weights."""
    root = paths.common_root({layer.path for layer in walk.layers if layer.scoped and layer.path})
    placed: list[tuple[tuple[int, int, int], wexport.Tensor]] = []
    skipped = []
    for number, stored in enumerate(walk.stored):
        uses = list(meanings(stored))
        if _is_setting(stored, uses):
            if not stored.constant:
                skipped.append(wexport.Skipped("integers that are no weights", stored.tensor.name))
            continue
        if not uses:
            placed.append(((len(walk.layers), 0, number), replace(stored.tensor, kind=_kind(stored.tensor))))
        for use in uses:
            parts = enumerate(_meant(stored.tensor, use, root))
            placed += [((use.layer.index, side, use.number), tensor) for side, tensor in parts]
    placed.sort(key=lambda pair: pair[0])
    ranks = {index: rank for rank, index in enumerate(dict.fromkeys(place[0] for place, _ in placed))}
    return [
        replace(tensor, layer_index=ranks[place[0]]) if place[0] < len(walk.layers) else tensor
        for place, tensor in placed
    ], skipped


def _is_setting(stored: Stored, uses: list[Use]) -> bool:
    """Whether something tells an operator how to work rather than what to multiply by: a shape, an axis, an index."""
    if any(use.told or not use.layer.standard for use in uses):
        return False
    return stored.constant or stored.tensor.dtype in ("int32", "int64", "bool")


def _kind(tensor: wexport.Tensor) -> str:
    """A single number of which nothing is known may as well be a constant of the formula."""
    return "array" if tensor.size <= 1 else "weight"


def _meant(tensor: wexport.Tensor, use: Use, root: str | None) -> Iterator[wexport.Tensor]:
    layer = use.layer
    for part in use.parts:
        own = replace(tensor, name=use.name)
        own = part.take(own) if part.take is not None else own
        told = part.role != "unknown"
        yield replace(
            own,
            kind="weight" if told else _kind(tensor),
            layer="/".join(_path(layer, root)) or None,
            layer_class=layer.class_name,
            lineage=_lineage(layer, root),
            direction=part.direction,
            role=part.role,
            variable_index=use.number,
            slot_leaf=part.leaf,
            trainable=False if part.role in roles.STATISTICS else None,
            layout=_layout(layer, part, use, own.shape) if told else None,
        )


def _path(layer: Layer, root: str | None) -> paths.Path:
    return layer.path[1:] if layer.scoped and layer.path[:1] == (root,) else layer.path


def _lineage(layer: Layer, root: str | None) -> tuple[wexport.Node, ...]:
    """The innermost layer is its node's own, so that two nodes never share one, whatever they are called."""
    outer = tuple(wexport.Node(name) for name in _path(layer, root)[:-1])
    return (*outer, wexport.Node(layer.label, layer.wrapper or layer.class_name))


def _layout(layer: Layer, part: Part, use: Use, shape: tuple[int, ...]) -> wexport.Layout | None:
    if not part.known:
        return None
    permutation = part.permutation
    if use.axes is not None:
        if part.view is not None:
            return None  # seen in another shape only after its axes have changed places
        permutation = tuple(use.axes[axis] for axis in permutation or range(len(use.axes)))
    return roles.layout(
        _axes_class(layer.class_name), part.role, shape,
        view=part.view, permutation=permutation, gate_names=part.gate_names,
    )  # fmt: skip


def _axes_class(layer_class: str) -> str:
    """The class whose axes an operator's kernel has, where it is no layer of Keras'."""
    return {"Gemm": "Dense", "QLinearMatMul": "Dense", "MatMulInteger": "Dense"}.get(layer_class, layer_class)
