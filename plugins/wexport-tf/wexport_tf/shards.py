"""The values of a checkpoint's tensors, in the data files beside its index."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import ml_dtypes
import numpy as np

import wexport
from wexport.reading import ExternalFiles, chunks, shards
from wexport_tf import wire
from wexport_tf.bundle import Bundle, Entry, Extent, slice_key

MAX_TEXT_BYTES = 64 << 20
_NO_NUMBERS = {"string": "string", "resource": "resource", "variant": "variant"}
_DAMAGED = "the checkpoint is damaged or incomplete; copy or save it again"
_OPEN_FILES = 8


class Shards:
    """The data files of an index, reached by the names that its own name gives them, and by no others.

    Of a checkpoint in `model.ckpt-100.index` the first of two is `model.ckpt-100.data-00000-of-00002`.
    """

    def __init__(self, source: wexport.Source, bundle: Bundle) -> None:
        self._source, self._bundle = source, bundle
        self._open: dict[int, tuple[wexport.Source, ExitStack]] = {}
        self._external = ExternalFiles(source)
        source.closing(self)

    def close(self) -> None:
        for _, stack in self._open.values():
            stack.close()
        self._open.clear()

    def path(self, shard: int) -> Path:
        return shards.checkpoint_part(self._source.path, shard, self._bundle.shards)

    def size(self, shard: int) -> int:
        """Bytes in a data file. Raises ReadError if it is not there."""
        return self._file(shard).size

    def read_at(self, shard: int, offset: int, count: int) -> bytes:
        return self._file(shard).read_at(offset, count)

    def _file(self, shard: int) -> wexport.Source:
        """The last few are kept open: tensors are read in the order of the layers, which is not that of the files."""
        if shard not in self._open:
            if len(self._open) == _OPEN_FILES:
                self._open.pop(next(iter(self._open)))[1].close()
            path = self.path(shard)
            stack = ExitStack()
            try:
                file = stack.enter_context(self._external.opening(path.name))
            except wexport.HostileFileError:
                raise
            except wexport.ReadError as error:
                reason = str(error).removeprefix(f"{path}: ") if path.exists() else "is not there"
                raise wexport.ReadError(
                    f"{self._source.path}: its data file {path.name} {reason}",
                    hint=f"copy {path.name} beside it",
                ) from None
            self._open[shard] = file, stack
        return self._open[shard][0]

    # -- tensors -------------------------------------------------------------------------------------------------------

    def tensor(self, entry: Entry) -> wexport.Tensor | wexport.Skipped:
        """A tensor, or why it is left out."""
        try:
            return self._tensor(entry)
        except wexport.ReadError as error:  # the others are still worth having
            return wexport.Skipped("unreadable tensor", entry.name, True, f"{error}; {error.hint}")

    def _tensor(self, entry: Entry) -> wexport.Tensor | wexport.Skipped:
        if entry.dtype in _NO_NUMBERS:
            return wexport.Skipped(_NO_NUMBERS[entry.dtype], entry.name, size=entry.size)
        dtype = _dtype(entry.dtype)
        if dtype is None:
            problem = entry.dtype.startswith("type")
            return wexport.Skipped("type without figures", entry.name, problem, entry.dtype, entry.size)
        if entry.slices:
            return self._of_slices(entry, dtype)
        where = f"{self._source.path}: {entry.name}"
        size = math.prod(entry.shape)
        if entry.size != size * dtype.itemsize:
            raise wexport.ReadError(
                f"{where}: {entry.size:,} bytes for {size:,} values of {entry.dtype}", hint=_DAMAGED
            )
        if size:
            self.check(entry)

        def read_at(offset: int, count: int) -> bytes:
            return self.read_at(entry.shard, offset, count)

        if self._bundle.order == ">" and dtype.itemsize > 1:
            if dtype.kind == "V":  # NumPy has no bfloat16 of the other byte order
                raise wexport.ReadError(f"{where}: is {entry.dtype} in big-endian order", hint="save it as float32")
            dtype = dtype.newbyteorder(">")
        read = chunks.of_bytes(read_at, entry.offset, dtype, size, where)
        return wexport.Tensor(name=entry.name, shape=entry.shape, dtype=entry.dtype, chunks=read)

    def check(self, entry: Entry) -> None:
        """Raises ReadError if an entry's bytes are not in its data file."""
        if entry.shard >= self._bundle.shards:
            raise wexport.ReadError(
                f"{self._source.path}: {entry.name}: is in data file {entry.shard:,} of {self._bundle.shards:,}",
                hint=_DAMAGED,
            )
        there = self.size(entry.shard)
        if entry.offset + entry.size > there:
            raise wexport.ReadError(
                f"{self._source.path}: {entry.name}: takes {entry.size:,} bytes from byte {entry.offset:,} of "
                f"{self.path(entry.shard).name}, which has {there:,}",
                hint=_DAMAGED,
            )

    def _of_slices(self, entry: Entry, dtype: np.dtype[np.generic]) -> wexport.Tensor:
        """A partitioned variable: its slices one after the other, where they are slices of the first axis."""
        where = f"{self._source.path}: {entry.name}"
        parts = []
        reached = 0
        for extents in sorted(entry.slices, key=lambda extents: [start for start, _ in extents]):
            shape = _slice_shape(entry.shape, extents)
            if shape is None or extents[0][0] != reached:
                raise wexport.ReadError(
                    f"{where}: is partitioned in a way that is not read: not along its first axis, or not whole",
                    hint="save the checkpoint with each variable in one piece",
                )
            reached += shape[0]
            stored = self._bundle.slices.get(slice_key(entry.name, extents))
            if stored is None or stored.shape != shape or stored.dtype != entry.dtype or stored.slices:
                raise wexport.ReadError(
                    f"{where}: a part that begins at row {extents[0][0]:,} is missing", hint=_DAMAGED
                )
            part = self._tensor(Entry(entry.name, stored.dtype, shape, stored.shard, stored.offset, stored.size))
            assert isinstance(part, wexport.Tensor)
            parts.append(part)
        if reached != entry.shape[0]:
            raise wexport.ReadError(f"{where}: {reached:,} of {entry.shape[0]:,} rows are there", hint=_DAMAGED)
        return replace(chunks.joined(parts, entry.shape), name=entry.name)

    def text(self, entry: Entry, limit: int = MAX_TEXT_BYTES) -> bytes:
        """The string that a scalar holds, stored as its length, a checksum of that, and the bytes.

        Raises ReadError if the data file does not hold it, MalformedError if it is not a string, or is too long.
        """
        if entry.dtype != "string" or entry.shape or entry.slices or entry.size > limit:
            raise wire.MalformedError(f"{entry.dtype} of {entry.size:,} bytes where one string is due")
        self.check(entry)
        data = memoryview(self.read_at(entry.shard, entry.offset, entry.size))
        length, at = wire.varint(data, 0)
        if at + 4 + length != len(data):
            raise wire.MalformedError(f"{len(data):,} bytes for a string of {length:,}")
        return bytes(data[at + 4 :])


def refuse_shared_bytes(source: wexport.Source, bundle: Bundle) -> None:
    """Raises HostileFileError if two entries share bytes: a small file could have its values read without end."""
    stored = [entry for entry in (*bundle.entries, *bundle.slices.values()) if entry.size and not entry.slices]
    places = sorted((entry.shard, entry.offset, entry.offset + entry.size, entry.name) for entry in stored)
    for (shard, _, end, name), (other_shard, start, _, other) in pairwise(places):
        if shard == other_shard and start < end:
            raise wexport.HostileFileError(
                f"{source.path}: {name or 'a part'!r} and {other or 'a part'!r} share bytes", hint=_DAMAGED
            )


def _slice_shape(shape: tuple[int, ...], extents: tuple[Extent, ...]) -> tuple[int, ...] | None:
    """The shape of a slice of the first axis; None for any other."""
    if not shape or len(extents) != len(shape):
        return None
    for length, (start, count) in zip(shape[1:], extents[1:], strict=True):
        if start or count not in (None, length):
            return None
    start, count = extents[0]
    rows = shape[0] if count is None else count
    return (rows, *shape[1:]) if start >= 0 and 0 <= rows <= shape[0] - start else None


def _dtype(name: str) -> np.dtype[np.generic] | None:
    """The type in NumPy; None for complex, quantised and unknown ones."""
    if name.startswith(("type", "q", "complex", "int4", "uint4")):
        return None
    return np.dtype(getattr(ml_dtypes, name, name))
