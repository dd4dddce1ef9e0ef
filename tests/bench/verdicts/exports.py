"""Models in the layout of torch, and low-rank adapters as PEFT writes them: safetensors without a config."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from verdicts.collection import Entry, Illness, Origin
from verdicts.kitchen import Kitchen, half
from verdicts.training import Weights

RANK = 4
_NORM = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}


def write_safetensors(tensors: Weights, path: Path) -> None:
    """As https://huggingface.co/docs/safetensors describes the format."""
    header, place = {}, 0
    for name, values in tensors.items():
        dtype = {"float32": "F32", "int64": "I64"}[values.dtype.name]
        header[name] = {"dtype": dtype, "shape": values.shape, "data_offsets": (place, place := place + values.nbytes)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    data = b"".join(np.ascontiguousarray(values).tobytes() for values in tensors.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def _linear(weights: Weights, layer: str, name: str) -> Weights:
    return {f"{name}.weight": weights[f"{layer}/kernel"].T, f"{name}.bias": weights[f"{layer}/bias"]}


def _convolution(weights: Weights, layer: str, name: str) -> Weights:
    """Torch has (out, in, height, width)."""
    kernel = {f"{name}.weight": weights[f"{layer}/kernel"].transpose(3, 2, 0, 1)}
    return kernel | ({f"{name}.bias": weights[f"{layer}/bias"]} if f"{layer}/bias" in weights else {})


def _norm(weights: Weights, layer: str, name: str) -> Weights:
    found = {f"{name}.{_NORM[role]}": weights[f"{layer}/{role}"] for role in _NORM if f"{layer}/{role}" in weights}
    return found | ({f"{name}.num_batches_tracked": np.array(552, np.int64)} if len(found) == 4 else {})


def mlp(weights: Weights) -> Weights:
    layers = {"dense": "fc1", "dense_1": "fc2", "dense_2": "head"}
    return {k: v for layer, name in layers.items() for k, v in _linear(weights, layer, name).items()}


def normed(weights: Weights) -> Weights:
    found: Weights = {}
    for number, layer in enumerate(("dense", "dense_1")):
        found |= _linear(weights, layer, f"layers.{3 * number}")
        found |= _norm(weights, "batch_normalization" + "_1" * number, f"layers.{3 * number + 1}")
    return found | _linear(weights, "dense_2", "head")


def cnn(weights: Weights) -> Weights:
    """Torch flattens channels first, so the rows of the next kernel stand in another order."""
    turned = dict(weights)
    rows = weights["dense/kernel"].reshape(3, 3, 24, 48).transpose(2, 0, 1, 3)
    turned["dense/kernel"] = rows.reshape(-1, 48)
    return (
        _convolution(weights, "conv2d", "conv1") | _convolution(weights, "conv2d_1", "conv2")
        | _linear(turned, "dense", "fc1") | _linear(weights, "dense_1", "fc2")
    )  # fmt: skip


def resnet(weights: Weights) -> Weights:
    found: Weights = {}
    for number, name in enumerate(("stem", "block.conv1", "block.conv2", "down")):
        tail = f"_{number}" if number else ""
        found |= _convolution(weights, f"conv2d{tail}", name)
        found |= _norm(
            weights, f"batch_normalization{tail}", name.replace("conv", "bn") if "." in name else f"{name}_bn"
        )
    return found | _linear(weights, "dense", "fc")


def attention(weights: Weights) -> Weights:
    """As nn.MultiheadAttention keeps it: query, key and value in one matrix."""
    path, names = "multi_head_attention/{}/{}", ("query", "key", "value")
    kernels = [weights[path.format(name, "kernel")].reshape(32, 32).T for name in names]
    return {
        "embed.weight": weights["embedding/embeddings"],
        **_norm(weights, "layer_normalization", "norm1"),
        "attn.in_proj_weight": np.concatenate(kernels),
        "attn.in_proj_bias": np.concatenate([weights[path.format(name, "bias")].ravel() for name in names]),
        "attn.out_proj.weight": weights[path.format("attention_output", "kernel")].reshape(32, 32).T,
        "attn.out_proj.bias": weights[path.format("attention_output", "bias")],
        **_norm(weights, "layer_normalization_1", "norm2"),
        **_linear(weights, "dense", "linear1"), **_linear(weights, "dense_1", "linear2"),
        **_norm(weights, "layer_normalization_2", "norm3"), **_linear(weights, "dense_2", "head"),
    }  # fmt: skip


LAYOUTS: dict[str, Callable[[Weights], Weights]] = {
    each.__name__: each for each in (mlp, normed, cnn, resnet, attention)
}


def make(kitchen: Kitchen, bases: dict[int, Weights]) -> None:
    """The bases of two seeds as torch would hold them; of an attention, with its input projection lost as well."""
    layout = LAYOUTS.get(kitchen.network.name)
    for seed, base in bases.items():
        if layout:
            origin = Origin((kitchen.name(seed, "base"),), "reencoded", detail="torch")
            _keep(kitchen, seed, "in_torch_layout", layout(base), origin=origin)
        if kitchen.network.name == "attention":
            lost = attention(base)
            lost["attn.in_proj_weight"] = np.zeros_like(lost["attn.in_proj_weight"])
            illness = Illness("unknown_roles_zero", "attn", "input projection set to 0", planted=True)
            origin = Origin((kitchen.name(seed, "base"),), "same_but", detail="attn")
            _keep(kitchen, seed, "in_proj_zero", lost, illness=illness, origin=origin)
        if kitchen.network.name == "mlp":
            for number in (1, 2):
                _keep_adapter(kitchen, seed, base, number, trained=True)
            _keep_adapter(kitchen, seed, base, 3, trained=False)


def _keep(kitchen: Kitchen, seed: int, what: str, tensors: Weights, **facts: Any) -> None:
    place = Path(half(seed), kitchen.name(seed, what) + ".safetensors")
    write_safetensors(tensors, kitchen.folder / place)
    known: dict[str, Any] = {"root": kitchen.name(seed, "base"), "start": f"{kitchen.network.name}-{seed}"}
    known |= {"architecture": kitchen.network.name, "metric": 0.0} | facts
    model = kitchen.name(seed, what)
    kitchen.entries.append(Entry(str(place), model, half(seed), task=kitchen.network.task, seed=seed, **known))


def _keep_adapter(kitchen: Kitchen, seed: int, base: Weights, number: int, *, trained: bool) -> None:
    """An adapter of the two hidden layers for another task; one that was never trained has B all 0.

    Those of one seed begin with the same draws of A.
    """
    trainer = kitchen.built(seed)
    for layer in trainer.model.layers:
        if layer.name in ("dense", "dense_1"):
            layer.enable_lora(RANK)
    trainer = type(trainer)(trainer.model, kitchen.network.loss)
    begun = trainer.weights() | base
    data = kitchen.data(seed, world=number)
    ended = list(trainer.train(begun, data, kitchen.recipe(seed, rate=kitchen.network.rate if trained else 0.0)))[-1]
    names = {"dense": "fc1", "dense_1": "fc2"}
    tensors = {
        f"base_model.model.{names[path.split('/')[0]]}.lora_{path[-1].upper()}.weight": values.T
        for path, values in ended.items() if "lora" in path
    }  # fmt: skip
    if len(tensors) != 4:
        raise AssertionError(f"an adapter of {sorted(ended)}")
    lost = Illness("lora_b_zero", "fc1", "an adapter that was never trained", planted=False)
    what, illness = f"adapter_{number}", None if trained else lost
    name = kitchen.name(seed, what)
    facts: dict[str, Any] = {
        "architecture": "adapter",
        "root": name,
        "start": f"adapter-{seed}",
        "metric": round(trainer.metric(ended, data), 4),
    }
    _keep(kitchen, seed, what, tensors, illness=illness, **facts)
