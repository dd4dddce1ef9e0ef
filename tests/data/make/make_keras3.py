"""Small Keras 3 models in their three containers, with JSON of what Keras itself says of every weight.

Run in a virtual environment of its own: pip install keras==3.15.1 jax h5py ml_dtypes

    python tests/data/make/make_keras3.py

Writes tests/data/keras3/. The weights come from fixed seeds; only the dates in `.keras`
files differ between runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np
from described import describe, randomise
from keras import layers

OUT = Path(__file__).resolve().parents[1] / "keras3"
SAVE: dict[str, Callable[[Any, Path], None]] = {
    ".h5": lambda model, path: model.save(path),
    ".keras": lambda model, path: model.save(path),
    ".weights.h5": lambda model, path: model.save_weights(path),
}
ALL = tuple(SAVE)
MODERN = (".keras", ".weights.h5")  # a subclassed model cannot be written as legacy .h5


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
    x = layers.GRU(2, return_sequences=True, reset_after=False)(x)
    x = layers.SimpleRNN(3, return_sequences=True)(x)
    x = layers.RNN([layers.LSTMCell(2), layers.GRUCell(3)])(x)
    film = keras.Input((2, 4, 4, 1))
    y = layers.ConvLSTM2D(2, 3)(film)
    y = layers.GlobalAveragePooling2D()(y)
    return keras.Model([words, film], layers.Dense(2)(layers.Concatenate()([x, y])))


def attention() -> Any:
    """Attention in both of Keras' kinds, a normalisation, an einsum."""
    tokens = keras.Input((5, 6))
    x = layers.MultiHeadAttention(num_heads=2, key_dim=3, value_dim=2)(tokens, tokens)
    x = layers.LayerNormalization()(x)
    x = layers.GroupQueryAttention(head_dim=2, num_query_heads=4, num_key_value_heads=2)(x, x)
    return keras.Model(tokens, layers.EinsumDense("abc,cd->abd", output_shape=(None, 4), bias_axes="d")(x))


def nested() -> Any:
    """A functional model inside a functional model inside a Sequential; one layer shared by two branches."""
    inner_in = keras.Input((4,))
    inner = keras.Model(inner_in, layers.Dense(3)(inner_in), name="inner")
    outer_in = keras.Input((4,))
    shared = layers.Dense(4, name="shared")
    left, right = inner(shared(outer_in)), inner(shared(layers.Activation("tanh")(outer_in)))
    outer = keras.Model(outer_in, layers.Dense(4)(layers.Add()([left, right])), name="outer")
    return keras.Sequential([keras.Input((4,)), outer, layers.Dense(2), layers.Dense(2)])


@keras.saving.register_keras_serializable("wexport_tests")
class Many(layers.Layer):
    """Eleven variables of its own, so that `10` stands before `2` when names are sorted as text."""

    def build(self, input_shape: Any) -> None:
        for number in range(11):
            self.add_weight(shape=(number + 1,), name=f"v{number}")

    def call(self, x: Any) -> Any:
        return x


@keras.saving.register_keras_serializable("wexport_tests")
class Subclassed(keras.Model):
    """Layers in a list, in a dict and as attributes, one of the user's own; a variable outside all layers."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.blocks = [layers.Dense(3), layers.Dense(3)]
        self.heads = {"b": layers.Dense(2), "a": layers.Dense(1)}
        self.many = Many()
        self.final = layers.Dense(2)
        self.temperature = self.add_weight(shape=(2,), name="temperature")

    def build(self, input_shape: Any) -> None:
        for layer in (*self.blocks, *self.heads.values(), self.many, self.final):
            layer.build((None, 3))
        self.built = True

    def call(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.final(self.many(x)) / self.temperature


def dropout() -> Any:
    """Seed generators of dropout layers, whose state is not a weight."""
    return keras.Sequential(
        [
            keras.Input((5, 3)),
            layers.LSTM(2, dropout=0.2, recurrent_dropout=0.1),
            layers.Dropout(0.5, seed=1),
            layers.Dense(3),
        ]
    )


def narrow(dtype: str) -> Callable[[], Any]:
    """A model whose variables are 16 bits wide."""

    def build() -> Any:
        return keras.Sequential(
            [
                keras.Input((4, 4, 2)),
                layers.Conv2D(3, 3, dtype=dtype),
                layers.BatchNormalization(dtype=dtype),
                layers.GlobalAveragePooling2D(),
                layers.Dense(4, dtype=dtype),
            ]
        )

    return build


def lora() -> Any:
    """Layers with a low-rank adaptation beside a frozen kernel."""
    model = keras.Sequential([keras.Input((5,)), layers.Dense(6), layers.Dense(3)])
    model.layers[0].enable_lora(2)
    return model


def merged(adapted: Any) -> Any:
    """What `.keras` and `.weights.h5` hold of an adapted model: saving adds the adaptation to the kernel."""
    plain = keras.models.clone_model(adapted, clone_function=_without_lora)
    for source, target in zip(adapted.layers, plain.layers, strict=True):
        target.kernel.assign(source.kernel)
        target.bias.assign(source.bias)
        target.kernel.trainable = source._kernel.trainable
    return plain


def _without_lora(layer: Any) -> Any:
    return type(layer).from_config({k: v for k, v in layer.get_config().items() if k != "lora_rank"})


def int8() -> Any:
    """Layers quantised to int8, which hold a kernel of integers and its scale."""
    model = keras.Sequential([keras.Input((5,)), layers.Dense(4), layers.Dense(3)])
    randomise(model.weights, 8)
    model.quantize("int8")
    return model


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


def trained(optimizer: Any) -> Callable[[], Any]:
    """Compiled and fitted, so that the file holds optimizer state."""

    def build() -> Any:
        rng = np.random.default_rng(0)
        model = keras.Sequential([keras.Input((4,)), layers.Dense(5, activation="relu"), layers.Dense(1)])
        model.compile(optimizer, loss="mse")
        x = rng.normal(size=(64, 4)).astype("float32")
        model.fit(x, x.sum(axis=1, keepdims=True), epochs=2, batch_size=16, verbose=0, shuffle=False)
        return model

    return build


def sublayers(layer: Any) -> list[Any]:
    """A model's layers in its own order; elsewhere what the layer tracks, lists and dicts flattened."""
    return list(layer.layers if isinstance(layer, (keras.Sequential, keras.Model)) else layer._layers)


def own_variables(layer: Any) -> list[Any]:
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def array(variable: Any) -> np.ndarray:
    return np.asarray(keras.ops.convert_to_numpy(variable.value))


def write(
    name: str,
    build: Callable[[], Any],
    containers: tuple[str, ...],
    *,
    seed: int | None,
    saved: Callable[[Any], Any] = lambda model: model,
) -> None:
    """Build a model, give it weights unless `seed` is None, save it and say what is in it.

    saved: the model as it stands in the file, where saving changes it.
    """
    keras.utils.set_random_seed(17)
    model = build()
    if seed is not None:
        randomise(model.weights, seed)
    for suffix in containers:
        SAVE[suffix](model, OUT / f"{name}{suffix}")
    describe(
        saved(model),
        OUT / f"{name}.json",
        framework={"framework": "keras", "version": keras.__version__, "backend": keras.backend.backend()},
        files=[name + suffix for suffix in containers],
        sublayers=sublayers,
        own_variables=own_variables,
        array=array,
    )


def subclassed() -> Any:
    model = Subclassed()
    model.build((None, 3))
    return model


def main() -> None:
    OUT.mkdir(exist_ok=True)
    models: dict[str, tuple[Callable[[], Any], tuple[str, ...], int | None]] = {
        "cnn": (cnn, ALL, 1),
        "recurrent": (recurrent, ALL, 2),
        "attention": (attention, ALL, 3),
        "nested": (nested, ALL, 4),
        "subclassed": (subclassed, MODERN, 5),
        "dropout": (dropout, ALL, 6),
        "bfloat16": (narrow("bfloat16"), (".keras",), 7),
        "float16": (narrow("float16"), (".h5", ".keras"), 8),
        "lora": (lora, (".h5",), 9),
        "int8": (int8, ALL, None),
        "trained_adam": (trained(keras.optimizers.Adam(0.01)), (".h5", ".keras"), None),
    }
    for name, (build, containers, seed) in models.items():
        keras.backend.clear_session()
        write(name, build, containers, seed=seed)
    keras.backend.clear_session()
    write("lora_merged", lora, MODERN, seed=9, saved=merged)
    keras.backend.clear_session()
    layers.Dense(1)
    for _ in range(3):  # with that one, the second fold kept has dense_9 and dense_10, which text sorting turns
        fold()
    for number in (1, 2):
        write(f"fold_{number}", fold, (".h5", ".weights.h5"), seed=10 + number)


if __name__ == "__main__":
    main()
