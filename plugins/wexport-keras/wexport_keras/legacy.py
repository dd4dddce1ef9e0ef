"""Configs of models that tf.keras 2 saved, in the words of Keras 3.

Keras 3 reads most of them by itself; what it stumbles over are arguments that it dropped, since they had one meaning
left, classes that moved, and tensors that are named among the arguments of a call. Values that do mean something are
kept, so that Keras refuses them by name.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from functools import lru_cache
from typing import Any

import keras

_FUNCTIONAL = {"module": "keras.src.models.functional", "class_name": "Functional", "registered_name": "Functional"}
_MODELS: dict[str, Mapping[str, Any]] = {
    "Functional": _FUNCTIONAL,
    "Model": _FUNCTIONAL,
    "Sequential": {"module": "keras", "class_name": "Sequential", "registered_name": None},
}
_POLICY = {"module": "keras", "class_name": "DTypePolicy", "registered_name": None}


def _anything(value: Any) -> bool:
    return True


def _nothing(value: Any) -> bool:
    return value is None


_DROPPED: dict[str, Callable[[Any], bool]] = {
    "time_major": lambda value: value is False,
    "groups": lambda value: value == 1,
    "implementation": _anything,  # how it is computed, not what
    "query_shape": _anything,  # shapes come with the layer's inputs
    "key_shape": _anything,
    "value_shape": _anything,
    "kernel_initializer": _anything,  # of separable and depthwise layers, which have others for each kernel
    "kernel_regularizer": _nothing,
    "kernel_constraint": _nothing,
}
"""Arguments that some class of Keras 3 has no more, and the values that lose nothing when they are left out."""


def hard_sigmoid(x: Any) -> Any:
    """min(1, max(0, 0.2 x + 0.5)), as Keras had it up to version 2; in Keras 3 the slope is 1/6."""
    return keras.ops.clip(0.2 * x + 0.5, 0.0, 1.0)


_MEANT: dict[str, Callable[[Any], Any]] = {"hard_sigmoid": hard_sigmoid}


def as_meant(config: Any, version: str | None) -> Any:
    """A config with functions in place of names that meant something else in the version that wrote it."""
    if (version or "").startswith("3."):
        return config
    if isinstance(config, Mapping):
        return {name: _function(name, as_meant(value, version)) for name, value in config.items()}
    return [as_meant(item, version) for item in config] if isinstance(config, list) else config


def _function(argument: str, value: Any) -> Any:
    return _MEANT.get(value, value) if argument.endswith("activation") and isinstance(value, str) else value


def modernised(config: Any, version: str | None) -> Any:
    """A config in Keras 3's words, to be built by `keras.saving.deserialize_keras_object`.

    version: of the Keras that wrote it; what 3 wrote is left as it is, but for the class of the model itself and for
    operations, which `.h5` files name without their modules.
    """
    return _model(_within(config, _operation if (version or "").startswith("3.") else _object))


def _within(value: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    if isinstance(value, Mapping):
        found = {name: _within(item, change) for name, item in value.items()}
        return change(found) if isinstance(found.get("class_name"), str) else found
    return [_within(item, change) for item in value] if isinstance(value, list) else value


def _operation(value: dict[str, Any]) -> dict[str, Any]:
    """An operation such as the `NotEqual` of a mask, or a layer that goes by another name among the public ones: `.h5`
    files leave out where they are from.
    """
    if "module" in value or not isinstance(value.get("config"), Mapping):
        return value
    name = value["class_name"]
    public = _public_name(name)
    if public is not None:
        return {**value, "class_name": public, "module": "keras.layers", "registered_name": public}
    module = _module_of_operation(name)
    return value if module is None else {**value, "module": module, "registered_name": name}


@lru_cache(maxsize=256)
def _public_name(name: str) -> str | None:
    """What a layer is called in `keras.layers`, if that is not its class' name."""
    if hasattr(keras.layers, name):
        return None
    layers = vars(keras.layers).items()
    return next((public for public, one in layers if inspect.isclass(one) and one.__name__ == name), None)


@lru_cache(maxsize=256)
def _module_of_operation(name: str) -> str | None:
    if hasattr(keras.layers, name):
        return None
    for module_name, module in sorted(sys.modules.items()):
        found = getattr(module, name, None) if module_name.startswith("keras.src.ops.") else None
        if inspect.isclass(found) and issubclass(found, keras.Operation) and not issubclass(found, keras.Layer):
            return str(found.__module__)
    return None


def _object(value: dict[str, Any]) -> dict[str, Any]:
    name, config = value["class_name"], value.get("config")
    if not isinstance(config, Mapping):
        return value
    if name == "Policy":
        return {**value, **_POLICY}
    if name in _MODELS:
        value = {**value, "config": _with_nodes(config)}
        return _model(value) if ".engine." in str(value.get("module")) else value
    known = _known(name)
    if known is None:
        return _operation(value)
    value = {**value, "config": _arguments(name, config, known)}
    value.pop("build_config", None)  # layers are built when the model calls them, and what is written differs in form
    return value if "module" in value else {**value, "module": "keras.layers", "registered_name": None}


def _arguments(name: str, config: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """What a layer was made with, as Keras 3 takes it. known: what it takes by name."""
    found = {
        argument: item
        for argument, item in config.items()
        if argument in known or argument not in _DROPPED or not _DROPPED[argument](item)
    }
    shape = found.pop("batch_input_shape", None)  # in a layer that is none of the inputs it says what these say
    if name == "InputLayer" and shape is not None:
        found["batch_shape"] = shape
    axis = found.get("axis")
    if isinstance(axis, list) and len(axis) == 1:
        found["axis"] = axis[0]
    return found


@lru_cache(maxsize=256)
def _known(name: str) -> frozenset[str] | None:
    """What a layer of Keras takes by name; None for anything else."""
    layer = getattr(keras.layers, name, None)
    if not inspect.isclass(layer):
        return None
    return frozenset(
        argument
        for ancestor in layer.__mro__
        if ancestor is not object
        for argument in inspect.signature(ancestor).parameters
    )


def _model(value: Any) -> Any:
    """A model under the name by which Keras 3 imports it."""
    if isinstance(value, Mapping) and value.get("class_name") in _MODELS:
        if str(value.get("module")).startswith("keras.src.models"):
            return value
        return {**value, **_MODELS[value["class_name"]]}
    return value


def _with_nodes(config: Mapping[str, Any]) -> dict[str, Any]:
    """A functional model's config whose calls name tensors in the way of Keras 3, where they name any by keyword."""
    layers = config.get("layers")
    if not isinstance(layers, list) or "input_layers" not in config:
        return dict(config)
    names = {layer.get("name") for layer in layers if isinstance(layer, Mapping)}
    return {**config, "layers": [_with_calls(layer, names) for layer in layers]}


def _with_calls(layer: Any, names: Collection[Any]) -> Any:
    calls = layer.get("inbound_nodes") if isinstance(layer, Mapping) else None
    return {**layer, "inbound_nodes": [_call(call, names) for call in calls]} if isinstance(calls, list) else layer


def _call(call: Any, names: Collection[Any]) -> Any:
    """A call: a list of tensors as [layer, call, number, keyword arguments]."""
    if not isinstance(call, list) or not all(isinstance(one, list) and len(one) == 4 for one in call):
        return call
    keywords = {name: value for one in call if isinstance(one[3], Mapping) for name, value in one[3].items()}
    if not any(_is_tensor(value, names) for value in keywords.values()):
        return call
    tensors = [_tensor(one) for one in call]
    return {
        "args": tensors if len(tensors) == 1 else [tensors],
        "kwargs": {name: _tensor(value) if _is_tensor(value, names) else value for name, value in keywords.items()},
    }


def _is_tensor(value: Any, names: Collection[Any]) -> bool:
    return isinstance(value, list) and len(value) == 3 and isinstance(value[0], str) and value[0] in names


def _tensor(place: list[Any]) -> dict[str, Any]:
    # Shape and type are those of the tensor found under that history; what stands here is not looked at.
    return {
        "class_name": "__keras_tensor__",
        "config": {"shape": [], "dtype": "float32", "keras_history": place[:3]},
    }
