"""ONNX's recurrent layers taken apart as Keras keeps them: a tensor a direction, gates named, biases summed.

W is (directions, gates x units, inputs), R (directions, gates x units, units) and B (directions, 2 x gates x units):
the inputs' biases, then the state's. https://onnx.ai/onnx/operators/onnx__LSTM.html, __GRU.html, __RNN.html.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import wexport
from wexport.reading import chunks
from wexport_onnx.nodes import Attributes
from wexport_onnx.nouns import Meaning, Part, Shapes

# Keras' class, and the gates in ONNX's order.
_LAYERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "LSTM": ("LSTM", ("i", "o", "f", "c")),
    "GRU": ("GRU", ("z", "r", "h")),
    "RNN": ("SimpleRNN", ()),
}
_DIRECTIONS: dict[str, tuple[str | None, ...]] = {
    "forward": (None,),
    "reverse": (None,),  # Keras' go_backwards, which is a layer like any other
    "bidirectional": ("forward", "backward"),
}


def recurrent(op: str, attributes: Attributes, shapes: Shapes) -> Meaning | None:
    """The meaning of an LSTM, GRU or RNN; None if kernel and recurrent kernel are not weights or do not fit."""
    name, gates = _LAYERS[op]
    directions = _DIRECTIONS.get(attributes.word("direction", "forward"))
    kernel, recurrent, bias = shapes.get(1), shapes.get(2), shapes.get(3)
    if directions is None or kernel is None or recurrent is None or len(kernel) != 3 or len(recurrent) != 3:
        return None
    units, rows = recurrent[2], recurrent[1]
    blocks = max(1, len(gates))
    if kernel[:2] != recurrent[:2] or kernel[0] != len(directions) or rows != blocks * units:
        return None
    if 3 in shapes and bias != (len(directions), 2 * rows):
        return None
    both = op == "GRU" and attributes.integer("linear_before_reset", 0) != 0
    matrix = [
        _matrices(directions, shape[1:], role, gates)
        for shape, role in zip((kernel, recurrent), ("kernel", "recurrent_kernel"), strict=True)
    ]
    parts = {1: matrix[0], 2: matrix[1]}
    if bias is not None:
        parts[3] = tuple(_bias(place, directions, rows, gates, both) for place in range(len(directions)))
    return Meaning(layer_class=name, parts=parts, wrapper="Bidirectional" if len(directions) > 1 else None)


def _matrices(
    directions: tuple[str | None, ...], shape: tuple[int, ...], role: str, gates: tuple[str, ...]
) -> tuple[Part, ...]:
    return tuple(
        Part(
            role=role,
            view=shape,
            permutation=(1, 0),
            gate_names=gates,
            direction=direction,
            take=_one_of(place, shape) if len(directions) > 1 else None,
        )
        for place, direction in enumerate(directions)
    )


def _one_of(place: int, shape: tuple[int, ...]) -> Callable[[wexport.Tensor], wexport.Tensor]:
    """One direction of a tensor."""

    def take(tensor: wexport.Tensor) -> wexport.Tensor:
        return chunks.part(tensor, place * math.prod(shape), shape, name=f"{tensor.name}[{place}]")

    return take


def _bias(place: int, directions: tuple[str | None, ...], rows: int, gates: tuple[str, ...], both: bool) -> Part:
    """Keras has one bias, the sum of ONNX's two, but for a GRU that applies its reset gate after the product."""
    several = len(directions) > 1
    if both:
        take = _one_of(place, (2 * rows,)) if several else None
        return Part(role="bias", view=(2, rows), gate_names=gates, direction=directions[place], take=take)

    def summed(tensor: wexport.Tensor) -> wexport.Tensor:
        begin = 2 * rows * place
        halves = [
            chunks.part(
                tensor, begin + half * rows, (rows,), name=f"{tensor.name}[{place}, {half * rows}:{half * rows + rows}]"
            )
            for half in (0, 1)
        ]
        return chunks.summed(halves)

    return Part(role="bias", gate_names=gates, direction=directions[place], take=summed)
