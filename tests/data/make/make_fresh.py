"""Models as they are right after they are built, by Keras 3 and by tf.keras 2.15: nothing in them is a fault.

Run in virtual environments of their own, one of them with keras==3.15.1 jax h5py ml_dtypes, the other with
tensorflow-cpu==2.15.1:

    python tests/data/make/make_fresh.py

Writes tests/data/fresh/: `keras3_*.keras` or `tfkeras_*.h5`. The weights come from a fixed seed; only the dates in
`.keras` differ between runs.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "jax")

try:
    import tensorflow

    keras = tensorflow.keras
    PREFIX, SUFFIX = "tfkeras", ".h5"
except ImportError:
    import keras

    PREFIX, SUFFIX = "keras3", ".keras"

layers = keras.layers
OUT = Path(__file__).resolve().parents[1] / "fresh"


def images() -> Any:
    """Convolutions over two dimensions of every kind, each normalisation, a learnt slope."""
    return keras.Sequential(
        [
            keras.Input((12, 12, 3)),
            layers.Conv2D(12, 5, use_bias=False, padding="same"),
            layers.BatchNormalization(),
            layers.PReLU(shared_axes=[1, 2]),
            layers.DepthwiseConv2D(3, padding="same", depth_multiplier=2),
            layers.GroupNormalization(4),
            layers.SeparableConv2D(16, 3, padding="same", activation="relu"),
            layers.LayerNormalization(),
            layers.Conv2D(16, 1, activation="relu"),
            layers.Conv2DTranspose(8, 3, padding="same"),
            layers.BatchNormalization(scale=False),
            layers.GlobalAveragePooling2D(),
            layers.Dense(32, activation="relu"),
            layers.Dense(6, activation="softmax"),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def signals() -> Any:
    """Convolutions over one and three dimensions."""
    wave = keras.Input((16, 2))
    x = layers.Conv1D(16, 5, padding="same")(wave)
    x = layers.DepthwiseConv1D(3, padding="same")(x)
    x = layers.SeparableConv1D(12, 3, padding="same")(x)
    x = layers.Conv1DTranspose(8, 3, padding="same")(x)
    volume = keras.Input((4, 4, 4, 1))
    y = layers.Conv3D(6, 3, padding="same")(volume)
    y = layers.Conv3DTranspose(4, 3, padding="same")(y)
    pooled = [layers.GlobalAveragePooling1D()(x), layers.GlobalAveragePooling3D()(y)]
    return keras.Model([wave, volume], layers.Dense(3)(layers.Concatenate()(pooled)))


def words() -> Any:
    """Embeddings, and recurrent layers of every kind."""
    tokens = keras.Input((6,), dtype="int32")
    x = layers.Embedding(60, 8, mask_zero=True)(tokens)
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    x = layers.Bidirectional(layers.GRU(6, return_sequences=True))(x)
    x = layers.GRU(8, return_sequences=True, reset_after=False)(x)
    x = layers.LSTM(6, return_sequences=True, unit_forget_bias=False)(x)
    x = layers.SimpleRNN(8, return_sequences=True)(x)
    x = layers.TimeDistributed(layers.Dense(4))(x)
    x = layers.RNN([layers.LSTMCell(4), layers.GRUCell(5)])(x)
    film = keras.Input((2, 5, 5, 1))
    y = layers.GlobalAveragePooling2D()(layers.ConvLSTM2D(4, 3)(film))
    return keras.Model([tokens, film], layers.Dense(2)(layers.Concatenate()([x, y])))


def attention() -> Any:
    """Attention with normalisation before and after, an einsum, an embedding of few places."""
    tokens = keras.Input((5, 16))
    x = layers.LayerNormalization()(tokens)
    x = layers.Add()([tokens, layers.MultiHeadAttention(num_heads=4, key_dim=4)(x, x)])
    x = layers.EinsumDense("abc,cd->abd", output_shape=(None, 24), bias_axes="d", activation="gelu")(x)
    return keras.Model(tokens, layers.Dense(16, use_bias=False)(x))


def starts() -> Any:
    """A layer for each way to begin; those that begin with zeros or a constant are meant to."""
    names = ["GlorotUniform", "GlorotNormal", "HeUniform", "HeNormal", "LecunUniform", "LecunNormal", "Orthogonal"]
    chosen: list[Any] = [getattr(keras.initializers, name)() for name in names]
    chosen += [
        keras.initializers.RandomUniform(-0.1, 0.3),
        keras.initializers.RandomNormal(0.2, 0.1),
        keras.initializers.TruncatedNormal(stddev=0.02),
        keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal"),
        keras.initializers.VarianceScaling(0.3, "fan_avg", "uniform"),
        keras.initializers.Zeros(),
        keras.initializers.Constant(0.2),
    ]
    model = keras.Sequential([keras.Input((20,))])
    for number, initializer in enumerate(chosen):
        bias = [keras.initializers.Zeros(), keras.initializers.Constant(-2.0), keras.initializers.RandomNormal()]
        model.add(layers.Dense(20, kernel_initializer=initializer, bias_initializer=bias[number % 3]))
    return model


def example() -> Any:
    """The network of the shipped examples."""
    return keras.Sequential(
        [
            keras.Input((14, 14, 1)),
            layers.Conv2D(8, 5, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(12, 3, activation="relu"),
            layers.Flatten(),
            layers.Dense(16, activation="relu"),
            layers.Dense(6, activation="softmax"),
        ]
    )


def main(out: Path, seed: int) -> None:
    out.mkdir(parents=True, exist_ok=True)
    builders: list[Callable[[], Any]] = [images, signals, words, attention, starts]
    if PREFIX == "tfkeras":
        builders.append(example)
    for number, build in enumerate(builders):
        keras.backend.clear_session()
        keras.utils.set_random_seed(seed + number)
        build().save(out / f"{PREFIX}_{build.__name__}{SUFFIX}")


if __name__ == "__main__":
    # Another folder and another seed: the same models with other values.
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else OUT, int(sys.argv[2]) if len(sys.argv) > 2 else 31)
