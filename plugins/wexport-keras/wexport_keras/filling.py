"""Weights from a file into a model that was built from its config.

wexport's own readers read the file, with all their guards; Keras never opens it. So a file that Keras 3 cannot read
any more, with the same layers, gives its weights all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from wexport import Model, Tensor
from wexport.reading import slot_names
from wexport_keras.describing import Store, described

Group = list[tuple[str, Tensor]]


class MisfitError(Exception):
    """The file's weights are not those of the layers in its config."""


def fill(model: Any, stored: Model) -> None:
    """Give a model the weights that a file of it holds, layer by layer.

    Raises MisfitError, before anything is changed, where the file lacks weights, has more, or has other shapes.
    """
    values = dict(_pairs(described(model).model, stored))
    store = Store.of(model)
    for path, variables in store.contents.items():
        for name in variables:
            found = values.pop(f"{path}/vars/{name}" if path else f"vars/{name}", None)
            if found is not None:
                variables[name] = _array(found)
    store.restore(model)


def _pairs(mine: Model, stored: Model) -> Iterator[tuple[str, Tensor]]:
    """Where each of the file's tensors belongs in the model. The k-th weight of a layer is the k-th in its file: what
    they are called differs between containers, where Keras 3 knows them by number only.
    """
    here, there = _groups(mine.tensors), _groups(stored.tensors)
    for layer in dict.fromkeys([*here, *there]):
        wanted, given = here.get(layer, []), there.get(layer, [])
        if len(wanted) != len(given):
            raise MisfitError(f"{layer or 'the model'}: {len(given)} weights in the file, {len(wanted)} in the model")
        for (slot, tensor), (_, other) in zip(wanted, given, strict=True):
            if tuple(tensor.shape) != tuple(other.shape) or _order(tensor) != _order(other):
                raise MisfitError(f"{slot}: {tuple(other.shape)} in the file, {tuple(tensor.shape)} in the model")
            yield tensor.name, other


def _groups(tensors: Sequence[Tensor]) -> dict[str, Group]:
    slots = slot_names(list(tensors))
    of_layer = sorted(zip(slots, tensors, strict=True), key=lambda pair: _layer(pair[0]))  # stable within a layer
    return {layer: list(pairs) for layer, pairs in groupby(of_layer, lambda pair: _layer(pair[0]))}


def _layer(slot: str) -> str:
    return slot.rpartition("/")[0]


def _order(tensor: Tensor) -> Any:
    """How the stored values become canonical ones."""
    layout = tensor.layout
    return None if layout is None else (layout.view, layout.permutation, layout.gates, layout.cudnn_kernel)


def _array(tensor: Tensor) -> np.ndarray[Any, Any]:
    parts = list(tensor.chunks(64 << 20))
    whole = np.concatenate(parts) if parts else np.empty(0, tensor.value_dtype or tensor.dtype)
    return whole.astype(whole.dtype.newbyteorder("="), copy=False).reshape(tensor.shape)
