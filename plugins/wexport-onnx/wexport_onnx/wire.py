"""The protobuf wire format, walked in place: fields are found by their lengths, and only what is asked for is read.

The format is that of https://protobuf.dev/programming-guides/encoding/: a message is a sequence of fields, each a tag
(number and wire type) and a value; of a value with a length, such as another message or the bytes of a tensor, only
the place is told. Groups, which proto3 has not, are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

import wexport

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""Wire types: what the value of a field is."""

Field = tuple[int, int, int, int]
"""Number, wire type, and for a varint its value and 0, for all else where the value begins and ends in the file."""

MAX_FIELDS = 4_000_000
"""Fields that are walked in one file. A graph of 10,000 nodes has some 200,000; each costs one or two microseconds."""
MAX_TEXT_BYTES = 4096
_BLOCK_BYTES = 1 << 16
_LONGEST = 20
"""Bytes of a tag and a varint or length, at most."""


class Wire:
    """A file as nested messages; remembers how many fields were walked, so that no file makes it endless."""

    def __init__(self, source: wexport.Source) -> None:
        self.source = source
        self._block, self._at, self._end = b"", 0, -1
        self._left = MAX_FIELDS

    def fields(self, start: int, end: int) -> Iterator[Field]:
        """The fields of the message that stands from `start` to `end`.

        Raises ReadError where that is not a message, BudgetError past MAX_FIELDS.
        """
        position = start
        while position < end:
            if not self._at <= position <= self._end:
                self._fetch(position)
            block, offset = self._block, position - self._at
            self._left -= 1
            if self._left < 0:
                raise wexport.BudgetError(
                    f"{self.source.path}: holds more than {MAX_FIELDS:,} fields", hint="no model needs as many"
                )
            try:
                tag, here = block[offset], offset + 1  # most take one byte each, and a call costs as much as the rest
                if tag > 127:
                    tag, here = _varint(block, offset)
                number, kind = tag >> 3, tag & 7
                if kind in (FIXED32, FIXED64):
                    begin = self._at + here
                    position = begin + (4 if kind == FIXED32 else 8)
                    found = number, kind, begin, position
                elif kind in (BYTES, VARINT):
                    value, here = block[here], here + 1
                    if value > 127:
                        value, here = _varint(block, here - 1)
                    position = self._at + here
                    if kind == VARINT:
                        found = number, kind, value, 0
                    else:
                        found = number, kind, position, position + value
                        position += value
                else:
                    raise ValueError
            except (IndexError, ValueError):
                raise self._damaged(position) from None
            if position > end or not number:
                raise self._damaged(self._at + offset)
            yield found

    def _fetch(self, position: int) -> None:
        """Hold what stands from `position` on; `_end` is the last place from which a field's head is all in it."""
        self._block, self._at = self.source.read_at(position, _BLOCK_BYTES), position
        whole = position + len(self._block) >= self.source.size
        self._end = position + len(self._block) - (1 if whole else _LONGEST)

    def _damaged(self, position: int) -> wexport.ReadError:
        return wexport.ReadError(
            f"{self.source.path}: no field of a message stands at byte {position:,}",
            hint="the file is damaged or cut short; copy or save it again",
        )

    def bytes(self, start: int, end: int, limit: int = MAX_TEXT_BYTES) -> bytes:
        """A short value whole. Raises HostileFileError if it is longer than `limit`."""
        if end - start > limit:
            raise wexport.HostileFileError(
                f"{self.source.path}: a name or number at byte {start:,} takes {end - start:,} bytes, "
                f"{limit:,} are allowed"
            )
        offset = start - self._at
        if offset >= 0 and end - self._at <= len(self._block):
            return self._block[offset : offset + end - start]
        return self.source.read_at(start, end - start)

    def text(self, start: int, end: int, limit: int = MAX_TEXT_BYTES) -> str:
        """A short text; what is not UTF-8 becomes lone surrogates, which the table escapes."""
        return self.bytes(start, end, limit).decode("utf-8", "surrogateescape")

    def integers(self, kind: int, value: int, end: int, limit: int) -> list[int]:
        """Signed integers of a repeated field: one, or several in a packed stretch of at most `limit` bytes."""
        if kind == VARINT:
            return [signed(value)]
        data = self.bytes(value, end, limit)
        try:
            return [signed(number) for number in _varints(data)]
        except (IndexError, ValueError):
            raise self._damaged(value) from None


def signed(value: int) -> int:
    """A varint as the int64 that it stands for."""
    return value - (1 << 64) if value >> 63 else value


def _varint(data: bytes, offset: int) -> tuple[int, int]:
    """The value at an offset, and the offset behind it.

    Raises IndexError where it ends behind the data, ValueError for one of more than 64 bits.
    """
    byte = data[offset]
    if byte < 128:
        return byte, offset + 1
    value, shift = byte & 127, 7
    while True:
        offset += 1
        byte = data[offset]
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise ValueError
    if value >> 64:
        raise ValueError
    return value, offset + 1


def _varints(data: bytes) -> Iterator[int]:
    offset = 0
    while offset < len(data):
        value, offset = _varint(data, offset)
        yield value


def unpack(data: bytes) -> tuple[NDArray[np.uint64], int]:
    """All whole varints of a stretch, and how many bytes they take. Raises ValueError for one of more than 10 bytes."""
    raw: NDArray[Any] = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(raw < 128) + 1
    if not ends.size:
        if len(data) >= 10:
            raise ValueError("a number of more than 10 bytes")
        return np.empty(0, np.uint64), 0
    starts = np.concatenate(([0], ends[:-1]))
    lengths = ends - starts
    if lengths.max() > 10:
        raise ValueError("a number of more than 10 bytes")
    values = np.zeros(ends.size, np.uint64)
    for place in range(int(lengths.max())):
        there = lengths > place
        part = (raw[starts[there] + place] & 127).astype(np.uint64)
        values[there] |= part << np.uint64(7 * place)
    return values, int(ends[-1])
