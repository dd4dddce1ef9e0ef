"""ONNX models exported by Keras 3 itself (on torch), and what Keras says of their weights.

pip install torch==2.13.0 keras==3.15.1 onnx onnxscript
KERAS_BACKEND=torch python make_keras.py FOLDER
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import keras
import numpy as np
import told
from keras import layers

warnings.simplefilter("ignore")


def main(folder: Path) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(5, 2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(7, activation="relu"),
            layers.Dense(3, use_bias=False),
        ]
    )
    for variable in model.weights:
        variable.assign(np.random.default_rng(len(variable.path)).uniform(0.1, 1.1, variable.shape))
    model(np.zeros((1, 12, 12, 3), np.float32))
    path = folder / "keras_images.onnx"
    model.export(path, format="onnx", verbose=False)
    told.without_paths(path)
    said = [
        told.weight(layer.name, type(layer).__name__, variable.name, np.asarray(variable))
        for layer in model.layers
        for variable in layer.weights
    ]
    told.write(path, said, f"Keras {keras.__version__} on torch")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
