"""NumPy's `.npz` and `.npy` for wexport: names and arrays, read in place and never unpickled.

The format is that of `numpy.lib.format`: a magic string, a header that is a Python literal, then the values.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

import wexport
from wexport.reading import FileSlice, archives, chunks, roles, state_dict

ARRAY_MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 1 << 16
"""A header of a plain array has about a hundred bytes; parsing it costs a multiple of its length."""


def sniff(source: wexport.Source) -> float:
    """0.9 for an array by its magic string, 0.8 for a zip of which all members are arrays by their names."""
    if source.head.startswith(ARRAY_MAGIC):
        return 0.9
    if not source.head.startswith(archives.SIGNATURES):
        return 0.0
    try:
        names = archives.member_names(source)
    except wexport.ReadError:
        return 0.0
    return 0.8 if names and all(name.endswith(".npy") for name in names) else 0.0


def open_(source: wexport.Source) -> wexport.Model:
    """All arrays of a file, as far as they are numbers.

    Raises ReadError for a damaged file, HostileFileError for a zip that names a member twice, BudgetError for one that
    unpacks to too much.
    """
    if source.head.startswith(ARRAY_MAGIC):
        return _model("npy", [_array(source, FileSlice(source.file, 0, source.size), "values")])
    archive = archives.open_archive(source)
    return _model("npz", [_member(source, archive, name) for name in archive.members])


def _member(source: wexport.Source, archive: archives.Archive, name: str) -> wexport.Tensor | wexport.Skipped:
    own = name.removesuffix(".npy")
    try:
        window = archive.window(name)
        assert window is not None
        return _array(source, window, own)
    except wexport.ReadError as error:  # the others are still worth having
        return wexport.Skipped("unreadable array", own, True, str(error))


def _array(source: wexport.Source, window: FileSlice, name: str) -> wexport.Tensor | wexport.Skipped:
    where = f"{source.path}: {name}"
    shape, fortran, dtype = _header(window, where)
    if dtype.hasobject:
        return wexport.Skipped("pickled objects", name, detail="never unpickled")
    if dtype.kind not in "fiub":
        return wexport.Skipped("array that is not numbers", name, detail=str(dtype))
    start, size = window.tell(), math.prod(shape)
    if size * dtype.itemsize > window.size - start:
        raise wexport.ReadError(
            f"{where}: declares {size:,} values of {dtype}, {window.size - start:,} bytes are there",
            hint="the file is cut short; copy or save it again",
        )
    wide = dtype.itemsize > 8  # longdouble
    read = _in_fortran_order(window, start, shape, dtype) if fortran else _in_order(window, start, dtype, size, where)
    return wexport.Tensor(
        name=name,
        shape=shape,
        dtype=dtype.name,
        chunks=_as_float64(read) if wide else read,
        value_dtype="float64" if wide else None,
    )


def _header(window: FileSlice, where: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and type; the window then stands at the first value."""
    try:
        version = npy.read_magic(window)
        parse = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, fortran, dtype = parse(window, max_header_size=MAX_HEADER_BYTES)
    except Exception as error:  # a literal of Python's is parsed, which may fail in any way
        raise wexport.ReadError(
            f"{where}: is not an array of NumPy's: {' '.join(str(error).split())[:200]}",
            hint="the file is damaged; copy or save it again",
        ) from None
    if any(length < 0 for length in shape):
        raise wexport.HostileFileError(f"{where}: declares the shape {shape}")
    return shape, fortran, dtype


def _in_order(window: FileSlice, start: int, dtype: np.dtype[Any], size: int, where: str) -> Any:
    def read_at(offset: int, count: int) -> bytes:
        window.seek(offset)
        return window.read(count) or b""

    return chunks.of_bytes(read_at, start, dtype, size, where)


def _in_fortran_order(window: FileSlice, start: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
    """The first axis varies fastest in the file, so the values are collected through a memory map."""

    def read(limit: int) -> Iterator[NDArray[Any]]:
        if not math.prod(shape):
            return
        mapped = np.memmap(window.base, dtype, "r", window.start + start, shape, "F")
        step = max(1, limit // dtype.itemsize)
        for begin in range(0, mapped.size, step):
            yield np.asarray(mapped.flat[begin : begin + step])

    return read


def _as_float64(read: Any) -> Any:
    return lambda limit: (chunk.astype(np.float64) for chunk in read(limit))


def _model(container: str, found: Sequence[wexport.Tensor | wexport.Skipped]) -> wexport.Model:
    values = state_dict.decoded([item for item in found if isinstance(item, wexport.Tensor)])
    tensors = values.tensors
    if state_dict.looks_like_torch(tensor.name for tensor in tensors):
        tensors = state_dict.describe(tensors, ordered=False)
    else:
        tensors = [roles.by_name(tensor) for tensor in tensors]
    if all(tensor.role == "unknown" for tensor in tensors):
        tensors = [replace(tensor, kind="array") for tensor in tensors]
    skipped = [*(item for item in found if isinstance(item, wexport.Skipped)), *values.skipped]
    return wexport.Model(tensors=tensors, format=container, skipped=skipped)


READER = wexport.Reader(name="npz", reads="NumPy's .npz and .npy", sniff=sniff, open=open_, suffixes=(".npz", ".npy"))


@wexport.hookimpl
def wexport_readers() -> Sequence[wexport.Reader]:
    return [READER]
