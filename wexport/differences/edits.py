"""What was done to the layers between two models: put in, left out, made wider, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from wexport.analysis.matching import Alignment
from wexport.differences.results import TensorSide


def describe(a: Sequence[TensorSide], b: Sequence[TensorSide], found: Alignment) -> tuple[str, ...]:
    """A sentence a layer, in the order of the models; layers are told by the names of their tensors."""
    pairs = [*found.pairs, *found.reshaped, *found.repeats]
    unsure = [{n for group in found.ambiguous for n in group[side]} for side in (0, 1)]
    return (
        *_alone(a, {pair.left for pair in pairs}, unsure[0], "a"),
        *_alone(b, {pair.right for pair in pairs}, unsure[1], "b"),
        *_reshaped(a, b, found),
    )


def _alone(sides: Sequence[TensorSide], paired: set[int], unsure: set[int], which: str) -> Iterable[str]:
    """The layers of which no tensor has a partner, with the layers that stand before and after."""
    layers: dict[str, list[int]] = defaultdict(list)
    for number, side in enumerate(sides):
        if side.layer and side.kind != "optimizer":
            layers[side.layer].append(number)
    names = list(layers)
    alone = [not any(n in paired or n in unsure for n in numbers) for numbers in layers.values()]
    for place, name in enumerate(names):
        if not alone[place] or len(names) == sum(alone):
            continue
        before = next((names[n] for n in range(place - 1, -1, -1) if not alone[n]), None)
        after = next((names[n] for n in range(place + 1, len(names)) if not alone[n]), None)
        where = (
            f"between {before} and {after}" if before and after else f"before {after}" if after else f"after {before}"
        )
        yield f"layer {name} is only in {which}: it stands {where}"


def _reshaped(a: Sequence[TensorSide], b: Sequence[TensorSide], found: Alignment) -> Iterable[str]:
    for layer, pairs in _by_layer(a, found).items():
        left, right = pairs
        yield f"layer {layer} has another size: {_shape(a[left])} in a, {_shape(b[right])} in b"


def _by_layer(a: Sequence[TensorSide], found: Alignment) -> dict[str, tuple[int, int]]:
    """The largest tensor of each layer whose shape differs."""
    largest: dict[str, tuple[int, int]] = {}
    for pair in found.reshaped:
        layer = a[pair.left].layer or a[pair.left].name
        if layer not in largest or a[largest[layer][0]].value_count < a[pair.left].value_count:
            largest[layer] = pair.left, pair.right
    return largest


def _shape(side: TensorSide) -> str:
    return "x".join(map(str, side.canonical_shape)) or "scalar"
