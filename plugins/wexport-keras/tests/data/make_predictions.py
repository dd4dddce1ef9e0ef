"""What tf.keras 2.15 itself gives for the models of it that wexport's own tests hold, on inputs that a seed makes.

pip install tensorflow-cpu==2.15.1
python make_predictions.py ../../../../tests/data > predictions.json
"""

from __future__ import annotations

import json
import sys
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import tensorflow as tf
from given import inputs_of

ARCHIVES = ("tfkeras215.zip", "fresh.zip")


def main(data: Path) -> None:
    predictions = {}
    for archive in ARCHIVES:
        with tempfile.TemporaryDirectory() as folder:
            zipfile.ZipFile(data / archive).extractall(folder)
            for path in sorted(Path(folder).rglob("*")):
                if path.suffix in (".h5", ".keras"):
                    found = prediction(path)
                    if found is not None:
                        predictions[path.relative_to(folder).as_posix()] = found
    json.dump(predictions, sys.stdout, indent=1)


def prediction(path: Path) -> dict | None:
    """None for what tf.keras itself cannot load or run here: weights alone, custom classes, CuDNN layers."""
    try:
        model = tf.keras.models.load_model(path, compile=False)
        shapes = [list(one.shape) for one in model.inputs]
        tokens = any(isinstance(layer, tf.keras.layers.Embedding) for layer in model.layers)
        whole = [tokens or one.dtype.is_integer for one in model.inputs]
        given = inputs_of(shapes, whole)
        outputs = tf.nest.flatten(model(given if len(given) > 1 else given[0], training=False))
    except Exception as error:
        print(f"{path.name}: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None
    values = [np.asarray(one, np.float64).round(7).reshape(-1)[:64].tolist() for one in outputs]
    return {"shapes": shapes, "whole": whole, "outputs": values}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
