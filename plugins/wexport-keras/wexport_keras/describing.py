"""The weights of a Keras model in memory, called and placed as the same model's file has them.

Keras' own saver lays the model out, into a store that keeps variables instead of writing them; wexport's reader for
`.keras` files then makes of it what it makes of a file. So slots, roles and layouts are the file's by construction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
from keras.src.saving import saving_lib

from wexport import Model, Skipped, Tensor, UsageError, WexportError
from wexport.keras_files import model_of
from wexport.reading import slot_names

FORMAT = "keras-live"


@dataclass(frozen=True)
class Described:
    """A model's weights, and which variable of Keras each tensor is.

    variables: for each tensor its `keras.Variable`, or None where a layer stores something it made for saving.
    names: of the objects that Keras' saver met, by the group it laid them out in.
    """

    model: Model
    variables: list[Any]
    names: Mapping[str, str]

    def slots(self) -> list[str]:
        """The slot of each tensor."""
        return slot_names(list(self.model.tensors))

    def prefixes(self) -> dict[int, list[str]]:
        """By the identity of each variable, how its slot begins for the objects around it, outermost first."""
        found = {}
        for tensor, slot, variable in zip(self.model.tensors, self.slots(), self.variables, strict=True):
            found[id(variable)] = _prefixes(tensor.name, slot, self.names)
        return found


def describe(model: Any, config: Mapping[str, Any] | None = None) -> Model:
    """The weights of a Keras model, in layer order, with roles and layouts; values are read when they are asked for.

    config: `config_of(model)`, where it is known already. Raises UsageError for a model that was never built.
    """
    return described(model, config).model


def described(model: Any, config: Mapping[str, Any] | None = None) -> Described:
    """The same, with the variables themselves.

    Raises UsageError for a model that was never built: it has no weights yet.
    """
    if not model.built:
        raise UsageError(
            f"the model {model.name!r} is not built: it has no weights yet",
            hint="call it on some inputs first, model(x[:1]), or model.build(shape)",
        )
    store = Store.of(model)
    laid_out = store.laid_out()
    metadata = {"keras_version": keras.__version__}
    found = model_of(laid_out, config_of(model) if config is None else config, metadata, FORMAT)
    found = Model(
        tensors=found.tensors,
        format=FORMAT,
        framework="keras",
        framework_version=keras.__version__,
        backend=keras.backend.backend(),
        skipped=found.skipped,
        graph=found.graph,
    )
    variables = [laid_out.datasets[tensor.name].variable for tensor in found.tensors]
    return Described(found, variables, store.names)


def _prefixes(path: str, slot: str, names: Mapping[str, str]) -> list[str]:
    """A slot has the parts of the path in its file but for those that say nothing, such as `layers`."""
    group, parts = path.split("/")[:-2], slot.split("/")[:-1]
    found, taken = [], 0
    for depth, part in enumerate(group, 1):
        if taken < len(parts) and part == parts[taken]:
            taken += 1
        if "/".join(group[:depth]) in names:
            found.append("/".join(parts[:taken]))
    return found


def config_of(model: Any) -> dict[str, Any]:
    """The config that a `.keras` file of the model would hold; empty for a model whose code gives none."""
    try:
        found = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    except Exception:  # a model's own get_config may raise anything; without it, layers are called by their class
        return {}
    return found if isinstance(found, dict) else {}


class Store(saving_lib.NpzIOStore):
    """A store of Keras' saver that keeps what it is given, and gives what it keeps; it opens no file."""

    def __init__(self) -> None:
        self.mode = "w"
        self.contents: dict[str, dict[str, Any]] = {}
        self.names: dict[str, str] = {}

    @classmethod
    def of(cls, model: Any) -> Store:
        """What a model's state is now."""
        store = cls()
        saving_lib._save_state(model, weights_store=store, assets_store=None, inner_path="", visited_saveables=set())
        return store

    def restore(self, model: Any) -> None:
        """Give a model, layer by layer as its file would, the state that is kept."""
        failed: set[int] = set()
        errors: dict[int, tuple[Any, Exception]] = {}
        saving_lib._load_state(
            model, weights_store=self, assets_store=None, inner_path="", visited_saveables=set(),
            failed_saveables=failed, error_msgs=errors,
        )  # fmt: skip  # Keras 3.6 wants both to be there
        if failed:
            raise next(iter(errors.values()))[1]

    def get(self, path: str) -> dict[str, Any]:
        return dict(self.contents.get(path, {}))

    def make(self, path: str, metadata: Mapping[str, Any] | None = None) -> dict[str, Any]:
        if metadata and "name" in metadata:
            self.names[path] = metadata["name"]
        return self.contents.setdefault(path, {})

    def laid_out(self) -> _LaidOut:
        found = _LaidOut()
        for path, variables in self.contents.items():
            group = f"{path}/vars" if path else "vars"
            if variables or path in self.names:
                found.add_group(group, self.names.get(path))
            for name, value in variables.items():
                stored = _Variable(f"{group}/{name}", value, len(found.datasets))
                found.datasets[stored.path] = stored
        return found


@dataclass
class _LaidOut:
    """What `keras3.Stored` wants."""

    datasets: dict[str, _Variable] = field(default_factory=dict)
    groups: dict[str, None] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    _names: dict[str, str] = field(default_factory=dict)

    def add_group(self, path: str, name: str | None) -> None:
        parts = path.split("/")
        self.groups.update(dict.fromkeys("/".join(parts[:count]) for count in range(1, len(parts) + 1)))
        if name is not None:
            self._names[path] = name

    def text(self, path: str, name: str) -> str | None:
        return self._names.get(path) if name == "name" else None


class _Variable:
    """What `keras3.Variable` wants, over a variable or an array."""

    def __init__(self, path: str, value: Any, position: int) -> None:
        self.path, self.position = path, position
        self.variable = value if hasattr(value, "assign") else None  # before 3.9 not all are keras.Variable
        self._value = value
        self.shape = tuple(int(length) for length in value.shape)
        self.type = SimpleNamespace(name=keras.backend.standardize_dtype(value.dtype))

    def chunks(self, limit: int) -> Iterator[np.ndarray[Any, Any]]:
        yield from chunks_of(to_numpy(self._value, self.type.name), limit)


def to_numpy(value: Any, dtype: str) -> np.ndarray[Any, Any]:
    """A tensor of any backend as an array of that dtype; some hand bfloat16 out as float32."""
    from wexport.measuring import dtype_named

    wanted = dtype_named(dtype)
    if wanted is None:
        raise WexportError(f"{dtype} is not a type that statistics are made of")
    array = np.asarray(keras.ops.convert_to_numpy(value))
    return array if array.dtype == wanted else array.astype(wanted)


def chunks_of(array: np.ndarray[Any, Any], limit: int) -> Iterator[np.ndarray[Any, Any]]:
    """An array's values in C order, at most `limit` bytes at a time."""
    yield from Tensor.of_array("", array).chunks(limit)
