"""What a model's config would run when it is loaded, told before anything is loaded.

The config is walked as inert text; only classes of Keras' own, which run none of the file's code, are let through.
Keras' `safe_mode` is on besides, as a second wall.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras

_SAFE = (
    keras.Layer,
    keras.Operation,
    keras.Initializer,
    keras.Regularizer,
    keras.constraints.Constraint,
    keras.Loss,
    keras.Metric,
    keras.Optimizer,
    keras.DTypePolicy,
    keras.KerasTensor,
    keras.optimizers.schedules.LearningRateSchedule,
    keras.random.SeedGenerator,
    keras.quantizers.Quantizer,
    *([keras.quantizers.QuantizationConfig] if hasattr(keras.quantizers, "QuantizationConfig") else []),  # since 3.13
)
_RUNS_CODE = {
    "Lambda": "holds Python code of its own",
    "__lambda__": "holds Python code of its own",
    "TorchModuleWrapper": "holds a pickled PyTorch module, and unpickling runs code",
    "TFSMLayer": "loads a TensorFlow program from a path",
    "JaxLayer": "calls functions that the file names",
    "FlaxLayer": "calls functions that the file names",
}
_UNSAFE = tuple(getattr(keras.layers, name) for name in _RUNS_CODE if hasattr(keras.layers, name))
_DATA = frozenset(
    {"__keras_tensor__", "__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__"}
)
"""Classes of configs that stand for values."""
_WITHOUT_MODULE = ("layers", "models", "initializers", "regularizers", "constraints", "losses", "metrics", "optimizers")
_FUNCTIONS = ("activations", "losses", "metrics", "ops")
_NO_MATHS = frozenset({"get", "serialize", "deserialize"})
_FOREIGN = "which is not Keras' own"
_MODELS = frozenset({"Functional", "Sequential", "Model"})


@dataclass(frozen=True)
class Suspect:
    """Something in a config that Keras alone does not know, or that runs code. name: of the layer it is in."""

    name: str
    what: str
    is_custom: bool

    def __str__(self) -> str:
        return f"{self.name} {self.what}"


def suspects(config: Any, name: str = "the model") -> Iterator[Suspect]:
    """What would run code that is not Keras' own, or needs code that is not in the file, outermost first."""
    waiting: list[tuple[Any, str]] = [(config, name)]
    while waiting:
        value, inside = waiting.pop()
        if isinstance(value, Mapping):
            if "class_name" in value:
                inside = _name_in(value, inside)
                found = _judge(value, inside)
                if found is not None:
                    yield found
                    continue
            path = value.get("vocabulary")
            if isinstance(path, str):
                yield Suspect(inside, f"reads a file that the model names: {path}", False)
            waiting += [(item, inside) for item in value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += [(item, inside) for item in value]


def _name_in(value: Mapping[str, Any], inside: str) -> str:
    config = value.get("config")
    name = config.get("name") if isinstance(config, Mapping) else None
    is_layer = "build_config" in value or "inbound_nodes" in value or isinstance(name, str)
    return f"the layer {name!r}" if is_layer and isinstance(name, str) else inside


def _judge(value: Mapping[str, Any], inside: str) -> Suspect | None:
    name, module, registered = value["class_name"], value.get("module"), value.get("registered_name")
    if not isinstance(name, str) or not isinstance(module, (str, type(None))):
        return Suspect(inside, f"is of the class {name!r} of {module!r}, which are not names", True)
    bare = name.rsplit(">", 1)[-1]
    if bare in _RUNS_CODE:
        return Suspect(inside, f"({bare}) {_RUNS_CODE[bare]}", False)
    if name in _DATA:
        return None
    if name == "function":
        called = value.get("config")
        known = registered in (None, name, called) and _is_function(called, module)
        return None if known else Suspect(inside, f"calls the function {called!r}{_of(module)}, {_FOREIGN}", True)
    if registered not in (None, name) or not _is_keras(name, module):
        called = registered if isinstance(registered, str) else name
        return Suspect(inside, f"is of the class {called!r}{_of(module)}, {_FOREIGN}", True)
    return None


def _of(module: str | None) -> str:
    """Where something is said to come from, if that is not where Keras' own things are said to come from."""
    return "" if module in (None, "builtins") or module.split(".")[0] == "keras" else f" of {module}"


def _is_function(name: Any, module: str | None) -> bool:
    """Whether it is one of Keras' own functions of tensors, where Keras would look for it, which else imports what it
    is told to.
    """
    if module in (None, "builtins"):
        places = [getattr(keras, part) for part in _FUNCTIONS]
    elif module.startswith(tuple(f"keras.{part}" for part in _FUNCTIONS)):
        places = _loaded(module)
    else:
        return False
    if not isinstance(name, str) or name in _NO_MATHS or name.startswith("_"):
        return False
    return any(inspect.isfunction(getattr(place, name, None)) for place in places)


def _is_keras(name: str, module: str | None) -> bool:
    """Whether a class by that name is one of Keras', of the kinds that configs are made of, and runs no code of the
    file's.
    """
    if module is not None and module.split(".")[0] != "keras":
        return False
    if name in _MODELS:
        return True  # a functional model's class is nowhere among the public names
    if module is None:
        if name == "Policy":
            return True
        places = [getattr(keras, part) for part in _WITHOUT_MODULE] + [keras, keras.optimizers.schedules]
    else:
        places = _loaded(module)
    found = [one for place in places if inspect.isclass(one := getattr(place, name, None))]
    return any(issubclass(one, _SAFE) and not issubclass(one, _UNSAFE) for one in found)


def _loaded(module: str) -> list[Any]:
    """The module of Keras by that name, if it is there already: nothing is imported because a file says so."""
    place: Any = keras
    for part in module.split(".")[1:]:  # before 3.9 the public ones stand in sys.modules by another name
        place = getattr(place, part, None)
    return [place] if inspect.ismodule(place) else [sys.modules[module]] if module in sys.modules else []
