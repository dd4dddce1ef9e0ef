"""Small tf.keras 2.15 models, legacy .h5 above all, with JSON of what Keras itself says of every weight.

Run in a virtual environment of its own: pip install tensorflow-cpu==2.15.1

    python tests/data/make/make_tfkeras.py

Writes tests/data/tfkeras215/. The weights come from fixed seeds; only the dates in `.keras`
files differ between runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
from described import describe, randomise
from keras import __version__ as keras_version
from keras.src.saving.legacy import hdf5_format

keras = tf.keras
layers = tf.keras.layers
OUT = Path(__file__).resolve().parents[1] / "tfkeras215"
FULL, WEIGHTS, V3, V3_WEIGHTS = ".h5", ".weights_only.h5", ".keras", ".weights.h5"
SAVE: dict[str, Callable[[Any, Path], None]] = {
    FULL: lambda model, path: model.save(path),
    WEIGHTS: lambda model, path: model.save_weights(path),
    V3: lambda model, path: model.save(path),
    V3_WEIGHTS: lambda model, path: model.save_weights(path),
}


def cnn() -> Any:
    """Every kind of convolution; batch normalisation whole, without scale, without centre; a frozen layer."""
    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, padding="same"),
            layers.BatchNormalization(),
            layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
            layers.BatchNormalization(scale=False),
            layers.SeparableConv2D(3, 2, padding="same"),
            layers.BatchNormalization(center=False),
            layers.Conv2DTranspose(2, 3, padding="same"),
            layers.GlobalAveragePooling2D(),
            layers.Dropout(0.1),
            layers.Dense(5, trainable=False),
            layers.Dense(3),
        ]
    )


def recurrent() -> Any:
    """Recurrent layers: both directions, both kinds of GRU, a stack of cells, a recurrent convolution."""
    words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 3)(words)
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)
    x = layers.Bidirectional(layers.GRU(2, return_sequences=True), merge_mode="sum")(x)
    x = layers.TimeDistributed(layers.Dense(3))(x)
    x = layers.LSTM(2, return_sequences=True)(x)
    x = layers.GRU(3, return_sequences=True)(x)
    x = layers.GRU(2, return_sequences=True, reset_after=False)(x)
    x = layers.SimpleRNN(3, return_sequences=True)(x)
    x = layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)])(x)
    film = keras.Input((2, 4, 4, 1))
    y = layers.ConvLSTM2D(2, 3)(film)
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model([words, film], layers.Dense(2)(layers.Concatenate()([x, y])))


def attention() -> Any:
    """Attention, a normalisation, an einsum."""
    tokens = keras.Input((5, 6))
    x = layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=2)(tokens, tokens)
    x = layers.LayerNormalization()(x)
    return keras.Model(tokens, layers.EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d")(x))


def nested() -> Any:
    """A functional model inside a functional model inside a Sequential; one layer shared by two branches.

    Some names hold a slash, which makes groups in the file that are not layers.
    """
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, layers.Dense(3, name="fire2/squeeze")(inner_in), name="inner")
    outer_in = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    left, right = inner(shared(outer_in)), inner(shared(layers.Activation("tanh")(outer_in)))
    outer = keras.Model(outer_in, layers.Dense(4)(layers.Add()([left, right])), name="outer")
    head = layers.Dense(2, name="head/logits")
    return keras.Sequential([keras.Input((4,)), outer, layers.Dense(2, name="head/hidden"), head])


class Subclassed(keras.Model):
    """Layers in a list, in a dict and as an attribute; a variable of the model's own."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = [layers.Dense(3), layers.Dense(3)]
        self.heads = {"b": layers.Dense(2), "a": layers.Dense(1)}
        self.final = layers.Dense(2)
        self.temperature = self.add_weight(shape=(2,), name="temperature")

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        for head in self.heads.values():
            x = x + tf.reduce_sum(head(x))
        return self.final(x) / self.temperature


def subclassed() -> Any:
    """A model that is a class: weights only, with a variable outside all layers."""
    model = Subclassed()
    model(tf.zeros((1, 3)))
    return model


def mixed_float16() -> Any:
    """Computes in 16 bits, keeps its variables in 32; one layer is 16 bits wide throughout."""
    policy = keras.mixed_precision.Policy("mixed_float16")
    return keras.Sequential(
        [
            keras.Input((4,)),
            layers.Dense(5, dtype=policy),
            layers.BatchNormalization(dtype=policy),
            layers.Dense(3, dtype="float16"),
        ]
    )


def cudnn() -> Any:
    """The GPU-only layers of old; building them needs no GPU, only running them does."""
    v1 = tf.compat.v1.keras.layers
    words = keras.Input((5, 3))
    x = layers.Bidirectional(v1.CuDNNLSTM(2, return_sequences=True))(words)
    x = v1.CuDNNGRU(3, return_sequences=True)(x)
    return keras.Model(words, v1.CuDNNLSTM(2)(x))


def fold() -> Any:
    """One architecture, built several times in one process: only the automatic numbers differ."""
    return keras.Sequential(
        [
            keras.Input((5,), dtype="int32"),
            layers.Embedding(6, 2),
            layers.Bidirectional(layers.GRU(2, return_sequences=True)),
            layers.GRU(3),
            layers.Dense(3),
            layers.Dense(2),
        ]
    )


def trained(optimizer: Callable[[], Any]) -> Callable[[], Any]:
    """Compiled and fitted, so that the file holds optimizer state."""

    def build() -> Any:
        rng = np.random.default_rng(0)
        model = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(1)])
        model.compile(optimizer(), loss="mse")
        x = rng.normal(size=(64, 4)).astype("float32")
        model.fit(x, x.sum(axis=1, keepdims=True), epochs=2, batch_size=16, verbose=0, shuffle=False)
        return model

    return build


def split_names() -> Any:
    """Long names of layers, and one layer of many variables, for lists that do not fit into one attribute."""
    dense = [layers.Dense(1, name=f"a_rather_long_name_of_a_layer_{number}") for number in (10, 9, 1)]
    cells = layers.RNN([layers.SimpleRNNCell(1) for _ in range(4)])
    return keras.Sequential([keras.Input((2, 1)), cells, *dense])


@contextmanager
def header_limit(size: int) -> Iterator[None]:
    """Keras splits name lists past 64 KiB; a lower limit makes its own code split those of a small model."""
    usual = hdf5_format.HDF5_OBJECT_HEADER_LIMIT
    hdf5_format.HDF5_OBJECT_HEADER_LIMIT = size
    try:
        yield
    finally:
        hdf5_format.HDF5_OBJECT_HEADER_LIMIT = usual


def sublayers(layer: Any) -> list[Any]:
    """A model's layers in its own order; elsewhere what the layer tracks, lists and dicts flattened."""
    if isinstance(layer, keras.Model):
        return list(layer.layers)
    return list(layer._flatten_layers(recursive=False, include_self=False))


def own_variables(layer: Any) -> list[Any]:
    return [*layer._trainable_weights, *layer._non_trainable_weights]


def write(name: str, build: Callable[[], Any], containers: tuple[str, ...], *, seed: int | None) -> None:
    """Build a model, give it weights unless `seed` is None, save it and say what is in it."""
    keras.utils.set_random_seed(17)
    model = build()
    if seed is not None:
        randomise(model.weights, seed)
    for suffix in containers:
        SAVE[suffix](model, OUT / f"{name}{suffix}")
    describe(
        model,
        OUT / f"{name}.json",
        framework={"framework": "tf.keras", "version": keras_version, "backend": "tensorflow"},
        files=[name + suffix for suffix in containers],
        sublayers=sublayers,
        own_variables=own_variables,
        array=lambda variable: variable.numpy(),
    )


def main() -> None:
    OUT.mkdir(exist_ok=True)
    optimizers = keras.optimizers
    models: dict[str, tuple[Callable[[], Any], tuple[str, ...], int | None]] = {
        "cnn": (cnn, (FULL, WEIGHTS, V3, V3_WEIGHTS), 1),
        "recurrent": (recurrent, (FULL, WEIGHTS), 2),
        "attention": (attention, (FULL,), 3),
        "nested": (nested, (FULL, WEIGHTS), 4),
        "subclassed": (subclassed, (WEIGHTS, V3_WEIGHTS), 5),
        "mixed_float16": (mixed_float16, (FULL,), 6),
        "cudnn": (cudnn, (FULL, WEIGHTS), 7),
        "trained_adam": (trained(lambda: optimizers.Adam(0.01)), (FULL, V3), None),
        "trained_sgd": (trained(lambda: optimizers.SGD(0.01, momentum=0.9)), (FULL,), None),
        "trained_old_adam": (trained(lambda: optimizers.legacy.Adam(0.01)), (FULL,), None),
    }
    for name, (build, containers, seed) in models.items():
        keras.backend.clear_session()
        write(name, build, containers, seed=seed)
    keras.backend.clear_session()
    with header_limit(64):
        write("split_names", split_names, (FULL,), seed=8)
    keras.backend.clear_session()
    layers.Dense(1)
    for _ in range(3):  # with that one, the second fold kept has dense_9 and dense_10, which text sorting turns
        fold()
    for number in (1, 2):
        write(f"fold_{number}", fold, (FULL, WEIGHTS), seed=10 + number)


if __name__ == "__main__":
    main()
