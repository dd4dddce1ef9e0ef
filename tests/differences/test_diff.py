"""`wexport diff`: the values against a plain NumPy oracle, files of every container, and what else differs."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import os
import pickle
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import ml_dtypes
import numpy as np
import pytest
from click.testing import CliRunner
from h5py import h5d, h5p, h5s, h5t
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tests import crafted
from tests.conftest import DATA, EXAMPLES
from wexport.commands.diff import diff as command
from wexport.differences import alignment, notes, values
from wexport.differences.diff import Diff, diff
from wexport.differences.results import STATUSES, Change, DiffTask
from wexport.errors import ReadError, UsageError
from wexport.model.cudnn import CudnnLayout
from wexport.model.tensors import Layout, Tensor
from wexport.plugins.messages import Setup
from wexport.processes.child import Worker
from wexport.processes.pool import Done, Item

Write = Callable[..., Path]
FLOATS = ["float16", "bfloat16", "float32", "float64", "float8_e5m2", "float8_e4m3fn"]
INTEGERS = ["bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]
COLUMNS = ("changed_count", "max_abs_difference", "relative_l2", "cosine")


def dtype(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))


def change(a: np.ndarray, b: np.ndarray, tolerance: float = 0.0, relative: float = 0.0, blocks: int = 1) -> Change:
    """What the sums say of two arrays that come in this many blocks."""
    found = values.Difference((a.dtype, b.dtype), tolerance, relative)
    for left, right in zip(np.array_split(a, blocks), np.array_split(b, blocks), strict=True):
        found.add(left, right)
    return found.result()


# -- the figures -------------------------------------------------------------------------------------------------------


def close(found: float | None, expected: float | None, rel: float = 1e-9) -> bool:
    if found is None or expected is None:
        return found is expected
    return found == pytest.approx(expected, rel=rel, abs=1e-300)


def oracle(a: np.ndarray, b: np.ndarray) -> tuple[int, float | None, float | None, float | None]:
    """`COLUMNS` by the definitions, in NumPy's widest float."""
    with np.errstate(all="ignore"):
        x, y = a.astype(np.longdouble), b.astype(np.longdouble)
        equal = (x == y) | (np.isnan(x) & np.isnan(y))
        finite = np.isfinite(x) & np.isfinite(y)
        x, y = x[finite], y[finite]
        d = x - y
        norms = [np.sqrt(np.sum(each * each)) for each in (x, y, d)]
        largest = float(np.abs(d).max()) if d.size else None
        relative = float(norms[2] / max(norms[:2])) if max(norms[:2], default=0) else None
        cosine = float(np.sum(x * y) / (norms[0] * norms[1])) if norms[0] and norms[1] else None
    return int(np.count_nonzero(~equal)), largest, relative, cosine


ARRAYS = st.tuples(st.sampled_from(["float16", "float32", "float64"]), st.integers(1, 40)).flatmap(
    lambda what: st.tuples(*[hnp.arrays(what[0], what[1], elements=st.floats(-1e4, 1e4, width=16))] * 2)
)


@given(ARRAYS, st.integers(1, 5))
def test_figures_are_those_of_the_definitions(arrays: tuple[np.ndarray, np.ndarray], blocks: int) -> None:
    found = change(*arrays, blocks=blocks)
    expected = oracle(*arrays)
    assert found.changed_count == expected[0]
    assert close(found.max_abs_difference, expected[1])
    assert close(found.relative_l2, expected[2])
    if expected[3] is None:
        assert found.cosine is None
    else:
        assert found.cosine == pytest.approx(expected[3], abs=1e-12)


@given(ARRAYS, st.floats(0, 10), st.floats(0, 1))
def test_both_directions_say_the_same(arrays: tuple[np.ndarray, np.ndarray], tolerance: float, relative: float) -> None:
    a, b = arrays
    there, back = change(a, b, tolerance, relative), change(b, a, tolerance, relative)
    assert there.status == back.status
    assert there.changed_count == back.changed_count
    for name in ("max_abs_difference", "relative_l2", "cosine"):
        assert close(getattr(there, name), getattr(back, name), 1e-12)


@pytest.mark.parametrize("share", [1e-3, 1e-6, 1e-9, 1e-12])
def test_digits_are_kept_where_tensors_are_close(share: float) -> None:
    """1 minus a cosine made of rounded norms has no digit left at a share of 1e-9."""
    random = np.random.default_rng(1)
    a = random.normal(size=10_000)
    b = a + share * random.normal(size=a.size)
    x, d = a.astype(np.longdouble), b.astype(np.longdouble) - a.astype(np.longdouble)
    across = np.sum(x * d) / np.sum(x * x)
    beside = d - across * x  # the part of d at a right angle to x
    expected = 1 - 1 / np.sqrt(1 + np.sum(beside**2) / np.sum(((1 + across) * x) ** 2)) if share > 1e-4 else None
    expected = expected if expected is not None else np.sum(beside**2) / np.sum(((1 + across) * x) ** 2) / 2
    found = change(a, b, blocks=3)
    assert found.cosine_distance == pytest.approx(float(expected), rel=1e-3, abs=0)
    assert found.relative_l2 == pytest.approx(float(np.sqrt(np.sum(d * d) / np.sum(x * x))), rel=1e-3, abs=0)


@pytest.mark.parametrize("scale", [1e-310, 1e-200, 1e200, 1e307])
def test_figures_at_the_edges_of_float64(scale: float) -> None:
    a, b = np.array([3.0, 4.0, 0.0]) * scale, np.array([3.0, 0.0, 4.0]) * scale
    found = change(a, b)
    assert found.relative_l2 == pytest.approx(math.sqrt(32) / 5, rel=1e-6)
    assert found.cosine == pytest.approx(9 / 25, rel=1e-6)
    assert found.max_abs_difference == pytest.approx(4 * scale, rel=1e-12, abs=0)


def test_blocks_of_very_different_size() -> None:
    a, b = np.array([1e-200, 1e200, 1.0]), np.array([2e-200, 1e200, 1.5])
    found = change(a, b, blocks=3)
    assert found.changed_count == 2
    assert found.max_abs_difference == 0.5
    assert found.relative_l2 == pytest.approx(0.5e-200, rel=1e-12, abs=0)


def test_a_difference_beyond_float64_has_no_figure() -> None:
    found = change(np.array([1.7e308, 1.0]), np.array([-1.7e308, 1.0]))
    assert found.max_abs_difference is None
    assert found.relative_l2 == pytest.approx(2)
    assert found.cosine == pytest.approx(-1)


def test_what_is_undefined_is_none() -> None:
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    assert change(zeros, ones).cosine is None
    assert change(zeros, ones).relative_l2 == 1
    lost = np.full(3, np.nan, np.float32)
    found = change(lost, ones)
    assert (found.changed_count, found.nonfinite_count) == (3, 3)
    assert found.max_abs_difference is found.relative_l2 is found.cosine is None


def test_nan_and_infinity() -> None:
    a = np.array([np.nan, np.inf, np.inf, np.nan, 1.0, -np.inf], np.float32)
    b = np.array([np.nan, np.inf, -np.inf, 2.0, 1.5, -np.inf], np.float32)
    found = change(a, b, tolerance=1.0)
    assert (found.changed_count, found.nonfinite_count, found.status) == (2, 2, "changed")
    assert found.max_abs_difference == 0.5
    assert change(a, a).changed_count == 0


def test_any_nan_is_equal_to_any_other() -> None:
    a = np.array([0x7FC00000, 0x3F800000], np.uint32).view(np.float32)
    b = np.array([0xFFC00123, 0x3F800000], np.uint32).view(np.float32)
    assert values.identical([(a, b)])
    assert not values.identical([(a, a[::-1].copy())])


def test_zeros_of_another_sign_are_no_difference() -> None:
    a, b = np.array([0.0, 1.0]), np.array([-0.0, 1.0])
    assert not values.identical([(a, b)])
    found = change(a, b)
    assert (found.status, found.changed_count, found.detail) == ("within tolerance", 0, "only zeros of another sign")


@pytest.mark.parametrize(("one", "other"), [*itertools.product(FLOATS + INTEGERS, repeat=2)])
def test_small_numbers_are_equal_in_every_type(one: str, other: str) -> None:
    a, b = np.array([0, 1, 1, 0]).astype(dtype(one)), np.array([0, 1, 1, 0]).astype(dtype(other))
    found = change(a, b)
    assert found.status == ("equal but for dtype" if one != other else "within tolerance")
    assert (found.max_abs_difference, found.relative_l2, found.cosine) == (0, 0, 1)
    other_value = change(a, np.array([0, 1, 0, 0]).astype(dtype(other)))
    assert (other_value.status, other_value.changed_count, other_value.max_abs_difference) == ("changed", 1, 1)


@pytest.mark.parametrize(
    ("wide", "narrow"),
    [("float32", "float16"), ("float32", "bfloat16"), ("float64", "float32"), ("float16", "float8_e5m2")],
)
def test_a_rounded_copy_is_told_as_one(wide: str, narrow: str) -> None:
    a = np.random.default_rng(1).normal(size=100).astype(dtype(wide))
    b = a.astype(dtype(narrow))
    for found in (change(a, b), change(b, a)):
        assert (found.status, found.detail) == ("equal after rounding", f"to {narrow}")
        assert found.max_abs_difference
    assert change(b.astype(dtype(wide)), b).status == "equal but for dtype"
    assert change(a, b, tolerance=1.0).status == "within tolerance"
    off = b.copy()
    off[50] += off[50]
    assert change(a, off).status == "changed"


@pytest.mark.parametrize("name", ["int64", "uint64"])
def test_large_integers_are_compared_exactly(name: str) -> None:
    a, b = np.array([2**60, 7], name), np.array([2**60 + 1, 7], name)
    for found in (change(a, b), change(b, a)):
        assert (found.changed_count, found.max_abs_difference) == (1, 1)
    assert change(np.array([2**53 + 1]), np.array([2.0**53])).status == "changed"
    extremes = np.array([np.iinfo(name).min], name), np.array([np.iinfo(name).max], name)
    assert change(*extremes).max_abs_difference == 2.0**64


def test_tolerances() -> None:
    a, b = np.array([1.0, 100.0, 0.0]), np.array([1.125, 112.5, 0.0])
    assert change(a, b, 0.125).changed_count == 1
    assert change(a, b, 0.0, 1 / 9).changed_count == 0
    assert change(a, b, 12.5).status == "within tolerance"
    assert change(a, b, 12.4).status == "changed"


# -- one order ---------------------------------------------------------------------------------------------------------

LAYOUTS = {
    "stored as is": ((6, 8), None),
    "transposed": ((8, 6), Layout(permutation=(1, 0))),
    "gates in another order": ((6, 8), Layout(gates=("i", "c", "f", "o"), gate_axis=1)),
    "gates in order": ((6, 8), Layout(gates=("i", "f", "c", "o"), gate_axis=1)),
    "cuDNN": (
        (6, 8),
        CudnnLayout(
            gates=("i", "f", "c", "o"),
            gate_axis=1,
        ),
    ),
    "gates, transposed": ((8, 6), Layout(permutation=(1, 0), gates=("i", "c", "f", "o"), gate_axis=1)),
    "another view": ((48,), Layout(view=(6, 8))),
    "axes of one": ((1, 6, 1, 8), Layout(view=(6, 8))),
}


def as_stored(canonical: np.ndarray, shape: tuple[int, ...], layout: Layout | None) -> np.ndarray:
    """The inverse of a layout, by plain indexing: a (6, 8) canonical array as the file would hold it."""
    layout = layout or Layout()
    array = canonical
    if layout.gates:
        blocks = dict(zip("ifco", np.split(canonical, 4, axis=1), strict=True))
        parts = [blocks[gate] for gate in layout.gates]
        if isinstance(layout, CudnnLayout):
            parts = [part.T.reshape(part.shape) for part in parts]
        array = np.concatenate(parts, axis=1)
    if layout.permutation:
        array = array.transpose(np.argsort(layout.permutation))
    return np.ascontiguousarray(array).reshape(shape)


@pytest.mark.parametrize("held", [0, 1 << 20], ids=["in files", "in memory"])
@pytest.mark.parametrize(("one", "other"), [*itertools.combinations_with_replacement(LAYOUTS, 2)])
def test_equal_values_are_found_in_every_pair_of_layouts(
    one: str, other: str, held: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alignment, "HELD_BYTES", held)
    monkeypatch.setattr(alignment, "BLOCK", 7)
    canonical = np.random.default_rng(1).normal(size=(6, 8)).astype(np.float32)
    a, b = (
        Tensor.of_array("w", as_stored(canonical, *LAYOUTS[name]), layout=LAYOUTS[name][1]) for name in (one, other)
    )
    if alignment.stored_alike(a, b):
        assert values.identical(alignment.in_step(a, b))
    pairs = [(left.copy(), right.copy()) for left, right in alignment.in_canonical_order(a, b)]
    np.testing.assert_array_equal(np.concatenate([left for left, _ in pairs]), canonical.reshape(-1))
    np.testing.assert_array_equal(np.concatenate([right for _, right in pairs]), canonical.reshape(-1))


def test_layouts_that_move_nothing_are_read_in_step() -> None:
    array = np.zeros((6, 8), np.float32)
    plain = Tensor.of_array("w", array)
    gated = Tensor.of_array("w", array, layout=LAYOUTS["gates in order"][1])
    assert alignment.stored_alike(plain, gated)
    assert alignment.stored_alike(plain, Tensor.of_array("w", array.reshape(1, 6, 1, 8), layout=Layout(view=(6, 8))))
    assert not alignment.stored_alike(plain, Tensor.of_array("w", array.T.copy(), layout=Layout(permutation=(1, 0))))
    assert not alignment.stored_alike(plain, Tensor.of_array("w", array, layout=LAYOUTS["cuDNN"][1]))


def test_chunks_of_different_size_are_read_in_step() -> None:
    array = np.arange(100, dtype=np.float32)

    def chunks(limit: int) -> Iterator[np.ndarray]:
        yield from np.split(array, [1, 2, 50])

    odd = Tensor(name="w", shape=(100,), dtype="float32", chunks=chunks)
    pairs = [(a.copy(), b.copy()) for a, b in alignment.in_step(odd, Tensor.of_array("w", array))]
    np.testing.assert_array_equal(np.concatenate([a for a, _ in pairs]), array)
    np.testing.assert_array_equal(np.concatenate([b for _, b in pairs]), array)


@pytest.fixture
def real_child() -> None:
    """For tests that need a real child process; the others do without, as each takes half a second to start."""


class Here:
    """`pool.Pool`, for one task, in this process."""

    def __init__(self, worker: Worker, *, setup: Setup, **budgets: Any) -> None:
        _, self._work = worker(setup)

    def run(self, tasks: Sequence[DiffTask]) -> Iterator[Item | Done]:
        for each in self._work(tasks[0]):
            yield Item(0, pickle.loads(pickle.dumps(each)), 0)
        yield Done(0)


@pytest.fixture(autouse=True)
def _without_child(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "real_child" not in request.fixturenames:
        monkeypatch.setattr("wexport.differences.diff.Pool", Here)


# -- files -------------------------------------------------------------------------------------------------------------


def statuses(found: Diff) -> dict[str, str]:
    """Status by name."""
    return {each.name: each.status for each in found.tensors}


def containers() -> list[tuple[Path, Path]]:
    """Every two files of one model."""
    found = []
    for described in sorted(DATA.rglob("*.json")):
        names = json.loads(described.read_text()).get("files", ())  # other folders describe their models otherwise
        found += [(described.parent / a, described.parent / b) for a, b in itertools.combinations(names, 2)]
    return found


@pytest.mark.parametrize(("a", "b"), containers(), ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_model_is_the_same_in_every_container(a: Path, b: Path) -> None:
    found = diff(a, b)
    assert set(statuses(found).values()) == {"identical"}
    assert found.a.tensor_count == found.b.tensor_count == len(found.tensors)
    assert found.same
    assert not found.notes


def test_a_tensor_that_one_file_holds_twice_is_equal_to_its_twin(tmp_path: Path) -> None:
    """Tied parameters: one container keeps both names, another the first alone."""
    table, bias = np.arange(12.0).reshape(3, 4), np.arange(3.0)
    np.savez(tmp_path / "twice.npz", **{"emb/w": table, "head/w": table, "head/b": bias})
    np.savez(tmp_path / "once.npz", **{"emb/w": table, "head/b": bias})
    for one, other in (("twice", "once"), ("once", "twice")):
        found = diff(tmp_path / f"{one}.npz", tmp_path / f"{other}.npz")
        assert found.same
        assert set(statuses(found).values()) == {"identical", "repeats another"}
        assert len(found.tensors) == 3
    np.savez(tmp_path / "other.npz", **{"emb/w": table, "head/w": table + 1, "head/b": bias})
    assert diff(tmp_path / "other.npz", tmp_path / "once.npz").counts["only in a"] == 1


@pytest.mark.usefixtures("real_child")
def test_a_folder_of_one_model_is_that_model(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    shutil.copy(EXAMPLES / "lstm.h5", folder / "lstm.h5")
    (folder / "notes.txt").write_text("the best one")
    assert diff(folder, EXAMPLES / "lstm.h5").same
    shutil.copy(EXAMPLES / "gru.h5", folder / "gru.h5")
    with pytest.raises(ReadError, match=r"holds 2 models: gru\.h5, lstm\.h5"):
        diff(folder, EXAMPLES / "lstm.h5")


@pytest.mark.usefixtures("real_child")
def test_a_file_and_itself() -> None:
    found = diff(EXAMPLES / "lstm.h5", EXAMPLES / "lstm.h5")
    assert found.same
    assert found.summary() == f"same: {len(found.tensors)} tensors identical"


def test_one_architecture_of_two_seeds_whatever_the_numbers_in_its_names() -> None:
    a, b = EXAMPLES / "cnn_seed_1.h5", EXAMPLES / "cnn_seed_2.h5"
    found = diff(a, b)
    assert found.counts["changed"] == len(found.tensors) == 12
    assert {each.method for each in found.tensors} == {"slot"}
    kernel = next(each for each in found.tensors if each.name == "conv2d/kernel")
    assert kernel.b
    assert kernel.b.name == "conv2d_2/kernel"
    with h5py.File(a) as one, h5py.File(b) as other:
        expected = oracle(
            one["model_weights/conv2d/conv2d/kernel:0"][:], other["model_weights/conv2d_2/conv2d_2/kernel:0"][:]
        )
    figures = kernel.figures()
    assert [figures[name] for name in COLUMNS] == pytest.approx(list(expected))


def test_both_directions_mirror_each_other() -> None:
    a, b = EXAMPLES / "cnn_seed_1.h5", EXAMPLES / "gru.h5"
    there, back = diff(a, b), diff(b, a)
    other = {"only in a": "only in b", "only in b": "only in a"}
    assert {status: there.counts[other.get(status, status)] for status in STATUSES} == back.counts
    assert not there.same
    assert {(each.a, each.b) for each in there.tensors} == {(each.b, each.a) for each in back.tensors}


def test_missing_and_reshaped_datasets_are_differences(write_h5: Write) -> None:
    """h5diff compares what both files have, and is silent about the rest unless asked."""
    both = {"dense/kernel": np.ones((4, 3), np.float32)}
    a = write_h5("a.h5", **both, extra=np.zeros(7), odd=np.zeros((2, 3)))
    b = write_h5("b.h5", **both, odd=np.zeros((2, 4)))
    found = diff(a, b)
    assert statuses(found) == {"dense/kernel": "identical", "extra": "only in a", "odd": "shape differs"}
    assert not found.same
    assert found.summary() == "different: 1 tensor identical, 1 of another shape, 1 only in a"


def test_names_attributes_times_and_compression_are_none(tmp_path: Path) -> None:
    """h5diff reports other attributes, and finds nothing in common where groups are called otherwise."""
    array = np.random.default_rng(1).normal(size=(50, 40)).astype(np.float32)
    a, b = tmp_path / "a.h5", tmp_path / "b.h5"
    with h5py.File(a, "w", track_order=True) as file:
        file["dense_2/kernel"] = array
        file["dense_2"].attrs["written"] = "today"
    with h5py.File(b, "w") as file:
        file.attrs["comment"] = "a copy"
        file.create_dataset("dense_5/kernel", data=array, chunks=(7, 9), compression="gzip", track_times=True)
        file["note"] = "words"
    found = diff(a, b)
    assert found.same
    assert found.summary() == "same: 1 tensor identical"


def test_other_names_and_order_are_matched_and_the_method_is_told(write_h5: Write) -> None:
    random = np.random.default_rng(1)
    one, two, three = (random.normal(size=(4, 4)).astype(np.float32) for _ in range(3))
    head = random.normal(size=(4, 2))
    a = write_h5("a.h5", first=one, second=two, third=three, head=head)
    b = write_h5("b.h5", a=three, b=one, c=two, d=head)
    found = diff(a, b)
    assert found.same
    assert {(each.name, each.b.name, each.method) for each in found.tensors if each.b} == {
        ("first", "b", "content"),
        ("second", "c", "content"),
        ("third", "a", "content"),
        ("head", "d", "content"),
    }
    assert found.summary() == "same: 4 tensors identical (matched 4 by content)"


def test_a_constant_s_content_tells_nothing(write_h5: Write) -> None:
    a = write_h5("a.h5", x=np.zeros(4), y=np.arange(4.0))
    b = write_h5("b.h5", z=np.zeros(4))
    assert statuses(diff(a, b)) == {"x": "one of several", "y": "one of several", "z": "one of several"}
    b = write_h5("b.h5", z=np.arange(4.0))
    assert statuses(diff(a, b)) == {"x": "only in a", "y": "identical"}


def test_a_keras_file_read_as_plain_hdf5(tmp_path: Path) -> None:
    """Other names, no roles and no layouts on one side."""
    plain = tmp_path / "plain.h5"
    with h5py.File(DATA / "tfkeras215" / "cudnn.h5") as source, h5py.File(plain, "w") as file:
        for name in ("cu_dnnlstm", "cu_dnngru", "cu_dnnlstm_1"):
            if name in source["model_weights"]:
                source.copy(f"model_weights/{name}", file)
    counts = diff(DATA / "tfkeras215" / "cudnn.h5", plain).counts
    assert counts["identical"] > 0
    assert counts["changed"] == counts["only in b"] == 0


def test_types(write_h5: Write) -> None:
    random = np.random.default_rng(1)
    array = random.normal(size=(5, 5)).astype(np.float32)
    a = write_h5("a.h5", half=array, wide=array, whole=np.arange(5, dtype=np.int32), big=array.astype(">f4"))
    b = write_h5(
        "b.h5",
        half=array.astype(np.float16),
        wide=array.astype(np.float64),
        whole=np.arange(5.0),
        big=array.astype("<f4"),
    )
    found = diff(a, b)
    assert statuses(found) == {
        "half": "equal after rounding",
        "wide": "equal but for dtype",
        "whole": "equal but for dtype",
        "big": "identical",
    }
    assert not found.same, "rounding changes values"
    assert diff(a, b, tolerance=0.01).same
    assert diff(a, b, relative_tolerance=0.01).same


def test_scalars_and_tensors_without_values(write_h5: Write) -> None:
    a = write_h5("a.h5", scalar=np.float32(1), other=np.float32(1), empty=np.zeros((0, 3)), nan=np.full(3, np.nan))
    b = write_h5("b.h5", scalar=np.float32(1), other=np.float32(3), empty=np.zeros((0, 3)), nan=np.full(3, np.nan))
    found = diff(a, b)
    assert statuses(found) == {"scalar": "identical", "other": "changed", "empty": "identical", "nan": "identical"}
    changed = next(each.change for each in found.tensors if each.name == "other")
    assert changed
    assert (changed.max_abs_difference, changed.relative_l2) == (2, pytest.approx(2 / 3))


def test_optimizer_state_only_if_asked_for() -> None:
    path = DATA / "keras3" / "trained_adam.keras"
    assert {each.side.kind for each in diff(path, path).tensors} == {"weight"}
    assert "optimizer" in {each.side.kind for each in diff(path, path, optimizer=True).tensors}


def sparse(path: Path, count: int, last: float) -> Path:
    """A file of one large float32 tensor of zeros that takes no room on the disk, and its last value."""
    with h5py.File(path, "w") as file:
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_alloc_time(h5d.ALLOC_TIME_EARLY)
        properties.set_fill_time(h5d.FILL_TIME_NEVER)
        h5d.create(file.id, b"w", h5t.IEEE_F32LE, h5s.create_simple((count,)), properties)
        file["w"][count - 1] = last
    return path


@pytest.mark.usefixtures("real_child")
def test_tensors_larger_than_the_memory_that_reading_may_take(tmp_path: Path) -> None:
    count = 64 << 20
    a, b = sparse(tmp_path / "a.h5", count, 1.0), sparse(tmp_path / "b.h5", count, 2.0)
    (only,) = diff(a, b).tensors
    assert only.change
    assert (only.change.changed_count, only.change.max_abs_difference, only.change.relative_l2) == (1, 1, 0.5)


PLUGIN = '''
import numpy as np
import wexport

def sniff(source):
    return 0.99 if source.head.startswith(b"TURNED") else 0.0

def open_turned(source):
    """A header of two lengths, then a Dense kernel (units, inputs), as some frameworks store it."""
    units, inputs = np.frombuffer(source.read_at(6, 8), "<u4")
    values = np.frombuffer(source.read_at(14, 4 * int(units) * int(inputs)), "<f4").reshape(units, inputs)
    tensor = wexport.Tensor.of_array(
        "linear.weight", values, layer="linear", layer_class="Dense", role="kernel",
        lineage=(wexport.Node("dense", "Dense"),), layout=wexport.Layout(permutation=(1, 0)),
    )
    return wexport.Model(format="turned", tensors=[tensor])

@wexport.hookimpl
def wexport_readers():
    return [wexport.Reader(name="turned", reads="turned kernels", sniff=sniff, open=open_turned)]
'''


@pytest.mark.usefixtures("real_child")
def test_a_kernel_that_a_plugin_reads_transposed(tmp_path: Path, write_h5: Write) -> None:
    kernel = np.random.default_rng(1).normal(size=(300, 200)).astype(np.float32)
    plugin, turned = tmp_path / "turned.py", tmp_path / "turned.bin"
    plugin.write_text(PLUGIN)
    turned.write_bytes(b"TURNED" + np.array([200, 300], "<u4").tobytes() + kernel.T.tobytes())
    stored = write_h5("dense.h5", **{"dense/kernel": kernel})
    (same,) = diff(stored, turned, plugins=[str(plugin)]).tensors
    assert (same.status, same.method) == ("identical", "content")
    kernel[7, 9] += 1
    (other,) = diff(write_h5("other.h5", **{"dense/kernel": kernel}), turned, plugins=[str(plugin)]).tensors
    assert other.change
    assert other.change.changed_count == 1


# -- what is said beside the values ------------------------------------------------------------------------------------


def tensor(**meaning: Any) -> Tensor:
    return Tensor.of_array("dense/kernel", np.ones((2, 2), np.float32), **meaning)


def test_flags_and_configs_are_notes_where_both_sides_tell_them() -> None:
    config = {"name": "dense", "activation": "relu", "kernel_regularizer": None, "dtype": "float32"}
    one = tensor(trainable=True, layer_class="Dense", layer_config=config)
    other = tensor(
        trainable=False, layer_class="Dense", layer_config={**config, "name": "dense_7", "activation": "tanh"}
    )
    assert notes.of_tensors(one, other) == ("trainable in a, frozen in b", "activation: relu in a, tanh in b")
    assert notes.of_tensors(one, tensor()) == ()


def test_what_releases_write_each_their_own_way_is_no_note() -> None:
    old = {"kernel_initializer": {"class_name": "GlorotUniform", "config": {"seed": None}}, "axis": [3]}
    new: dict[str, Any] = {
        "kernel_initializer": {
            "module": "keras.initializers",
            "class_name": "GlorotUniform",
            "config": {"seed": None, "input_axes": None},
            "registered_name": None,
        },
        "axis": -1,
        "quantization_config": None,
    }
    assert notes.of_tensors(tensor(layer_config=old), tensor(layer_config=new)) == ()
    newer = {"kernel_initializer": {**new["kernel_initializer"], "module": "keras.src.initializers"}}
    assert notes.of_tensors(tensor(layer_config=newer), tensor(layer_config=new)) == ()
    word = {"kernel_initializer": "glorot_uniform"}
    assert notes.of_tensors(tensor(layer_config=word), tensor(layer_config=new)) == ()
    zeros = {"kernel_initializer": {"class_name": "Zeros", "config": {}}}
    assert notes.of_tensors(tensor(layer_config=zeros), tensor(layer_config=new)) == (
        "kernel_initializer: Zeros() in a, GlorotUniform() in b",
    )


def test_a_frozen_copy_is_the_same_and_noted(tmp_path: Path) -> None:
    copy = tmp_path / "copy.h5"
    copy.write_bytes((EXAMPLES / "cnn_seed_1.h5").read_bytes())
    with h5py.File(copy, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        dense = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
        dense["config"]["trainable"] = False
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.14.0"
    found = diff(EXAMPLES / "cnn_seed_1.h5", copy)
    assert found.same
    assert found.notes[0] == "framework version: 2.15.0 in a, 2.14.0 in b"
    assert f"{dense['config']['name']}: trainable in a, frozen in b" in found.notes


# -- files that cannot be read -----------------------------------------------------------------------------------------


def test_what_cannot_be_read_is_an_error_that_names_the_file(tmp_path: Path, write_h5: Write) -> None:
    good = write_h5("good.h5", w=np.ones(3))
    with pytest.raises(ReadError, match=r"none\.h5: does not exist"):
        diff(good, tmp_path / "none.h5")
    (tmp_path / "several").mkdir()
    for name in ("a.h5", "b.h5"):
        (tmp_path / "several" / name).write_bytes(good.read_bytes())
    with pytest.raises(ReadError, match="several: holds 2 models"):
        diff(tmp_path / "several", good)
    (tmp_path / "noise.h5").write_bytes(b"not a model at all")
    with pytest.raises(ReadError, match=r"noise\.h5"):
        diff(tmp_path / "noise.h5", good)
    os.mkfifo(tmp_path / "pipe.h5")
    with pytest.raises(ReadError, match=r"pipe\.h5: is not a regular file"):
        diff(good, tmp_path / "pipe.h5")
    empty = write_h5("empty.h5")
    with pytest.raises(ReadError, match="holds any numbers"):
        diff(empty, empty)
    assert statuses(diff(good, empty)) == {"w": "only in a"}


@pytest.mark.parametrize("name", ["external_link", "external_storage"])
def test_links_to_elsewhere_are_not_followed_and_never_the_same(name: str, tmp_path: Path, write_h5: Write) -> None:
    secret = write_h5("secret.h5", secret=np.arange(4, dtype=np.float32))
    hostile = tmp_path / "hostile.h5"
    getattr(crafted, name)(hostile, secret)
    for a, b in ((hostile, hostile), (hostile, secret)):
        found = diff(a, b)
        assert not found.same
        assert found.a.problems
        assert "that could not be read" in found.summary()
        assert not any(each.a for each in found.tensors)


def test_damaged_values_are_one_tensor_s_matter(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.h5", tmp_path / "bad.h5"
    noise = np.random.default_rng(1).normal(size=1000)
    for path in (good, bad):
        with h5py.File(path, "w") as file:
            file.create_dataset("packed", data=noise, chunks=(1000,), compression="gzip")
            file["plain"] = noise
    with h5py.File(bad) as file:
        place = file["packed"].id.get_chunk_info(0).byte_offset
    data = bytearray(bad.read_bytes())
    data[place : place + 64] = bytes(64)
    bad.write_bytes(data)
    found = diff(good, bad)
    assert statuses(found) == {"packed": "not compared", "plain": "identical"}
    assert "bad.h5" in found.tensors[0].detail
    assert not found.same


STUCK = """
import time
import wexport

def open_stuck(source):
    while True:
        time.sleep(0.01)

@wexport.hookimpl
def wexport_readers():
    return [wexport.Reader(name="stuck", reads="nothing, for ever", sniff=lambda source: 1.0, open=open_stuck)]
"""


@pytest.mark.usefixtures("real_child")
def test_a_reader_that_hangs_is_stopped(tmp_path: Path, write_h5: Write) -> None:
    plugin = tmp_path / "stuck.py"
    plugin.write_text(STUCK)
    path = write_h5("a.h5", w=np.ones(3))
    with pytest.raises(ReadError, match=r"longer than 1 s while opening .*a\.h5"):
        diff(path, path, plugins=[str(plugin)], timeout=0.5)


@pytest.mark.parametrize(
    "wrong", [{"tolerance": -1.0}, {"tolerance": math.nan}, {"relative_tolerance": math.inf}, {"timeout": 0.0}]
)
def test_arguments_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        diff(EXAMPLES / "lstm.h5", EXAMPLES / "lstm.h5", **wrong)


# -- the command -------------------------------------------------------------------------------------------------------


remembered = functools.lru_cache(diff)


def run(*arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    with mock.patch("wexport.differences.diff.diff", remembered):
        result = CliRunner().invoke(command, arguments)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


A, B, COPY = (str(EXAMPLES / name) for name in ("cnn_seed_1.h5", "cnn_seed_2.h5", "cnn_seed_1.h5"))


@pytest.mark.usefixtures("real_child")
def test_the_exit_code_says_whether_they_differ() -> None:
    assert run(A, COPY)[0] == 0
    assert run(A, B)[0] == 1
    assert run(A, B, "--tolerance", "10")[0] == 0
    assert run(A, B, "--relative-tolerance", "2")[0] == 0


def test_the_table_leaves_identical_tensors_to_the_last_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")  # 80 go without what b calls a layer
    _, out, _ = run(A, COPY)
    assert out.splitlines()[-1] == "same: 12 tensors identical"
    assert "kernel" not in out
    _, out, _ = run(A, COPY, "--all")
    assert out.count("identical") == 13
    _, out, _ = run(A, B)
    assert out.splitlines()[-1] == "different: 12 tensors changed"
    assert "conv2d_2" in out, "what b calls the layer"
    _, out, _ = run(A, B, "--rows", "3")
    assert "... and 9 more rows" in out


def test_json_has_everything() -> None:
    _, out, _ = run(A, B, "--format", "json")
    found = json.loads(out)
    assert (found["same"], found["counts"]["changed"], len(found["tensors"])) == (False, 12, 12)
    row = found["tensors"][0]
    assert (row["name_a"], row["name_b"], row["matched_by"]) == ("conv2d/kernel", "conv2d_2/kernel", "slot")
    assert row["changed_fraction"] == 1
    assert row["cosine"] == pytest.approx(1 - row["cosine_distance"])
    assert json.loads(run(A, COPY, "--format", "json")[1])["tensors"] == []
    assert len(json.loads(run(A, COPY, "--format", "json", "--all")[1])["tensors"]) == 12


def test_csv_has_one_header_and_a_row_a_tensor() -> None:
    _, out, err = run(A, str(EXAMPLES / "gru.h5"), "--format", "csv")
    lines = out.splitlines()
    assert len(lines) == 18
    assert lines[0].startswith("status,matched_by,confidence,name_a,name_b")
    assert lines[1].startswith("only in a,,,conv2d/kernel,")
    assert "different:" in err
    _, out, _ = run(A, B, "--format", "markdown")
    assert out.startswith("| tensor | in b |")


def test_statuses_are_told_worst_first() -> None:
    found = diff(A, EXAMPLES / "gru.h5")
    order = [STATUSES.index(each.status) for each in found.tensors]
    assert order == sorted(order)
    assert [field.name for field in dataclasses.fields(found)] == ["a", "b", "tensors", "notes", "edits"]
