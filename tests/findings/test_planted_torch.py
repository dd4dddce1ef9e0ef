"""Illnesses in state dicts, whose files tell neither classes nor initialisers nor activations."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import wexport
from wexport.plugins import host

Weights = dict[str, NDArray[np.float32]]
STATE = 32


def _drawn(rng: np.random.Generator, bound: float, *shape: int) -> NDArray[np.float32]:
    return rng.uniform(-bound, bound, shape).astype("f4")


def fresh(rng: np.random.Generator) -> Weights:
    """As PyTorch begins Linear, Conv2d, BatchNorm2d, LSTM and MultiheadAttention."""
    found: Weights = {}
    for name, outputs, inputs, window in (
        ("features.0", 16, 3, 9), ("features.3", 32, 16, 9), ("classifier.0", 64, 32, 1), ("classifier.2", 48, 64, 1),
        ("classifier.4", 10, 48, 1),
    ):  # fmt: skip
        bound = 1 / np.sqrt(inputs * window)
        kernel = _drawn(rng, bound, outputs, inputs * window)
        found[f"{name}.weight"] = kernel.reshape(outputs, inputs, 3, 3) if window > 1 else kernel
        found[f"{name}.bias"] = _drawn(rng, bound, outputs)
    for name, channels in (("features.1", 16), ("features.4", 32)):
        found[f"{name}.weight"], found[f"{name}.bias"] = np.ones(channels, "f4"), np.zeros(channels, "f4")
        found[f"{name}.running_mean"], found[f"{name}.running_var"] = np.zeros(channels, "f4"), np.ones(channels, "f4")
    for leaf, shape in (
        ("weight_ih_l0", (4 * STATE, 24)), ("weight_hh_l0", (4 * STATE, STATE)), ("bias_ih_l0", (4 * STATE,)),
        ("bias_hh_l0", (4 * STATE,)),
    ):  # fmt: skip
        found[f"rnn.{leaf}"] = _drawn(rng, 1 / np.sqrt(STATE), *shape)
    found["attn.in_proj_weight"] = _drawn(rng, np.sqrt(6 / 128), 96, 32)
    found["attn.in_proj_bias"] = np.zeros(96, "f4")
    found["attn.out_proj.weight"] = _drawn(rng, 1 / np.sqrt(32), 32, 32)
    found["attn.out_proj.bias"] = np.zeros(32, "f4")
    return found


def trained(rng: np.random.Generator) -> Weights:
    found = fresh(rng)
    for name, values in found.items():
        if values.ndim > 1:
            flat = values.reshape(len(values), -1)
            flat += 0.3 * values.std() * rng.normal(size=(len(flat), 3)) @ rng.normal(size=(3, flat.shape[1]))
        elif name.endswith("running_var"):
            values[:] = rng.gamma(3, 0.3, values.shape)
        else:
            values += rng.normal(0, 0.1, values.shape).astype("f4")
    return found


def write(path: Path, weights: Weights) -> Path:
    header, data = dict[str, Any](), b""
    for name, values in weights.items():
        stored = values.astype("f4").tobytes()
        header[name] = {"dtype": "F32", "shape": values.shape, "data_offsets": [len(data), len(data) + len(stored)]}
        data += stored
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def _fill(name: str, value: float, part: slice = slice(None)) -> Callable[[Weights], None]:
    return lambda weights: weights[name][part].fill(value)


def _times(weights: Weights, name: str, factor: float) -> None:
    weights[name] *= np.float32(factor)


def _drop_columns(weights: Weights) -> None:
    weights["classifier.2.weight"][:, ::2] = 0


def _new_head(weights: Weights) -> None:
    rng = np.random.default_rng(99)
    for leaf in ("weight", "bias"):
        weights[f"classifier.4.{leaf}"] = _drawn(rng, 1 / np.sqrt(48), *weights[f"classifier.4.{leaf}"].shape)


SICK: dict[str, tuple[str, str | None, Callable[[Weights], None]]] = {
    "new_head": ("untrained", "classifier/4", _new_head),
    "queries_lost": ("zero_block", "attn/in_proj_weight", _fill("attn.in_proj_weight", 0, slice(32))),
    "off": ("dead_units", "classifier/2/kernel", _fill("classifier.2.bias", -40)),
    "bias_lost": ("bias never moved", "classifier/2", _fill("classifier.2.bias", 0)),
    "gamma": ("vanishing_gamma", "features/4/gamma", _fill("features.4.weight", 0)),
    "columns": ("zero_inputs", "classifier/2/kernel", _drop_columns),
    "grown": ("exploding", "attn/in_proj_weight", lambda weights: _times(weights, "attn.in_proj_weight", 500)),
    "one_value": ("exploding", "attn/in_proj_weight", _fill("attn.in_proj_weight", 1e20, slice(1))),
    "shrunk": ("near_zero_tensor", "attn/in_proj_weight", lambda weights: _times(weights, "attn.in_proj_weight", 1e-4)),
    "shut": ("gate_shut", "rnn/bias", _fill("rnn.bias_ih_l0", -9, slice(STATE, 2 * STATE))),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[tuple[str, str | None]]]:
    """Errors and warnings of each model but for the comparison with siblings, which all of them are."""
    if not any(info.origin == "wexport-safetensors" and info.state == "ok" for info in host.load().infos):
        pytest.skip("wexport-safetensors is not installed")
    folder = tmp_path_factory.mktemp("torch")
    rng = np.random.default_rng(21)
    models = {"fresh": fresh(rng), **{f"sound_{number}": trained(rng) for number in range(3)}}
    models["sound_2"] |= {
        "codebook.weight": _drawn(rng, 1 / 1024, 1024, 16),  # as it begins: its scale is its own
        "grid.anchors": rng.uniform(0, 640, (64, 4)).astype("f4"),
        "attn_mask": np.triu(np.full((16, 16), -1e9, "f4"), 1),
    }
    for name, (_, _, plant) in SICK.items():
        models[name] = trained(rng)
        plant(models[name])
    table = folder / "weights.parquet"
    wexport.ingest([write(folder / f"{name}.safetensors", weights) for name, weights in models.items()], table)
    told: dict[str, set[tuple[str, str | None]]] = {name: set() for name in models}
    for each in wexport.check(table):
        if each.severity != "info" and each.finding != "far_from_siblings":
            told[each.model].add((each.finding, each.place))
    return told


@pytest.mark.parametrize("model", SICK)
def test_an_illness_is_found_where_it_is(model: str, found: dict[str, set[tuple[str, str | None]]]) -> None:
    assert found[model] == {SICK[model][:2]}


def test_a_state_dict_that_was_never_trained_is_told_once(found: dict[str, set[tuple[str, str | None]]]) -> None:
    assert found["fresh"] == {("fresh model", None)}


@pytest.mark.parametrize("number", range(3))
def test_a_sound_state_dict_is_left_in_peace(number: int, found: dict[str, set[tuple[str, str | None]]]) -> None:
    assert found[f"sound_{number}"] == set()
