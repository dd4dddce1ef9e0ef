"""Reading an HDF5 dataset's values in C order, in bounded memory, after looking at how it says it is stored.

Plain contiguous data are read from the file itself. Shuffle, deflate and fletcher32 are undone here, because the
HDF5 library inflates a chunk to whatever size the stream gives, not to the size that the file declares. All else
goes through the library, once the chunks' places and sizes have been found plausible.
"""

from __future__ import annotations

import io
import math
import os
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from h5py import h5d, h5s, h5t, h5z
from numpy.typing import NDArray

from wexport.errors import BudgetError, HostileFileError, ReadError
from wexport.readers.hdf5_types import NumericType, numeric_type
from wexport.tensors import Skipped

if TYPE_CHECKING:
    from wexport.readers.hdf5_walk import Tree

MAX_CHUNK_BYTES = 64 << 20
"""Largest filtered chunk: it must be in memory whole, twice."""
MAX_UNBACKED_BYTES = 256 << 20
"""How many bytes a file may declare that nothing on disk stands behind."""
DEFLATE_RATIO = 1032
"""deflate's own upper bound: one bit stands for at most 129 bytes."""

_LZF, _DEFLATE, _SHUFFLE, _FLETCHER32 = 32000, h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32
_OWN_FILTERS = {_DEFLATE, _SHUFFLE, _FLETCHER32}
_FILTERS = _OWN_FILTERS | {h5z.FILTER_SZIP, h5z.FILTER_NBIT, h5z.FILTER_SCALEOFFSET, _LZF}
_PACKING = _FILTERS - {_SHUFFLE, _FLETCHER32}
_FILTER_NAMES = {307: "bzip2", 305: "lzo", 32001: "blosc", 32004: "lz4", 32008: "bitshuffle", 32015: "zstd"}


class Window(io.RawIOBase):
    """A stretch of a file as a file of its own: reads only, never outside."""

    def __init__(self, file: BinaryIO, start: int, size: int) -> None:
        super().__init__()
        self.base = file
        self.start = start
        self.size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = self.read_into_at(self._position, view)
        self._position += count
        return count

    def read_into_at(self, offset: int, buffer: memoryview) -> int:
        """Fill `buffer` from `offset` on; returns how many bytes there were."""
        count = max(0, min(len(buffer), self.size - offset))
        self.base.seek(self.start + offset)
        done = 0
        while done < count:
            got = self.base.readinto(buffer[done:count])  # type: ignore[attr-defined]  # a raw FileIO
            if not got:
                break
            done += got
        return done


@dataclass
class Budget:
    """What one file may cost to decode; shared by all its datasets.

    file_bytes: its size on disk.
    decoded: bytes decoded so far.
    unbacked: declared bytes so far that nothing on disk stands behind.
    """

    file_bytes: int
    decoded: int = 0
    unbacked: int = 0

    @property
    def limit(self) -> int:
        """Bytes a file may decode to: 1 GiB, and 200 for each byte on disk."""
        return (1 << 30) + 200 * self.file_bytes

    def spend(self, count: int, where: str) -> None:
        """Account for `count` more decoded bytes; raises BudgetError past the limit."""
        self.decoded += count
        if self.decoded > self.limit:
            raise BudgetError(
                f"{where}: decoding went past {self.limit:,} bytes for a file of {self.file_bytes:,}",
                hint="a file that unpacks to so much more than it holds is refused; save it uncompressed to read it",
            )


@dataclass(frozen=True, slots=True)
class Dataset:
    """A numeric dataset of a `Tree`.

    path: inside the file. shape: as stored. type: how its values are read. offset: where its values stand in the
    file's window if they stand there in one piece and as they are, else None. position: a number that orders
    datasets as they were written (the file offset of the object's header).
    """

    path: str
    shape: tuple[int, ...]
    type: NumericType
    offset: int | None
    position: int
    tree: Tree

    def chunks(self, limit: int) -> Iterator[NDArray[Any]]:
        """The values in C order as flat arrays of at most `limit` bytes; each is valid until the next is asked for."""
        if 0 in self.shape:
            return
        if self.offset is not None:
            yield from self._plain(limit)
            return
        dataset = self.tree.object(self.path)
        if dataset is None:
            raise ReadError(f"{self.tree.where}: {self.path} cannot be opened again")
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
            if self.tree.window.read_into_at(self.offset + start, memoryview(piece)) < count:
                raise ReadError(f"{self.tree.where}: {self.path} ends before its last value")
            yield piece.view(dtype)


def describe(dataset: Any, path: str, declared: str | None, tree: Tree) -> Dataset | Skipped:
    """What a dataset is, told from its creation properties before anything of it is resolved or read.

    dataset: `h5py.h5d.DatasetID`. declared: its attribute `dtype`, if it has one.
    """
    properties = dataset.get_create_plist()
    layout = properties.get_layout()
    if layout == h5d.VIRTUAL:
        return Skipped("virtual dataset", path, True, "its values lie in other files, which are not followed")
    if layout == h5d.CONTIGUOUS and properties.get_external_count():
        return Skipped(
            "external storage", path, True, "its values lie in other files, which are not followed"
        )
    kind = numeric_type(dataset.get_type(), declared)
    if isinstance(kind, str):
        return Skipped(kind, path)
    space = dataset.get_space()
    if space.get_simple_extent_type() == h5s.NULL:
        return Skipped("null dataspace", path)
    shape = tuple(int(size) for size in space.get_simple_extent_dims())
    count = math.prod(shape)
    size = count * kind.dtype.itemsize
    stored = dataset.get_storage_size()
    filters = [properties.get_filter(number)[0] for number in range(properties.get_nfilters())]
    refusal = _refused_filters(filters)
    if refusal:
        return Skipped(refusal, path, True, "")
    offset = None
    if layout == h5d.CONTIGUOUS:
        offset = dataset.get_offset()
        if offset is not None and (
            offset + stored > tree.window.size or stored != count * dataset.get_type().get_size()
        ):
            return Skipped(
                "storage outside the file", path, True, f"{size:,} bytes declared, {stored:,} stored"
            )
        if not kind.raw:
            offset = None
    backed = stored * DEFLATE_RATIO if _PACKING & set(filters) else stored
    unbacked = max(0, size - backed)
    tree.budget.unbacked += unbacked
    if tree.budget.unbacked > MAX_UNBACKED_BYTES and unbacked:
        return Skipped(
            "declared but not stored", path, True, f"declares {size:,} bytes where the file stores {stored:,}"
        )
    return Dataset(path, shape, kind, offset, offset or 0, tree)


def _refused_filters(filters: list[int]) -> str:
    for code in filters:
        if code not in _FILTERS:
            name = _FILTER_NAMES.get(code, "")
            return f"filter {code}{f' ({name})' if name else ''} not available"
    return "a filter applied twice" if len(set(filters)) < len(filters) else ""


# -- filtered, chunked and converted data ----------------------------------------------------------------------------


def _bands(dataset: Any, about: Dataset, limit: int) -> Iterator[NDArray[Any]]:
    """The values as consecutive C-order slabs, each as small as the storage chunks allow."""
    properties = dataset.get_create_plist()
    shape = about.shape
    if not shape:
        yield _read_through_hdf5(dataset, (), (), about)
        return
    chunk = properties.get_chunk() if properties.get_layout() == h5d.CHUNKED else (1,) * len(shape)
    read: Callable[[tuple[int, ...], tuple[int, ...]], NDArray[Any]]
    filters = [
        (properties.get_filter(n)[0], properties.get_filter(n)[2]) for n in range(properties.get_nfilters())
    ]
    if properties.get_layout() == h5d.CHUNKED:
        chunks = _checked_chunks(dataset, about, chunk, bool(filters))
        if filters and about.type.raw and {code for code, _ in filters} <= _OWN_FILTERS:
            decoder = _ChunkDecoder(dataset, about, chunk, chunks, [code for code, _ in filters], properties)
            read = decoder.read
        else:
            read = lambda start, count: _read_through_hdf5(dataset, start, count, about)  # noqa: E731
    else:
        read = lambda start, count: _read_through_hdf5(dataset, start, count, about)  # noqa: E731
    itemsize = about.type.dtype.itemsize
    # The outermost axis along which one layer of storage chunks fits; the axes before it go index by index.
    for axis in range(len(shape)):
        row = math.prod(shape[axis + 1 :]) * itemsize
        if row * min(chunk[axis], shape[axis]) <= max(limit, 16 << 20) or axis == len(shape) - 1:
            break
    row = math.prod(shape[axis + 1 :]) * itemsize
    thickness = max(1, limit // max(1, row) // chunk[axis]) * chunk[axis]
    cost = math.prod(min(c, s) for c, s in zip(chunk[:axis], shape[:axis], strict=True))
    for lead in np.ndindex(*shape[:axis]):
        for first in range(0, shape[axis], thickness):
            start = (*lead, first, *(0,) * (len(shape) - axis - 1))
            count = (*(1,) * axis, min(thickness, shape[axis] - first), *shape[axis + 1 :])
            # Chunks that are thicker than one index along the leading axes are decoded once for each index.
            about.tree.budget.spend(math.prod(count) * itemsize * (cost if filters else 1), about.tree.where)
            yield read(start, count)


def _read_through_hdf5(
    dataset: Any, start: tuple[int, ...], count: tuple[int, ...], about: Dataset
) -> NDArray[Any]:
    values = np.empty(count, about.type.dtype)
    file_space = dataset.get_space()
    if count:
        file_space.select_hyperslab(start, count)
    memory_space = h5s.create_simple(count) if count else h5s.create(h5s.SCALAR)
    # The file's own type for raw bytes: small floats have no NumPy type that HDF5 could convert to.
    memory_type = dataset.get_type() if about.type.raw else h5t.py_create(about.type.dtype)
    buffer = values.view(f"V{values.itemsize}") if memory_type.get_class() == h5t.OPAQUE else values
    if about.type.raw and values.dtype.kind == "V":
        buffer = values.view(np.dtype(f"u{values.itemsize}"))
    try:
        dataset.read(memory_space, file_space, buffer, mtype=memory_type)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise ReadError(f"{about.tree.where}: {about.path}: {error}") from None
    return values


def _checked_chunks(
    dataset: Any, about: Dataset, chunk: tuple[int, ...], filtered: bool
) -> dict[tuple[int, ...], tuple[int, int]]:
    """(filter mask, stored bytes) of each storage chunk by its first index, once all are found plausible."""
    raw = math.prod(chunk) * dataset.get_type().get_size()
    where = f"{about.tree.where}: {about.path}"
    if filtered and raw > MAX_CHUNK_BYTES:
        raise HostileFileError(
            f"{where}: a compressed chunk holds {raw:,} bytes, more than {MAX_CHUNK_BYTES:,}",
            hint="save the file with smaller chunks, or uncompressed",
        )
    found: dict[tuple[int, ...], tuple[int, int]] = {}
    stretches: list[tuple[int, int]] = []

    def take(info: Any) -> None:
        corner = tuple(int(place) for place in info.chunk_offset)
        aligned = all(
            place % step == 0 and place < max(size, 1)
            for place, step, size in zip(corner, chunk, about.shape, strict=True)
        )
        inside = 0 <= info.byte_offset and info.byte_offset + info.size <= about.tree.window.size
        plausible = info.size <= raw + raw // 8 + 4096 and (filtered or info.size == raw)
        if not (aligned and inside and plausible) or corner in found:
            raise HostileFileError(f"{where}: chunk {corner} lies or measures where no chunk can")
        found[corner] = (int(info.filter_mask), int(info.size))
        stretches.append((int(info.byte_offset), int(info.size)))

    try:
        dataset.chunk_iter(take)
    except (OSError, RuntimeError, ValueError, TypeError) as error:
        raise ReadError(f"{where}: its chunks cannot be listed: {error}") from None
    stretches.sort()
    for (start, size), (following, _) in zip(stretches, stretches[1:], strict=False):
        if start + size > following:
            raise HostileFileError(f"{where}: two chunks share the bytes at {following}")
    return found


class _ChunkDecoder:
    """Slabs of a dataset whose filters are undone here, each chunk to no more than its declared size."""

    def __init__(
        self,
        dataset: Any,
        about: Dataset,
        chunk: tuple[int, ...],
        chunks: dict[tuple[int, ...], tuple[int, int]],
        filters: list[int],
        properties: Any,
    ) -> None:
        self.dataset, self.about, self.chunk, self.chunks, self.filters = (
            dataset,
            about,
            chunk,
            chunks,
            filters,
        )
        self.fill = np.zeros((), about.type.dtype)
        if about.type.dtype.kind in "iuf" and properties.fill_value_defined() != h5d.FILL_VALUE_UNDEFINED:
            properties.get_fill_value(self.fill)

    def read(self, start: tuple[int, ...], count: tuple[int, ...]) -> NDArray[Any]:
        """The slab that begins at `start` and measures `count`."""
        slab = np.full(count, self.fill, self.about.type.dtype)
        stop = tuple(first + size for first, size in zip(start, count, strict=True))
        corners = [
            range(first // step * step, last, step)
            for first, last, step in zip(start, stop, self.chunk, strict=True)
        ]
        for place in np.ndindex(*(len(axis) for axis in corners)):
            corner = tuple(axis[number] for axis, number in zip(corners, place, strict=True))
            if corner not in self.chunks:
                continue
            values = self._decode(corner)
            into, out_of = [], []
            for edge, step, first, last in zip(corner, self.chunk, start, stop, strict=True):
                low, high = max(edge, first), min(edge + step, last)
                into.append(slice(low - first, high - first))
                out_of.append(slice(low - edge, high - edge))
            slab[tuple(into)] = values[tuple(out_of)]
        return slab

    def _decode(self, corner: tuple[int, ...]) -> NDArray[Any]:
        dtype = self.about.type.dtype
        expected = math.prod(self.chunk) * dtype.itemsize
        where = f"{self.about.tree.where}: {self.about.path}: chunk {corner}"
        try:
            mask, data = self.dataset.read_direct_chunk(corner)
        except (OSError, RuntimeError, ValueError) as error:
            raise ReadError(f"{where}: {error}") from None
        for number in reversed(range(len(self.filters))):
            if mask & (1 << number):
                continue
            code = self.filters[number]
            if code == _FLETCHER32:
                if len(data) < 4:
                    raise HostileFileError(f"{where}: too short for its checksum")
                if _fletcher32(data[:-4]) != int.from_bytes(data[-4:], "little"):
                    raise ReadError(
                        f"{where}: its checksum does not match", hint="the file is damaged; copy it again"
                    )
                data = data[:-4]
            elif code == _DEFLATE:
                data = _inflate(data, expected + 4, where)
            elif code == _SHUFFLE and len(data) >= dtype.itemsize > 1:
                whole = len(data) // dtype.itemsize * dtype.itemsize
                planes = np.frombuffer(data, np.uint8, whole).reshape(dtype.itemsize, -1)
                data = planes.T.tobytes() + bytes(data[whole:])
        if len(data) != expected:
            raise HostileFileError(f"{where}: unpacks to {len(data):,} bytes where {expected:,} are declared")
        return np.frombuffer(data, dtype).reshape(self.chunk)


def _inflate(data: bytes, limit: int, where: str) -> bytes:
    decoder = zlib.decompressobj()
    try:
        unpacked = decoder.decompress(data, limit + 1)
    except zlib.error as error:
        raise ReadError(f"{where}: {error}", hint="the file is damaged; copy it again") from None
    if len(unpacked) > limit or decoder.unconsumed_tail:
        raise HostileFileError(f"{where}: inflates to more than the {limit:,} bytes that it declares")
    return unpacked


def _fletcher32(data: bytes) -> int:
    """HDF5's Fletcher-32 (H5_checksum_fletcher32): sums of big-endian 16-bit words, modulo 65535."""
    padded = data if len(data) % 2 == 0 else data + b"\0"
    words = np.frombuffer(padded, ">u2").astype(np.uint64)
    total = weighted = 0
    # Pieces keep the weighted sum far below 2**64: 2**16 words of 16 bits with weights of 16 bits.
    for start in range(0, len(words), 1 << 16):
        piece = words[start : start + (1 << 16)]
        weighted += len(piece) * total + int((piece * np.arange(len(piece), 0, -1, dtype=np.uint64)).sum())
        total += int(piece.sum())
    return _fold(weighted) << 16 | _fold(total)


def _fold(value: int) -> int:
    """Ones' complement reduction to 16 bits: 65535 stays, where a plain modulo would give 0."""
    return value if value == 0 else (value - 1) % 65535 + 1
