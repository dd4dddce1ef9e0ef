"""Small models with fixed weights, and inputs for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers as k

Made = tuple[Any, list[np.ndarray], list[np.ndarray]]
"""A model, its inputs and its targets."""


def settled(model: Any, seed: int = 0) -> Any:
    """The same weights on every backend, biases and statistics too."""
    rng = np.random.default_rng(seed)
    model.set_weights([_drawn(rng, weight) for weight in model.weights])
    return model


def _drawn(rng: np.random.Generator, weight: Any) -> np.ndarray:
    positive = weight.name in ("gamma", "moving_variance")
    values = rng.uniform(0.5, 1.5, weight.shape) if positive else rng.normal(0, 0.4, weight.shape)
    return values.astype(weight.dtype)


def _data(seed: int, *shapes: tuple[int, ...]) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def cnn(*, smooth: bool = False) -> Made:
    """smooth: without ReLU and maxima, whose kinks differences of the loss stumble over."""
    inputs = keras.Input((9, 8, 2))
    x = k.Conv2D(6, 3, activation="softplus" if smooth else "relu", kernel_regularizer="l2")(inputs)
    x = k.BatchNormalization()(x)
    x = k.AveragePooling2D(2)(x) if smooth else k.MaxPooling2D()(x)
    x = k.DepthwiseConv2D(2)(x)
    x = k.Activation("tanh")(x) if smooth else k.ReLU()(x)
    x = k.Dropout(0.5)(k.Flatten()(x))
    model = keras.Model(inputs, k.Dense(3, activation="softmax")(x))
    model.compile("sgd", "sparse_categorical_crossentropy")
    return settled(model), _data(1, (37, 9, 8, 2)), [np.random.default_rng(2).integers(0, 3, 37)]


def lstm() -> Made:
    inputs = keras.Input((7, 4))
    x = k.LSTM(5, return_sequences=True)(inputs)
    x, _, _ = k.LSTM(3, return_sequences=True, return_state=True, activity_regularizer="l2")(x)
    model = keras.Model(inputs, k.TimeDistributed(k.Dense(2))(x))
    model.compile("sgd", "mse")
    return settled(model), _data(3, (21, 7, 4)), _data(4, (21, 7, 2))


def bidirectional_gru() -> Made:
    inputs = keras.Input((6,), dtype="int32")
    model = keras.Model(inputs, k.Dense(2)(k.Bidirectional(k.GRU(5))(k.Embedding(11, 4, mask_zero=True)(inputs))))
    model.compile("sgd", "mse")
    tokens = np.random.default_rng(5).integers(0, 11, (18, 6))
    return settled(model), [tokens], _data(6, (18, 2))


def nested() -> Made:
    shared = k.Dense(4, activation="tanh", name="shared")
    inner_input = keras.Input((4,))
    inner = keras.Model(inner_input, k.Dense(4, activation="relu")(k.Dropout(0.5)(inner_input)), name="inner")
    inputs = keras.Input((4,))
    outer = keras.Sequential([keras.Input((4,)), inner, k.Dense(3)], name="outer")
    model = keras.Model(inputs, k.Dense(1)(outer(shared(shared(inputs)))))
    model.compile("sgd", "mse")
    return settled(model), _data(7, (16, 4)), _data(8, (16, 1))


def two_inputs() -> Made:
    left, right = keras.Input((6, 4), name="left"), keras.Input((3,), name="right")
    x = k.MultiHeadAttention(2, 3)(left, left)
    x = k.Concatenate()([k.GlobalAveragePooling1D()(x), right])
    one, two = k.Dense(2, name="one")(x), k.Dense(1, name="two", activation="sigmoid")(x)
    model = keras.Model([left, right], [one, two])
    model.compile("sgd", ["mse", "binary_crossentropy"], loss_weights=[1.0, 0.5])
    labels = np.random.default_rng(11).integers(0, 2, (14, 1)).astype("float32")
    return settled(model), _data(9, (14, 6, 4), (14, 3)), [*_data(10, (14, 2)), labels]


def smooth_cnn() -> Made:
    return cnn(smooth=True)


MODELS: dict[str, Callable[[], Made]] = {
    each.__name__: each for each in (cnn, lstm, bidirectional_gru, nested, two_inputs)
}


def packed(arrays: list[np.ndarray]) -> Any:
    return arrays[0] if len(arrays) == 1 else arrays
