"""Run by the tests in a process of its own, on NumPy, which compiles nothing: what loaded models give, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np
import wexport_keras
from wexport_keras.inputs import batches_of

import wexport


def inputs_of(shapes: list[list[int | None]], whole: list[bool]) -> list[np.ndarray]:
    """What data/make_predictions.py gave."""
    rng = np.random.default_rng(0)
    found = []
    for shape, is_whole in zip(shapes, whole, strict=True):
        fixed = (3, *(length or 7 for length in shape[1:]))
        found.append(rng.integers(0, 5, fixed) if is_whole else rng.random(fixed).astype("float32"))
    return found


def predicted(path: Path, said: dict) -> dict:
    try:
        model = wexport_keras.load(path)
    except wexport.WexportError as error:
        return {"refused": str(error)}
    [(inputs, _)] = batches_of(model, inputs_of(said["shapes"], said["whole"])).inputs(3)
    outputs = keras.tree.flatten(model(inputs, training=False))
    return {"outputs": [np.asarray(one, np.float64).reshape(-1)[:64].tolist() for one in outputs]}


def main(folder: Path, predictions: Path) -> None:
    print(
        json.dumps({name: predicted(folder / name, said) for name, said in json.loads(predictions.read_text()).items()})
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
