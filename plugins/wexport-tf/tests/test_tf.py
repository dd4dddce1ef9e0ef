"""The reader against TensorFlow: what it read of each checkpoint when that was written is what comes back here."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wexport_tf import READER, bundle

import wexport
import wexport.testing

MODELS = Path(__file__).parent / "models.zip"
with zipfile.ZipFile(MODELS) as _archive:
    SAID: dict[str, dict[str, Any]] = json.loads(_archive.read("said.json"))
VALUE = "/.ATTRIBUTES/VARIABLE_VALUE"
COLUMNS = "columns/wide"
"""Partitioned along its second axis, which is not read."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("models")
    with zipfile.ZipFile(MODELS) as archive:
        archive.extractall(found)
    return found


class _Contract(wexport.testing.ReaderTests):
    reader = READER
    name: ClassVar[str]

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def unpacked(cls, folder: Path) -> None:
        cls.path = folder / cls.name
        cls.beside = sorted(cls.path.parent.glob(f"{cls.path.stem}.data-*"))


class TestKeras(_Contract):
    name = "keras/whole-1.index"


class TestSavedModel(_Contract):
    name = "module/variables/variables.index"


class TestTwoDataFiles(_Contract):
    name = "first/sharded.index"


def rows(path: Path, optimizer: bool = True) -> dict[str, dict[str, Any]]:
    return {row["tensor"]: row for row in wexport.inspect(path, optimizer=optimizer).rows}


@pytest.mark.parametrize("name", SAID)
def test_a_checkpoint_gives_what_tensorflow_read_in_it(folder: Path, name: str) -> None:
    with wexport.Source(folder / name, optimizer=True) as source:
        model = READER.open(source)
        found = {tensor.name: tensor for tensor in model.tensors}
        left_out = {skipped.name.removesuffix(VALUE) for skipped in model.skipped}
        said = {key.removesuffix(VALUE): tensor for key, tensor in SAID[name].items()}
        for key, tensor in said.items():
            if tensor["dtype"] in ("string", "complex64") or key.startswith(COLUMNS):
                assert key in left_out or key == "_CHECKPOINTABLE_OBJECT_GRAPH"
                continue
            assert found[key].shape == tuple(tensor["shape"])
            assert found[key].dtype == tensor["dtype"]
            values = np.concatenate([np.empty(0, tensor_type(found[key])), *found[key].chunks(16)])
            assert hashlib.sha256(values.tobytes()).hexdigest() == tensor["sha256"], key
            assert values.astype(np.float64).sum() == pytest.approx(tensor["sum"])
    assert found.keys() | left_out | {"_CHECKPOINTABLE_OBJECT_GRAPH"} == said.keys() | {"_CHECKPOINTABLE_OBJECT_GRAPH"}


def tensor_type(tensor: wexport.Tensor) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, tensor.dtype, tensor.dtype))


@pytest.mark.parametrize("name", ["keras/ckpt-7.index", "keras/whole-1.index", "keras_saved/variables/variables.index"])
def test_a_keras_model_is_the_same_as_in_h5(folder: Path, name: str) -> None:
    """Values, slots but for the nested model's, roles, layouts, gates; and the order, which only the graph tells."""
    difference = wexport.diff(folder / "keras/model.h5", folder / name)
    assert {tensor.status for tensor in difference.tensors} == {"identical"}
    assert {tensor.method for tensor in difference.tensors} <= {"slot", "order", "content"}
    ours = wexport.inspect(folder / name).rows
    theirs = wexport.inspect(folder / "keras/model.h5").rows
    for column in ("role", "direction", "canonical_shape", "content_hash"):
        assert [row[column] for row in ours] == [row[column] for row in theirs], column
    for one, other in zip(ours, theirs, strict=True):
        gates, others = ([gate["gate"] for gate in row["gates"] or ()] for row in (one, other))
        assert gates == others, one["slot"]
        if "dense" not in one["layer"]:
            assert one["slot"] == other["slot"]
    assert [row["layer_index"] for row in ours] == sorted(row["layer_index"] for row in ours)


def test_keras_names_and_what_trains_are_told(folder: Path) -> None:
    found = rows(folder / "keras_saved/variables/variables.index", optimizer=False)
    row = found["variables/4"]  # stored under the shortest path, which is a list's
    assert (row["slot"], row["layer"], row["direction"], row["role"]) == (
        *("bidirectional/backward/kernel", "bidirectional/backward_lstm", "backward"),
        "kernel",
    )
    assert [gate["gate"] for gate in row["gates"]] == ["i", "f", "c", "o"]
    trainable = {row["slot"]: row["trainable"] for row in found.values()}
    assert trainable["gru/kernel"] is True
    assert trainable["batch_normalization/moving_mean"] is False
    assert [slot for slot, trains in trainable.items() if trains is False] == [
        *("batch_normalization/moving_mean", "batch_normalization/moving_variance"),
        *("dense/kernel", "dense/bias"),
    ]


@pytest.mark.parametrize(
    ("name", "slots"),
    [
        ("keras/whole-1.index", {"Adam/m/dense/kernel", "Adam/v/gru/gru_cell/bias", "save_counter"}),
        ("keras_saved/variables/variables.index", {"Adam/m/dense/kernel", "keras_api/metrics/0/total"}),
        ("slots/ck-1.index", {"Adam/dense/kernel/m", "Adam/dense_1/bias/v", "Adam/beta_1", "Adam/iter"}),
        ("first/model.ckpt-1.index", {"dense/kernel/Adam", "hand/W/Adam_1", "beta1_power", "global_step"}),
    ],
)
def test_state_of_training_comes_only_when_asked_for(folder: Path, name: str, slots: set[str]) -> None:
    assert slots <= {row["slot"] for row in rows(folder / name).values() if row["kind"] == "optimizer"}
    weights = rows(folder / name, optimizer=False)
    assert {row["kind"] for row in weights.values()} == {"weight"}
    assert not [key for key in weights if "Adam" in key or "optimizer" in key.lower()]


def test_two_models_in_one_checkpoint_are_told_apart(folder: Path) -> None:
    found = rows(folder / "two/gan-1.index", optimizer=False)
    assert {(row["slot"], row["layer"], row["role"]) for row in found.values()} == {
        (f"{model}/dense/{role}", f"{model}/dense", role)
        for model in ("generator", "critic")
        for role in ("kernel", "bias")
    }


def test_names_of_the_first_version_tell_roles_and_layouts(folder: Path) -> None:
    found = rows(folder / "first/model.ckpt-1.index", optimizer=False)
    told = {name: (row["layer"], row["role"], row["unit_count"]) for name, row in found.items()}
    assert told["dense/kernel"] == ("dense", "kernel", 3)
    assert told["conv/kernel"] == ("conv", "kernel", 2)
    assert told["table/embeddings"] == ("table", "embeddings", 2)
    assert told["rnn/basic_lstm_cell/kernel"] == ("rnn/basic_lstm_cell", "kernel", None)
    assert found["rnn/basic_lstm_cell/bias"]["gates"] is None
    assert told["hand/W"] == ("hand", "unknown", None)


def test_a_partitioned_variable_is_one_or_is_named(folder: Path) -> None:
    result = wexport.inspect(folder / "first/model.ckpt-1.index").result
    assert [(problem.name, problem.what) for problem in result.problems] == [(COLUMNS, "unreadable tensor")]
    assert "first axis" in result.problems[0].detail
    assert rows(folder / "first/model.ckpt-1.index")["table/embeddings"]["shape"] == (8, 2)


def test_a_saved_model_is_named_after_its_folder(folder: Path, tmp_path: Path) -> None:
    models = wexport.ingest([folder], tmp_path / "out.parquet").models
    status = {model.model: model.status for model in models if model.status != "skipped"}
    assert status == {
        **{"keras_saved": "ok", "module": "ok", "slots/ck-1": "ok", "keras/ckpt-7": "ok", "keras/whole-1": "ok"},
        "two/gan-1": "ok",
        **{"keras/model": "ok", "first/sharded": "ok", "first/model.ckpt-1": "partial"},
    }
    assert [model.source.name for model in models if model.status == "skipped"] == ["said.json"]
    alone = wexport.ingest([folder / "module"], tmp_path / "one.parquet").models
    assert [model.model for model in alone if model.status == "ok"] == ["module"]


def test_data_files_are_parts_of_their_index(folder: Path, tmp_path: Path) -> None:
    """Named by a pattern, too; and they count where a file's size does, as for the time that it may take."""
    models = wexport.ingest([str(folder / "first" / "*")], tmp_path / "out.parquet").models
    assert {(model.model, model.status) for model in models} == {("sharded", "ok"), ("model.ckpt-1", "partial")}
    sizes = {model.model: model.source_bytes for model in models}
    assert sizes["sharded"] == sum(path.stat().st_size for path in (folder / "first").glob("sharded.*"))
    lone = wexport.ingest([folder / "first/sharded.data-00000-of-00002"], tmp_path / "lone.parquet").models
    assert [model.status for model in lone] == ["failed"]


def test_a_missing_data_file_is_named(folder: Path, tmp_path: Path) -> None:
    for name in ("sharded.index", "sharded.data-00001-of-00002"):
        shutil.copyfile(folder / "first" / name, tmp_path / name)
    result = wexport.inspect(tmp_path / "sharded.index").result
    assert (result.status, result.tensors) == ("partial", 2)
    assert "sharded.data-00000-of-00002" in result.problems[0].detail
    (tmp_path / "sharded.data-00001-of-00002").unlink()
    with pytest.raises(wexport.ReadError, match=r"sharded\.index.*sharded\.data-0000"):
        wexport.inspect(tmp_path / "sharded.index")


# -- keys of slices ----------------------------------------------------------------------------------------------------


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1)), min_size=2, max_size=2
    ).filter(lambda pair: pair[0] != pair[1])
)
def test_keys_of_slices_are_in_the_order_of_their_numbers(pair: list[tuple[int, int]]) -> None:
    """What the code is for: bytes that sort as the numbers do."""
    one, other = ((start, length) for start, length in pair)
    assert (bundle.slice_key("a", [one]) < bundle.slice_key("a", [other])) == (one < other)


@pytest.mark.parametrize(
    ("value", "code"),
    [(0, "80"), (63, "bf"), (64, "c040"), (-1, "7f"), (-64, "40"), (-65, "3fbf"), (8191, "dfff"), (8192, "e02000")],
)
def test_numbers_are_coded_as_the_ordered_code_does(value: int, code: str) -> None:
    assert bundle.slice_key("a\0\xff", [(value, None)]).hex() == f"006100ffc3bf00010101{code}7f"
