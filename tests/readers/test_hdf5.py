"""What the HDF5 readers make of honest files, against h5py's own values."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import h5py
import ml_dtypes
import numpy as np
import pytest
from h5py import h5d, h5p, h5s, h5t, h5z
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

import wexport
from tests import crafted
from tests.conftest import EXAMPLES
from wexport.files.source import Source
from wexport.readers import raw_hdf5
from wexport.readers.hdf5.chunks import slabs
from wexport.readers.hdf5.walk import Tree, open_file, signature_offset
from wexport.testing import ReaderTests


class TestContract(ReaderTests):
    """The reader of any HDF5 file keeps the contract that plugins are held to."""

    reader = raw_hdf5.wexport_readers()[0]
    path = EXAMPLES / "lstm.h5"
    with h5py.File(path) as _file:
        _name = "model_weights/dense_14/dense_14/kernel:0"
        values: ClassVar = {_name: _file[_name][()]}


RANDOM = np.random.default_rng(7)


def values(tree: Tree, path: str, limit: int = 1 << 20) -> NDArray[Any]:
    """A dataset's values put together from its chunks, each of which must keep to the limit."""
    dataset = tree.datasets[path]
    pieces = []
    for piece in dataset.chunks(limit):
        assert piece.ndim == 1
        assert piece.nbytes <= max(limit, piece.itemsize)
        assert piece.dtype.newbyteorder("=") == dataset.type.dtype.newbyteorder("=")
        pieces.append(piece.copy())
    flat = np.concatenate(pieces) if pieces else np.empty(0, dataset.type.dtype)
    return flat.reshape(dataset.shape)


def read(path: Path, limit: int = 1 << 20) -> dict[str, NDArray[Any]]:
    """All numeric datasets of a file, as wexport reads them."""
    with Source(path) as source:
        tree = open_file(source).walk()
        return {name: values(tree, name, limit) for name in tree.datasets}


def skipped(path: Path) -> dict[str, str]:
    with Source(path) as source:
        return {found.name: found.what for found in open_file(source).walk().skipped}


def same(ours: NDArray[Any], theirs: NDArray[Any]) -> bool:
    """Equal to the bit, whatever the byte order."""
    theirs = theirs.astype(theirs.dtype.newbyteorder("="))
    ours = ours.astype(ours.dtype.newbyteorder("="))
    return ours.dtype == theirs.dtype and ours.shape == theirs.shape and ours.tobytes() == theirs.tobytes()


# -- types --------------------------------------------------------------------------------------------------------

WIDTHS = [f"{order}{kind}{size}" for order in "<>" for kind in "iu" for size in (1, 2, 4, 8)]
WIDTHS += [f"{order}f{size}" for order in "<>" for size in (2, 4, 8)]


def extremes(dtype: np.dtype[Any]) -> NDArray[Any]:
    if dtype.kind == "f":
        info = np.finfo(dtype)
        return np.array([0, -0.0, 1 / 3, info.max, info.min, info.smallest_subnormal, np.inf, -np.inf, np.nan], dtype)
    return np.array([np.iinfo(dtype).min, 0, 1, 77, np.iinfo(dtype).max], dtype)


@pytest.mark.parametrize("storage", ["contiguous", "chunked", "gzip", "compact"])
@pytest.mark.parametrize("name", WIDTHS)
def test_every_width_in_both_byte_orders(tmp_path: Path, name: str, storage: str) -> None:
    array = extremes(np.dtype(name))
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        if storage == "compact":
            properties = h5p.create(h5p.DATASET_CREATE)
            properties.set_layout(h5d.COMPACT)
            space = h5s.create_simple(array.shape)
            h5d.create(file.id, b"w", h5t.py_create(array.dtype), space, properties).write(h5s.ALL, h5s.ALL, array)
        else:
            how = {"chunked": {"chunks": (2,)}, "gzip": {"chunks": (2,), "compression": "gzip", "shuffle": True}}
            file.create_dataset("w", data=array, **how.get(storage, {}))
    assert same(read(path)["w"], array)
    assert same(read(path, limit=1)["w"], array)


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz"])
@pytest.mark.parametrize("chunks", [None, (5,)])
def test_small_floats_as_keras_stores_them(tmp_path: Path, name: str, chunks: tuple[int, ...] | None) -> None:
    array = RANDOM.standard_normal(13).astype(getattr(ml_dtypes, name))
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        opaque = array.view(f"V{array.itemsize}")
        file.create_dataset("w", data=opaque, chunks=chunks, compression="gzip" if chunks else None)
        file["w"].attrs["dtype"] = name
        file["untold"] = opaque
    assert same(read(path)["w"], array)
    assert skipped(path) == {"untold": "opaque"}


def float_type(size: int, sign: int, exponent: int, mantissa: int, bias: int, order: int) -> Any:
    """An HDF5 float without padding: sign, exponent, mantissa from the top."""
    kind = h5t.IEEE_F64LE.copy() if size > 4 else h5t.IEEE_F32LE.copy()
    kind.set_fields(sign, mantissa, exponent, 0, mantissa)
    kind.set_precision(1 + exponent + mantissa)
    kind.set_size(size)
    kind.set_ebias(bias)
    kind.set_order(order)
    return kind


@pytest.mark.parametrize("order", [h5t.ORDER_LE, h5t.ORDER_BE])
@pytest.mark.parametrize("chunks", [None, (4,)])
@pytest.mark.parametrize(
    ("name", "fields"),
    [("bfloat16", (2, 15, 8, 7, 127)), ("float8_e4m3fn", (1, 7, 4, 3, 7)), ("float8_e5m2", (1, 7, 5, 2, 15))],
)
def test_small_floats_as_types_of_their_own(
    tmp_path: Path, name: str, fields: tuple[int, ...], order: int, chunks: tuple[int, ...] | None
) -> None:
    array = np.array([0, 1, -1.5, 0.25, 3, -7, 12, 96, 0.5], getattr(ml_dtypes, name))
    path = tmp_path / "w.h5"
    raw = array.view(f"u{array.itemsize}")
    with h5py.File(path, "w") as file:
        properties = h5p.create(h5p.DATASET_CREATE)
        if chunks:
            properties.set_chunk(chunks)
            properties.set_deflate(4)
        kind = float_type(*fields, order)
        dataset = h5d.create(file.id, b"w", kind, h5s.create_simple(array.shape), properties)
        dataset.write(h5s.ALL, h5s.ALL, raw.byteswap() if order == h5t.ORDER_BE else raw, mtype=kind)
    assert same(read(path)["w"], array)


def test_odd_floats_that_float64_holds(tmp_path: Path) -> None:
    """A 16-bit float with 6 bits of exponent has no NumPy name: its values are float64, exactly."""
    path = tmp_path / "w.h5"
    array = np.array([0.0, 1.0, -2.5, 1024.0, 2**-20])
    with h5py.File(path, "w") as file:
        dataset = h5d.create(file.id, b"w", float_type(2, 15, 6, 9, 31, h5t.ORDER_LE), h5s.create_simple((5,)))
        dataset.write(h5s.ALL, h5s.ALL, array)
    assert same(read(path)["w"], array)


def test_integers_of_fewer_bits(tmp_path: Path) -> None:
    kind = h5t.STD_I32LE.copy()
    kind.set_precision(24)
    array = np.array([-(2**23), -1, 0, 2**23 - 1], "<i4")
    with h5py.File(tmp_path / "w.h5", "w") as file:
        h5d.create(file.id, b"w", kind, h5s.create_simple((4,))).write(h5s.ALL, h5s.ALL, array)
    assert same(read(tmp_path / "w.h5")["w"], array)


def test_what_has_no_numbers_is_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w") as file:
        file["string"] = "text"
        file["compound"] = np.zeros(2, [("a", "f4")])
        file["reference"] = np.array([file["string"].ref], h5py.ref_dtype)
        file["bool"] = np.array([True, False])
        file.create_dataset("enum", (2,), h5py.enum_dtype({"A": 0, "B": 1}))
        file["opaque"] = np.zeros(2, "V7")
        file.create_dataset("ragged", (2,), h5py.vlen_dtype(np.dtype("f4")))
        h5d.create(file.id, b"arrays", h5t.array_create(h5t.IEEE_F32LE, (3,)), h5s.create_simple((2,)))
        file["complex"] = np.zeros(2, "c8")
        file["null"] = h5py.Empty("f4")
        file["named_type"] = np.dtype("f4")
        file["soft"] = h5py.SoftLink("/nowhere")
        h5d.create(file.id, b"time", h5t.UNIX_D32LE, h5s.create_simple((2,)))
        h5d.create(file.id, b"bitfield", h5t.STD_B8LE, h5s.create_simple((2,)))
        file["w"] = np.ones(3)
        file["once_more"] = file["w"]
    found = skipped(path)
    told = {"string": "string", "compound": "compound", "reference": "reference", "bool": "bool", "enum": "enum"}
    told |= {"opaque": "opaque", "ragged": "variable-length", "arrays": "array type", "null": "null dataspace"}
    told |= {"named_type": "named type", "soft": "soft link", "time": "time", "bitfield": "bitfield"}
    assert {name: found[name] for name in told} == told
    assert found["complex"] in ("complex", "compound")  # compound before HDF5 2
    assert set(read(path)) == {"once_more", "w"}
    with wexport.Source(path) as source:
        assert open_file(source).walk().links == {"w": "once_more"}
    result = wexport.ingest([path], tmp_path / "o.parquet")
    assert result.models[0].left_out["string"] == ["string"]


# -- shapes and storage -------------------------------------------------------------------------------------------


def test_scalars_and_empty_shapes(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    arrays = {
        "scalar": np.array(3.5),
        "none": np.zeros((0,)),
        "rows": np.zeros((3, 0, 2), "<i2"),
        "one": np.ones((1, 1)),
    }
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
        file.create_dataset("none_yet", (0, 3), "<f4", chunks=(4, 3), maxshape=(None, 3), compression="gzip")
    ours = read(path)
    for name, array in arrays.items():
        assert same(ours[name], array)
    assert ours["none_yet"].shape == (0, 3)


@pytest.mark.parametrize("size", [512, 1024, 8192])
def test_behind_a_user_block(tmp_path: Path, size: int) -> None:
    path = tmp_path / "w.h5"
    array = RANDOM.standard_normal((30, 4))
    with h5py.File(path, "w", userblock_size=size) as file:
        file["plain"] = array
        file.create_dataset("packed", data=array, chunks=(7, 3), compression="gzip", shuffle=True)
    with path.open("r+b") as raw:
        raw.write(b"#!/bin/sh\n")
    with Source(path) as source:
        assert signature_offset(source) == size
    ours = read(path)
    assert same(ours["plain"], array)
    assert same(ours["packed"], array)
    assert wexport.ingest([path], tmp_path / "o.parquet").models[0].status == "ok"


@pytest.mark.parametrize("dtype", ["<f4", ">i2"])
@pytest.mark.parametrize("filters", [{}, {"compression": "gzip"}, {"compression": "lzf"}])
def test_fill_values_stand_for_what_was_never_written(tmp_path: Path, dtype: str, filters: dict[str, str]) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("part", (10, 10), dtype, chunks=(4, 4), fillvalue=7, **filters)
        dataset[2:6, 2:6] = 1
        theirs = dataset[()]
        file.create_dataset("never", (10,), dtype, chunks=(4,), fillvalue=7, **filters)
        file.create_dataset("plain", (10,), dtype, fillvalue=7)
    ours = read(path)
    assert same(ours["part"], theirs)
    assert same(ours["never"], np.full(10, 7, dtype))
    assert same(ours["plain"], np.full(10, 7, dtype))


def test_bfloat16_fill_value(tmp_path: Path) -> None:
    """Chunks that are missing hold the fill value also where NumPy has no such type."""
    kind = float_type(2, 15, 8, 7, 127, h5t.ORDER_LE)
    with h5py.File(tmp_path / "w.h5", "w") as file:
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_chunk((4,))
        properties.set_deflate(4)
        properties.set_fill_value(np.array(2.0, "<f4"))
        h5d.create(file.id, b"w", kind, h5s.create_simple((6,)), properties)
    assert same(read(tmp_path / "w.h5")["w"], np.full(6, 2.0, ml_dtypes.bfloat16))


def test_values_that_were_never_defined_are_zero(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "w.h5", "w") as file:
        properties = h5p.create(h5p.DATASET_CREATE)
        properties.set_chunk((1024,))
        properties.set_fill_time(h5d.FILL_TIME_NEVER)
        h5d.create(file.id, b"w", h5t.IEEE_F32LE, h5s.create_simple((4096,)), properties)
    assert not read(tmp_path / "w.h5")["w"].any()


FILTERS: dict[str, dict[str, Any]] = {
    "none": {},
    "gzip": {"compression": "gzip", "compression_opts": 1},
    "shuffle": {"shuffle": True},
    "fletcher32": {"fletcher32": True},
    "shuffle gzip fletcher32": {"shuffle": True, "compression": "gzip", "fletcher32": True},
    "gzip fletcher32": {"compression": "gzip", "fletcher32": True},
    "lzf": {"compression": "lzf"},
    "shuffle lzf fletcher32": {"compression": "lzf", "shuffle": True, "fletcher32": True},
}
if h5z.filter_avail(h5z.FILTER_SZIP):
    FILTERS["szip"] = {"compression": "szip"}


@st.composite
def stored_arrays(draw: st.DrawFn) -> tuple[NDArray[Any], tuple[int, ...], str, int]:
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=1, max_side=9))
    chunk = tuple(draw(st.integers(1, side)) for side in shape)
    dtype = np.dtype(draw(st.sampled_from(["<f4", ">f4", "<f8", "<f2", "|i1", "<u2", ">i8"])))
    compressible = draw(st.booleans())
    array = RANDOM.integers(0, 3, shape) if compressible else RANDOM.standard_normal(shape) * 50
    return array.astype(dtype), chunk, draw(st.sampled_from(sorted(FILTERS))), draw(st.integers(1, 300))


@settings(max_examples=150, deadline=None)
@given(case=stored_arrays())
def test_chunked_values_are_h5pys(tmp_path_factory: pytest.TempPathFactory, case: Any) -> None:
    array, chunk, filters, limit = case
    path = tmp_path_factory.getbasetemp() / "chunked.h5"
    if filters == "szip" and (math.prod(chunk) < 8 or array.dtype.itemsize > 4):
        filters = "gzip"  # szip asks for blocks of pixels
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=array, chunks=chunk, **FILTERS[filters])
    assert same(read(path, limit)["w"], array)


@settings(max_examples=200, deadline=None)
@given(
    shape=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    chunk=st.lists(st.integers(1, 7), min_size=4, max_size=4),
    most=st.integers(1, 400),
)
def test_slabs_cover_a_shape_in_order(shape: list[int], chunk: list[int], most: int) -> None:
    numbers = np.arange(math.prod(shape)).reshape(shape)
    seen = []
    for start, count in slabs(tuple(shape), tuple(chunk[: len(shape)]), most):
        part = numbers[tuple(slice(first, first + size) for first, size in zip(start, count, strict=True))]
        assert part.shape == count
        assert part.size <= most
        seen.append(part.reshape(-1))
    assert (np.concatenate(seen) == numbers.reshape(-1)).all()


@pytest.mark.parametrize("filters", [{}, {"compression": "gzip", "compression_opts": 1}, {"compression": "lzf"}])
@pytest.mark.parametrize(
    ("shape", "chunk"), [((500, 20_000), (500, 100)), ((20_000, 500), (10_000, 1)), ((3, 10**7), (3, 10**5))]
)
def test_chunks_across_the_rows(
    tmp_path: Path, shape: tuple[int, ...], chunk: tuple[int, ...], filters: dict[str, Any]
) -> None:
    path = tmp_path / "w.h5"
    array = (np.arange(math.prod(shape), dtype=np.uint32) % 251).astype("i1").reshape(shape)
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=array, chunks=chunk, **filters)
    assert same(read(path, 1 << 20)["w"], array)


def test_pipelines_of_any_order_and_masked_chunks(tmp_path: Path) -> None:
    """Filters in an unusual order, and chunks for which one of them was left out."""
    path = tmp_path / "w.h5"
    orders: Sequence[Any] = [
        [(h5z.FILTER_DEFLATE, 0, (4,)), (h5z.FILTER_SHUFFLE, 0, ())],
        [(h5z.FILTER_FLETCHER32, 0, ()), (h5z.FILTER_SHUFFLE, 0, ()), (h5z.FILTER_DEFLATE, 0, (4,))],
        [(h5z.FILTER_SHUFFLE, 0, ()), (h5z.FILTER_FLETCHER32, 0, ()), (h5z.FILTER_DEFLATE, 0, (4,))],
    ]
    array = RANDOM.standard_normal(1000).astype("<f4")
    with h5py.File(path, "w") as file:
        for number, filters in enumerate(orders):
            crafted.chunked(file, f"w{number}", (1000,), (128,), filters).write(h5s.ALL, h5s.ALL, array)
        masked = crafted.chunked(file, "masked", (8,), (4,), [crafted.GZIP])
        masked.write_direct_chunk((0,), array[:4].tobytes(), filter_mask=1)
        masked.write_direct_chunk((4,), array[4:8].tobytes(), filter_mask=1)
    ours = read(path)
    for number in range(len(orders)):
        assert same(ours[f"w{number}"], array)
    assert same(ours["masked"], array[:8])


@pytest.mark.parametrize("options", [{"scaleoffset": 0}, {"scaleoffset": 3}])
def test_scaled_values_are_h5pys(tmp_path: Path, options: dict[str, int]) -> None:
    path = tmp_path / "w.h5"
    array = RANDOM.integers(0, 100, 500).astype("<i4" if options["scaleoffset"] == 0 else "<f4")
    with h5py.File(path, "w") as file:
        theirs = file.create_dataset("w", data=array, chunks=(64,), **options)[()]
    assert same(read(path)["w"], theirs)


@pytest.mark.parametrize(
    "how", [{"libver": "earliest"}, {"libver": "latest"}, {"track_order": True}, {"libver": "v110"}]
)
def test_every_file_format_of_the_library(tmp_path: Path, how: dict[str, Any]) -> None:
    path = tmp_path / "w.h5"
    array = RANDOM.standard_normal((50, 20))
    with h5py.File(path, "w", **how) as file:
        file.create_dataset("a/one", data=array, chunks=(50, 20), compression="gzip")
        file.create_dataset("a/fixed", data=array, chunks=(9, 9), compression="gzip")
        file.create_dataset("a/grows", data=array, chunks=(9, 9), maxshape=(None, 20), compression="gzip")
        file.create_dataset("a/grows_both", data=array, chunks=(9, 9), maxshape=(None, None), shuffle=True)
        file.create_dataset("a/plain_chunks", data=array, chunks=(9, 9))
        for number in range(40):
            file[f"many/{number}"] = np.full(3, number)
    ours = read(path)
    for name in ("one", "fixed", "grows", "grows_both", "plain_chunks"):
        assert same(ours[f"a/{name}"], array)
    assert len(ours) == 45


def test_damage_is_told_by_the_checksum(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("w", data=np.arange(100, dtype="<f4"), chunks=(100,), fletcher32=True)
        file["other"] = np.ones(3)
        place = dataset.id.get_chunk_info(0).byte_offset
    with path.open("r+b") as raw:
        raw.seek(place + 40)
        raw.write(b"\xff")
    result = wexport.ingest([path], tmp_path / "o.parquet").models[0]
    assert result.status == "partial"
    assert "checksum does not match" in result.problems[0].detail


def test_order_of_writing(tmp_path: Path) -> None:
    """`position` sorts datasets as they were written, whatever their names and storage."""
    names = [f"{'zyxw'[number % 4]}{number}" for number in range(12)]
    with h5py.File(tmp_path / "w.h5", "w") as file:
        for number, name in enumerate(names):
            compression = "gzip" if number % 3 == 0 else None
            file.create_dataset(name, data=np.full(2 + 100 * (number % 5), 1.0), compression=compression)
    with Source(tmp_path / "w.h5") as source:
        found = open_file(source).walk().datasets.values()
        assert [dataset.path for dataset in sorted(found, key=lambda dataset: dataset.position)] == names


# -- attributes ---------------------------------------------------------------------------------------------------


def test_attributes(tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with h5py.File(path, "w", libver="latest") as file:
        attributes = file.attrs
        attributes["text"] = "ключ"
        attributes["bytes"] = np.bytes_("fixed")
        attributes["texts"] = ["a", "bb"]
        attributes["fixed_texts"] = np.array([b"a", b"bb"])
        attributes["number"] = 3
        attributes["none"] = np.zeros(0)
        attributes["null"] = h5py.Empty("f4")
        attributes["compound"] = np.zeros(2, [("a", "f4")])
        attributes["large"] = np.bytes_(b"x" * (17 << 20))
        attributes["split0"], attributes["split1"] = ["a", "b"], ["c"]
    with Source(path) as source:
        tree = open_file(source)
        assert tree.text("", "text") == "ключ"
        assert tree.text("", "bytes") == "fixed"
        assert tree.texts("", "texts") == tree.texts("", "fixed_texts") == ["a", "bb"]
        assert tree.texts("", "split") == ["a", "b", "c"]
        assert tree.texts("", "none") == []
        assert int(tree.attribute("", "number")) == 3
        for name in ("null", "compound", "large", "absent"):
            assert tree.attribute("", name) is None
        assert tree.text("", "number") is None
        assert tree.text("nowhere", "text") is None
        assert [(found.name, found.problem) for found in tree.skipped] == [("@large", True)]


def test_long_doubles_are_rounded_to_float64_and_named_by_their_width(tmp_path: Path) -> None:
    array = np.array([np.pi, -1 / 3, 1e-300], np.longdouble) + np.longdouble(2) ** -60
    with h5py.File(tmp_path / "long.h5", "w") as file:
        file["w"] = array
    (row,) = wexport.inspect(tmp_path / "long.h5").rows
    assert row["dtype"] == np.dtype(np.longdouble).name
    assert row["sample"]["value"].tolist() == array.astype("f8").tolist()


# -- real files ---------------------------------------------------------------------------------------------------


def test_real_files_against_h5py(corpus: Path) -> None:
    """Every dataset that both read has the same values; the files made to crash HDF5 are left to child processes."""
    compared = 0
    for path in sorted(corpus.rglob("*.h*5")):
        if "cve" in str(path) or not h5py.is_hdf5(path):
            continue
        with Source(path) as source:
            try:
                tree = open_file(source).walk()
            except wexport.ReadError:
                continue
            small = [name for name, found in tree.datasets.items() if math.prod(found.shape) < 1 << 20]
            ours = {name: values(tree, name) for name in small if tree.datasets[name].type.dtype.kind in "iuf"}
        with h5py.File(path) as file:
            for name, array in ours.items():
                try:
                    theirs = np.asarray(file[name.encode("utf-8", "surrogateescape")][()])
                except ValueError:  # h5py has no type for a 128-bit float of full precision
                    continue
                assert same(array, theirs.astype(array.dtype)), (path, name)
                compared += 1
    assert compared > 500


@pytest.mark.skipif(sys.platform != "linux", reason="the system does not tell what was read")
def test_the_names_of_a_large_group_are_not_read_anew_for_each(tmp_path: Path) -> None:
    path = tmp_path / "many.h5"
    with h5py.File(path, "w") as file:
        file["w"] = np.ones(3)
        for number in range(1_300):  # their names are one piece of 5 MB
            file[f"{number:04}{'x' * 4_000}"] = file["w"]
    before = bytes_read()
    with Source(path) as source:
        assert len(open_file(source).walk().datasets) == 1_301
    assert bytes_read() - before < 20 * path.stat().st_size


def bytes_read() -> int:
    """What this process has read so far, of whatever."""
    return int(Path("/proc/self/io").read_text().split()[1])
