"""The layers of a model as they are called: which there are, and what their slots are."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import keras

from wexport import UsageError
from wexport.reading import roles
from wexport_keras.describing import Described

_DIRECTIONS = {"forward_layer": "forward", "backward_layer": "backward"}
_ATTENTION = {
    "_query_dense": "query",
    "_key_dense": "key",
    "_value_dense": "value",
    "_output_dense": "attention_output",
}
RECURRENT = (keras.layers.RNN, keras.layers.Bidirectional)
"""Layers whose input has time as its second axis; Keras' LSTM, GRU, SimpleRNN and ConvLSTM are RNNs."""


@dataclass(frozen=True, eq=False)
class Place:
    """A layer that is called when its model is.

    names: of the models and wrappers around it and its own, as `Tensor.layer` joins them. index: of the outermost.
    prefix: of its slots. part: of an attention layer, or "".
    """

    layer: Any
    names: tuple[str, ...]
    index: int
    prefix: str
    direction: str | None = None
    part: str = ""
    config: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        return "/".join(self.names)

    @property
    def class_name(self) -> str:
        return type(self.layer).__name__

    @property
    def channels_first(self) -> bool:
        """Whether channels are the second axis of its output."""
        return getattr(self.layer, "data_format", None) == "channels_first"


def places(model: Any, whole: Described) -> list[Place]:
    """Every layer that is called when the model is, but for input layers and what loops run: cells, and what a
    TimeDistributed holds.

    whole: the model's weights, so that the outputs of a layer stand beside its own.
    """
    return list(_Walk(whole.prefixes()).below(model, (), ""))


def chosen(found: Sequence[Place], patterns: Sequence[str]) -> list[Place]:
    """The layers that a pattern fits, by their path or by the prefix of their slots.

    Raises UsageError for a pattern that fits none.
    """
    fitting: dict[int, Place] = {}
    for pattern in patterns:
        matches = [
            number
            for number, place in enumerate(found)
            if fnmatch.fnmatchcase(place.path, pattern) or fnmatch.fnmatchcase(place.prefix, pattern)
        ]
        if not matches:
            some = ", ".join(place.path for place in found[:12]) + (", ..." if len(found) > 12 else "")
            raise UsageError(f"no layer is called {pattern!r}", hint=f"the layers are: {some}")
        fitting |= {number: found[number] for number in matches}
    return [fitting[number] for number in sorted(fitting)]


class _Walk:
    def __init__(self, prefixes: Mapping[int, Sequence[str]]) -> None:
        self._prefixes = prefixes
        self._taken = {prefix for each in prefixes.values() for prefix in each}
        self._given: set[str] = set()
        self._seen: set[int] = set()

    def below(self, model: Any, names: tuple[str, ...], prefix: str, index: int | None = None) -> Iterator[Place]:
        for number, layer in enumerate(model.layers):
            if isinstance(layer, keras.layers.InputLayer) or id(layer) in self._seen:
                continue
            self._seen.add(id(layer))
            at = number if index is None else index
            mine = (*names, layer.name)
            own = self._prefix(layer, len(mine), prefix)
            yield Place(layer, mine, at, own, config=_config(layer))
            if isinstance(layer, keras.Model):
                yield from self.below(layer, mine, own, at)
            elif isinstance(layer, keras.layers.Bidirectional):
                for attribute, direction in _DIRECTIONS.items():
                    one = getattr(layer, attribute)
                    inner = f"{own}/{direction}"
                    yield Place(one, (*mine, one.name), at, inner, direction, config=_config(one))
            elif isinstance(layer, (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention)):
                for attribute, part in _ATTENTION.items():
                    dense = getattr(layer, attribute, None)
                    if isinstance(dense, keras.Layer):
                        yield Place(dense, (*mine, part), at, f"{own}/{part}", part=part, config=_config(dense))

    def _prefix(self, layer: Any, depth: int, around: str) -> str:
        """As its weights have it; without weights its class and a number, as Keras counts layers of a class."""
        known = next((found for one in layer.variables if (found := self._prefixes.get(id(one)))), ())
        prefix = known[min(depth, len(known)) - 1] if known else ""
        if prefix and prefix not in self._given:
            self._given.add(prefix)
            return prefix
        stem = "/".join(filter(None, (around, roles.snake_case(type(layer).__name__))))
        name, number = stem, 0
        while name in self._taken:
            number += 1
            name = f"{stem}_{number}"
        self._taken.add(name)
        return name


def _config(layer: Any) -> Mapping[str, Any] | None:
    try:
        found = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))["config"]
    except Exception:  # a layer's own get_config may raise anything
        return None
    return found if isinstance(found, dict) else None
