"""Models from files: those of tf.keras 2 give what tf.keras gives, and Keras never opens what wexport refuses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import wexport_keras
import zoo
from keras import layers as k

import wexport
from wexport.errors import UsageError

HERE = Path(__file__).parent
MODELS = HERE.parents[2] / "tests" / "data"
PREDICTIONS = HERE / "data" / "predictions.json"
SAID = json.loads(PREDICTIONS.read_text())
REFUSED = {
    "tfkeras215/nested.h5": "cannot contain character `/`",  # a layer's name, which Keras 3 forbids
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The models of tf.keras 2.15 that wexport's own tests hold."""
    folder = tmp_path_factory.mktemp("models")
    for archive in ("tfkeras215.zip", "fresh.zip"):
        if not (MODELS / archive).is_file():
            pytest.skip("needs the models beside wexport's own tests")
        zipfile.ZipFile(MODELS / archive).extractall(folder)
    return folder


@pytest.fixture(scope="module")
def found(folder: Path) -> dict[str, Any]:
    command = [sys.executable, HERE / "predicted.py", folder, PREDICTIONS]
    done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": "numpy"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", SAID)
def test_a_model_of_tf_keras_gives_what_tf_keras_gives(name: str, found: dict[str, Any]) -> None:
    if name in REFUSED:
        assert REFUSED[name] in found[name]["refused"]
        return
    tolerance = 2e-3 if "float16" in name else 2e-6
    for mine, theirs in zip(found[name]["outputs"], SAID[name]["outputs"], strict=True):
        np.testing.assert_allclose(mine, theirs, atol=tolerance * max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("suffix", [".h5", ".keras"])
def test_the_loss_comes_with_it_and_neither_optimizer_nor_metrics_are_needed(suffix: str, folder: Path) -> None:
    model = wexport_keras.load(folder / f"tfkeras215/trained_adam{suffix}")
    shape = (3, *model.inputs[0].shape[1:])
    gradients = wexport_keras.gradients(model, np.ones(shape), np.zeros((3, *model.outputs[0].shape[1:])))
    assert all(np.isfinite(array).all() for array in gradients.values())
    assert len(gradients) == len(model.trainable_variables)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", zoo.MODELS)
def test_a_saved_model_comes_back(name: str, suffix: str, tmp_path: Path) -> None:
    model, inputs, targets = zoo.MODELS[name]()
    x, y = zoo.packed(inputs), zoo.packed(targets)
    path = tmp_path / f"m{suffix}"
    model.save(path)
    loaded = wexport_keras.load(path)
    for mine, theirs in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    if name == "two_inputs":  # its losses too
        again, before = wexport_keras.gradients(loaded, x, y), wexport_keras.gradients(model, x, y)
        assert list(again) == list(before)
        for slot, array in before.items():
            np.testing.assert_allclose(again[slot], array, rtol=1e-5, atol=1e-8, err_msg=slot)


def test_a_loss_that_keras_does_not_know_is_named_by_the_user(tmp_path: Path) -> None:
    model, [x], [y] = zoo.lstm()

    def mine(target: Any, prediction: Any) -> Any:
        return keras.ops.mean(keras.ops.abs(target - prediction))

    model.compile("sgd", mine)
    model.save(tmp_path / "m.keras")
    loaded = wexport_keras.load(tmp_path / "m.keras")
    with pytest.raises(UsageError, match="one that Keras does not know"):
        wexport_keras.gradients(loaded, x, y)
    assert wexport_keras.gradients(loaded, x, y, loss="mae")


def test_what_layers_keep_beside_weights_comes_back(tmp_path: Path) -> None:
    inputs = keras.Input((4,))
    scaling = k.Normalization()
    scaling.adapt(np.random.default_rng(0).normal(3, 2, (50, 4)))
    model = zoo.settled(keras.Model(inputs, k.Dense(2)(scaling(inputs))))
    scaling.finalize_state()
    for suffix in (".keras", ".h5"):
        model.save(tmp_path / f"m{suffix}")
        loaded = wexport_keras.load(tmp_path / f"m{suffix}")
        x = np.ones((3, 4), "float32")
        np.testing.assert_allclose(loaded(x), model(x), rtol=1e-5)


def test_the_old_hard_sigmoid_is_the_old_one() -> None:
    from wexport_keras.legacy import as_meant

    old = {"config": {"recurrent_activation": "hard_sigmoid", "activation": "tanh", "name": "hard_sigmoid"}}
    config = as_meant(old, "2.15.0")["config"]
    x = np.array([-3, -2.5, -1, 0, 1, 2.5, 3], "float32")
    np.testing.assert_allclose(config["recurrent_activation"](x), np.clip(0.2 * x + 0.5, 0, 1), rtol=1e-6)
    assert (config["activation"], config["name"]) == ("tanh", "hard_sigmoid")
    assert as_meant(old, "3.4.0") == old


@pytest.mark.parametrize("which", ["external link", "two weights fewer", "another shape"])
def test_weights_that_are_not_the_models_are_refused(which: str, tmp_path: Path) -> None:
    model, _, _ = zoo.nested()
    path = tmp_path / "m.h5"
    model.save(path)
    with h5py.File(path, "r+") as file:
        layer = file["model_weights"][model.layers[1].name]
        names = list(layer.attrs["weight_names"])
        if which == "external link":
            del layer[names[0]]
            layer[names[0]] = h5py.ExternalLink("secret.h5", "/x")
        elif which == "two weights fewer":
            del file["model_weights"].attrs["layer_names"]
            file["model_weights"].attrs["layer_names"] = [model.layers[-1].name]
        else:
            del layer[names[0]]
            layer[names[0]] = np.zeros((2, 2), "float32")
    said = {
        "external link": "external link",
        "two weights fewer": "in the file",
        "another shape": r"\(2, 2\)",
    }
    with pytest.raises(wexport.WexportError, match=said[which]):
        wexport_keras.load(path)
