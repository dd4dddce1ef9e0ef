"""How the layers of a Keras model feed one another: `inbound_nodes` of its config, or the order of a Sequential.

Models within models are written out, each call of them anew; so is what TimeDistributed repeats.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wexport.model.graph import Call, Graph
from wexport.readers.keras import layers as keras_layers
from wexport.readers.keras.config import MAX_NESTING, sublayers_of

MAX_CALLS = 20_000
"""A config that models call each other in would grow without end."""
_TOLD_BY = "the model's config"
_Place = tuple[str, int]
"""A layer's name and which of its calls."""


def graph_of(model: Mapping[str, Any] | None) -> Graph | None:
    """The graph that a model's config tells; None if it tells none, or not as Keras writes it."""
    if not model:
        return None
    found = _Graph()
    try:
        outputs = found.model(model, (), None, 0)
    except (_NotToldError, KeyError, TypeError, ValueError, IndexError, AttributeError):
        return None
    return Graph(tuple(found.calls), tuple(outputs), _TOLD_BY) if outputs else None


class _NotToldError(Exception):
    pass


class _Graph:
    def __init__(self) -> None:
        self.calls: list[Call] = []

    def model(
        self, layer: Mapping[str, Any], names: tuple[str, ...], arguments: Sequence[int] | None, depth: int
    ) -> list[int]:
        """Write out a model; returns what gives its outputs. arguments: what it is called with, None at the top."""
        if depth > MAX_NESTING:
            raise _NotToldError
        config = layer["config"]
        layers = sublayers_of(layer)
        if not isinstance(config, list) and "input_layers" in config:
            return self._functional(config, layers, names, arguments, depth)
        if layer.get("class_name") not in ("Sequential", None):
            raise _NotToldError  # a class of somebody's own: its code tells how its layers are called
        now = list(arguments) if arguments is not None else []
        for each in layers:
            if each["class_name"] == "InputLayer" and now:
                continue
            now = self._layer(each, names, now or [self._input()], depth)
        return now

    def _layer(
        self, layer: Mapping[str, Any], names: tuple[str, ...], arguments: Sequence[int], depth: int
    ) -> list[int]:
        config = layer["config"]
        name = config.get("name") if isinstance(config, Mapping) else None
        names = (*names, str(name or layer.get("name") or ""))
        if sublayers_of(layer):
            return self.model(layer, names, arguments, depth + 1)
        modern = keras_layers.modern(str(layer["class_name"]), config)
        if modern == "TimeDistributed":
            return self._layer(config["layer"], names, arguments, depth + 1)
        if str(layer.get("module", "")).startswith("keras.src.ops."):
            modern = f"{modern} operation"
        return [self._add(Call("/".join(names), modern, config, tuple(arguments)))]

    def _functional(
        self,
        config: Mapping[str, Any],
        layers: Sequence[Mapping[str, Any]],
        names: tuple[str, ...],
        arguments: Sequence[int] | None,
        depth: int,
    ) -> list[int]:
        made: dict[_Place, list[int]] = {}
        inputs = [place for place, _ in _references(config["input_layers"])]
        for number, place in enumerate(inputs):
            made[place] = [self._input() if arguments is None else arguments[number]]
        waiting = [
            (layer, (_name(layer), number), list(_references(node)))
            for layer in layers
            for number, node in enumerate(layer.get("inbound_nodes") or ())
            if (_name(layer), number) not in made
        ]
        while waiting:
            left = []
            for layer, place, references in waiting:
                if not references or any(source not in made for source, _ in references):
                    left.append((layer, place, references))
                    continue
                taken = [_output(made[source], number) for source, number in references]
                made[place] = self._layer(layer, names, taken, depth)
            if len(left) == len(waiting):
                raise _NotToldError
            waiting = left
        return [_output(made[place], number) for place, number in _references(config["output_layers"])]

    def _input(self) -> int:
        return self._add(Call("", "InputLayer", {}))

    def _add(self, call: Call) -> int:
        if len(self.calls) >= MAX_CALLS:
            raise _NotToldError
        self.calls.append(call)
        return len(self.calls) - 1


def _name(layer: Mapping[str, Any]) -> str:
    return str(layer.get("name") or layer["config"]["name"])


def _output(outputs: Sequence[int], number: int) -> int:
    return outputs[number] if len(outputs) > 1 else outputs[0]


def _references(value: Any, depth: int = 0) -> Iterator[tuple[_Place, int]]:
    """The tensors that a part of a config names: layer, which call of it, and which of its outputs.

    Keras 3 writes {"class_name": "__keras_tensor__", "config": {"keras_history": [layer, call, output]}}, older ones
    [layer, call, output, keyword arguments].
    """
    if depth > MAX_NESTING:
        raise _NotToldError
    if isinstance(value, Mapping):
        history = value.get("config", {}).get("keras_history") if isinstance(value.get("config"), Mapping) else None
        if history is not None:
            yield (str(history[0]), int(history[1])), int(history[2])
        else:
            for each in value.values():
                yield from _references(each, depth + 1)
    elif isinstance(value, (list, tuple)):
        if len(value) in (3, 4) and isinstance(value[0], str) and _counts(value[1:3]):
            yield (value[0], value[1]), value[2]
            value = value[3:]
        for each in value:
            yield from _references(each, depth + 1)


def _counts(values: Sequence[Any]) -> bool:
    return all(isinstance(each, int) and not isinstance(each, bool) for each in values)
