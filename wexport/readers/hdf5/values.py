"""Reading an HDF5 dataset's values in C order, in bounded memory, after looking at how it says it is stored.

Plain contiguous data are read from the file itself, common compression is undone in `hdf5_chunks`. All else goes
through the HDF5 library, once the chunks' places and sizes have been found plausible.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from h5py import h5d, h5s, h5t, h5z
from numpy.typing import NDArray

from wexport.errors import ReadError
from wexport.files.slices import FileSlice
from wexport.model.tensors import Skipped
from wexport.readers.hdf5.budget import Budget
from wexport.readers.hdf5.chunks import LZF, OWN_FILTERS, Decoder, Filter, chunk_index, grid, pipeline, slabs
from wexport.readers.hdf5.types import NumericType, numeric_type

MAX_CHUNK_BYTES = 32 << 20
"""Largest filtered chunk: it must be in memory whole, twice."""
MAX_CHUNKS = 1_000_000
"""How many chunks a dataset may be cut into."""
BAND_BYTES = 16 << 20
"""How much of a chunked dataset is read at a time, whatever is asked for: chunks are costly to read twice."""
BAND_CHUNKS = 4096
"""How many chunks the HDF5 library is asked for at a time: it takes some 500 bytes to think about each."""
_FILTERS = OWN_FILTERS | {h5z.FILTER_SZIP, h5z.FILTER_NBIT, h5z.FILTER_SCALEOFFSET, LZF}
_PACKING = _FILTERS - {h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32}
_FILTER_NAMES = {
    305: "lzo",
    307: "bzip2",
    32001: "blosc",
    32004: "lz4",
    32008: "bitshuffle",
    32013: "zfp",
    32015: "zstd",
}

Read = Callable[[tuple[int, ...], tuple[int, ...]], NDArray[Any]]


class OpenFile(Protocol):
    """What a dataset needs of the file that it lies in: its bytes, its budget, what to call it, and its objects."""

    window: FileSlice
    budget: Budget
    where: str

    def object(self, path: str) -> Any:
        """The h5py low-level object at `path`, or None."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """A numeric dataset of an open file.

    path: inside the file. shape: as stored. type: how its values are read. offset: where its values stand in the
    file's window if they stand there in one piece and as they are, else None. position: a number that orders
    datasets as they were written (the place of the object's header in the file).
    """

    path: str
    shape: tuple[int, ...]
    type: NumericType
    offset: int | None
    position: int
    tree: OpenFile

    @property
    def where(self) -> str:
        """The file and the path in it, as messages begin."""
        return f"{self.tree.where}: {self.path}"

    def chunks(self, limit: int) -> Iterator[NDArray[Any]]:
        """The values in C order as flat arrays of at most `limit` bytes; each is valid until the next is asked for.

        A limit below one value's size yields single values. Raises ReadError for what turns out to be damaged,
        HostileFileError for storage that no writer would make, BudgetError past the file's budget.
        """
        if 0 in self.shape:
            return
        if self.offset is not None:
            yield from self._plain(limit)
            return
        dataset = self.tree.object(self.path)
        if not isinstance(dataset, h5d.DatasetID):
            raise ReadError(f"{self.where} cannot be opened again")
        for band in _bands(dataset, self, limit):
            flat = band.reshape(-1)
            step = max(1, limit // flat.itemsize)
            for start in range(0, flat.size, step):
                yield flat[start : start + step]

    def _plain(self, limit: int) -> Iterator[NDArray[Any]]:
        assert self.offset is not None
        dtype = self.type.dtype
        total = math.prod(self.shape) * dtype.itemsize
        step = max(1, limit // dtype.itemsize) * dtype.itemsize
        buffer = np.empty(min(step, total), np.uint8)
        for start in range(0, total, step):
            count = min(step, total - start)
            piece = buffer[:count]
            if self.tree.window.read_into_at(self.offset + start, piece.data) < count:
                raise ReadError(f"{self.where} ends before its last value")
            yield piece.view(dtype)


def describe(dataset: Any, path: str, declared: str | None, position: int, tree: OpenFile) -> Dataset | Skipped:
    """What a dataset is, told from its creation properties before anything of it is resolved or read.

    dataset: `h5py.h5d.DatasetID`. declared: its attribute `dtype`, if it has one. position: see `Dataset`.
    """
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5d.VIRTUAL:
        return Skipped("virtual dataset", path, True, "its values lie in other files, which are not followed")
    if layout == h5d.CONTIGUOUS and properties.get_external_count():
        return Skipped("external storage", path, True, "its values lie in other files, which are not followed")
    kind = numeric_type(dataset.get_type(), declared)
    if isinstance(kind, str):
        return Skipped(kind, path, size=dataset.get_storage_size())
    space = dataset.get_space()
    if space.get_simple_extent_type() == h5s.NULL:
        return Skipped("null dataspace", path)
    shape = tuple(int(size) for size in space.get_simple_extent_dims())
    stored_size = math.prod(shape) * dataset.get_type().get_size()
    stored = dataset.get_storage_size()
    filters = pipeline(properties)
    refusal = _refused_chunks(properties.get_chunk(), shape, dataset, filters) if layout == h5d.CHUNKED else None
    if refusal is None:
        refusal = tree.budget.refusal(stored_size, stored, any(step.code in _PACKING for step in filters))
    if refusal is not None:
        return Skipped(refusal[0], path, True, refusal[1])
    offset = dataset.get_offset() if layout == h5d.CONTIGUOUS else None
    if offset is not None and (offset + stored > tree.window.size or stored != stored_size):
        detail = f"{stored_size:,} bytes declared, {stored:,} stored"
        return Skipped("storage outside the file", path, True, detail)
    return Dataset(path, shape, kind, offset if kind.raw else None, position, tree)


def _refused_chunks(
    chunk: tuple[int, ...], shape: tuple[int, ...], dataset: Any, filters: list[Filter]
) -> tuple[str, str] | None:
    """What is wrong with how a dataset is chunked and filtered, and why; None if nothing is."""
    codes = [step.code for step in filters]
    for code in codes:
        if code not in _FILTERS:
            name = f" ({_FILTER_NAMES[code]})" if code in _FILTER_NAMES else ""
            return (
                f"filter {code}{name} not available",
                "no filter is loaded from outside; save it without, or with gzip",
            )
        if not h5z.filter_avail(code):
            return f"filter {code} not available", "this build of the HDF5 library does not have it"
    if len(set(codes)) < len(codes):
        return "filter applied twice", "no writer does that"
    if len(chunk) != len(shape):
        return "chunks of another rank", f"{len(chunk)} axes where the dataset has {len(shape)}"
    size = math.prod(chunk) * dataset.get_type().get_size()
    if filters and size > MAX_CHUNK_BYTES:
        return (
            "compressed chunk too large",
            f"{size:,} bytes, more than {MAX_CHUNK_BYTES:,}; save it with smaller chunks",
        )
    count = math.prod(grid(shape, chunk))
    if count > MAX_CHUNKS:
        return "too many chunks", f"{count:,}, more than {MAX_CHUNKS:,}; save it with larger chunks"
    return None


# -- all that is not plain ------------------------------------------------------------


def _bands(dataset: Any, about: Dataset, limit: int) -> Iterator[NDArray[Any]]:
    """The values as consecutive slabs in C order."""
    properties = dataset.get_create_plist()
    if not about.shape:
        yield _read_through_hdf5(dataset, (), (), about)
    elif properties.get_layout() == h5d.CHUNKED:
        chunk = properties.get_chunk()
        read, most = _chunk_reader(dataset, about, chunk, pipeline(properties))
        for start, count in slabs(about.shape, chunk, max(1, most // about.type.dtype.itemsize)):
            yield read(start, count)
    else:
        for start, count in slabs(about.shape, (1,) * len(about.shape), max(1, limit // about.type.dtype.itemsize)):
            yield _read_through_hdf5(dataset, start, count, about)


def _chunk_reader(dataset: Any, about: Dataset, chunk: tuple[int, ...], filters: list[Filter]) -> tuple[Read, int]:
    """How to read a slab of a chunked dataset, and how many bytes of it at most."""
    dtype, where, budget = about.type.dtype, about.where, about.tree.budget
    chunk_bytes = math.prod(chunk) * dtype.itemsize
    index = chunk_index(
        dataset, about.shape, chunk, filtered=bool(filters), file_bytes=about.tree.window.size, where=where
    )
    if filters and about.type.raw and {step.code for step in filters} <= OWN_FILTERS:
        decoder = Decoder(
            dataset=dataset,
            dtype=dtype,
            index=index,
            filters=filters,
            fill=lambda corner: _read_through_hdf5(dataset, corner, (1,) * len(corner), about).reshape(()),
            spend=lambda count: budget.spend(count, where),
            where=where,
        )
        return decoder.read, max(BAND_BYTES, chunk_bytes if _is_run(chunk, about.shape) else 0)

    def read(start: tuple[int, ...], count: tuple[int, ...]) -> NDArray[Any]:
        if filters:
            touched = (
                (first + size - 1) // step - first // step + 1
                for first, size, step in zip(start, count, chunk, strict=True)
            )
            budget.spend(math.prod(touched) * chunk_bytes, where)
        return _read_through_hdf5(dataset, start, count, about)

    return read, min(BAND_BYTES, BAND_CHUNKS * chunk_bytes)


def _is_run(chunk: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether the values of a chunk follow each other in C order: only ones, then any length, then whole axes."""
    first = next((axis for axis, step in enumerate(chunk) if step > 1), len(chunk))
    return chunk[first + 1 :] == shape[first + 1 :]


def _read_through_hdf5(dataset: Any, start: tuple[int, ...], count: tuple[int, ...], about: Dataset) -> NDArray[Any]:
    # Zeros, because HDF5 leaves alone what was never written and has no fill value.
    values = np.zeros(count, about.type.dtype)
    file_space = dataset.get_space()
    if count:
        file_space.select_hyperslab(start, count)
    memory_space = h5s.create_simple(count) if count else h5s.create(h5s.SCALAR)
    buffer = values
    if values.dtype.kind == "V":  # h5py knows no type of ml_dtypes; it only has to fill the bytes
        opaque = about.type.memory.get_class() == h5t.OPAQUE
        buffer = values.view(f"V{values.itemsize}" if opaque else f"u{values.itemsize}")
    try:
        dataset.read(memory_space, file_space, buffer, mtype=about.type.memory)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise ReadError(f"{about.where}: {error}") from None
    return values
