"""The architectures, built with Keras, and how their hidden units hang together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from verdicts.tasks import LENGTH, SIDE, WORDS


@dataclass(frozen=True, slots=True)
class Part:
    """Where the units of a group stand in one tensor.

    tensor: its path. axis: along which; the units fill `blocks` blocks there (gates, or positions before a Flatten),
    from `start` on. power: by which power of alpha the tensor is scaled when the units are: 1 for what makes them, -1
    for what reads them, 0 for what knows no scale.
    """

    tensor: str
    axis: int
    power: int = 0
    blocks: int = 1
    start: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """Units that may change places together. scale: "positive" behind a ReLU, "sign" behind tanh, "" otherwise."""

    units: int
    parts: tuple[Part, ...]
    scale: str = ""


@dataclass(frozen=True, slots=True)
class Network:
    """An architecture. build: takes the initialiser of kernels and options. rate: of Adam. examples: to train on."""

    name: str
    task: str
    build: Callable[..., keras.Model]
    epochs: int
    rate: float
    groups: tuple[Group, ...] = ()
    loss: str = "classes"
    head: str = ""
    examples: int = 1500


def _dense(units: int, activation: str | None, init: Any, **more: Any) -> layers.Layer:
    return layers.Dense(units, activation=activation, kernel_initializer=init or "glorot_uniform", **more)


def _conv(filters: int, init: Any, size: int = 3, activation: str | None = None, **more: Any) -> layers.Layer:
    more.setdefault("padding", "same")
    return layers.Conv2D(filters, size, activation=activation, kernel_initializer=init or "glorot_uniform", **more)


def mlp(init: Any = None, activation: str = "relu", depth: int = 2, **dense: Any) -> keras.Model:
    body = [_dense(64, activation, init, **dense) for _ in range(depth)]
    return keras.Sequential(
        [keras.Input((SIDE, SIDE, 1)), layers.Flatten(), *body, _dense(10, "softmax", init)],
    )


def tanh(init: Any = None, **dense: Any) -> keras.Model:
    body = [_dense(48, "tanh", init, **dense) for _ in range(2)]
    return keras.Sequential([keras.Input((20,)), *body, _dense(4, "softmax", init)])


def normed(init: Any = None, momentum: float = 0.9, **dense: Any) -> keras.Model:
    body: list[layers.Layer] = []
    for _ in range(2):
        body += [
            _dense(48, None, init, **dense), layers.BatchNormalization(momentum=momentum), layers.Activation("relu")
        ]  # fmt: skip
    return keras.Sequential([keras.Input((20,)), *body, layers.Dropout(0.1), _dense(4, "softmax", init)])


def cnn(init: Any = None, **dense: Any) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)), _conv(12, init, activation="relu"), layers.MaxPooling2D(),
            _conv(24, init, activation="relu"), layers.MaxPooling2D(), layers.Flatten(),
            _dense(48, "relu", init, **dense), _dense(10, "softmax", init),
        ]
    )  # fmt: skip


def _normed(x: Any, momentum: float, activation: bool = True) -> Any:
    x = layers.BatchNormalization(momentum=momentum)(x)
    return layers.ReLU()(x) if activation else x


def resnet(init: Any = None, momentum: float = 0.9, **conv: Any) -> keras.Model:
    inputs = keras.Input((SIDE, SIDE, 1))
    x = stream = _normed(_conv(16, init, strides=2, use_bias=False, **conv)(inputs), momentum)
    x = _normed(_conv(16, init, use_bias=False, **conv)(x), momentum)
    x = _normed(_conv(16, init, use_bias=False, **conv)(x), momentum, activation=False)
    x = layers.ReLU()(layers.Add()([x, stream]))
    x = _normed(_conv(32, init, strides=2, use_bias=False, **conv)(x), momentum)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, _dense(10, "softmax", init)(x))


def depthwise(init: Any = None, momentum: float = 0.9, **conv: Any) -> keras.Model:
    start = {"depthwise_initializer": init} if init else {}
    inputs = keras.Input((SIDE, SIDE, 1))
    x = _normed(_conv(16, init, strides=2, use_bias=False, **conv)(inputs), momentum)
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, **start)(x)
    x = _normed(x, momentum)
    x = _normed(_conv(32, init, size=1, use_bias=False, **conv)(x), momentum)
    x = layers.SeparableConv2D(32, 3, padding="same", use_bias=False, strides=2)(x)
    x = layers.GlobalAveragePooling2D()(_normed(x, momentum))
    return keras.Model(inputs, _dense(10, "softmax", init)(x))


def lstm(init: Any = None, words: int = WORDS, **recurrent: Any) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((LENGTH,)), layers.Embedding(words, 16),
            layers.LSTM(32, kernel_initializer=init or "glorot_uniform", **recurrent), _dense(4, "softmax", init),
        ]
    )  # fmt: skip


def bigru(init: Any = None, **recurrent: Any) -> keras.Model:
    gru = layers.GRU(20, kernel_initializer=init or "glorot_uniform", **recurrent)
    return keras.Sequential([keras.Input((LENGTH, 3)), layers.Bidirectional(gru), _dense(5, "softmax", init)])


def attention(init: Any = None, words: int = WORDS) -> keras.Model:
    inputs = keras.Input((LENGTH,))
    x = layers.Embedding(words, 32)(inputs)
    y = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.MultiHeadAttention(4, 8)(y, y)])
    y = layers.LayerNormalization()(x)
    y = _dense(64, "gelu", init)(y)
    y = _dense(32, None, init)(y)
    x = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(layers.Add()([x, y])))
    return keras.Model(inputs, _dense(4, "softmax", init)(x))


def conv1d(init: Any = None, **conv: Any) -> keras.Model:
    start = init or "he_normal"
    inputs = keras.Input((LENGTH, 3))
    x = inputs
    for rate, filters in enumerate((16, 24, 24), 1):
        x = layers.Conv1D(filters, 3, dilation_rate=rate, padding="same", kernel_initializer=start, **conv)(x)
        x = layers.LeakyReLU(negative_slope=0.1)(x)
    x = layers.GlobalMaxPooling1D()(x)
    return keras.Model(inputs, _dense(5, "softmax", init)(x))


def autoencoder(init: Any = None, **conv: Any) -> keras.Model:
    up = {"padding": "same", "strides": 2, "activation": "relu", "kernel_initializer": init or "glorot_uniform"}
    return keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)), _conv(12, init, strides=2, activation="relu", **conv),
            _conv(8, init, strides=2, activation="relu", **conv),
            layers.Conv2DTranspose(12, 3, **up), layers.Conv2DTranspose(12, 3, **up), _conv(1, init),
        ]
    )  # fmt: skip


def _plain(units: int, scale: str, made: tuple[str, ...], read: str, **reading: Any) -> Group:
    """Units of a Dense or convolution without normalisation; made: kernel and bias."""
    axis = 3 if made[0].startswith("conv2d") else 2 if made[0].startswith("conv1d") else 1
    parts = (Part(made[0], axis, 1), *(Part(name, 0, 1) for name in made[1:]))
    reads = Part(read, reading.pop("axis", 0), -1, **reading)
    return Group(units, (*parts, reads), scale)


def _statistics(*names: str) -> tuple[Part, ...]:
    scaled = [Part(f"{name}/{role}", 0, 1) for name in names for role in ("gamma", "beta")]
    kept = [Part(f"{name}/{role}", 0) for name in names for role in ("moving_mean", "moving_variance")]
    return (*scaled, *kept)


def _both(name: str) -> tuple[str, str]:
    return f"{name}/kernel", f"{name}/bias"


def _recurrent(cell: str, units: int, gates: int, bias_axis: int, start: int) -> Group:
    return Group(
        units,
        (
            Part(f"{cell}/kernel", 1, blocks=gates), Part(f"{cell}/recurrent_kernel", 1, blocks=gates),
            Part(f"{cell}/recurrent_kernel", 0), Part(f"{cell}/bias", bias_axis, blocks=gates),
            Part("dense/kernel", 0, start=start),
        ),
    )  # fmt: skip


_NORM = "batch_normalization"
NETWORKS = {
    each.name: each
    for each in (
        Network("mlp", "strokes", mlp, 10, 2e-3, head="dense_2", groups=(
            _plain(64, "positive", _both("dense"), "dense_1/kernel"),
            _plain(64, "positive", _both("dense_1"), "dense_2/kernel"),
        )),
        Network("tanh", "table", tanh, 16, 5e-3, head="dense_2", examples=3000, groups=(
            _plain(48, "sign", _both("dense"), "dense_1/kernel"),
            _plain(48, "sign", _both("dense_1"), "dense_2/kernel"),
        )),
        Network("normed", "table", normed, 12, 5e-3, head="dense_2", examples=3000, groups=(
            Group(48, (Part("dense/kernel", 1), Part("dense/bias", 0), *_statistics(_NORM),
                       Part("dense_1/kernel", 0, -1)), "positive"),
            Group(48, (Part("dense_1/kernel", 1), Part("dense_1/bias", 0), *_statistics(f"{_NORM}_1"),
                       Part("dense_2/kernel", 0, -1)), "positive"),
        )),
        Network("cnn", "strokes", cnn, 8, 3e-3, head="dense_1", groups=(
            _plain(12, "positive", _both("conv2d"), "conv2d_1/kernel", axis=2),
            _plain(24, "positive", _both("conv2d_1"), "dense/kernel", blocks=9),
            _plain(48, "positive", _both("dense"), "dense_1/kernel"),
        )),
        Network("resnet", "strokes", resnet, 8, 5e-3, head="dense", groups=(
            Group(16, (Part("conv2d/kernel", 3), Part("conv2d_2/kernel", 3), *_statistics(_NORM, f"{_NORM}_2"),
                       Part("conv2d_1/kernel", 2, -1), Part("conv2d_3/kernel", 2, -1)), "positive"),
            Group(16, (Part("conv2d_1/kernel", 3), *_statistics(f"{_NORM}_1"), Part("conv2d_2/kernel", 2, -1)),
                  "positive"),
            Group(32, (Part("conv2d_3/kernel", 3), *_statistics(f"{_NORM}_3"), Part("dense/kernel", 0, -1)),
                  "positive"),
        )),
        Network("depthwise", "strokes", depthwise, 8, 5e-3, head="dense", examples=1000, groups=(
            Group(16, (Part("conv2d/kernel", 3), *_statistics(_NORM), Part("depthwise_conv2d/kernel", 2, -1),
                       *(Part(part.tensor, part.axis) for part in _statistics(f"{_NORM}_1")),
                       Part("conv2d_1/kernel", 2)), "positive"),
            Group(32, (Part("conv2d_1/kernel", 3), *_statistics(f"{_NORM}_2"),
                       Part("separable_conv2d/depthwise_kernel", 2, -1),
                       Part("separable_conv2d/pointwise_kernel", 2)), "positive"),
            Group(32, (Part("separable_conv2d/pointwise_kernel", 3), *_statistics(f"{_NORM}_3"),
                       Part("dense/kernel", 0, -1)), "positive"),
        )),
        Network("lstm", "words", lstm, 8, 1e-2, head="dense",
                groups=(_recurrent("lstm/lstm_cell", 32, 4, 0, 0),)),
        Network("bigru", "waves", bigru, 8, 1e-2, head="dense", groups=(
            _recurrent("bidirectional/forward_gru/gru_cell", 20, 3, 1, 0),
            _recurrent("bidirectional/backward_gru/gru_cell", 20, 3, 1, 20),
        )),
        Network("attention", "words", attention, 8, 3e-3, head="dense_2", groups=(
            Group(4, (*(Part(f"multi_head_attention/{name}/kernel", 1) for name in ("query", "key", "value")),
                      *(Part(f"multi_head_attention/{name}/bias", 0) for name in ("query", "key", "value")),
                      Part("multi_head_attention/attention_output/kernel", 0))),
            _plain(64, "", _both("dense"), "dense_1/kernel"),
        )),
        Network("conv1d", "waves", conv1d, 10, 4e-3, head="dense", groups=(
            _plain(16, "positive", _both("conv1d"), "conv1d_1/kernel", axis=1),
            _plain(24, "positive", _both("conv1d_1"), "conv1d_2/kernel", axis=1),
            _plain(24, "positive", _both("conv1d_2"), "dense/kernel"),
        )),
        Network("autoencoder", "copied strokes", autoencoder, 8, 5e-3, head="conv2d_2", loss="values", examples=1000,
                groups=(_plain(12, "positive", _both("conv2d"), "conv2d_1/kernel", axis=2),)),
    )
}  # fmt: skip
