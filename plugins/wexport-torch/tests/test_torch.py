"""The reader against torch itself: files that torch wrote, and what it said of every tensor in them."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import ml_dtypes
import numpy as np
import pyarrow.parquet as pq
import pytest
import torch_files as files
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import as_strided
from wexport_torch import READER

import wexport
import wexport.testing
from wexport import measuring

MODELS = Path(tempfile.mkdtemp(prefix="wexport-torch-tests-"))
atexit.register(shutil.rmtree, MODELS, ignore_errors=True)
zipfile.ZipFile(Path(__file__).parent / "models.zip").extractall(MODELS)
SAID: dict[str, Any] = json.loads((MODELS / "models.json").read_text())
READABLE = [name for name in SAID if name != "only_custom.pt"]


class TestZip(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "cnn.pt"


class TestLegacy(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "cnn.legacy.pt"


class TestOneTensor(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "one.pt"
    mutants = 50
    values: ClassVar[Any] = {"tensor": np.arange(6, dtype=np.float32).reshape(2, 3)}


class TestEverything(wexport.testing.ReaderTests):
    """Optimizer, a tensor beside the model, objects that are left out."""

    reader = READER
    path = MODELS / "checkpoint.legacy.pt"
    mutants = 50


class TestStrides(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "strides.pt"
    mutants = 50


class TestQuantised(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "odd.pt"
    mutants = 50


class TestModule(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "module.pt"
    mutants = 50


class TestScript(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "script.pt"
    mutants = 50


def opened(path: Path, optimizer: bool = True) -> tuple[wexport.Model, dict[str, np.ndarray[Any, Any]]]:
    """The model in a file, and the values of its tensors by name."""
    with wexport.Source(path, optimizer) as source:
        model = READER.open(source)
        values = {}
        for tensor in model.tensors:
            parts = [chunk.copy() for chunk in tensor.chunks(64)]
            dtype = measuring.dtype_named(tensor.value_dtype or tensor.dtype)
            values[tensor.name] = np.concatenate([np.empty(0, dtype), *parts]).reshape(tensor.shape)
        return model, values


def parts_of(name: str) -> list[str]:
    """The tensors of the file that one of the table is made of: the two biases of a recurrent layer are one."""
    return name.replace(" + ", ", ").split(", ")


# -- what torch said ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", READABLE)
def test_tensors_are_those_of_torch(name: str) -> None:
    said = SAID[name]["tensors"]
    model, values = opened(MODELS / name)
    assert sorted(part for tensor in model.tensors for part in parts_of(tensor.name)) == sorted(said)
    assert model.framework == "torch"
    for tensor in model.tensors:
        about = said[parts_of(tensor.name)[0]]
        assert (tensor.dtype, tensor.kind) == (about["dtype"], about["kind"]), tensor.name
        found = values[tensor.name]
        if " + " in tensor.name:
            means = [said[part]["mean"] for part in parts_of(tensor.name)]
            assert found.astype(np.float64).mean() == pytest.approx(sum(means), rel=1e-6)
        elif ", " in tensor.name:
            for half, part in zip(found, parts_of(tensor.name), strict=True):
                assert hashlib.sha256(half.tobytes()).hexdigest() == said[part]["sha256"], part
        else:
            assert list(tensor.shape) == about["shape"], tensor.name
            assert hashlib.sha256(found.tobytes()).hexdigest() == about["sha256"], tensor.name


@pytest.mark.parametrize("name", READABLE)
def test_weights_are_in_the_order_of_the_state_dict(name: str) -> None:
    model, _ = opened(MODELS / name)
    order = [parts_of(tensor.name)[0] for tensor in model.tensors if tensor.kind == "weight"]
    due = [key for key in SAID[name]["order"] if key in order]
    # TorchScript lists the attributes of a module in an order of its own: tensors before modules.
    assert sorted(order) == sorted(due) if name == "script.pt" else order == due


@pytest.mark.parametrize("name", READABLE)
def test_what_is_no_tensor_of_numbers_is_named_and_left_out(name: str) -> None:
    with wexport.Source(MODELS / name) as source:
        model = READER.open(source)
    expected = set(SAID[name]["left_out"])
    assert expected <= {skipped.name for skipped in model.skipped}
    problems = [skipped.name for skipped in model.skipped if skipped.problem]
    assert problems == (["model"] if name == "custom.pt" else [])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    path = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest([MODELS / name for name in READABLE], path, optimizer=True)
    return pq.read_table(path).to_pylist()


def test_figures_are_those_of_torch(table: list[dict[str, Any]]) -> None:
    compared = 0
    for row in table:
        about = SAID[Path(row["source"]).name]["tensors"].get(row["tensor"], {})
        if "mean" in about:
            compared += 1
            assert row["l2_norm"] == pytest.approx(about["l2_norm"], rel=1e-9, abs=1e-30), row["tensor"]
            assert row["mean"] == pytest.approx(about["mean"], rel=1e-9, abs=1e-9 * row["abs_mean"]), row["tensor"]
            assert (row["min"], row["max"]) == (about["min"], about["max"]), row["tensor"]
    assert compared > 250


@pytest.mark.parametrize("name", ["parameters.pt", "module.pt", "module.legacy.pt", "script.pt"])
def test_whether_it_trains_is_told_where_the_file_does(name: str) -> None:
    model, _ = opened(MODELS / name)
    for tensor in model.tensors:
        assert tensor.trainable is SAID[name]["tensors"][parts_of(tensor.name)[0]].get("trainable"), tensor.name


def test_the_optimizer_comes_when_it_is_asked_for() -> None:
    model, _ = opened(MODELS / "checkpoint.pt", optimizer=False)
    assert {tensor.kind for tensor in model.tensors} == {"weight", "array"}
    assert not [skipped for skipped in model.skipped if "optimizer" in skipped.name]


def test_torch_is_never_imported() -> None:
    for name in READABLE:
        opened(MODELS / name)
    assert "torch" not in sys.modules


# -- one model, whatever the file --------------------------------------------------------------------------------------


def slots(name: str) -> dict[str, str]:
    rows = wexport.inspect(MODELS / name).rows
    return {row["slot"]: row["content_hash"] for row in rows if row["kind"] == "weight"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("cnn.pt", "cnn.legacy.pt"),
        ("cnn.pt", "data_parallel.pt"),
        ("cnn.pt", "cnn_protocol4.pt"),
        ("cnn.pt", "cnn_protocol5.legacy.pt"),
        ("recurrent.pt", "recurrent.legacy.pt"),
        ("checkpoint.pt", "deep.pt"),
        ("module.pt", "module_in_checkpoint.pt"),
    ],
)
def test_slots_and_values_do_not_depend_on_the_container(one: str, other: str) -> None:
    assert slots(one) == slots(other)
    assert other == "deep.pt" or wexport.diff(MODELS / one, MODELS / other).same  # it has no `mean` beside the model


def test_a_state_dict_tells_layers_and_roles() -> None:
    told = {row["tensor"]: row for row in wexport.inspect(MODELS / "cnn.pt").rows}
    assert {name: (row["role"], row["layer_class"]) for name, row in told.items()} == {
        "conv1.weight": ("kernel", "Conv2D"),
        "conv1.bias": ("bias", "Conv2D"),
        "bn1.weight": ("gamma", "BatchNormalization"),
        "bn1.bias": ("beta", "BatchNormalization"),
        "bn1.running_mean": ("moving_mean", "BatchNormalization"),
        "bn1.running_var": ("moving_variance", "BatchNormalization"),
        "bn1.num_batches_tracked": ("count", "BatchNormalization"),
        "depthwise.weight": ("kernel", "Conv2D"),  # in four groups, which a state dict does not tell
        "up.weight": ("kernel", "Conv2DTranspose"),
        "up.bias": ("bias", "Conv2DTranspose"),
        "fc.weight": ("kernel", "Dense"),
        "fc.bias": ("bias", "Dense"),
    }
    assert told["conv1.weight"]["canonical_shape"] == (3, 3, 3, 4)
    assert [row["layer_index"] for row in told.values()] == [0, 0, 1, 1, 1, 1, 1, 2, 3, 3, 4, 4]


@pytest.mark.parametrize("name", ["module.pt", "module.legacy.pt", "script.pt"])
def test_the_class_of_a_module_proves_what_names_leave_open(name: str) -> None:
    told = {row["tensor"]: row for row in wexport.inspect(MODELS / name).rows}
    whole = name != "script.pt"  # TorchScript keeps groups in the code
    expected = {
        "features.0.weight": ("kernel", "Conv2D", (3, 3, 3, 4)),
        "features.2.weight": ("kernel", "DepthwiseConv2D", (3, 3, 4, 2)) if whole else None,
        "features.3.weight": ("kernel", "Conv2DTranspose", (2, 2, 4, 8)) if whole else None,
        "features.4.weight": ("kernel", None, (4, 3, 2, 2)) if whole else None,
        "features.5.weight": ("kernel", "Conv1D", (1, 3, 6)),
        "words.weight": ("embeddings", "Embedding", (5, 4)),
        "mixer.weight": ("kernel", "Dense", (4, 5)),
        "norm.weight": ("gamma", "LayerNormalization", (4,)),
        "act.weight": ("alpha", "PReLU", (1,)),
        "lstm.weight_ih_l0": ("kernel", "LSTM", (4, 8)),
        "scale": ("unknown", "Whole", (3,)),
    }
    for tensor, due in expected.items():
        row = told[tensor]
        assert due is None or (row["role"], row["layer_class"], row["canonical_shape"]) == due, tensor
    if whole:
        config = json.loads(told["features.2.weight"]["layer_config"])
        assert (config["class"], config["groups"], config["stride"]) == ("torch.nn.modules.conv.Conv2d", 4, [1, 1])


def test_scales_of_quantised_tensors_are_told() -> None:
    with wexport.Source(MODELS / "odd.pt") as source:
        told = {tensor.name: tensor.layer_config for tensor in READER.open(source).tensors}
    assert told["q.weight"] == {"qscheme": "per_tensor_affine", "axis": None, "scale": 0.05, "zero_point": 3}
    per_channel = told["ql.weight"]
    assert per_channel is not None
    assert (per_channel["axis"], per_channel["zero_point"]) == (1, [5.0, 6.0, 7.0])


def test_how_a_checkpoint_names_its_tensors() -> None:
    model, _ = opened(MODELS / "gan.pt")
    assert (model.tensors[0].name, model.tensors[0].layer) == ("generator.weight", "generator")
    assert {tensor.kind for tensor in model.tensors} == {"weight"}


def test_what_only_code_could_reach_is_refused_with_the_way_out(tmp_path: Path) -> None:
    result = wexport.ingest([MODELS / "only_custom.pt"], tmp_path / "out.parquet").models[0]
    assert result.status == "failed"
    assert "__main__.Custom" in result.reason
    assert "state_dict()" in result.hint


@given(data=st.data(), limit=st.integers(1, 64))
def test_strided_values_are_those_of_numpy(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, limit: int
) -> None:
    """Whatever the strides: torch's are counted in values, NumPy's in bytes."""
    shape = data.draw(st.lists(st.integers(0, 4), max_size=4), "shape")
    strides = data.draw(st.lists(st.integers(0, 7), min_size=len(shape), max_size=len(shape)), "strides")
    offset = data.draw(st.integers(0, 5), "offset")
    stored = np.arange(100, dtype="<f4")
    held = files.storage(count=100)
    body = files.mapping({"a.w": files.tensor(shape, strides, offset, held)})
    path = files.write_zip(tmp_path_factory.getbasetemp() / "strided.pt", body, {"0": stored.tobytes()})
    with wexport.Source(path) as source:
        (tensor,) = READER.open(source).tensors
        chunks = list(tensor.chunks(limit))
    assert all(chunk.nbytes <= max(limit, 4) for chunk in chunks)
    due = as_strided(stored[offset:], shape, [4 * stride for stride in strides])
    np.testing.assert_array_equal(np.concatenate([np.empty(0, "<f4"), *chunks]), due.reshape(-1))


# -- what torch no longer writes, or writes elsewhere -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "dtype"), [("FloatStorage", "f4"), ("BFloat16Storage", "bf16"), ("LongStorage", "i8")]
)
@pytest.mark.parametrize("strides", [(3, 1), (1, 2)])
def test_a_big_endian_machine_is_told_by_the_byteorder(
    tmp_path: Path, kind: str, dtype: str, strides: tuple[int, int]
) -> None:
    values = np.arange(6).astype(ml_dtypes.bfloat16 if dtype == "bf16" else dtype)
    swapped = values.view(f"u{values.itemsize}").byteswap().tobytes()
    body = files.mapping({"a.weight": files.tensor((2, 3), strides, held=files.storage(kind=kind))})
    path = files.write_zip(tmp_path / "big.pt", body, {"0": swapped}, {"archive/byteorder": b"big"})
    _, found = opened(path)
    due = values.reshape(2, 3) if strides == (3, 1) else values.reshape(3, 2).T
    np.testing.assert_array_equal(found["a.weight"], due)


def test_a_storage_that_is_part_of_another(tmp_path: Path) -> None:
    """Before torch 0.4 a storage could be a view: (name, first value, length) of another."""
    part = files.group(files.text("1"), files.number(2), files.number(3))
    whole, view = files.storage("0", 6, "FloatStorage", b"N"), files.storage("0", 6, "FloatStorage", part)
    body = files.mapping({"a.w": files.tensor((6,), held=whole), "b.w": files.tensor((2,), offset=1, held=view)})
    _, found = opened(files.write_legacy(tmp_path / "views.pt", body))
    assert found["a.w"].tolist() == [0, 1, 2, 3, 4, 5]
    assert found["b.w"].tolist() == [3, 4]


def test_a_zip_that_was_packed_again_is_read(tmp_path: Path) -> None:
    path = tmp_path / "packed.pt"
    with (
        zipfile.ZipFile(MODELS / "recurrent.pt") as archive,
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for member in archive.namelist():
            packed.writestr(member, archive.read(member))
    assert wexport.diff(path, MODELS / "recurrent.pt").same


def test_more_storages_than_are_kept_unpacked(tmp_path: Path) -> None:
    tensors = {f"w{number}.w": files.tensor(held=files.storage(str(number))) for number in range(40)}
    stored = {str(number): np.full(6, number, "<f4").tobytes() for number in range(40)}
    path = files.write_zip(tmp_path / "many.pt", files.mapping(tensors), stored, method=zipfile.ZIP_DEFLATED)
    with wexport.Source(path) as source:
        reading = [tensor.chunks(8) for tensor in READER.open(source).tensors]
        while reading[0] is not None:
            rows = [next(chunks, None) for chunks in reading]
            if rows[0] is None:
                break
            assert [row[0] for row in rows if row is not None] == list(range(40))


def test_names_that_meet_are_told_apart(tmp_path: Path) -> None:
    items = {"a.b": files.tensor(), "a": files.mapping({"b": files.tensor((3,))})}
    model, _ = opened(files.write_zip(tmp_path / "meet.pt", files.mapping(items)))
    assert [(tensor.name, tensor.shape) for tensor in model.tensors] == [("a.b", (2, 3)), ("a.b~2", (3,))]


def test_a_key_that_stands_twice_counts_once(tmp_path: Path) -> None:
    body = b"}(" + files.text("a.w") + files.tensor((2,)) + files.text("a.w") + files.tensor((3,)) + b"u"
    model, _ = opened(files.write_zip(tmp_path / "twice.pt", body))
    assert [(tensor.name, tensor.shape) for tensor in model.tensors] == [("a.w", (3,))]


def test_other_archives_and_pickles_are_not_claimed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", a=np.ones(2))
    with zipfile.ZipFile(tmp_path / "model.keras", "w") as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("metadata.json", "{}")
    with zipfile.ZipFile(tmp_path / "deep.zip", "w") as archive:
        archive.writestr("a/b/data.pkl", b"")
    (tmp_path / "plain.pkl").write_bytes(files.program(b"N"))
    for path in tmp_path.iterdir():
        with wexport.Source(path) as source:
            assert READER.sniff(source) == 0, path.name
