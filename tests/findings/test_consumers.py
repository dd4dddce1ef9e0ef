"""Whose outgoing weights matter to a unit is told by the graph, and so is an activation that is a layer of its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wexport


def _layer(kind: str, name: str, *inputs: str, **config: Any) -> dict[str, Any]:
    nodes = [[[source, 0, 0, {}] for source in inputs]] if inputs else []
    return {"class_name": kind, "name": name, "config": {"name": name, **config}, "inbound_nodes": nodes}


LAYERS = [
    _layer("InputLayer", "input", batch_input_shape=[None, 16]),
    _layer("Dense", "left", "input", activation="linear"),
    _layer("ReLU", "left_on", "left"),
    _layer("Dense", "right", "input", activation="linear"),
    _layer("Activation", "right_on", "right", activation="relu"),
    _layer("Dense", "after_left", "left_on", activation="linear"),
    _layer("Dense", "after_right", "right_on", activation="linear"),
    _layer("Add", "sum", "after_left", "after_right"),
    _layer("Dense", "head", "sum", activation="softmax"),
]
SHAPES = {"left": (16, 24), "right": (16, 24), "after_left": (24, 20), "after_right": (24, 20), "head": (20, 5)}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`right` has two units of zeros that `after_right` does not read; `left` three with nothing above 0."""
    folder, rng = tmp_path_factory.mktemp("consumers"), np.random.default_rng(4)
    values = {name: (rng.normal(0, 0.3, shape), rng.normal(0, 0.05, shape[1])) for name, shape in SHAPES.items()}
    values["right"][0][:, [2, 7]] = 0
    values["after_right"][0][[2, 7]] = 0
    for part in values["left"]:
        part[..., [1, 5, 8]] = -np.abs(part[..., [1, 5, 8]])
    config = {"name": "m", "layers": LAYERS, "input_layers": [["input", 0, 0]], "output_layers": [["head", 0, 0]]}
    with h5py.File(folder / "branches.h5", "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
        file.attrs["model_config"] = json.dumps({"class_name": "Functional", "config": config})
        weights = file.create_group("model_weights")
        weights.attrs["layer_names"] = [layer["name"].encode() for layer in LAYERS]
        for layer in LAYERS:
            group, name = weights.create_group(layer["name"]), layer["name"]
            roles = ("kernel", "bias") if name in values else ()
            group.attrs["weight_names"] = [f"{name}/{role}:0".encode() for role in roles]
            for role, array in zip(roles, values.get(name, ()), strict=True):
                group[f"{name}/{role}:0"] = array.astype("f4")
    wexport.ingest([folder / "branches.h5"], folder / "weights.parquet")
    return folder / "weights.parquet"


def test_the_consumer_is_the_layer_that_the_graph_names(table: Path) -> None:
    """Two kernels have 24 inputs: by shapes alone nothing could be told."""
    rows = wexport.query("health", table, {"slot": "dense_1/kernel"}).to_pylist()
    assert [(row["finding"], row["output"][:22], row["outgoing"]) for row in rows] == [
        ("zero_units", "constant: relu of bias", "dense_3/kernel has 2 zero inputs of 24")
    ]


def test_units_before_an_activation_of_its_own_are_judged_by_it(table: Path) -> None:
    (found,) = (each for each in wexport.check(table) if each.finding == "dead_units")
    assert found.place == "dense/kernel"
    assert found.seen == "3 of 24 units: 1, 5, 8; 3 have neither a weight nor a bias above 0"


def test_a_table_without_a_graph_is_read_as_before(table: Path, tmp_path: Path) -> None:
    old = tmp_path / "old.parquet"
    rows = pq.read_table(table)
    texts = rows["layer_config"].to_pylist()
    plain = [text and json.dumps({k: v for k, v in json.loads(text).items() if k != "feeds"}) for text in texts]
    pq.write_table(rows.set_column(rows.schema.get_field_index("layer_config"), "layer_config", pa.array(plain)), old)
    told = [(each.finding, each.place) for each in wexport.check(old) if each.severity == "warning"]
    assert told == [("zero_units", "dense_1/kernel")]
    (row,) = wexport.query("health", old, {"slot": "dense_1/kernel"}).to_pylist()
    assert row["outgoing"] is None
