"""A table of models that were run, made of plain arrays: weights, outputs of layers and gradients."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tests.tables import write_table

INPUTS, STEPS, UNITS = 4, 6, 12
MODELS = ("run/epoch_1", "run/epoch_2")


def values(model: str, kind: str, slot: str, *shape: int) -> np.ndarray:
    """What stands there in the table."""
    seed = [*model.encode(), *kind.encode(), *slot.encode()]
    return np.random.default_rng(seed).normal(0, {"gradient": 1e-3}.get(kind, 1.0), shape).astype("f4")


SHAPES = {
    ("weight", "conv2d/kernel"): (3, 3, 2, 5),
    ("weight", "lstm/kernel"): (7, 4 * UNITS),
    ("weight", "lstm/recurrent_kernel"): (UNITS, 4 * UNITS),
    ("weight", "lstm/bias"): (4 * UNITS,),
    ("weight", "dense/kernel"): (UNITS, 9),
    ("gradient", "conv2d/kernel"): (3, 3, 2, 5),
    ("gradient", "lstm/kernel"): (7, 4 * UNITS),
    ("gradient", "lstm/recurrent_kernel"): (UNITS, 4 * UNITS),
    ("gradient", "lstm/bias"): (4 * UNITS,),
    ("gradient", "dense/kernel"): (UNITS, 9),
    ("gradient", "lstm/input"): (INPUTS, STEPS, 7),
    ("gradient", "lstm/output"): (INPUTS, STEPS, UNITS),
    ("activation", "conv2d/output"): (INPUTS, 8, 10, 5),
    ("activation", "lstm/output"): (INPUTS, STEPS, UNITS),
    ("activation", "dense/output"): (INPUTS, 9),
    ("activation", "loss/output"): (INPUTS,),
    ("activation", "conv3d/output"): (INPUTS, 2, 3, 4, 5),
}
CLASSES = {"conv2d": "Conv2D", "lstm": "LSTM", "dense": "Dense", "conv3d": "Conv3D", "loss": "Lambda"}


def rows(models: tuple[str, ...] = MODELS) -> Iterator[dict[str, Any]]:
    for model in models:
        for (kind, slot), shape in SHAPES.items():
            layer, _, role = slot.partition("/")
            said = {"model": model, "kind": kind, "layer": layer, "role": role, "layer_class": CLASSES[layer]}
            place = {"run": "run", "step": int(model[-1]), "layer_index": list(CLASSES).index(layer)}
            yield {**said, **place, "values": values(model, kind, slot, *shape)}


def write(path: Path, models: tuple[str, ...] = MODELS) -> Path:
    return write_table(path, rows(models))
