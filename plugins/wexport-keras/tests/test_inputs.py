"""Inputs are looked at before anything runs, and the message says what the model expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zoo
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
    assert refused(model, x.astype(str))[0] == "input input_layer: holds <U32, which is no number"
    assert refused(model, [x, x]) == ("there are 2 arrays for 1 inputs of the model", f"the model expects {EXPECTED}")
    assert refused(model, x[:0])[0] == "input input_layer: holds nothing to run"
    lost = x.copy()
    lost[5, 1, 1, 0], lost[6, 0, 0, 1] = np.nan, np.inf
    assert refused(model, lost)[0] == ("input input_layer: 2 values are NaN or infinite, the first of them in entry 5")
    assert refused(model, x, y[:3])[0] == "there are 3 targets for 37 inputs"
    assert refused(model, x, [y, y])[0] == "there are 2 arrays for 1 targets of the model"
    assert refused(model, x, y + np.nan)[0].startswith("target dense: 37 values are NaN")


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
