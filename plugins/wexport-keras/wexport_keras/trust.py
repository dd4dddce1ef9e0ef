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
)
_RUNS_CODE = {
    "Lambda": "holds Python code of its own",
    "__lambda__": "holds Python code of its own",
    "TorchModuleWrapper": "holds a pickled PyTorch module, and unpickling runs code",
    "TFSMLayer": "loads a TensorFlow program from a path",
    "JaxLayer": "calls functions that the file names",
    "FlaxLayer": "calls functions that the file names",
}
_READS_FILES = ("StringLookup", "IntegerLookup", "TextVectorization")
_WITHOUT_MODULE = ("layers", "models", "initializers", "regularizers", "constraints", "losses", "metrics", "optimizers")
_FUNCTIONS = ("activations", "losses", "metrics", "ops")
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
            if isinstance(value.get("class_name"), str):
                inside = _name_in(value, inside)
                found = _judge(value, inside)
                if found is not None:
                    yield found
                    continue
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
    config = value.get("config")
    bare = name.rsplit(">", 1)[-1]
    if bare in _RUNS_CODE:
        return Suspect(inside, f"({bare}) {_RUNS_CODE[bare]}", False)
    if name.startswith("__"):  # tuples, arrays and the like
        return None
    if bare in _READS_FILES and isinstance(config, Mapping) and isinstance(config.get("vocabulary"), str):
        return Suspect(inside, f"({bare}) reads a file that the model names: {config['vocabulary']}", False)
    if name == "function":
        known = isinstance(config, str) and any(hasattr(getattr(keras, part), config) for part in _FUNCTIONS)
        return None if known else Suspect(inside, f"calls the function {config!r}, which is not Keras' own", True)
    custom = ">" in name or (isinstance(registered, str) and ">" in registered)
    if custom or not _is_keras(name, module):
        called = registered if isinstance(registered, str) else name
        return Suspect(inside, f"is of the class {called!r}, which is not Keras' own", True)
    return None


def _is_keras(name: str, module: Any) -> bool:
    """Whether a class by that name is one of Keras', of the kinds that configs are made of."""
    if name in _MODELS and (module is None or str(module).split(".")[0] == "keras"):
        return True  # a functional model's class is nowhere among the public names
    if module is None:
        places = [getattr(keras, part) for part in _WITHOUT_MODULE] + [keras, keras.optimizers.schedules]
    elif isinstance(module, str) and module.split(".")[0] == "keras":
        places = [sys.modules[module]] if module in sys.modules else []
    else:
        return False
    found = [getattr(place, name, None) for place in places]
    known = any(inspect.isclass(one) and issubclass(one, _SAFE) for one in found)
    return known or (module is None and name == "Policy")
