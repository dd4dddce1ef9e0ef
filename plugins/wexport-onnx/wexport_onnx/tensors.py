"""From what a graph makes of what is stored to wexport's tensors: in layer order, each with its place in the model."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace

import wexport
from wexport.reading import roles
from wexport_onnx import paths
from wexport_onnx.graph import Walk
from wexport_onnx.nouns import Part
from wexport_onnx.quantised import dequantised
from wexport_onnx.settling import settle
from wexport_onnx.stock import FORMULAS, SETTINGS
from wexport_onnx.values import LAST, Layer, Stored, Use, meanings

_INTEGERS = frozenset({"int32", "int64", "bool"})
_QUANTISING = re.compile("Quantize|QLinear|Integer")
FACTORS = "factor or offset that is part of another tensor"
_RESIZING = frozenset({"Resize", "Upsample"})
_COMBINING = frozenset({"Add", "Sub", "Mul", "Div", "MatMul", "Pow"})
"""Operators in which a constant may be a parameter that was never trained."""
MAX_LOOKED_AT = 1 << 20
_RECURRENT = frozenset({"LSTM", "GRU", "SimpleRNN"})


def tensors(walk: Walk) -> tuple[list[wexport.Tensor], list[wexport.Skipped]]:
    """Tensors in the order of their layers, those that nothing uses last; and what holds no weights."""
    found: list[tuple[Stored, Use | None]] = []
    skipped = []
    settled = settle(walk.stock.stored, walk.folder)
    for stored in settled.rows:
        uses = list(meanings(stored))
        setting = _setting(stored, uses)
        if setting is None:
            found += [(stored, use) for use in uses or (None,)]
        else:
            skipped.append(wexport.Skipped(setting, stored.tensor.name, size=stored.tensor.stored_bytes))
    for stored, into in settled.gone.items():
        skipped.append(wexport.Skipped(FACTORS, stored.tensor.name, detail=into, size=stored.tensor.stored_bytes))
    places = _Places(use.layer for _, use in found if use is not None)
    placed: list[tuple[tuple[int, int, int], wexport.Tensor]] = []
    for number, (stored, use) in enumerate(found):
        if use is None:
            placed.append(((places.count, 0, number), replace(stored.tensor, kind=_kind(stored.tensor))))
            continue
        parts = enumerate(_meant(stored, use, places, walk))
        placed += [((places.ranks[use.layer], side, use.number), tensor) for side, tensor in parts]
    placed.sort(key=lambda pair: pair[0])
    return [tensor for _, tensor in placed], skipped


def _setting(stored: Stored, uses: list[Use]) -> str | None:
    """What to call something that tells an operator how to work, and is not a weight; None for what may be one."""
    if any(use.described or not use.layer.standard for use in uses):
        return None
    tensor = stored.tensor
    if tensor.dtype in _INTEGERS:
        return SETTINGS
    if uses and all(use.layer.class_name in _RESIZING and use.number for use in uses):
        return "settings of operators"
    if stored.constant and uses and all(use.layer.class_name not in _COMBINING for use in uses) and _is_uniform(tensor):
        return FORMULAS  # the zeros that a recurrent layer begins with, the ones of a mask
    quantises = any(_QUANTISING.search(use.layer.class_name) or use.number > LAST for use in uses)
    # torch's own parameters may be single numbers; of others, such are the 0, 1 or epsilon of a formula.
    single = tensor.size <= 1 if stored.constant else uses and not tensor.shape
    return FORMULAS if single and not quantises and not paths.is_parameter(tensor.name) else None


def _is_uniform(tensor: wexport.Tensor) -> bool:
    """Whether a small tensor has one value, over and over."""
    if not 1 < tensor.size <= MAX_LOOKED_AT:
        return False
    first, uniform = None, True
    for chunk in tensor.chunks(1 << 20):
        first = chunk[:1] if first is None else first
        uniform = uniform and bool((chunk == first).all())
    return uniform


def _kind(tensor: wexport.Tensor) -> str:
    """A single number of which nothing is known may as well be a constant of the formula."""
    return "array" if tensor.size <= 1 else "weight"


class _Places:
    """The layers that weights belong to. ranks: their numbers, in the order of the nodes."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        used = sorted(set(layers), key=lambda layer: layer.index)
        self.ranks = {layer: rank for rank, layer in enumerate(used)}
        self.count = len(used)
        self._root = paths.common_root({layer.path for layer in used if layer.scoped and layer.path})
        stacks: dict[paths.Path, list[Layer]] = {}
        for layer in used:
            if layer.path and not layer.scoped and layer.class_name in _RECURRENT:
                stacks.setdefault(layer.path, []).append(layer)
        # Of the layers that torch stacks in one module, parameters are called `weight_ih_l0`, `weight_ih_l1`.
        self._sublayers = {
            layer: f"l{number}" for stack in stacks.values() if len(stack) > 1 for number, layer in enumerate(stack)
        }

    def path(self, layer: Layer) -> paths.Path:
        """Names from the model inwards."""
        if layer.scoped:
            return layer.path[1:] if layer.path[:1] == (self._root,) else layer.path
        return (*layer.path, self._sublayers[layer]) if layer in self._sublayers else layer.path

    def lineage(self, layer: Layer) -> tuple[wexport.Node, ...]:
        """The nodes for the slot: torch's modules by their own names, which are the model's, all else by classes.

        Where names are numbered anew in each model, the innermost layer is its node's own, so that two nodes never
        share one, whatever they are called.
        """
        path = self.path(layer)
        if path and not layer.scoped:
            return tuple(wexport.Node(name, fixed=True) for name in path)
        outer = tuple(wexport.Node(name) for name in path[:-1])
        return (*outer, wexport.Node(layer.label, layer.wrapper or layer.class_name))


def _meant(stored: Stored, use: Use, places: _Places, walk: Walk) -> Iterator[wexport.Tensor]:
    layer, tensor = use.layer, stored.tensor
    path = places.path(layer)
    if use.quantised is not None and (
        not use.described or tensor.dtype.startswith(("int", "uint", "float8", "float4"))
    ):
        tensor = dequantised(tensor, use.view, use.axes, use.quantised, walk.folder.array)
    for part in use.parts:
        own = replace(tensor, name=use.name)
        own = part.take(own) if part.take is not None else own
        known = part.role != "unknown"
        yield replace(
            own,
            kind="weight" if known else _kind(tensor),
            layer="/".join(path) or None,
            layer_class=layer.class_name,
            layer_index=places.ranks[layer],
            lineage=places.lineage(layer),
            direction=part.direction,
            role=part.role,
            variable_index=use.number,
            slot_leaf=part.leaf or (None if known else paths.parameter(use.name, path)),
            trainable=False if part.role in roles.NON_TRAINED else None,
            layout=_layout(layer, part, use, own.shape) if known else None,
        )


def _layout(layer: Layer, part: Part, use: Use, shape: tuple[int, ...]) -> wexport.Layout | None:
    if not part.known:
        return None
    permutation, view = part.permutation, part.view
    if use.axes is not None:
        if view is not None:
            return None  # seen in another shape only after its axes have changed places
        permutation = tuple(use.axes[axis] for axis in permutation or range(len(use.axes)))
    if view is None and part.take is None:
        view = use.view
    return roles.layout(
        layer.computes, part.role, shape, view=view, permutation=permutation, gate_names=part.gate_names
    )
