"""Storage chunks: where they lie, and undoing their filters without trusting what they say of their size.

Shuffle, deflate and fletcher32 are undone here, because the HDF5 library inflates a chunk to whatever size the
stream gives, not to the size that the file declares.
"""

from __future__ import annotations

import math
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from h5py import h5z
from numpy.typing import NDArray

from wexport.errors import HostileFileError, ReadError

LZF = 32000
OWN_FILTERS = frozenset({h5z.FILTER_DEFLATE, h5z.FILTER_SHUFFLE, h5z.FILTER_FLETCHER32})
"""Filters that `Decoder` undoes."""

_INPUT_STEP, _OUTPUT_STEP = 64 << 10, 1 << 20

Corner = tuple[int, ...]
Bytes = bytes | memoryview


@dataclass(frozen=True, slots=True)
class Filter:
    """One step of a filter pipeline: its registered number and its parameters."""

    code: int
    parameters: tuple[int, ...] = ()


def pipeline(properties: Any) -> list[Filter]:
    """The filters of a dataset in the order in which they were applied, from its `h5py.h5p.PropDCID`."""
    found = (properties.get_filter(number) for number in range(properties.get_nfilters()))
    return [Filter(int(code), tuple(int(value) for value in values)) for code, _, values, _ in found]


def grid(shape: Sequence[int], chunk: Sequence[int]) -> tuple[int, ...]:
    """How many chunks there are along each axis."""
    return tuple(-(-size // step) for size, step in zip(shape, chunk, strict=True))


def slabs(
    shape: tuple[int, ...], chunk: tuple[int, ...], most: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Cuts a shape into consecutive slabs of at most `most` values; yields (start, count) of each.

    Slabs end where chunks end if whole layers of chunks fit; else a chunk lies in as few slabs as can be.
    """
    axis = next((axis for axis in range(len(shape)) if math.prod(shape[axis + 1 :]) <= most), len(shape) - 1)
    rows = max(1, most // math.prod(shape[axis + 1 :]))
    step, size = chunk[axis], shape[axis]
    if rows >= step:
        edge = thickness = rows // step * step
    else:
        edge, thickness = step, math.ceil(step / math.ceil(step / rows))
    for lead in np.ndindex(*shape[:axis]):
        for begin in range(0, size, edge):
            end = min(begin + edge, size)
            for first in range(begin, end, thickness):
                start = (*lead, first, *(0,) * (len(shape) - axis - 1))
                yield start, (*(1,) * axis, min(thickness, end - first), *shape[axis + 1 :])


@dataclass(frozen=True, slots=True)
class ChunkIndex:
    """Which chunks of the grid are stored: their numbers in C order of the grid, ascending."""

    chunk: tuple[int, ...]
    grid: tuple[int, ...]
    numbers: NDArray[np.uint64]

    def __contains__(self, corner: Corner) -> bool:
        number = _number(corner, self.chunk, self.grid)
        place = int(np.searchsorted(self.numbers, np.uint64(number)))
        return place < len(self.numbers) and int(self.numbers[place]) == number


def _number(corner: Sequence[int], chunk: tuple[int, ...], counts: tuple[int, ...]) -> int:
    number = 0
    for place, step, count in zip(corner, chunk, counts, strict=True):
        number = number * count + place // step
    return number


def chunk_index(
    dataset: Any, shape: tuple[int, ...], chunk: tuple[int, ...], *, filtered: bool, file_bytes: int, where: str
) -> ChunkIndex:
    """The chunks of a dataset, once all are found to lie on the grid, inside the file and apart from each other.

    Raises HostileFileError if they do not, ReadError if the file's index of them cannot be read.
    """
    raw = math.prod(chunk) * dataset.get_type().get_size()
    counts = grid(shape, chunk)
    numbers, starts, sizes = array("Q"), array("Q"), array("Q")

    def take(info: Any) -> None:
        corner = info.chunk_offset
        on_grid = len(corner) == len(shape) and all(
            place % step == 0 and place < size for place, step, size in zip(corner, chunk, shape, strict=True)
        )
        inside = info.byte_offset >= 0 and info.byte_offset + info.size <= file_bytes
        plausible = 0 < info.size <= raw + raw // 8 + 4096 and (filtered or info.size == raw)
        if not (on_grid and inside and plausible) or len(numbers) >= math.prod(counts):
            raise HostileFileError(f"{where}: chunk {tuple(corner)} lies or measures where no chunk can")
        numbers.append(_number(corner, chunk, counts))
        starts.append(info.byte_offset)
        sizes.append(info.size)

    try:
        dataset.chunk_iter(take)
    except (OSError, RuntimeError, ValueError, TypeError, OverflowError) as error:
        raise ReadError(f"{where}: its chunks cannot be listed: {error}") from None
    order = np.argsort(np.frombuffer(starts, np.uint64), kind="stable")
    first = np.frombuffer(starts, np.uint64)[order]
    last = first + np.frombuffer(sizes, np.uint64)[order]
    if (last[:-1] > first[1:]).any():
        shared = int(first[1:][last[:-1] > first[1:]][0])
        raise HostileFileError(f"{where}: two chunks share the bytes at {shared:,}")
    found = np.sort(np.frombuffer(numbers, np.uint64))
    if (found[:-1] == found[1:]).any():
        raise HostileFileError(f"{where}: a chunk is stored twice")
    return ChunkIndex(chunk, counts, found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """Slabs of a dataset whose filters are all of `OWN_FILTERS`, each chunk undone to no more than it declares.

    fill: the value where no chunk is stored. spend: called with the bytes of each chunk before it is decoded.
    """

    dataset: Any
    dtype: np.dtype[Any]
    index: ChunkIndex
    filters: Sequence[Filter]
    fill: Callable[[Corner], NDArray[Any]]
    spend: Callable[[int], None]
    where: str

    def read(self, start: Corner, count: tuple[int, ...]) -> NDArray[Any]:
        """The slab that begins at `start` and measures `count`."""
        chunk = self.index.chunk
        stop = tuple(first + size for first, size in zip(start, count, strict=True))
        corners = [
            range(first // step * step, last, step) for first, last, step in zip(start, stop, chunk, strict=True)
        ]
        if all(len(axis) == 1 for axis in corners) and (corner := tuple(axis[0] for axis in corners)) in self.index:
            # A large chunk in memory is enough: no copy of it beside.
            return self._decode(corner)[_overlap(corner, chunk, start, stop, corner)]
        slab = np.empty(count, self.dtype)
        fill: NDArray[Any] | None = None
        for place in np.ndindex(*(len(axis) for axis in corners)):
            corner = tuple(axis[number] for axis, number in zip(corners, place, strict=True))
            into = _overlap(corner, chunk, start, stop, start)
            if corner in self.index:
                slab[into] = self._decode(corner)[_overlap(corner, chunk, start, stop, corner)]
            else:
                fill = self.fill(corner) if fill is None else fill
                slab[into] = fill
        return slab

    def _decode(self, corner: Corner) -> NDArray[Any]:
        expected = math.prod(self.index.chunk) * self.dtype.itemsize
        where = f"{self.where}: chunk {corner}"
        self.spend(expected)
        try:
            mask, data = self.dataset.read_direct_chunk(corner)
        except (OSError, RuntimeError, ValueError) as error:
            raise ReadError(f"{where}: {error}") from None
        for number in reversed(range(len(self.filters))):
            if not mask & (1 << number):
                data = _undo(self.filters[number], data, expected, where)
        if len(data) != expected:
            raise HostileFileError(f"{where}: unpacks to {len(data):,} bytes where {expected:,} are declared")
        return np.frombuffer(data, self.dtype).reshape(self.index.chunk)


def _overlap(corner: Corner, chunk: Corner, start: Corner, stop: Corner, origin: Corner) -> tuple[slice, ...]:
    """Where a chunk and the slab from `start` to `stop` overlap, counted from `origin`."""
    return tuple(
        slice(max(edge, first) - zero, min(edge + step, last) - zero)
        for edge, step, first, last, zero in zip(corner, chunk, start, stop, origin, strict=True)
    )


def _undo(step: Filter, data: Bytes, expected: int, where: str) -> Bytes:
    if step.code == h5z.FILTER_DEFLATE:
        # 4 more: a checksum may have been added before.
        return _inflate(data, expected + 4, where)
    if step.code == h5z.FILTER_SHUFFLE:
        return _unshuffle(data, step.parameters[0] if step.parameters else 1)
    if len(data) < 4:
        raise HostileFileError(f"{where}: too short for its checksum")
    body = memoryview(data)[:-4]
    if _fletcher32(body) != int.from_bytes(data[-4:], "little"):
        raise ReadError(f"{where}: its checksum does not match", hint="the file is damaged; copy it again")
    return body


def _inflate(data: Bytes, limit: int, where: str) -> memoryview:
    """Inflates into one buffer, piece by piece: no more than `limit` and a step is ever held."""
    decoder = zlib.decompressobj()
    unpacked = np.empty(limit, np.uint8)
    source = memoryview(data)
    filled = 0
    for start in range(0, len(source), _INPUT_STEP):
        due: Bytes = source[start : start + _INPUT_STEP]
        while True:
            try:
                piece = decoder.decompress(due, _OUTPUT_STEP)
            except zlib.error as error:
                raise ReadError(f"{where}: {error}", hint="the file is damaged; copy it again") from None
            if filled + len(piece) > limit:
                raise HostileFileError(f"{where}: inflates to more than the {limit - 4:,} bytes that it declares")
            unpacked[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
            due = decoder.unconsumed_tail
            if not due and len(piece) < _OUTPUT_STEP:
                break
        if decoder.eof:
            break
    return unpacked.data[:filled]


def _unshuffle(data: Bytes, size: int) -> Bytes:
    """Undoes HDF5's shuffle: all first bytes of the elements, then all second bytes, ...; a rest stays as it is."""
    count = len(data) // size if size > 1 else 0
    if count < 2:
        return data
    shuffled = np.frombuffer(data, np.uint8)
    restored = np.empty(len(data), np.uint8)
    elements = restored[: count * size].reshape(count, size)
    for place in range(size):
        elements[:, place] = shuffled[place * count : (place + 1) * count]
    restored[count * size :] = shuffled[count * size :]
    return restored.data


def _fletcher32(data: Bytes) -> int:
    """HDF5's Fletcher-32 (H5_checksum_fletcher32): sums of big-endian 16-bit words, modulo 65535."""
    whole = len(data) // 2
    words = np.frombuffer(data, ">u2", whole)
    total = weighted = 0
    # Pieces keep the weighted sum far below 2**64: 2**16 words of 16 bits with weights of 16 bits.
    for start in range(0, whole, 1 << 16):
        piece = words[start : start + (1 << 16)].astype(np.uint64)
        weighted += len(piece) * total + int((piece * np.arange(len(piece), 0, -1, dtype=np.uint64)).sum())
        total += int(piece.sum())
    if len(data) % 2:
        total += data[-1] << 8
        weighted += total
    return _fold(weighted) << 16 | _fold(total)


def _fold(value: int) -> int:
    """Ones' complement reduction to 16 bits: 65535 stays, where a plain modulo would give 0."""
    return value if value == 0 else (value - 1) % 65535 + 1
