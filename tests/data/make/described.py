"""What a framework itself says of a model's weights, written as JSON beside the files it saved.

Shared by the scripts that need a framework; needs NumPy only. A JSON holds, for all containers of one model:

    framework, version, backend   as the framework names itself
    files                         the containers that hold this model
    order                         names of the top-level layers, in the model's order
    layers                        each layer that owns weights or wraps one that does: names from the outermost
                                  on, its class, and the settings that decide what its weights mean
    weights                       one object a variable, in the order of `model.weights`:
        layer, classes            names and classes from the outermost layer to the owner of the variable
        attributes                how the owner hangs on its parents, where an attribute leads there
        index                     place of the outermost layer in `order`; null for the model's own variables
        direction                 "forward" or "backward" below a bidirectional layer
        variable, role            the framework's own name of the variable, and the last word of it
        shape, dtype, trainable   trainable as the framework would train it: frozen layers are not
        mean ... zero_count       NumPy in float64 over the framework's own array; population std
        sha256                    of the values as little-endian bytes in C order
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

SETTINGS = (
    "units",
    "filters",
    "kernel_size",
    "depth_multiplier",
    "groups",
    "axis",
    "scale",
    "center",
    "reset_after",
    "go_backwards",
    "merge_mode",
    "num_heads",
    "num_query_heads",
    "num_key_value_heads",
    "key_dim",
    "value_dim",
    "equation",
    "use_bias",
    "activation",
    "data_format",
    "trainable",
    "dtype",
    "lora_rank",
)
"""Entries of a layer's config that decide what its weights mean."""

_BOOKKEEPING = {"layers", "operations", "input_layers", "output_layers", "obj_reference_counts_dict"}
"""Attributes in which the frameworks track layers for themselves: no user named a layer by them."""


@dataclass(frozen=True)
class Place:
    """A layer and how it is reached: names, classes and attributes from the outermost layer to it."""

    layer: Any
    names: tuple[str, ...]
    classes: tuple[str, ...]
    attributes: tuple[str, ...]


def randomise(variables: Iterable[Any], seed: int) -> None:
    """Give every floating-point variable values of its own, so that no two tensors, gates or axes look alike.

    Variances stay positive. Every ninth value is an exact zero, so that zeros are there to be counted.
    """
    rng = np.random.default_rng(seed)
    for variable in variables:
        if "float" not in _dtype_name(variable.dtype):
            continue
        values = rng.normal(scale=0.5, size=tuple(variable.shape))
        if "variance" in variable.name:
            values = np.abs(values) + 0.1
        elif values.size > 8:
            values.reshape(-1)[4::9] = 0.0
        variable.assign(values.astype("float32"))


def describe(
    model: Any,
    path: Path,
    *,
    framework: dict[str, str],
    files: list[str],
    sublayers: Callable[[Any], Iterable[Any]],
    own_variables: Callable[[Any], Iterable[Any]],
    array: Callable[[Any], np.ndarray],
    skip: Callable[[Any], bool] = lambda variable: False,
) -> None:
    """Write the JSON of `model` to `path`.

    sublayers: the layers directly below a layer or model.
    own_variables: the variables a layer itself owns, without those of its sublayers.
    array: a variable's values.
    skip: variables that are not weights, although `model.weights` lists them.
    """
    places = list(_places(model, sublayers))
    owner: dict[int, Place] = {}
    for place in places:
        for variable in own_variables(place.layer):
            owner.setdefault(id(variable), place)
    order = [layer.name for layer in model.layers]
    trained = {id(variable) for variable in model.trainable_weights}
    weights = []
    for variable in model.weights:
        if not skip(variable):
            about = _about(variable, owner[id(variable)], order)
            weights.append(about | {"trainable": id(variable) in trained} | figures(array(variable)))
    owners = {weight["layer"] for weight in weights}
    layers = [
        {"layer": place.names, "class": place.classes[-1], "config": _settings(place.layer)}
        for place in places
        if place.names and any(name[: len(place.names)] == place.names for name in owners)
    ]
    head = framework | {"files": files, "order": order}
    _write(path, head, {"layers": layers, "weights": weights})


def figures(values: np.ndarray) -> dict[str, Any]:
    """Figures in float64 over one array, and the hash of its little-endian bytes."""
    little = values.astype(values.dtype.newbyteorder("<")) if values.dtype.kind in "iuf" else values
    digest = hashlib.sha256(np.ascontiguousarray(little).tobytes()).hexdigest()
    flat = values.astype("float64").reshape(-1)
    return {
        "mean": float(flat.mean()),
        "std": float(flat.std()),
        "min": float(flat.min()),
        "max": float(flat.max()),
        "l2_norm": float(np.sqrt(np.sum(flat * flat))),
        "abs_mean": float(np.abs(flat).mean()),
        "zero_count": int(np.count_nonzero(flat == 0)),
        "sha256": digest,
    }


def _places(model: Any, sublayers: Callable[[Any], Iterable[Any]]) -> Iterator[Place]:
    """The model itself (no names), then every layer below it, parents first, each once."""
    seen: set[int] = set()

    def walk(place: Place) -> Iterator[Place]:
        seen.add(id(place.layer))
        yield place
        for layer in sublayers(place.layer):
            if id(layer) not in seen:
                yield from walk(
                    Place(
                        layer,
                        (*place.names, layer.name),
                        (*place.classes, type(layer).__name__),
                        (*place.attributes, _attribute(place.layer, layer)),
                    )
                )

    yield from walk(Place(model, (), (), ()))


def _attribute(parent: Any, child: Any) -> str:
    """The attribute of `parent` that holds `child`, itself or in a list or dict; empty if there is none."""
    for name, value in vars(parent).items():
        if name.startswith("_self_") or name.removeprefix("_") in _BOOKKEEPING:
            continue
        if value is child:
            return name.removeprefix("_")
        members = value.values() if isinstance(value, dict) else value
        if isinstance(value, (list, tuple, dict)) and any(member is child for member in members):
            return name.removeprefix("_")
    return ""


def _about(variable: Any, place: Place, order: list[str]) -> dict[str, Any]:
    direction = None
    for name in place.attributes:
        if name in {"forward_layer", "backward_layer"}:
            direction = name.removesuffix("_layer")
    full = getattr(variable, "path", variable.name)
    return {
        "layer": place.names,
        "classes": place.classes,
        "attributes": place.attributes,
        "index": order.index(place.names[0]) if place.names else None,
        "direction": direction,
        "variable": full,
        "role": full.rsplit("/", 1)[-1].removesuffix(":0"),
        "shape": [int(size) for size in variable.shape],
        "dtype": _dtype_name(variable.dtype),
    }


def _settings(layer: Any) -> dict[str, Any]:
    try:
        config = layer.get_config()
    except NotImplementedError:  # a subclassed model need not have one
        return {}
    config["dtype"] = layer.dtype_policy.name if hasattr(layer, "dtype_policy") else config.get("dtype")
    return {key: config[key] for key in SETTINGS if config.get(key) is not None and _plain(config[key])}


def _plain(value: Any) -> bool:
    return isinstance(value, (str, int, float, list, tuple))


def _dtype_name(dtype: Any) -> str:
    return str(getattr(dtype, "name", dtype))


def _write(path: Path, head: dict[str, Any], tables: dict[str, list[Any]]) -> None:
    """JSON with one line a layer and one line a weight, so that a change shows as lines."""
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
    for name, rows in tables.items():
        body = ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows)
        lines.append(f"{json.dumps(name)}: [\n{body}\n]")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
