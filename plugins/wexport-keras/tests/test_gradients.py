"""Gradients: the backend's own, finite differences, and what a named query finds in them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import wexport_keras
import zoo
from keras import layers as k
from oracle import loss_by_weights

from wexport.errors import UsageError

HERE = Path(__file__).parent
jax_only = pytest.mark.skipif(keras.backend.backend() != "jax", reason="JAX is not the backend")


@jax_only
@pytest.mark.parametrize("name", zoo.MODELS)
def test_by_weights_they_are_the_backends_own_whatever_the_batches(name: str) -> None:
    import jax

    model, inputs, targets = zoo.MODELS[name]()
    x, y = zoo.packed(inputs), zoo.packed(targets)
    # A penalty of outputs is a mean over the batch, as every loss here.
    found = wexport_keras.observe(model, x, y, batch_size=5 if name != "lstm" else None)
    gradients = {tensor.slot: tensor for tensor in found if tensor.kind == "gradient" and tensor.statistics is None}
    slots = {id(variable): slot for slot, variable in zip(wexport_keras.weights(model), variables(model), strict=True)}
    assert list(gradients) == [slot for slot in slots.values() if slot in gradients]
    loss, *values = loss_by_weights(model, x, y)
    for variable, theirs in zip(model.trainable_variables, jax.jit(jax.grad(loss))(*values), strict=True):
        tensor = gradients.pop(slots[id(variable)])
        mine = np.concatenate(list(tensor.chunks(1 << 20))).reshape(tensor.shape)
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-6 * max(1.0, np.abs(theirs).max()))
    assert not gradients


def variables(model: Any) -> list[Any]:
    from wexport_keras.describing import described

    return described(model).variables


@jax_only
@pytest.mark.parametrize("name", ["smooth_cnn", "lstm", "two_inputs"])
def test_they_are_the_differences_of_the_loss(name: str) -> None:
    command = [sys.executable, HERE / "finite_differences.py", name]
    done = subprocess.run(command, env={**os.environ, "JAX_ENABLE_X64": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout.splitlines()[-1])
    assert len(rows) >= 12
    for slot, mine, difference in rows:
        assert mine == pytest.approx(difference, rel=1e-3, abs=5e-6), slot


def test_by_outputs_they_sum_to_those_by_weights() -> None:
    """Of a Dense layer, the kernel's gradient is the input times that of the output before the activation."""
    inputs = keras.Input((4,))
    hidden = k.Dense(3, name="hidden")(inputs)
    model = zoo.settled(keras.Model(inputs, k.Dense(2)(k.ReLU()(hidden))))
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10, 4)).astype("float32"), rng.normal(size=(10, 2)).astype("float32")
    by_output = wexport_keras.gradients(model, x, y, "hidden", of="outputs", loss="mse")["dense/output"]
    by_weight = wexport_keras.gradients(model, x, y, "hidden", loss="mse")
    assert list(by_weight) == ["dense/kernel", "dense/bias"]
    np.testing.assert_allclose(x.T @ by_output, by_weight["dense/kernel"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(by_output.sum(0), by_weight["dense/bias"], rtol=1e-4, atol=1e-6)


def test_frozen_weights_have_none_and_slots_stay() -> None:
    model, [x], [y] = zoo.cnn()
    model.layers[1].trainable = False
    found = wexport_keras.gradients(model, x, y)
    assert "conv2d/kernel" not in found
    assert {"batch_normalization/gamma", "depthwise_conv2d/kernel", "dense/kernel"} <= set(found)


def test_a_loss_is_named_or_compiled() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, k.Dense(1)(inputs))
    x, y = np.ones((2, 4), "float32"), np.ones((2, 1), "float32")
    with pytest.raises(UsageError, match="has no loss"):
        wexport_keras.gradients(model, x, y)
    with pytest.raises(UsageError, match="no loss 'best'"):
        wexport_keras.gradients(model, x, y, loss="best")
    with pytest.raises(UsageError, match="of 'time'"):
        wexport_keras.gradients(model, x, y, loss="mse", of="time")
    assert set(wexport_keras.gradients(model, x, y, loss="mae")) == {"dense/kernel", "dense/bias"}


def test_the_numpy_backend_says_that_it_has_none() -> None:
    code = (
        "import keras, numpy as np, wexport_keras\n"
        "i = keras.Input((2,)); m = keras.Model(i, keras.layers.Dense(1)(i)); x = np.ones((3, 2), 'float32')\n"
        "print(len(wexport_keras.outputs(m, x)))\n"
        "wexport_keras.gradients(m, x, x[:, :1], loss='mse')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "KERAS_BACKEND": "numpy"}, capture_output=True, text=True
    )
    assert done.stdout.strip() == "1"
    assert "the numpy backend of Keras gives outputs only, no gradients" in done.stderr


def linear(loss: Any, **options: Any) -> Any:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, k.Dense(2, name="dense", **options)(inputs))
    model.compile("sgd", loss)
    return zoo.settled(model)


RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(7, 4)).astype("float32"), RNG.normal(size=(7, 2)).astype("float32")


@pytest.mark.parametrize("reduction", ["sum", "sum_over_batch_size"])
def test_of_several_batches_they_are_those_of_all_inputs(reduction: str) -> None:
    model = linear(keras.losses.MeanSquaredError(reduction=reduction), kernel_regularizer=keras.regularizers.L2(0.3))
    kernel, bias = model.get_weights()
    error = X @ kernel + bias - Y  # of the mean over both outputs, the derivative is the error itself
    times = 1 if reduction == "sum" else 1 / 7
    due = times * X.T @ error + 2 * 0.3 * kernel
    for size in (3, 7):
        [found, _] = wexport_keras.observe(model, X, Y, batch_size=size)[1:]
        mine = np.concatenate(list(found.chunks(1 << 20))).reshape(found.shape)
        np.testing.assert_allclose(mine, due, rtol=1e-4, atol=1e-5)


def test_a_loss_that_is_no_single_value_is_told() -> None:
    with pytest.raises(UsageError, match=r"not a single value: it has the shape \(7,\)"):
        wexport_keras.gradients(linear(keras.losses.MeanSquaredError(reduction=None)), X, Y)


def test_penalties_alone_are_a_loss() -> None:
    found = wexport_keras.gradients(model := linear(None, kernel_regularizer=keras.regularizers.L2(0.5)), X, Y)
    np.testing.assert_allclose(found["dense/kernel"], model.get_weights()[0], rtol=1e-5)
    with pytest.raises(UsageError, match="compiled without a loss"):
        wexport_keras.gradients(linear(None), X, Y)
