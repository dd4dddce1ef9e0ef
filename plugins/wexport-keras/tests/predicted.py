"""Run by the tests in a process of its own, on NumPy, which compiles nothing: what loaded models give, as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import keras
import numpy as np
import wexport_keras
from data.given import inputs_of
from wexport_keras.inputs import batches_of

import wexport


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
