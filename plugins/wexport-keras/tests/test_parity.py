"""The page on See-RNN in the README: every function is there, and what stands beside it does what it did."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow as pa
import pytest
import wexport_keras
import zoo
from keras import layers as k
from matplotlib.figure import Figure

import wexport

README = Path(__file__).parent.parent / "README.md"
FUNCTIONS = {
    *("get_weights", "get_outputs", "get_gradients", "get_layer", "detect_nans", "weights_norm"),
    *("get_weight_penalties", "weight_loss", "get_rnn_weights", "rnn_summary", "rnn_histogram", "rnn_heatmap"),
    *("features_0D", "features_1D", "features_2D", "features_hist", "features_hist_v2", "hist_clipped"),
}
ROWS = re.findall(r"^\| `(\w+)`([^|]*)\| `(.+)` \|$", README.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("parity")
    keras.utils.clear_session()
    inputs = keras.Input((8, 6, 1))
    x = k.Conv2D(3, 3, padding="same", activation="relu")(inputs)
    x = k.LSTM(5, return_sequences=True, kernel_regularizer="l2", recurrent_regularizer="l1")(k.Reshape((8, 18))(x))
    model = zoo.settled(keras.Model(inputs, k.Dense(2)(k.GlobalAveragePooling1D()(x))))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4, 8, 6, 1)).astype("float32"), rng.normal(size=(4, 2)).astype("float32")
    weights = wexport_keras.describe(model)
    seen = wexport_keras.observe(model, x, y)
    wexport.ingest_model(replace(weights, tensors=[*weights.tensors, *seen]), folder / "acts.parquet", name="m")
    snapshot = wexport_keras.Snapshot(folder / "run", inputs=x, verbose=0)
    values = {"model": model, "x": x, "y": y, "table": folder / "acts.parquet", "run": folder / "run"}
    values["before"] = model.get_weights()
    model.fit(x, y, epochs=2, verbose=0, callbacks=[snapshot])
    model.set_weights(values["before"])
    return {**values, "wexport": wexport, "wexport_keras": wexport_keras}


def test_every_function_is_there() -> None:
    assert {name for name, _, _ in ROWS} == FUNCTIONS


@pytest.mark.parametrize(("name", "how", "call"), ROWS, ids=[f"{name}{how}".strip() for name, how, _ in ROWS])
def test_the_call_works(name: str, how: str, call: str, here: dict[str, Any]) -> None:
    model, x = here["model"], here["x"]
    answer = eval(call, dict(here))
    lstm = model.layers[3]
    if name in ("get_weights", "get_rnn_weights"):
        kernel = answer["lstm/kernel"] if name == "get_weights" else np.concatenate(list(answer.values()), axis=1)
        np.testing.assert_array_equal(kernel, lstm.get_weights()[0])
    elif name == "get_outputs":
        np.testing.assert_allclose(
            answer["lstm/output"], keras.Model(model.inputs[0], lstm.output)(x), rtol=1e-4, atol=1e-6
        )
    elif name == "get_gradients":
        slots = {"lstm/kernel", "lstm/recurrent_kernel", "lstm/bias"}
        assert set(answer) == ({"lstm/input", "lstm/output"} if how.strip() else slots)
        assert all(np.abs(array).max() > 0 for array in answer.values())
    elif name == "get_layer":
        assert answer is lstm
    elif name == "weight_loss":
        assert answer == pytest.approx(float(sum(model.losses)), rel=1e-5)
    elif name == "get_weight_penalties":
        assert {row["slot"]: (row["l1"], row["l2"]) for row in answer.to_pylist()} == {
            "lstm/kernel": (0, pytest.approx(0.01)),
            "lstm/recurrent_kernel": (pytest.approx(0.01), 0),
        }
    elif name == "weights_norm":
        norms = {row["slot"]: row["m"] for row in answer.to_pylist()}
        assert norms["lstm/kernel"] == pytest.approx(np.linalg.norm(lstm.get_weights()[0]))
    elif name == "rnn_summary":
        assert {row["gate"] for row in answer.to_pylist()} >= {"i", "f", "c", "o"}
    elif name == "detect_nans":
        assert isinstance(answer, (pa.Table, wexport.Answer))
    else:
        assert isinstance(answer, Figure)
        panels = [panel for ax in answer.axes for panel in (ax, *ax.child_axes)]
        assert any(panel.lines or panel.images or panel.patches or panel.collections for panel in panels)


def test_nan_is_found(here: dict[str, Any], tmp_path: Path) -> None:
    model = here["model"]
    weights = model.get_weights()
    broken = [np.array(weight) for weight in weights]
    broken[2][0, 7] = np.nan
    model.set_weights(broken)
    wexport.ingest_model(model, tmp_path / "w.parquet", name="m")
    model.set_weights(weights)
    [row] = wexport.query("health", tmp_path / "w.parquet").to_pylist()
    assert (row["finding"], row["slot"], row["seen"]) == ("nan", "lstm/kernel", "1 value NaN, by gate: f 1")
