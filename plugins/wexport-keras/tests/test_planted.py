"""Faults that were put in on purpose: each is found by one named query, and the report tells of it."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import wexport_keras
import zoo
from keras import layers as k

import wexport


def table_of(model: Any, x: np.ndarray, y: np.ndarray | None, path: Path, **options: Any) -> Path:
    from dataclasses import replace

    weights = wexport_keras.describe(model)
    seen = wexport_keras.observe(model, x, y, **options)
    wexport.ingest_model(replace(weights, tensors=[*weights.tensors, *seen]), path, name="planted")
    return path


def found(query: str, table: Path) -> list[dict]:
    return [row for row in wexport.query(query, table).to_pylist() if row["severity"]]


def report(table: Path) -> str:
    """What the page says, without its markup."""
    out = table.with_suffix(".html")
    wexport.report(table, out)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", out.read_text())).split())


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def test_five_relu_units_that_cannot_fire(tmp_path: Path) -> None:
    inputs = keras.Input((8, 8, 1))
    x = k.Conv2D(12, 3, activation="relu")(inputs)
    model = zoo.settled(keras.Model(inputs, k.Dense(2)(k.Flatten()(x))))
    kernel, bias = model.layers[1].get_weights()
    bias[[1, 2, 5, 7, 11]] = -40
    model.layers[1].set_weights([kernel, bias])
    table = table_of(model, normal(60, 8, 8, 1), None, tmp_path / "t.parquet")
    [row] = found("outputs", table)
    assert (row["finding"], row["slot"], row["count"]) == ("dead_units", "conv2d/output", 5)
    assert row["seen"] == "5 of 12 units zero for all 60 inputs: 1, 2, 5, 7, 11"
    assert wexport.query("health", table).num_rows == 0  # the weights alone look sound
    assert "5 of 12 units zero for all 60 inputs: 1, 2, 5, 7, 11" in report(table)


def test_suspects_of_the_weights_are_confirmed_and_cleared(tmp_path: Path) -> None:
    inputs = keras.Input((6,))
    first, second = k.Dense(8, activation="relu"), k.LSTM(4, return_sequences=True)
    model = zoo.settled(keras.Model(inputs, second(k.Reshape((2, 4))(first(inputs)))))
    kernel, bias = first.get_weights()
    kernel[:, [2, 6]] = 0
    first.set_weights([kernel, bias])
    kernel, recurrent, bias = second.get_weights()
    kernel[:, 3::4] = 0  # unit 3 of every gate: its input says nothing, the state still does
    second.set_weights([kernel, recurrent, bias])
    table = table_of(model, normal(30, 6), None, tmp_path / "t.parquet")
    rows = {row["slot"]: row for row in wexport.query("health", table).to_pylist()}
    assert rows["dense/kernel"]["on_inputs"] == "confirmed: the same for all 30 inputs"
    assert rows["dense/kernel"]["severity"] == "warning"
    assert rows["lstm/kernel"]["on_inputs"] == "cleared: not the same for all 30 inputs"
    assert rows["lstm/kernel"]["severity"] == "info"


@pytest.mark.parametrize("weights", [(0.0, 2.0), (30.0, 30.0)])
def test_a_layer_whose_output_is_constant(weights: tuple[float, float], tmp_path: Path) -> None:
    inputs = keras.Input((5,))
    middle = k.Dense(6, activation="sigmoid")
    model = zoo.settled(keras.Model(inputs, k.Dense(2)(middle(k.Dense(4, activation="relu")(inputs)))))
    kernel, bias = middle.get_weights()
    middle.set_weights([np.full_like(kernel, weights[0]), bias * 0 + weights[1]])
    table = table_of(model, normal(40, 5), None, tmp_path / "t.parquet")
    rows = [row for row in found("outputs", table) if row["slot"] == "dense_1/output"]
    assert [row["finding"] for row in rows] == ["constant_output"]
    assert rows[0]["seen"] == "the same for all 40 inputs"
    assert "constant output" in report(table)


def recurrent(steps: int) -> tuple[Any, Any]:
    inputs = keras.Input((steps, 3))
    lstm = k.LSTM(6)
    model = zoo.settled(keras.Model(inputs, k.Dense(1)(lstm(inputs))))
    model.compile("sgd", "mse")
    return model, lstm


def test_an_lstm_whose_gradients_vanish_along_time(tmp_path: Path) -> None:
    model, lstm = recurrent(30)
    kernel, recurrent_kernel, bias = lstm.get_weights()
    bias[6:12] = -4  # the forget gate is shut
    lstm.set_weights([kernel, recurrent_kernel * 0.1, bias])
    table = table_of(model, normal(20, 30, 3), normal(20, 1, seed=1), tmp_path / "t.parquet")
    [row] = found("gradients", table)
    assert (row["finding"], row["slot"]) == ("vanishing_time", "lstm/input")
    assert row["time_ratio"] < 1e-6
    assert "forget bias" in row["advice"]
    assert "vanishing time" in report(table)


def test_an_lstm_whose_gradients_explode_along_time(tmp_path: Path) -> None:
    model, lstm = recurrent(30)
    rng = np.random.default_rng(3)
    kernel = rng.normal(0, 1e-3, (3, 24)).astype("float32")
    recurrent_kernel = np.zeros((6, 24), "float32")
    recurrent_kernel[:, 12:18] = np.linalg.qr(rng.normal(size=(6, 6)))[0] * 6  # what a state gives to the next
    bias = np.zeros(24, "float32")
    lstm.set_weights([kernel, recurrent_kernel, bias])
    table = table_of(model, normal(20, 30, 3) * 1e-6, normal(20, 1, seed=1), tmp_path / "t.parquet")
    rows = [row for row in found("gradients", table) if row["slot"] == "lstm/input"]
    assert [row["finding"] for row in rows] == ["exploding_time"]
    assert rows[0]["time_ratio"] > 1e3
    assert "clip" in rows[0]["advice"]
    assert "exploding time" in report(table)


def test_sound_models_have_no_findings(tmp_path: Path) -> None:
    for name in ("cnn", "lstm", "bidirectional_gru", "two_inputs"):
        model, inputs, targets = zoo.MODELS[name]()
        table = table_of(model, zoo.packed(inputs), zoo.packed(targets), tmp_path / f"{name}.parquet")
        assert found("gradients", table) == []
        assert [row for row in found("outputs", table) if row["finding"] != "dead_units"] == []


def test_a_run_whose_learning_rate_jumps(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    x = normal(300, 8)
    y = (x[:, :1] * x[:, 1:2] > 0).astype("float32")
    model = keras.Sequential([keras.Input((8,)), k.Dense(16, "relu"), k.Dense(16, "relu"), k.Dense(1, "sigmoid")])
    model.compile(keras.optimizers.SGD(0.02), "binary_crossentropy")
    rate = keras.callbacks.LearningRateScheduler(lambda epoch: 0.02 if epoch < 3 else 3.0)
    snapshot = wexport_keras.Snapshot(tmp_path / "run", verbose=0)
    model.fit(x, y, epochs=6, verbose=0, callbacks=[rate, snapshot])
    jumps = [row for row in found("stability", tmp_path / "run") if row["finding"] == "model_jump"]
    assert [row["model"] for row in jumps] == ["run/epoch_0004"]
    assert "(model jump), in run/epoch_0004" in report(tmp_path / "run")
