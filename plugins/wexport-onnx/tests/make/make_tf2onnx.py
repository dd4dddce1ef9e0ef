"""ONNX models made by tf2onnx of models of tf.keras, and what tf.keras says of their weights.

pip install tensorflow-cpu==2.15.1 tf2onnx==1.17.0 onnx==1.16.2 'numpy<2'
python make_tf2onnx.py FOLDER
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf2onnx
import told

keras, layers = tf.keras, tf.keras.layers


def images() -> Any:
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.Conv2DTranspose(5, 2),
            layers.GlobalAveragePooling2D(),
            layers.Dense(7, activation="relu"),
            layers.Dense(3, use_bias=False),
        ]
    )


def words() -> Any:
    return keras.Sequential(
        [
            keras.Input((7,), dtype="int32"),
            layers.Embedding(11, 4),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True)),
            layers.Bidirectional(layers.GRU(5, return_sequences=True)),
            layers.LSTM(4, return_sequences=True),
            layers.Dense(5),
            layers.Conv1D(3, 2),
            layers.GRU(3),
        ]
    )


def said(model: Any) -> Any:
    for layer in model.layers:
        sides = [(None, layer)]
        if isinstance(layer, layers.Bidirectional):
            sides = [("forward", layer.forward_layer), ("backward", layer.backward_layer)]
        for direction, side in sides:
            for variable in side.weights:
                role = variable.name.rsplit("/", 1)[-1].removesuffix(":0").replace("depthwise_kernel", "kernel")
                yield told.weight(layer.name, type(side).__name__, role, variable.numpy(), direction)


def main(folder: Path) -> None:
    random = np.random.default_rng(0)
    for name, model in (("images", images()), ("words", words())):
        for variable in model.weights:
            variable.assign(random.uniform(0.1, 1.1, variable.shape))
        path = folder / f"tf2onnx_{name}.onnx"
        proto, _ = tf2onnx.convert.from_keras(model, opset=17)
        path.write_bytes(proto.SerializeToString())
        told.write(path, list(said(model)), f"tf.keras {tf.__version__}, tf2onnx {tf2onnx.__version__}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
