"""A Keras model's config as a list of the innermost layers that may hold variables, and where Keras 3 saves them.

The config is inert text of a stranger: nothing in it is ever called, and what does not look as Keras writes it is
passed over.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from wexport.model.gates import LAYERS
from wexport.model.roles import NON_TRAINED, snake_case
from wexport.model.tensors import Node
from wexport.readers.keras import layers as keras_layers

MAX_CONFIG_BYTES = 32 << 20
MAX_NESTING = 64
"""How deep models in models and layers in wrappers may stand; deeper configs are cut there."""

_ATTENTION_PARTS = {"query_dense": "query", "key_dense": "key", "gate_dense": "gate", "value_dense": "value"}
ATTENTION_PARTS = {**_ATTENTION_PARTS, "output_dense": "attention_output"}
"""Attribute of an attention layer's dense part in Keras 3's groups -> the part's own name."""
_DIRECTIONS = {"forward_layer": "forward", "backward_layer": "backward"}
FIXED_ORDERS = (tuple(_DIRECTIONS), tuple(ATTENTION_PARTS))
"""Attributes that are in this order in the layer, though Keras saves them in alphabetical order."""
_ELEMENTS = ("layers", "cells")
"""Attributes that are lists of layers, whose items Keras 3 calls by class and number."""


@dataclass(frozen=True, slots=True)
class LayerConfig:
    """An innermost layer of a config, which may have variables.

    group: where Keras 3 saves it, as path parts without the final `vars`.
    names: layer names, outermost first.
    trainable: whether it and all models around it are; None if the config does not tell.
    index: place of its outermost layer in the model's list of layers.
    part: which part of an attention layer, or "".
    """

    group: tuple[str, ...]
    names: tuple[str, ...]
    class_name: str
    config: Mapping[str, Any]
    trainable: bool | None
    index: int = 0
    part: str = ""

    @property
    def variables(self) -> tuple[str, ...] | None:
        """Roles of its variables in order; None if its class is not one of Keras' own that are known."""
        if self.part:
            return ("kernel",) if self.config.get("use_bias") is False else ("kernel", "bias")
        return keras_layers.variables(self.class_name, self.config)

    @property
    def known_class(self) -> str:
        """The innermost class, by Keras 3's name for it."""
        return keras_layers.modern(self.class_name, self.config)

    def trains(self, role: str) -> bool | None:
        """Whether training may change a variable of this role."""
        if role in NON_TRAINED:
            return False
        is_known = self.variables is not None and role != "unknown" and not keras_layers.quantization(self.config)
        return self.trainable if is_known or self.trainable is False else None


def parse(text: str | bytes | None) -> Mapping[str, Any] | None:
    """A config as a dict; None if it is none, too large or too deep to be one."""
    if text is None or len(text) > MAX_CONFIG_BYTES:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def holders(model: Mapping[str, Any]) -> list[LayerConfig]:
    """Every innermost layer of a model's config, in layer order.

    Groups are those that Keras 3 gives (`saving_lib._save_container_state`): class in snake case, numbered in the
    list's order, input layers and layers without variables included.
    """
    config = _config(model)
    layers = list(_numbered(_layers(model, config), ("layers",)))
    if "input_layers" not in config:
        # A Sequential's own list of layers leaves its input layer out, and so does `layer_names`.
        layers = [item for item in layers if item[1]["class_name"] != "InputLayer"]
    trainable = _trainable(config, True, default=True)
    return [
        replace(holder, index=index)
        for index, (group, layer) in enumerate(layers)
        for holder in _walk(layer, group, (), trainable, 0)
    ]


def _walk(
    layer: Mapping[str, Any], group: tuple[str, ...], names: tuple[str, ...], trainable: bool | None, depth: int
) -> Iterator[LayerConfig]:
    config = _config(layer)
    class_name = _text(layer.get("class_name"))
    if depth > MAX_NESTING or class_name is None:
        return
    name = _text(config.get("name")) or _text(layer.get("name"))
    # A cell is part of its recurrent layer.
    names = (*names, name) if name and group[-1] != "cell" else names
    sublayers = _layers(layer, config)
    known = keras_layers.modern(class_name, config)
    trainable = _trainable(config, trainable, default=True if sublayers else None)
    here = LayerConfig(group, names, class_name, config, trainable)
    if sublayers:
        for below, sublayer in _numbered(sublayers, (*group, "layers")):
            yield from _walk(sublayer, below, names, trainable, depth + 1)
    elif known in keras_layers.ATTENTION:
        for attribute, part in ATTENTION_PARTS.items():
            if part != "gate" or config.get("use_gate"):
                yield replace(here, group=(*group, attribute), names=(*names, part), part=part)
    elif known in LAYERS:
        yield replace(here, group=(*group, "cell"))
    elif isinstance(config.get("cells"), list):
        for below, cell in _numbered(config["cells"], (*group, "cells")):
            yield from _walk(cell, below, names, trainable, depth + 1)
    else:
        yield here
        yield from _wrapped(known, config, group, names, trainable, depth)


def _wrapped(
    known: str,
    config: Mapping[str, Any],
    group: tuple[str, ...],
    names: tuple[str, ...],
    trainable: bool | None,
    depth: int,
) -> Iterator[LayerConfig]:
    """The layers inside a wrapper or a recurrent layer that takes its cell as an argument."""
    inner, backward, cell = (_as_layer(config.get(word)) for word in ("layer", "backward_layer", "cell"))
    if known == "Bidirectional" and inner:
        if "backward_layer" in group or "forward_layer" in group:
            return  # Not a thing Keras can build, and one that would double at each level.
        forward = _renamed(inner, "forward")
        yield from _walk(forward, (*group, "forward_layer"), names, trainable, depth + 1)
        backward = backward or _renamed(inner, "backward")
        yield from _walk(backward, (*group, "backward_layer"), names, trainable, depth + 1)
    elif inner:
        yield from _walk(inner, (*group, "layer"), names, trainable, depth + 1)
    elif cell:
        yield from _walk(cell, (*group, "cell"), names, trainable, depth + 1)


def _renamed(layer: Mapping[str, Any], direction: str) -> Mapping[str, Any]:
    """Bidirectional calls its two copies `forward_lstm` and `backward_lstm` after the layer it was given."""
    config = dict(_config(layer))
    bare = (_text(config.get("name")) or "").removeprefix("forward_")
    return {**layer, "config": {**config, "name": f"{direction}_{bare}"}}


def _numbered(layers: list[Any], prefix: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    counts: dict[str, int] = {}
    for layer in layers:
        if not _is_layer(layer) or _is_operation(layer):
            continue
        word = snake_case(keras_layers.modern(str(layer["class_name"]), _config(layer)))
        number = counts.get(word, 0)
        counts[word] = number + 1
        yield (*prefix, f"{word}_{number}" if number else word), layer


def sublayers_of(layer: Mapping[str, Any]) -> list[Any]:
    """The layers of a model within a config; empty for a mere layer."""
    return _layers(layer, _config(layer))


def _layers(layer: Mapping[str, Any], config: Mapping[str, Any]) -> list[Any]:
    """The layers of a model's config, which in an old Sequential's is the list itself; empty for a mere layer."""
    found = layer["config"] if isinstance(layer.get("config"), list) else config.get("layers")
    return found if isinstance(found, list) and all(_is_layer(item) for item in found) else []


def _is_layer(value: Any) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("class_name"), str) and "config" in value


def _is_operation(layer: Mapping[str, Any]) -> bool:
    """Whether it is a function that Keras 3 recorded (`a + b`), which is not among `model.layers`."""
    return str(layer.get("module", "")).startswith("keras.src.ops.")


def _as_layer(value: Any) -> Mapping[str, Any] | None:
    return value if _is_layer(value) else None


def _config(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    config = layer.get("config")
    return config if isinstance(config, Mapping) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _trainable(config: Mapping[str, Any], around: bool | None, *, default: bool | None) -> bool | None:
    own = config.get("trainable", default)
    if around is False or own is False:
        return False
    return True if own is True and around else None


# -- groups and slots ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupPlace:
    """What a Keras 3 group path tells alone: the same for every container of one model.

    word: what `keras_layers.told` takes; None where the path does not tell a class.
    element: the snake-case class of the innermost layer that is called by its class, or None.
    """

    lineage: tuple[Node, ...]
    direction: str | None
    word: str | None
    element: str | None
    part: str


TOP_LEVEL = Node("top_level_model_weights", fixed=True)
"""Where the variables stand that are the model's own and no layer's; legacy files call their group so."""


def place(group: tuple[str, ...], lists: frozenset[tuple[str, ...]] = frozenset()) -> GroupPlace:
    """Read a group path as Keras 3's saver writes it.

    lists: further paths that are known to be lists of layers, whose items are called by their class.

    Items of `layers` and `cells` are called by class and number; everything else is an attribute of the layer's own
    code and goes into the slot as it stands, but for `cell` and the two directions of a Bidirectional.
    """
    lineage: list[Node] = [] if group else [TOP_LEVEL]
    direction = word = element = None
    part = ""
    for depth, name in enumerate(group):
        above = group[:depth]
        in_elements = depth > 0 and group[depth - 1] in _ELEMENTS
        if name in _ELEMENTS and not in_elements:
            word = None
        elif in_elements:
            element = word = class_word(name)
            lineage.append(Node(name, class_name=word))
        elif above in lists:
            element = word = class_word(name)
            lineage.append(Node(name, fixed=True))
        elif name in _DIRECTIONS and direction is None and word in (None, "bidirectional") and lineage:
            direction, word = _DIRECTIONS[name], "direction"
        elif name == "cell" and (word in ("rnn", "direction") or word in keras_layers.SNAKE_RECURRENT):
            word = "cell"
        elif name in ATTENTION_PARTS and element in SNAKE_ATTENTION and word == element:
            part, word = ATTENTION_PARTS[name], "attention part"
            lineage.append(Node(part, fixed=True))
        else:
            word = None
            lineage.append(Node(name, fixed=True))
    return GroupPlace(tuple(lineage), direction, word, element, part)


def class_word(name: str) -> str:
    """The class in a group's name: `dense_12` is `dense`; `conv2d` has no number."""
    stem, _, number = name.rpartition("_")
    return stem if stem and number.isdecimal() else name


SNAKE_ATTENTION = frozenset(snake_case(name) for name in keras_layers.ATTENTION)
