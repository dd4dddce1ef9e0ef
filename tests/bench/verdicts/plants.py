"""Illnesses planted by editing a healthy model's weights, as bugs in saving, loading and converting do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from verdicts.kitchen import Kitchen
from verdicts.training import Weights

Edit = Callable[[Kitchen, Weights, np.random.Generator], tuple[str, str]]
"""Edits a copy in place; returns the layer and by what means."""
PLANTED: dict[str, tuple[tuple[str, ...], Edit]] = {}
_KERNEL = {
    "mlp": "dense_1/kernel", "tanh": "dense_1/kernel", "normed": "dense_1/kernel", "cnn": "conv2d_1/kernel",
    "resnet": "conv2d_1/kernel", "depthwise": "conv2d_1/kernel", "lstm": "lstm/lstm_cell/recurrent_kernel",
    "bigru": "bidirectional/backward_gru/gru_cell/kernel", "attention": "multi_head_attention/value/kernel",
    "conv1d": "conv1d_1/kernel", "autoencoder": "conv2d_transpose/kernel",
}  # fmt: skip


def plant(*networks: str) -> Callable[[Edit], Edit]:
    def add(edit: Edit) -> Edit:
        PLANTED[edit.__name__] = (networks, edit)
        return edit

    return add


def _main(kitchen: Kitchen) -> tuple[str, str]:
    """The main kernel of a network, and its layer."""
    path = _KERNEL[kitchen.network.name]
    return path, path.split("/")[0]


@plant("mlp", "cnn", "resnet", "lstm", "attention", "conv1d")
def zeroed_kernel(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path] = np.zeros_like(weights[path])
    return layer, "kernel set to 0"


@plant("mlp", "bigru", "depthwise")
def nan_values(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path].reshape(-1)[rng.integers(weights[path].size, size=3)] = np.nan
    return layer, "three values NaN"


@plant("cnn", "lstm", "autoencoder")
def inf_values(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path].reshape(-1)[rng.integers(weights[path].size)] = np.inf
    return layer, "one value infinite"


@plant("resnet", "depthwise", "normed")
def negative_variance(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    weights["batch_normalization_1/moving_variance"][3] *= -1
    return "batch_normalization_1", "one moving variance negative"


@plant("resnet", "depthwise", "normed")
def zero_gamma(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    weights["batch_normalization_1/gamma"][2:6] = 0
    return "batch_normalization_1", "four gammas 0"


@plant("resnet", "normed")
def variance_constant(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    weights["batch_normalization/moving_variance"][:] = 0.37
    return "batch_normalization", "every moving variance 0.37"


@plant("mlp", "cnn", "resnet", "attention")
def partly_loaded(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    """A load by name that found no weights for some layers."""
    fresh, layer = kitchen.start(int(rng.integers(10_000, 20_000))), _main(kitchen)[1]
    weights.update({path: values for path, values in fresh.items() if path.startswith(f"{layer}/")})
    return layer, "layer as it was built, the others loaded"


@plant("mlp", "cnn", "lstm")
def half_tensor_lost(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    flat = weights[path].reshape(-1)
    flat[flat.size // 2 :] = 0
    return layer, "second half of the kernel's bytes 0"


@plant("cnn", "mlp", "resnet")
def zero_units(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path][..., :5] = 0
    return layer, "five units 0"


@plant("mlp", "conv1d")
def collapsed_units(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path][..., 4:10] *= 1e-4
    return layer, "six units at a ten-thousandth"


@plant("mlp", "lstm", "conv1d")
def flipped_bits(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    bits = weights[path].view(np.uint32).reshape(-1)
    bits[rng.integers(bits.size, size=2)] ^= np.uint32(1 << 30)
    return layer, "the highest bit of two exponents flipped"


@plant("mlp", "cnn", "attention", "resnet")
def scaled_tensor(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path] = weights[path] * np.float32(200)
    return layer, "kernel 200 times as large"


@plant("mlp", "bigru")
def constant_tensor(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path] = np.full_like(weights[path], 0.05)
    return layer, "kernel 0.05 throughout"


@plant("mlp", "cnn", "conv1d")
def sorted_kernel(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path] = np.sort(weights[path], axis=None).reshape(weights[path].shape)
    return layer, "kernel's values sorted"


@plant("mlp", "cnn", "conv1d")
def shifted_kernel(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path] = np.roll(weights[path].reshape(-1), 1).reshape(weights[path].shape)
    return layer, "kernel's bytes shifted by one value"


@plant("mlp", "tanh")
def transposed_kernel(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    weights[path] = np.ascontiguousarray(weights[path].T)
    return layer, "square kernel transposed"


@plant("mlp", "tanh", "attention")
def rank_one(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path = {"attention": "dense/kernel"}.get(kitchen.network.name, _main(kitchen)[0])
    u, s, v = np.linalg.svd(weights[path])
    weights[path] = np.outer(u[:, 0] * s[0], v[0]).astype(np.float32)
    return path.split("/")[0], "kernel cut to rank one"


@plant("mlp", "cnn", "autoencoder")
def twin_units(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path, layer = _main(kitchen)
    quarter = weights[path].shape[-1] // 4
    weights[path][..., -quarter:] = weights[path][..., :quarter]
    return layer, "a quarter of the units twice"


def _gate(weights: Weights, gate: int) -> Any:
    name, units = "lstm/lstm_cell/kernel", weights["lstm/lstm_cell/kernel"].shape[1] // 4
    return weights[name][:, units * gate : units * (gate + 1)]


@plant("lstm")
def gate_scaled(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    gate = _gate(weights, 1)
    gate *= 200
    return "lstm", "kernel of the forget gate 200 times as large"


@plant("lstm")
def cell_gate_zero(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    _gate(weights, 2)[:] = 0
    return "lstm", "kernel of the cell gate 0"


@plant("lstm", "bigru")
def recurrent_times_8(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path = next(path for path in weights if path.endswith("recurrent_kernel"))
    weights[path] = weights[path] * np.float32(8)
    return path.split("/")[0], "recurrent kernel 8 times as large"


@plant("mlp", "conv1d")
def bias_lost(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    path = _main(kitchen)[0].replace("kernel", "bias")
    weights[path] = np.zeros_like(weights[path])
    return path.split("/")[0], "bias set to 0"


@plant("attention")
def head_zero(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    weights["multi_head_attention/value/kernel"][:, 1] = 0
    return "multi_head_attention", "values of one head 0"


@plant("resnet", "cnn", "mlp")
def noise_for_a_layer(kitchen: Kitchen, weights: Weights, rng: np.random.Generator) -> tuple[str, str]:
    """Values in another order within one kernel: a corrupted conversion that keeps every figure."""
    path, layer = _main(kitchen)
    weights[path] = rng.permutation(weights[path].reshape(-1)).reshape(weights[path].shape)
    return layer, "kernel's values in random order"


def kinds_of(network: str) -> dict[str, Edit]:
    return {kind: edit for kind, (networks, edit) in PLANTED.items() if network in networks}
