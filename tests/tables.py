"""Tables of given rows: values are measured by wexport itself, and any column may be said outright."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wexport.ingestion.worker import row_of
from wexport.model import roles
from wexport.model.tensors import Layout, Model, Tensor
from wexport.table.schema import COLUMNS, SCHEMA_VERSION
from wexport.table.writer import TableWriter
from wexport.version import __version__

METADATA = {
    "wexport_version": __version__,
    "schema_version": SCHEMA_VERSION,
    "options": {"detail": "full", "optimizer": False},
}
_NAMES = {column.name for column in COLUMNS}
_MEANING = ("role", "layer", "layer_class", "layer_index", "layer_config", "direction", "gate", "trainable", "kind")


def write_table(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    """Write a table. Each row is either

    - measured: `values` (an array or nested list), or `normal` (a standard deviation) with `shape` and `seed`; the
      row's other keys say what they mean, and columns said outright replace measured ones; or
    - said: columns alone, all others NULL.

    `model` and `slot` are always said, or the slot is "<layer>/<role>". dtype is float32 unless said.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    places: dict[str, int] = {}
    with TableWriter(path, METADATA) as writer:
        for given in rows:
            place = places[given["model"]] = places.get(given["model"], -1) + 1
            row = _row(dict(given), place)
            unknown = row.keys() - _NAMES
            assert not unknown, f"no such columns: {unknown}"
            writer.add({name: [value] for name, value in row.items()}, 1, 1)
        writer.commit()
    return path


def _row(given: dict[str, Any], place: int) -> dict[str, Any]:
    given.setdefault("kind", "weight")
    given.setdefault("tensor_index", place)
    given.setdefault("slot", f"{given.get('layer')}/{given.get('role')}")
    given.setdefault("source", given["model"] + ".h5")
    array = _values(given)
    if array is None:
        return given
    meaning = {name: given[name] for name in _MEANING if name in given}
    layout = roles.layout(given.get("layer_class"), given.get("role", "unknown"), array.shape)
    if given.get("role") in ("input", "output"):  # of a layer that was run: inputs first, units last
        layout = Layout(pooled_axes=(0,), unit_axes=(array.ndim - 1,) if array.ndim > 1 else ())
    tensor = Tensor.of_array(given["slot"], array, layout=layout, **meaning)
    model = Model(tensors=[tensor], format="test", framework="keras")
    return {**row_of(tensor, given["slot"], given["tensor_index"], model), **_outright(given)}


def _values(given: dict[str, Any]) -> np.ndarray | None:
    dtype = given.pop("dtype", "float32")
    if "values" in given:
        return np.array(given.pop("values"), dtype)
    if "normal" in given:
        rng = np.random.default_rng(given.pop("seed", 0))
        return rng.normal(0, given.pop("normal"), given.pop("shape")).astype(dtype)
    given["dtype"] = dtype
    return None


def _outright(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "layer_config"}
