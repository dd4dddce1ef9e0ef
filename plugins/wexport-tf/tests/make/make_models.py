"""Small checkpoints and SavedModels written by TensorFlow, with JSON of what TensorFlow itself reads in them.

Run in a virtual environment of its own: pip install tensorflow-cpu==2.15.1 "numpy<2"

    python plugins/wexport-tf/tests/make/make_models.py

Writes plugins/wexport-tf/tests/models.zip. Values come from fixed seeds.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf

OUT = Path(__file__).resolve().parents[1] / "models.zip"
UNUSED = ("saved_model.pb", "fingerprint.pb", "keras_metadata.pb", "checkpoint")
keras = tf.keras
layers = keras.layers


def recurrent() -> Any:
    """Keras' layers of all kinds: gates, both directions, convolutions, a nested model, one layer frozen."""
    words = keras.Input((5,), dtype="int32")
    x = layers.Embedding(7, 3)(words)
    x = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(x)
    x = layers.GRU(3, return_sequences=True)(x)
    x = layers.Conv1D(4, 2)(x)
    x = layers.BatchNormalization()(x)
    x = layers.GlobalAveragePooling1D()(x)
    inner = keras.Sequential([keras.Input((4,)), layers.Dense(4, trainable=False), layers.Dense(3)], name="inner")
    return keras.Model(words, layers.Dense(2)(inner(x)))


def fitted(model: Any, optimizer: Any) -> Any:
    """Random values, and a step of training so that the optimizer has state."""
    rng = np.random.default_rng(3)
    model.set_weights([rng.normal(size=value.shape).astype(value.dtype) for value in model.get_weights()])
    model.compile(optimizer, "mse")
    model.fit(np.ones((4, *model.input_shape[1:])), np.ones((4, *model.output_shape[1:])), verbose=0)
    return model


def keras_checkpoint(folder: Path) -> None:
    """One model in four containers: `save_weights`, SavedModel, `tf.train.Checkpoint`, and legacy .h5."""
    keras.backend.clear_session()
    model = fitted(recurrent(), "adam")
    model.save_weights(folder / "keras" / "ckpt-7")
    model.save(folder / "keras_saved", save_format="tf")
    tf.train.Checkpoint(net=model, optimizer=model.optimizer).save(folder / "keras" / "whole")
    model.save(folder / "keras" / "model.h5", save_format="h5", include_optimizer=False)


def legacy_optimizer(folder: Path) -> None:
    """Slots beside the variables, and an optimizer that goes by a name of the user's."""
    keras.backend.clear_session()
    optimizer = keras.optimizers.legacy.Adam()
    model = fitted(keras.Sequential([keras.Input((4,)), layers.Dense(3), layers.Dense(2)]), optimizer)
    step = tf.Variable(12, name="step")
    tf.train.Checkpoint(model=model, trainer=optimizer, step=step).save(folder / "slots" / "ck")


def two_models(folder: Path) -> None:
    """Two models in one checkpoint, whose variables have the same names."""
    models = []
    for seed in range(2):
        keras.backend.clear_session()
        tf.random.set_seed(seed)
        models.append(keras.Sequential([keras.Input((3,)), layers.Dense(2)]))
    tf.train.Checkpoint(generator=models[0], critic=models[1]).save(folder / "two" / "gan")


class Module(tf.Module):
    """Variables of every type that TensorFlow saves, some without a name."""

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(4)
        self.numbers = {
            kind: tf.Variable(tf.cast(rng.integers(0, 2 if kind == "bool" else 50, (3, 2)), kind), name=kind)
            for kind in (
                *("float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "bool"),
                *("uint8", "uint16", "uint32", "uint64", "complex64"),
            )
        }
        self.unnamed = [tf.Variable(rng.normal(size=2)), tf.Variable(rng.normal(size=2))]
        self.words = tf.Variable(["one", "two"])
        self.scalar = tf.Variable(2.5)
        self.empty = tf.Variable(tf.zeros((0, 3)))


def first_version(folder: Path) -> None:
    """TensorFlow 1: a saver that goes by names, a partitioned variable, several data files, an LSTM cell."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        v1.set_random_seed(1)
        inputs = v1.placeholder("float32", (None, 4))
        x = v1.layers.dense(inputs, 3, name="dense")
        x = v1.layers.conv2d(tf.reshape(x, (-1, 1, 3, 1)), 2, (1, 2), name="conv")
        cell = v1.nn.rnn_cell.BasicLSTMCell(2)
        x, _ = v1.nn.dynamic_rnn(cell, tf.reshape(x, (-1, 2, 2)), dtype="float32")
        with v1.variable_scope("table", partitioner=v1.fixed_size_partitioner(3)):
            rows = v1.get_variable("embeddings", (8, 2))
        with v1.variable_scope("columns", partitioner=v1.fixed_size_partitioner(2, axis=1)):
            columns = v1.get_variable("wide", (2, 4))
        W = v1.get_variable("hand/W", (2, 2))  # noqa: N806  # as people wrote it
        loss = tf.reduce_sum(tf.matmul(x[:, 0], W)) + tf.reduce_sum(rows) + tf.reduce_sum(columns)
        step = v1.train.get_or_create_global_step()
        train = v1.train.AdamOptimizer().minimize(loss, step)
        session.run(v1.global_variables_initializer())
        session.run(train, {inputs: np.ones((1, 4))})
        v1.train.Saver().save(session, str(folder / "first" / "model.ckpt"), step, write_meta_graph=False)
    sharded(folder / "first")


def sharded(folder: Path) -> None:
    """Two data files, as savers on several machines write them."""
    from tensorflow.python.ops import gen_io_ops

    parts = []
    rng = np.random.default_rng(6)
    for part in range(2):
        parts.append(str(folder / f"part{part}"))
        names = [f"layer_{part}/kernel", f"layer_{part}/bias"]
        values = [rng.normal(size=(3, 2)).astype("float32"), rng.normal(size=2).astype("float32")]
        gen_io_ops.save_v2(parts[-1], names, [""] * 2, values)
    gen_io_ops.merge_v2_checkpoints(parts, str(folder / "sharded"), delete_old_dirs=False)


def said(index: Path) -> dict[str, Any]:
    """What TensorFlow reads of a checkpoint."""
    reader = tf.train.load_checkpoint(str(index.with_suffix("")))
    tensors = {}
    for key, kind in sorted(reader.get_variable_to_dtype_map().items()):
        if kind == tf.string:
            tensors[key] = {"dtype": "string"}
            continue
        values = np.asarray(reader.get_tensor(key))
        tensors[key] = {
            "dtype": kind.name,
            "shape": list(values.shape),
            "sha256": hashlib.sha256(values.tobytes()).hexdigest(),
            "sum": None if kind.is_complex else float(values.astype(np.float64).sum()),
        }
    return tensors


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        keras_checkpoint(folder)
        legacy_optimizer(folder)
        two_models(folder)
        tf.saved_model.save(Module(), folder / "module")
        first_version(folder)
        for path in folder.rglob("*"):
            if path.name in UNUSED:
                path.unlink()
        for path in folder.rglob("assets"):
            shutil.rmtree(path)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        indices = [path for path in files if path.suffix == ".index"]
        text = json.dumps({path.relative_to(folder).as_posix(): said(path) for path in indices}, indent=1)
        with zipfile.ZipFile(OUT, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
            for path in files:
                entry = zipfile.ZipInfo(path.relative_to(folder).as_posix())
                archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
            archive.writestr(zipfile.ZipInfo("said.json"), text, zipfile.ZIP_DEFLATED)


if __name__ == "__main__":
    main()
