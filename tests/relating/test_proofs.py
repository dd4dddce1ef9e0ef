"""What is proved of units, against what inputs show."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import wexport
from tests.relating.test_relate import RESIDUAL, Weights, layer, residual, saved
from wexport.cli import cli

EXAMPLES = Path(wexport.__file__).parent / "examples"
DENSE = [
    layer("InputLayer", "input"),
    layer("Dense", "one", "input", activation="relu"),
    layer("BatchNormalization", "norm", "one", epsilon=1e-3, axis=[1]),
    layer("Dense", "two", "norm"),
    layer("Activation", "act", "two", activation="relu"),
    layer("Dense", "three", "act", activation="relu"),
    layer("Dense", "head", "three", activation="softmax"),
]


def dense(seed: int) -> Weights:
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype("f4")

    return {
        "one": {"kernel": normal(6, 24), "bias": 3 * normal(24)},
        "norm": {
            "gamma": normal(24), "beta": normal(24), "moving_mean": normal(24),
            "moving_variance": normal(24) ** 2 + 0.1,
        },
        "two": {"kernel": normal(24, 32), "bias": 40 * normal(32)},
        "three": {"kernel": normal(32, 16), "bias": 60 * normal(16)},
        "head": {"kernel": normal(16, 3), "bias": normal(3)},
    }  # fmt: skip


def outputs(w: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    """The three layers behind a ReLU."""
    one = np.maximum(x @ w["one"]["kernel"] + w["one"]["bias"], 0)
    n = w["norm"]
    norm = n["gamma"] * (one - n["moving_mean"]) / np.sqrt(n["moving_variance"] + 1e-3) + n["beta"]
    two = np.maximum(norm @ w["two"]["kernel"] + w["two"]["bias"], 0)
    three = np.maximum(two @ w["three"]["kernel"] + w["three"]["bias"], 0)
    return {"one": one, "two": two, "three": three}


@pytest.mark.parametrize("seed", range(6))
def test_no_input_revives_what_is_proved_dead(tmp_path: Path, seed: int) -> None:
    weights = dense(seed)
    found = wexport.prove([saved(tmp_path / "m.h5", weights, DENSE)], low=-1, high=1)
    x = np.random.default_rng(99).uniform(-1, 1, (3000, 6)).astype("f4")
    x[:1000] = np.sign(x[:1000])
    shown = outputs(weights, x)
    assert [each.layer for each in found.layers] == ["one", "two", "three"]
    for each in found.layers:
        assert (shown[each.layer][:, list(each.proved)] == 0).all()
        assert each.by_weights <= each.dead <= each.units
    first = found.layers[0]
    # In the first layer the bounds are reached: at the corners of the range.
    reach = np.abs(weights["one"]["kernel"]).sum(axis=0) + weights["one"]["bias"]
    assert list(first.proved) == np.flatnonzero(reach < 0).tolist()
    assert sum(each.dead for each in found.layers) > 0


def test_weights_alone_prove_what_is_negative_behind_a_relu(tmp_path: Path) -> None:
    weights = dense(0)
    weights["three"]["kernel"][:, 5] = -np.abs(weights["three"]["kernel"][:, 5])
    weights["three"]["bias"][5] = -0.1
    weights["three"]["kernel"][:, 6] = 0
    weights["three"]["bias"][6] = 0
    weights["one"]["kernel"][:, 3] = -1
    weights["one"]["bias"][3] = -1  # its inputs may be negative
    found = wexport.prove([saved(tmp_path / "m.h5", weights, DENSE)])
    by_layer = {each.layer: each for each in found.layers}
    assert {5, 6} <= set(by_layer["three"].proved)
    assert by_layer["one"].proved == ()
    assert by_layer["three"].by_weights == by_layer["three"].dead


def convolved(x: np.ndarray, kernel: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """A valid convolution with stride 1."""
    size = kernel.shape[0]
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))  # n, h, w, c, size, size
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel) + bias


def test_the_example_with_a_dead_layer_is_proved_dead_and_inputs_agree() -> None:
    found = wexport.prove([EXAMPLES / "cnn_dead_layer.h5"], low=0, high=1)
    dead = dict(zip(("conv2d", "conv2d_1", "dense"), found.layers, strict=True))
    assert dead["dense"].dead == dead["dense"].units == 16
    assert dead["dense"].by_weights == 0
    rows = {row["slot"]: row for row in wexport.inspect(EXAMPLES / "cnn_dead_layer.h5").rows}
    values = {
        slot: np.array(row["sample"]["value"]).reshape(row["canonical_shape"]) for slot, row in rows.items()
        if len(row["sample"]["value"]) == row["value_count"]
    }  # fmt: skip
    x = np.random.default_rng(0).random((500, 14, 14, 1)) ** np.random.default_rng(1).integers(1, 40, (500, 1, 1, 1))
    first = np.maximum(convolved(x, values["conv2d/kernel"], values["conv2d/bias"]), 0)
    assert dead["conv2d"].dead == 0
    assert (first.max(axis=(0, 1, 2)) > 0).all()
    mean, variance = (values[f"batch_normalization/moving_{each}"] for each in ("mean", "variance"))
    first = (first - mean) / np.sqrt(variance + 1e-3)  # gamma is 1 and beta 0
    pooled = first.reshape(len(x), 5, 2, 5, 2, 8).max(axis=(2, 4))
    second = np.maximum(convolved(pooled, values["conv2d_1/kernel"], values["conv2d_1/bias"]), 0)
    assert (second.max(axis=(0, 1, 2)) > 0).all()
    assert dead["conv2d_1"].dead == 0
    bias = rows["dense/bias"]["max"]
    assert (second.reshape(len(x), -1).sum(axis=1) * rows["dense/kernel"]["abs_max"] + bias < 0).all()


@pytest.mark.parametrize("name", ["cnn_seed_1", "cnn_seed_2", "cnn_overregularised"])
def test_models_whose_units_fire_have_none_proved(name: str) -> None:
    found = wexport.prove([EXAMPLES / f"{name}.h5"], low=0, high=1)
    if name.startswith("cnn_seed"):
        assert sum(each.dead for each in found.layers) == 0
    assert sum(each.by_weights for each in found.layers) == 0


def test_residual_sums_and_flattened_convolutions_are_bounded(tmp_path: Path) -> None:
    weights = residual(1)
    weights["conv"]["bias"] -= 1e4
    found = wexport.prove([saved(tmp_path / "m.h5", weights, RESIDUAL)], low=-1, high=1)
    assert {each.layer: each.dead for each in found.layers}["conv"] == 16


def test_a_file_without_a_graph_proves_nothing_and_says_so(tmp_path: Path) -> None:
    path = saved(tmp_path / "m.h5", dense(0))
    assert wexport.prove([path]).untold == ["m"]
    done = CliRunner().invoke(cli, ["prove", str(path)])
    assert done.exit_code == 0
    assert "does not tell the graph" in done.stderr


def test_the_command_tells_proofs_apart_from_suspicions() -> None:
    path = str(EXAMPLES / "cnn_dead_layer.h5")
    done = CliRunner(env={"COLUMNS": "80"}).invoke(cli, ["prove", path, "--range", "0", "1"])
    assert done.exit_code == 0, done.output
    assert "for every input from 0 to 1" in done.stdout
    done = CliRunner().invoke(cli, ["prove", path, "--format", "json"])
    rows = {row["layer"].rsplit("_", 1)[0]: row for row in json.loads(done.stdout)}
    assert (rows["dense"]["dead"], rows["dense"]["suspected"]) == (0, 16)
    with pytest.raises(wexport.UsageError, match="not a range"):
        wexport.prove([path], low=1, high=0)
