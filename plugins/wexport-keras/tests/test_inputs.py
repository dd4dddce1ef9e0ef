"""Inputs are looked at before anything runs, and the message says what the model expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import zoo
from keras import layers as k
from wexport_keras.inputs import batches_of, read

from wexport.errors import UsageError

EXPECTED = "input_layer: (any, 9, 8, 2) float32"


def refused(model: Any, inputs: Any, targets: Any = None) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        batches_of(model, inputs, targets)
    return str(caught.value), caught.value.hint


def test_shape_type_and_nan_are_told_with_what_the_model_expects() -> None:
    model, [x], [y] = zoo.cnn()
    assert refused(model, x[..., 0]) == (
        "input input_layer: its shape is (37, 9, 8)", f"the model expects {EXPECTED}"
    )  # fmt: skip
    assert refused(model, x.astype(str))[0] == "input input_layer: holds <U32, which is not a number"
    assert refused(model, [x, x]) == ("there are 2 arrays for 1 inputs of the model", f"the model expects {EXPECTED}")
    assert refused(model, x[:0])[0] == "input input_layer: holds nothing to run"
    lost = x.copy()
    lost[5, 1, 1, 0], lost[6, 0, 0, 1] = np.nan, np.inf
    assert refused(model, lost)[0] == ("input input_layer: NaN or infinite values (2), the first of them in entry 5")
    assert refused(model, x, y[:3])[0] == "there are 3 targets for 37 inputs"
    assert refused(model, x, [y, y])[0] == "there are 2 arrays for 1 targets of the model"
    assert refused(model, x, y + np.nan)[0].startswith("target dense: NaN or infinite values (37)")


def test_names_have_to_be_the_models_own() -> None:
    model, [left, right], _ = zoo.two_inputs()
    said, hint = refused(model, {"left": left, "rigth": right})
    assert said == "the inputs are named left, rigth"
    assert hint == "the model expects left: (any, 6, 4) float32; right: (any, 3) float32"
    assert len(batches_of(model, {"right": right, "left": left})) == 14
    assert refused(model, [left, right[:5]])[0] == "the inputs differ in number: 14, 5"


def test_tokens_that_the_embedding_does_not_know() -> None:
    model, [tokens], _ = zoo.bidirectional_gru()
    said, hint = refused(model, tokens + 5)
    assert said.startswith("input ")
    assert "holds tokens from 5 to" in said
    assert hint.endswith("knows tokens from 0 to 10")
    assert "fractions where whole numbers are due" in refused(model, tokens + 0.5)[0]
    assert len(batches_of(model, tokens.astype("float64"))) == 18  # whole numbers, whatever their type


def test_batches_hold_every_input_once_in_the_models_own_type() -> None:
    model, [x], _ = zoo.cnn()
    cut = list(batches_of(model, x.astype("float64")).inputs(10))
    assert [count for _, count in cut] == [10, 10, 10, 7]
    assert {batch.dtype for batch, _ in cut} == {np.dtype("float32")}
    np.testing.assert_array_equal(np.concatenate([batch for batch, _ in cut]), x)


def test_files_are_arrays_and_never_pickles(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(3))
    np.savez(tmp_path / "x.npz", a=np.arange(3))
    assert isinstance(read([tmp_path / "x.npy"])[0], np.memmap)  # larger than memory is no matter
    assert list(read([tmp_path / "x.npz"])) == ["a"]
    np.save(tmp_path / "p.npy", np.array([{"a": 1}]), allow_pickle=True)
    for name, text in (("p.npy", "cannot be read as arrays"), ("missing.npy", "cannot be read as arrays")):
        with pytest.raises(UsageError, match=text) as caught:
            read([tmp_path / name])
        assert name in str(caught.value)
    with pytest.raises(UsageError, match=r"a \.npz holds all inputs"):
        read([tmp_path / "x.npz", tmp_path / "x.npy"])


def classifier(loss: Any) -> Any:
    inputs = keras.Input((4,))
    model = keras.Model(inputs, k.Dense(3, activation="softmax", name="out")(inputs))
    model.compile("sgd", loss)
    return model


X, CLASSES = np.ones((5, 4), "float32"), np.array([0, 1, 2, 1, 0])


@pytest.mark.parametrize(
    ("loss", "targets", "said"),
    [
        ("sparse_categorical_crossentropy", np.eye(3)[CLASSES], r"its shape is \(5, 3\), and sparse_"),
        ("sparse_categorical_crossentropy", CLASSES + 1, "holds classes from 1 to 3"),
        ("sparse_categorical_crossentropy", CLASSES - 1, "holds classes from -1 to 1"),
        ("sparse_categorical_crossentropy", CLASSES / 2, "holds classes from 0.0 to 1.0"),
        ("categorical_crossentropy", CLASSES, r"compares it with \(any, 3\)"),
        (keras.losses.MeanSquaredError(), np.ones((5, 1)), r"mean_squared_error compares it with \(any, 3\)"),
        (keras.losses.mean_absolute_error, np.ones((5, 2)), r"mean_absolute_error compares"),
        ({"out": "mse"}, {"other": np.ones((5, 3))}, None),
    ],
)
def test_targets_are_held_against_what_the_loss_compares(loss: Any, targets: Any, said: str | None) -> None:
    if said is None:
        assert batches_of(classifier(loss), X, targets)  # one array needs no name
        return
    with pytest.raises(UsageError, match=said) as caught:
        batches_of(classifier(loss), X, targets)
    assert "target out" in str(caught.value)


def test_targets_that_fit() -> None:
    for targets in (CLASSES, CLASSES[:, None], CLASSES.astype("float64")):
        assert batches_of(classifier("sparse_categorical_crossentropy"), X, targets)
    assert batches_of(classifier(lambda y, p: keras.ops.mean(p)), X, np.ones((5, 9, 9)))  # its own business


def test_targets_go_by_the_names_of_the_outputs() -> None:
    model, [left, right], [one, two] = zoo.two_inputs()
    named = batches_of(model, {"left": left, "right": right}, {"two": two, "one": one})
    [(_, y, _)] = named.pairs(14)
    np.testing.assert_array_equal(y[0], one)
    assert refused(model, [left, right], {"one": one, "tow": two})[0] == "the targets are named one, tow"
    inputs = keras.Input((4,), name="key")
    keyed = keras.Model({"key": inputs}, {"b": k.Dense(1)(inputs), "a": k.Dense(2)(inputs)})
    [(x, y, _)] = batches_of(keyed, {"key": X}, {"a": X[:, :2], "b": X[:, :1]}).pairs(5)
    assert (list(x), y["a"].shape, y["b"].shape) == (["key"], (5, 2), (5, 1))


def test_odd_arrays() -> None:
    model = classifier("mse")
    [(batch, _)] = batches_of(model, X.astype(">f8")).inputs(5)
    assert batch.dtype == np.float32
    [(_, y, _)] = batches_of(model, X, np.ones((5, 3), ">f4")).pairs(5)
    assert y.dtype.isnative
    assert "which float32 does not hold" in refused(model, X * np.float64(1e300))[0]
    assert "is a masked array" in refused(model, np.ma.masked_greater(X, 0))[0]
    tokens, _, _ = zoo.bidirectional_gru()
    assert "which int32 does not hold" in refused(tokens, np.full((2, 6), 1 << 40))[0]


def test_files_by_another_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=X)
    (tmp_path / "x.npz").rename(tmp_path / "zip.npy")
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "x.npy").rename(tmp_path / "array.npz")
    np.savez(tmp_path / "none.npz")
    (tmp_path / "empty.npy").write_bytes(b"")
    (tmp_path / "huge.npy").write_bytes(_header("(9223372036854775807, 9223372036854775807)"))
    for name, said in (
        ("zip.npy", "is a .npz by another name"),
        ("array.npz", "is a .npy by another name"),
        ("none.npz", "holds no arrays"),
        ("empty.npy", "cannot be read as arrays"),
        ("huge.npy", "cannot be read as arrays"),
    ):
        with pytest.raises(UsageError, match=said) as caught:
            read([tmp_path / name])
        assert name in str(caught.value)


def _header(shape: str) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()
