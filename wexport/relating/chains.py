"""How layers feed one another where a file tells names and shapes alone, as a state dict does.

What can be told: a chain, in which each layer takes what the one before gives; a normalisation beside its convolution;
and residual blocks as torchvision names them. All else is left open, with the reason. What stands between layers is
not known: an activation may be any.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from wexport.model.gates import KINDS
from wexport.model.graph import Call, Graph
from wexport.model.roles import NON_TRAINED
from wexport.relating.layers import UNKNOWN
from wexport.relating.results import Read

TOLD_BY = "names and shapes"
_NORMS = ("BatchNormalization", "LayerNormalization", "RMSNormalization")
_RECURRENT = frozenset(name for kind in KINDS for name in kind.layers)
_SHORTCUTS = ("downsample", "shortcut")
_SIDE_BY_SIDE = re.compile(r"(.*_)?(q|k|v|qkv|query|key|value|attn|attention|att|gate|mix|mixer)(_.*)?")
"""Words in names of layers that stand side by side, though their shapes may fit one behind the other."""
_NUMBERED = re.compile(r"(.*?)_?(\d+)")


class NotToldError(Exception):
    """Why names and shapes do not tell it."""


@dataclass
class _Layer:
    """path: of its name. kernels: canonical shapes by direction."""

    path: tuple[str, ...]
    class_name: str
    tensors: list[Read] = field(default_factory=list)

    @property
    def name(self) -> str:
        return "/".join(self.path)

    @property
    def is_norm(self) -> bool:
        return self.class_name in _NORMS

    def shape(self, role: str) -> tuple[int, ...]:
        found = next((each.canonical_shape for each in self.tensors if each.role == role), None)
        if found is None:
            raise NotToldError(f"{self.name} has no {role}")
        return found

    @property
    def takes(self) -> int:
        if self.class_name == "Embedding":
            raise NotToldError(f"{self.name} is an embedding behind another layer")
        if self.class_name in _RECURRENT:
            return self.shape("kernel")[0]
        if self.class_name.startswith("Depthwise"):
            return self.shape("depthwise_kernel")[-2]
        return self.shape("kernel")[-1 if self.class_name.endswith("Transpose") else -2]

    @property
    def gives(self) -> int:
        if self.class_name == "Embedding":
            return self.shape("embeddings")[1]
        if self.class_name in _RECURRENT:
            ways = len({each.direction for each in self.tensors})
            return ways * self.shape("recurrent_kernel")[0]
        if self.class_name.startswith("Depthwise"):
            *_, channels, multiplier = self.shape("depthwise_kernel")
            return channels * multiplier
        return self.shape("kernel")[-2 if self.class_name.endswith("Transpose") else -1]


def graph_of(tensors: Sequence[Read], classes: Sequence[str | None], *, ordered: bool) -> Graph:
    """The graph of a chain with residual blocks. Raises NotToldError with the reason.

    classes: of the tensors' layers, by Keras 3's names. ordered: whether layers stand in the model's order; else the
    numbers in their names tell it.
    """
    layers: dict[str, _Layer] = {}
    for tensor, class_name in zip(tensors, classes, strict=True):
        if tensor.role == "count":
            continue
        if not tensor.layer or class_name is None or tensor.role == "unknown":
            raise NotToldError(f"what {tensor.slot} does is not told")
        if any(_SIDE_BY_SIDE.fullmatch(part) for part in tensor.layer.lower().split("/")):
            raise NotToldError(f"{tensor.layer} is part of something that is no chain")
        layers.setdefault(tensor.layer, _Layer(tuple(tensor.layer.split("/")), class_name)).tensors.append(tensor)
    found = list(layers.values())
    if not found:
        raise NotToldError("there are no layers")
    if not ordered or any(_shortcut(each) for each in found):
        found = sorted(found, key=_place)
    first = any(
        each.role == "kernel" and len(each.shape) > 2 and each.shape[:2] == each.canonical_shape[:-3:-1]
        for each in tensors
    )
    return _Wiring(found, channels_first=first).graph()


def _shortcut(layer: _Layer) -> bool:
    return len(layer.path) > 1 and (layer.path[-2] in _SHORTCUTS or layer.path[-1] in _SHORTCUTS)


def _place(layer: _Layer) -> list[tuple[Any, ...]]:
    """Where a layer stands by its name: conv1, bn1, conv2, bn2; what has no number first or last by its word."""
    key: list[tuple[Any, ...]] = []
    for depth, part in enumerate(layer.path, 1):
        numbered = _NUMBERED.fullmatch(part)
        stem = numbered[1] if numbered else part
        rank = _STEMS.get(stem, 2)
        is_norm = depth == len(layer.path) and layer.is_norm
        key.append((rank, int(numbered[2]) if numbered else 0, is_norm, stem))
    return key


_STEMS = {
    **dict.fromkeys(("embedding", "embeddings", "embed", "stem"), 0),
    **dict.fromkeys(("conv", "bn", "norm", "features", "encoder", "backbone", "rnn", "lstm", "gru"), 1),
    **dict.fromkeys(("fc", "linear", "dense", "lin"), 3),
    **dict.fromkeys(("head", "classifier", "out", "output"), 4),
    **dict.fromkeys(_SHORTCUTS, 5),
}
"""What names of layers without an order tell of it."""


class _Wiring:
    """channels_first: whether kernels are stored as (units, channels, *window), and so flattened as well."""

    def __init__(self, layers: Sequence[_Layer], *, channels_first: bool) -> None:
        self.layers, self.channels_first = layers, channels_first
        self.calls: list[Call] = [Call("", "InputLayer", {})]
        self.residual = any(_shortcut(each) for each in layers)

    def graph(self) -> Graph:
        now, gives = 0, 0
        for block in self._blocks():
            now, gives = self._block(block, now, gives) if self._is_residual(block) else self._chain(block, now, gives)
        return Graph(tuple(self.calls), (now,), TOLD_BY)

    def _blocks(self) -> Iterator[list[_Layer]]:
        """Layers of one residual block together, and those between two blocks."""
        for _, block in itertools.groupby(self.layers, _scope if self.residual else lambda _: None):
            yield list(block)

    def _is_residual(self, block: Sequence[_Layer]) -> bool:
        return self.residual and _scope(block[0]) is not None and sum(not each.is_norm for each in block) > 1

    def _block(self, block: Sequence[_Layer], now: int, gives: int) -> tuple[int, int]:
        """Convolutions one behind the other, and what came in, by a shortcut or as it is, added to what they give."""
        main = [each for each in block if not _shortcut(each)]
        inner, width = self._chain(main, now, gives, last_is_free=False)
        around = [each for each in block if _shortcut(each)]
        outer, other = self._chain(around, now, gives, last_is_free=False) if around else (now, gives)
        if other != width:
            raise NotToldError(f"the block of {main[0].name} gives {width} channels where {other} come in")
        return self._between(self._add(Call("", "Add", {}, (inner, outer)))), width

    def _chain(self, layers: Sequence[_Layer], now: int, gives: int, *, last_is_free: bool = True) -> tuple[int, int]:
        for number, layer in enumerate(layers):
            if layer.is_norm:
                length = next((each.canonical_shape[-1] for each in layer.tensors), 0)
                if gives and length != gives:
                    raise NotToldError(f"{layer.name} is of {length} channels where {gives} come in")
                gives = gives or length
                now = self._add(Call(layer.name, layer.class_name, {}, (now,)))
            else:
                now, gives = self._layer(layer, now, gives)
            follows = layers[number + 1] if number + 1 < len(layers) else None
            if (follows is not None and not follows.is_norm) or (follows is None and last_is_free):
                now = self._between(now)
        return now, gives

    def _layer(self, layer: _Layer, now: int, gives: int) -> tuple[int, int]:
        if any(each.role in NON_TRAINED for each in layer.tensors):
            raise NotToldError(f"{layer.name} is of a class that is not known")
        if gives and layer.takes != gives:
            takes = layer.takes
            flattens = layer.class_name == "Dense" and takes % gives == 0 and self._is_spatial
            if not flattens:
                raise NotToldError(f"{layer.name} takes {takes} channels where {gives} come in")
            now = self._add(Call("", "Flatten", {}, (now,)))
        directions = {each.direction for each in layer.tensors if each.direction}
        config: dict[str, Any] = {"data_format": "channels_first" if self.channels_first else "channels_last"}
        class_name = layer.class_name
        if len(directions) > 1:
            class_name, config = "Bidirectional", {"layer": {"class_name": class_name, "config": {}}}
        elif class_name in _RECURRENT:
            config = {}
        self._is_spatial = "Conv" in class_name
        return self._add(Call(layer.name, class_name, config, (now,))), layer.gives

    _is_spatial = False

    def _between(self, now: int) -> int:
        return self._add(Call("", "Activation", {"activation": UNKNOWN}, (now,)))

    def _add(self, call: Call) -> int:
        self.calls.append(call)
        return len(self.calls) - 1


def _scope(layer: _Layer) -> tuple[str, ...] | None:
    """The numbered module that a layer is in, as `layer1/0`, a shortcut's too; None if there is none."""
    for end in range(len(layer.path) - 1, 0, -1):
        if layer.path[end - 1].isdigit() and end > 1:
            if layer.path[end:] and layer.path[end] in (*_SHORTCUTS,):
                return layer.path[:end]
            if end == len(layer.path) - 1:
                return layer.path[:end]
    return None
