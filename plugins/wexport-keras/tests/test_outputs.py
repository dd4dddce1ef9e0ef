"""Outputs of layers: figures are those of what Keras itself gives."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import wexport_keras
import zoo
from keras import layers as k
from wexport_keras.observing import Observer

from wexport import Tensor
from wexport.errors import UsageError

HERE = Path(__file__).parent
OTHERS = ["numpy", *(name for name in ("torch", "tensorflow") if importlib.util.find_spec(name))]


def by_slot(tensors: list[Tensor], kind: str = "activation") -> dict[str, Tensor]:
    return {tensor.slot: tensor for tensor in tensors if tensor.kind == kind}


def own(model: Any, inputs: list[np.ndarray]) -> dict[str, Any]:
    """What Keras gives for each layer of the functional graph, call by call, by a model made to give it."""
    nodes = {}
    for layer in model.layers:
        if isinstance(layer, k.InputLayer):
            continue
        for node in layer._inbound_nodes:
            if all(any(tensor is given for given in every_tensor(model)) for tensor in node.output_tensors):
                for tensor in node.output_tensors:
                    nodes[f"{layer.name}:{len([name for name in nodes if name.startswith(f'{layer.name}:')])}"] = tensor
    found = keras.Model(zoo.packed(model.inputs), list(nodes.values()))(zoo.packed(inputs), training=False)
    return dict(zip(nodes, found if isinstance(found, (list, tuple)) else [found], strict=True))


def every_tensor(model: Any) -> list[Any]:
    return [tensor for nodes in model._nodes_by_depth.values() for node in nodes for tensor in node.output_tensors]


def number_of(tensor: Any) -> float:
    return float(keras.ops.convert_to_numpy(tensor))


@pytest.mark.parametrize("name", zoo.MODELS)
@pytest.mark.parametrize("batch_size", [None, 8])
def test_figures_are_those_of_what_keras_gives(name: str, batch_size: int | None) -> None:
    model, inputs, _ = zoo.MODELS[name]()
    found = wexport_keras.observe(model, zoo.packed(inputs), batch_size=batch_size)
    by_layer: dict[str, list[Tensor]] = {}
    for tensor in found:
        by_layer.setdefault(tensor.layer, []).append(tensor)
    compared = 0
    for place, value in own(model, inputs).items():
        layer, _, number = place.rpartition(":")
        tensor = by_layer[layer][int(number)]
        figures, array = tensor.statistics, np.asarray(keras.ops.convert_to_numpy(value), np.float64)
        ops = keras.ops
        assert tensor.shape == array.shape
        assert figures.mean == pytest.approx(number_of(ops.mean(value)), rel=1e-4, abs=1e-6)
        assert figures.std == pytest.approx(number_of(ops.std(value)), rel=1e-4)
        assert figures.abs_max == pytest.approx(number_of(ops.max(ops.abs(value))), rel=1e-6)
        assert figures.zero_count == number_of(ops.sum(ops.cast(ops.equal(value, 0), "int32")))
        assert figures.l2_norm == pytest.approx(np.sqrt((array**2).sum()), rel=1e-6)
        assert figures.q50 == pytest.approx(np.median(array), rel=1e-5, abs=1e-6)
        each = array.reshape(-1, array.shape[-1])
        np.testing.assert_allclose(figures.units.l2_norm, np.sqrt((each**2).sum(0)), rtol=1e-6)
        np.testing.assert_allclose(figures.units.abs_max, np.abs(each).max(0), rtol=1e-6)
        np.testing.assert_allclose(figures.units.zero_fraction, (each == 0).mean(0))
        compared += 1
    assert compared >= 3


def test_the_grid_of_a_sequence_is_time_by_unit() -> None:
    model, [x], _ = zoo.lstm()
    [tensor] = wexport_keras.observe(model, x, layers=["lstm"], batch_size=8)
    array = np.asarray(keras.ops.convert_to_numpy(model.layers[1](x)), np.float64)
    assert (tensor.statistics.grid.rows, tensor.statistics.grid.cols) == (7, 5)
    np.testing.assert_allclose(tensor.statistics.grid.rms, np.sqrt((array**2).mean(0)), rtol=1e-6)


def test_every_call_layer_direction_and_part_has_a_slot() -> None:
    nested, [x], _ = zoo.nested()
    assert list(by_slot(wexport_keras.observe(nested, x))) == [
        "dense/output",
        "dense/output_1",
        "sequential/functional/dropout/output",
        "sequential/functional/dense/output",
        "sequential/functional/output",
        "sequential/dense/output",
        "sequential/output",
        "dense_1/output",
    ]
    gru, [tokens], _ = zoo.bidirectional_gru()
    found = by_slot(wexport_keras.observe(gru, tokens))
    assert found["bidirectional/backward/output"].direction == "backward"
    assert found["bidirectional/output"].shape == (18, 10)
    two, inputs, _ = zoo.two_inputs()
    found = by_slot(wexport_keras.observe(two, inputs))
    assert found["multi_head_attention/query/output"].shape == (14, 6, 2, 3)
    assert found["multi_head_attention/query/output"].statistics.unit_count == 6
    lstm, [x], _ = zoo.lstm()
    found = by_slot(wexport_keras.observe(lstm, x))
    assert [found[f"lstm_1/output{n}"].shape for n in ("", "_1", "_2")] == [(21, 7, 3), (21, 3), (21, 3)]


def test_layers_are_chosen_by_pattern_and_keep_their_slots() -> None:
    model, [x], _ = zoo.cnn()
    everything = list(by_slot(wexport_keras.observe(model, x)))
    assert list(by_slot(wexport_keras.observe(model, x, layers=["dense", "*conv2d"]))) == [
        slot for slot in everything if "conv" in slot or slot == "dense/output"
    ]
    with pytest.raises(UsageError, match="no layer is called 'lstm'"):
        wexport_keras.observe(model, x, layers=["lstm"])


def test_running_leaves_the_model_as_it_was() -> None:
    model, [x], [y] = zoo.cnn()
    before = [np.array(weight) for weight in model.get_weights()]
    state = [np.array(variable) for variable in model.non_trainable_variables]
    observer = Observer(model, training=True)
    from wexport_keras.inputs import batches_of

    observer.outputs(batches_of(model, x, y))
    observer.gradients(batches_of(model, x, y))
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
    for now, then in zip(model.non_trainable_variables, state, strict=True):
        np.testing.assert_array_equal(np.array(now), then)
    assert not any({"call", "quantized_call"} & set(vars(layer)) for layer in model.layers)


@pytest.mark.parametrize("name", ["cnn", "two_inputs"])
def test_a_model_that_was_run_before_it_was_trained_trains(name: str) -> None:
    """Losses and metrics make variables when they are first called; these must not hold what a compiler traced."""
    model, inputs, targets = zoo.MODELS[name]()
    model.compile("sgd", model.loss, metrics=["accuracy"] * len(targets))
    x, y = zoo.packed(inputs), zoo.packed(targets)
    wexport_keras.observe(model, x) if keras.backend.backend() == "numpy" else wexport_keras.observe(model, x, y)
    for variable in [*model.variables, *model.metrics_variables]:
        np.asarray(keras.ops.convert_to_numpy(variable.value))
    model.fit(x, y, verbose=0)


def test_in_training_statistics_are_those_of_the_batch() -> None:
    model, [x], _ = zoo.cnn()
    normalised = wexport_keras.outputs(model, x, "batch_normalization", training=True)["batch_normalization/output"]
    gamma, beta = model.layers[2].get_weights()[:2]
    np.testing.assert_allclose(normalised.mean((0, 1, 2)), beta, atol=1e-4)
    np.testing.assert_allclose(normalised.std((0, 1, 2)), gamma, rtol=1e-2)


def test_arrays_are_those_that_keras_gives() -> None:
    model, [x], _ = zoo.lstm()
    found = wexport_keras.outputs(model, x, "time_distributed")
    np.testing.assert_allclose(found["time_distributed/output"], model.predict(x, verbose=0), rtol=1e-5, atol=1e-6)


def test_channels_first_become_last() -> None:
    inputs = keras.Input((3, 4, 5))
    model = keras.Model(inputs, k.Permute((2, 3, 1))(k.ReLU()(k.Permute((1, 2, 3))(inputs))))
    pool = keras.Model(inputs, k.ZeroPadding2D(0, data_format="channels_first")(inputs))
    [tensor] = wexport_keras.observe(pool, np.ones((2, 3, 4, 5), "float32"))
    assert tensor.layout.canonical_shape(tensor.shape) == (2, 4, 5, 3)
    assert tensor.statistics.unit_count == 3
    assert len(wexport_keras.observe(model, np.ones((2, 3, 4, 5), "float32"))) == 3


def test_an_output_without_an_entry_for_each_input_is_told() -> None:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, k.Lambda(lambda x: keras.ops.reshape(x, (-1, 2)), output_shape=(2,))(inputs))
    with pytest.raises(UsageError, match=r"shape \(6, 2\) for 3 inputs"):
        wexport_keras.observe(model, np.ones((3, 4), "float32"))


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, Any]]:
    """What another backend makes of all models, in a process of its own."""
    folder = tmp_path_factory.mktemp("models")
    for name, make in zoo.MODELS.items():
        keras.utils.clear_session()
        model, inputs, targets = make()
        (folder / name).mkdir()
        model.save(folder / name / "m.keras")
        names = [str(tensor.name) for tensor in model.inputs]
        np.savez(folder / name / "x.npz", **dict(zip(names, inputs, strict=True)))
        np.savez(folder / name / "y.npz", *targets)

    @cache
    def seen(backend: str) -> dict[str, Any]:
        what = "outputs" if backend == "numpy" else "gradients"
        command = [sys.executable, HERE / "figures.py", folder, what]
        done = subprocess.run(command, env={**os.environ, "KERAS_BACKEND": backend}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return seen


@pytest.mark.parametrize("backend", OTHERS)
@pytest.mark.parametrize("name", zoo.MODELS)
def test_another_backend_gives_the_same(backend: str, name: str, others: Callable[[str], dict[str, Any]]) -> None:
    theirs = {(kind, slot): (shape, figures) for kind, slot, shape, figures in others(backend)[name]}
    model, inputs, targets = zoo.MODELS[name]()
    y = None if backend == "numpy" else zoo.packed(targets)
    mine = wexport_keras.observe(model, zoo.packed(inputs), y, output_gradients=True, batch_size=8)
    assert {(tensor.kind, tensor.slot) for tensor in mine} == set(theirs)
    for tensor in mine:
        from figures import FIGURES

        from wexport import measuring

        figures = tensor.statistics or measuring.measure(tensor)
        shape, others = theirs[tensor.kind, tensor.slot]
        assert list(tensor.shape) == shape
        largest = max(figures.abs_max, 1e-3)
        for figure, other in zip(FIGURES, others, strict=True):
            if figure == "zero_count" and tensor.kind == "gradient":
                continue  # what rounds to zero differs
            assert getattr(figures, figure) == pytest.approx(other, rel=2e-4, abs=2e-5 * largest), (tensor.slot, figure)


class Block(keras.Model):
    """Its layers stand in lists, with names that two of them share."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [k.Dense(3, name="d"), k.Dense(3, name="d")]
        self.inner = [keras.Sequential([k.Dense(3), k.ReLU()])]

    def call(self, x: Any) -> Any:
        for layer in [*self.blocks, *self.inner]:
            x = layer(x)
        return x


def test_layers_in_lists_have_slots_of_their_own() -> None:
    model, x = Block(), np.random.default_rng(0).normal(size=(5, 2)).astype("float32")
    with pytest.raises(UsageError, match="is not built") as caught:
        wexport_keras.observe(model, x)
    assert "model(x[:1])" in caught.value.hint
    due = [model.blocks[0](x), model.blocks[1](model.blocks[0](x))]
    model(x)
    found = wexport_keras.outputs(model, x)
    assert list(found) == [
        "blocks/dense/output", "blocks/dense_1/output", "inner/sequential/dense/output",
        "inner/sequential/re_lu/output", "inner/sequential/output",
    ]  # fmt: skip
    for mine, theirs in zip(found.values(), due, strict=False):
        np.testing.assert_allclose(mine, keras.ops.convert_to_numpy(theirs), rtol=1e-5, atol=1e-6)
    assert {slot.rpartition("/")[0] for slot in wexport_keras.weights(model)} == {
        "blocks/dense", "blocks/dense_1", "inner/sequential/dense",
    }  # fmt: skip


def test_a_model_that_keeps_a_state_takes_its_own_batches() -> None:
    inputs = keras.Input(batch_shape=(3, 4, 2))
    model = keras.Model(inputs, k.LSTM(2, stateful=True)(inputs))
    x = np.ones((6, 4, 2), "float32")
    assert wexport_keras.outputs(model, x)["lstm/output"].shape == (6, 2)
    assert not any(np.any(keras.ops.convert_to_numpy(one)) for one in model.layers[-1].states)
    with pytest.raises(UsageError, match="batches of 3, and there are 5 inputs"):
        wexport_keras.outputs(model, x[:5])
    with pytest.raises(UsageError, match="batches of 3, and 2 are asked for"):
        wexport_keras.observe(model, x, batch_size=2)
    plain = keras.Sequential([k.Dense(2)])
    plain.build((3, 4))  # as fit builds it, with the number of its batch
    assert wexport_keras.outputs(plain, np.ones((5, 4), "float32"))["dense/output"].shape == (5, 2)
