"""Train the example models that ship with wexport, on data this script makes itself.

Run in a virtual environment of its own: pip install tensorflow-cpu==2.15.1

    python tests/data/make/train_examples.py

Writes wexport/examples/. Images show one of six figures at a random place, size and contrast under noise;
sequences are pulses on two channels whose order decides the class. Seeds are fixed and the operations
deterministic, so a second run on the same kind of machine gives the same weights. Takes about a minute.
"""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

keras = tf.keras
layers = tf.keras.layers
OUT = Path(__file__).resolve().parents[3] / "wexport" / "examples"
SIDE = 14
FIGURES = 6
STEPS = 16
DEAD_BIAS = -20.0
"""Far below what the inputs of the hidden layer can lift above zero."""


class Data(NamedTuple):
    """Inputs and integer classes, to train on and to validate with."""

    x: np.ndarray
    y: np.ndarray
    val_x: np.ndarray
    val_y: np.ndarray


def images(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy images (count, SIDE, SIDE, 1) of a bar (four directions), a disc or a ring; and their classes."""
    row, column = np.mgrid[:SIDE, :SIDE].astype("float32")
    classes = rng.integers(FIGURES, size=count)
    pictures = np.empty((count, SIDE, SIDE, 1), "float32")
    for index, figure in enumerate(classes):
        dy, dx = row - rng.uniform(4, SIDE - 5), column - rng.uniform(4, SIDE - 5)
        size = rng.uniform(2.5, 4.5)
        across = (dy, dx, (dy - dx) / np.sqrt(2), (dy + dx) / np.sqrt(2))
        distance = np.hypot(dy, dx)
        if figure < 4:
            shape = (np.abs(across[figure]) < 0.8) & (distance < size)
        elif figure == 4:
            shape = distance < size * 0.7
        else:
            shape = np.abs(distance - size * 0.8) < 0.7
        noise = rng.normal(scale=0.35, size=shape.shape)
        pictures[index, :, :, 0] = shape * rng.uniform(0.6, 1.2) + noise
    return pictures, classes


def sequences(count: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy sequences (count, STEPS, 2) of two pulses, each on one of two channels; and their classes."""
    classes = rng.integers(4, size=count)
    signals = rng.normal(scale=0.4, size=(count, STEPS, 2)).astype("float32")
    for index, kind in enumerate(classes):
        first, second = rng.integers(0, STEPS // 2 - 1), rng.integers(STEPS // 2, STEPS)
        signals[index, first, kind // 2] += 1.5
        signals[index, second, kind % 2] += 1.5
    return signals, classes


def cnn(l2: float = 1e-4, conv_l2: float = 0.0, hidden_bias: float = 0.0) -> Any:
    """One small convolutional network; the arguments change how it trains, never its shape."""
    decay, conv_decay = keras.regularizers.l2(l2), keras.regularizers.l2(conv_l2)
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 1)),
            layers.Conv2D(8, 5, activation="relu", kernel_regularizer=conv_decay),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Conv2D(12, 3, activation="relu", kernel_regularizer=conv_decay),
            layers.Flatten(),
            layers.Dense(
                16,
                activation="relu",
                kernel_regularizer=decay,
                bias_initializer=keras.initializers.Constant(hidden_bias),
            ),
            layers.Dense(FIGURES, activation="softmax", kernel_regularizer=decay),
        ]
    )
    return _compiled(model)


def recurrent(layer: Any) -> Any:
    """A recurrent layer and a classifier on its last state."""
    model = keras.Sequential([keras.Input((STEPS, 2)), layer, layers.Dense(4, activation="softmax")])
    return _compiled(model, rate=0.01)


def _compiled(model: Any, rate: float = 0.003) -> Any:
    optimizer = keras.optimizers.Adam(rate)
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fit(model: Any, data: Data, epochs: int, callbacks: tuple[Any, ...] = ()) -> dict[str, float]:
    """Train, then say how well the model as it now stands does on both parts of the data."""
    validation = (data.val_x, data.val_y)
    model.fit(data.x, data.y, 32, epochs, verbose=0, validation_data=validation, callbacks=list(callbacks))
    loss, accuracy = model.evaluate(data.x, data.y, verbose=0)
    val_loss, val_accuracy = model.evaluate(*validation, verbose=0)
    return {"val_accuracy": val_accuracy, "val_loss": val_loss, "accuracy": accuracy, "loss": loss}


def checkpoints(data: Data) -> None:
    """A run that keeps its weights after every epoch, written by Keras' own callbacks."""
    folder = OUT / "run"
    folder.mkdir(exist_ok=True)
    keras.utils.set_random_seed(21)
    each_epoch = keras.callbacks.ModelCheckpoint(
        folder / "weights.{epoch:02d}-{val_loss:.2f}.h5", save_weights_only=True
    )
    fit(cnn(), data, 8, (each_epoch, keras.callbacks.CSVLogger(folder / "metrics.csv")))


def firing_units(model: Any, x: np.ndarray) -> int:
    """How many units of the hidden layer fire for at least one input."""
    hidden = keras.Model(model.inputs, model.layers[-2].output)
    return int(np.count_nonzero(hidden.predict(x, verbose=0).max(axis=0) > 0))


def main() -> None:
    """Train everything, save it without optimizer state, and write the metrics beside it."""
    tf.config.experimental.enable_op_determinism()
    OUT.mkdir(exist_ok=True)
    rng = np.random.default_rng(2024)
    pictures = Data(*images(1500, rng), *images(600, rng))
    signals = Data(*sequences(1500, rng), *sequences(600, rng))
    plan: list[tuple[str, Any, Data, int, int]] = [
        *((f"cnn_seed_{seed}", cnn, pictures, 12, seed) for seed in range(1, 6)),
        ("cnn_overregularised", lambda: cnn(l2=0.3, conv_l2=0.3), pictures, 12, 6),
        ("cnn_dead_layer", lambda: cnn(hidden_bias=DEAD_BIAS), pictures, 12, 7),
        ("lstm", lambda: recurrent(layers.LSTM(12)), signals, 12, 8),
        ("gru", lambda: recurrent(layers.GRU(12)), signals, 12, 9),
    ]
    with (OUT / "metrics.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, ["model", "val_accuracy", "val_loss", "accuracy", "loss"])
        table.writeheader()
        for name, build, data, epochs, seed in plan:
            keras.utils.set_random_seed(seed)
            model = build()
            scores = fit(model, data, epochs)
            model.save(OUT / f"{name}.h5", include_optimizer=False)
            table.writerow({"model": name} | {key: f"{value:.4f}" for key, value in scores.items()})
            fires = f", {firing_units(model, data.x)} hidden units fire" if name.startswith("cnn") else ""
            print(f"{name}: val_accuracy {scores['val_accuracy']:.3f}{fires}")
    checkpoints(pictures)


if __name__ == "__main__":
    main()
