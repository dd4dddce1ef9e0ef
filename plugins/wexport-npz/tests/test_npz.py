"""The reader against NumPy itself: what it wrote is what comes back, and what is damaged or hostile is told."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import pytest
import wexport_npz
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from wexport_npz import READER

import wexport
import wexport.testing

RNG = np.random.default_rng(1)
ARRAYS = {
    "dense/kernel": RNG.normal(size=(5, 4)).astype(np.float32),
    "dense/bias": np.zeros(4, np.float32),
    "gru/gru_cell/recurrent_kernel": np.asfortranarray(RNG.normal(size=(3, 9))),
    "batch_normalization/moving_mean": RNG.normal(size=4).astype(">f4"),
    "counts": np.arange(3),
    "half": RNG.normal(size=(2, 2, 2)).astype(np.float16),
    "long": RNG.normal(size=3).astype(np.longdouble),
    "flags": np.array([True, False]),
    "scalar": np.float32(2.5),
    "none": np.zeros((0, 3), np.float32),
}


class _Contract(wexport.testing.ReaderTests):
    reader = READER
    also_reads = ("npy",)
    values: ClassVar[Any] = {
        name: array.astype(np.float64) if name == "long" else array for name, array in ARRAYS.items()
    }

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def written(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.path = tmp_path_factory.mktemp("npz") / "model"
        with cls.path.open("wb") as file:
            cls.write(file)

    @staticmethod
    def write(file: BinaryIO) -> None:
        raise NotImplementedError


class TestStored(_Contract):
    @staticmethod
    def write(file: BinaryIO) -> None:
        np.savez(file, **ARRAYS)  # type: ignore[arg-type]


class TestCompressed(_Contract):
    @staticmethod
    def write(file: BinaryIO) -> None:
        np.savez_compressed(file, **ARRAYS)  # type: ignore[arg-type]


class TestOneArray(_Contract):
    values: ClassVar[Any] = {"values": ARRAYS["dense/kernel"]}

    @staticmethod
    def write(file: BinaryIO) -> None:
        np.save(file, ARRAYS["dense/kernel"])


@pytest.mark.parametrize("name", ["model.npz", "model.npy"])
def test_damaged_files_end_in_one_named_status_each(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    np.save(path, ARRAYS["half"]) if path.suffix == ".npy" else np.savez_compressed(path, **ARRAYS)  # type: ignore[arg-type]
    found = wexport.testing.ingest_mutants(path)
    assert sum(found.statuses.values()) == len(found.changes) > 0
    assert not found.statuses["crashed"] + found.statuses["timed out"] + found.statuses["memory"]


def inspected(path: Path) -> dict[str, dict[str, Any]]:
    return {row["tensor"]: row for row in wexport.inspect(path, reader="npz").rows}


def test_names_tell_roles_and_layers(tmp_path: Path) -> None:
    np.savez(tmp_path / "model.npz", **ARRAYS)  # type: ignore[arg-type]
    rows = inspected(tmp_path / "model.npz")
    told = {name: (row["slot"], row["layer"], row["role"]) for name, row in rows.items()}
    assert told["dense/kernel"] == ("dense/kernel", "dense", "kernel")
    assert told["gru/gru_cell/recurrent_kernel"] == (
        "gru/gru_cell/recurrent_kernel",
        "gru/gru_cell",
        "recurrent_kernel",
    )
    assert told["counts"] == ("counts", None, "unknown")
    assert rows["batch_normalization/moving_mean"]["trainable"] is False
    assert {row["kind"] for row in rows.values()} == {"weight"}


def test_an_archive_without_words_is_arrays(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", np.ones(3), other=np.zeros(2))
    assert {(row["kind"], row["role"]) for row in inspected(tmp_path / "data.npz").values()} == {("array", "unknown")}


@given(
    array=hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.int8, ">f4"]), hnp.array_shapes(min_dims=0, max_dims=4, min_side=0)
    ),
    fortran=st.booleans(),
    limit=st.integers(1, 64),
)
def test_values_are_those_of_numpy(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray[Any, Any], fortran: bool, limit: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "one.npy"
    np.save(path, np.asarray(array, order="F" if fortran else "C"))
    with wexport.Source(path) as source:
        (tensor,) = READER.open(source).tensors
        found = np.concatenate([np.empty(0, array.dtype), *tensor.chunks(limit)])
    assert tensor.shape == array.shape
    np.testing.assert_array_equal(found, array.reshape(-1))


def test_what_is_no_number_is_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "mixed.npz"
    np.savez(
        path,
        w=np.ones(2),
        words=np.array(["a"]),
        objects=np.array([{}], dtype=object),
        when=np.array(["2020-01-01"], "M8[D]"),
        c=np.ones(2, np.complex64),
        fields=np.zeros(2, [("a", "f4")]),
    )
    with wexport.Source(path) as source:
        model = READER.open(source)
    assert [tensor.name for tensor in model.tensors] == ["w"]
    assert {skipped.name: skipped.what for skipped in model.skipped} == {
        "words": "array that is not numbers",
        "objects": "pickled objects",
        "when": "array that is not numbers",
        "c": "array that is not numbers",
        "fields": "array that is not numbers",
    }


def header(literal: str) -> bytes:
    text = literal.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


HOSTILE = {
    "more values than there are": header("{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 40,), }\n"),
    "a shape bomb": header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }\n"),
    "a negative length": header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, -3), }\n") + bytes(12),
    "no literal": header("__import__('os').system('touch hacked')\n"),
    "no type": header("{'descr': '<f9', 'fortran_order': False, 'shape': (1,), }\n") + bytes(4),
    "deep": header("(" * 60_000),
    "a header of 4 GiB": b"\x93NUMPY\x02\x00" + b"\xff" * 4 + bytes(100),
    "another version": b"\x93NUMPY\x09\x00" + bytes(100),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_array_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.npy"
    path.write_bytes(HOSTILE[name])
    result = wexport.ingest([path], tmp_path / "out.parquet").models[0]
    assert result.status == "failed"
    assert "hostile.npy" in result.reason
    assert not list(tmp_path.glob("hacked*"))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_member_costs_itself_only(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.npz"
    good = io.BytesIO()
    np.save(good, np.ones(3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("bad.npy", HOSTILE[name])
        archive.writestr("good.npy", good.getvalue())
    result = wexport.ingest([path], tmp_path / "out.parquet").models[0]
    assert (result.status, result.tensors) == ("partial", 1)
    assert [problem.name for problem in result.problems] == ["bad"]


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("zeros.npy", "w") as member:
        member.write(header("{'descr': '<f4', 'fortran_order': False, 'shape': (400000000,), }\n"))
        for _ in range(1_600):
            member.write(bytes(1_000_000))
    result = wexport.ingest([path], tmp_path / "out.parquet").models[0]
    assert result.status == "failed"
    assert "declares 1,600,000,0" in result.reason


def test_a_zip_of_other_things_is_not_claimed(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", header(""))
        archive.writestr("data.pkl", b"")
    with wexport.Source(path) as source:
        assert wexport_npz.sniff(source) == 0


def test_names_of_torch_tell_what_a_state_dict_tells(tmp_path: Path) -> None:
    arrays = {"fc.weight": RNG.normal(size=(3, 5)), "fc.bias": np.zeros(3), "bn.running_mean": np.zeros(4)}
    np.savez(tmp_path / "state.npz", **arrays)  # type: ignore[arg-type]
    rows = inspected(tmp_path / "state.npz")
    kernel = rows["fc.weight"]
    assert (kernel["slot"], kernel["layer_class"], list(kernel["canonical_shape"])) == ("fc/kernel", "Dense", [5, 3])
    assert kernel["layer_index"] is None
    assert rows["bn.running_mean"]["role"] == "unknown"  # a running mean without a variance is nobody's
