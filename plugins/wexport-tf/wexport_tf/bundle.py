"""What a checkpoint says of its tensors: type, shape, and where in which data file their bytes are.

`tensorflow/core/protobuf/tensor_bundle.proto` and `tensor_bundle.cc`: the first key of the table is empty and its value
the header; each other key is a tensor's name. A partitioned variable has an entry that lists its slices, and an entry
for each slice under a key made of name and extents.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import wexport
from wexport_tf import table, wire

MAX_DIMENSIONS = 32
MAX_SHARDS = 99_999
_OVERFLOW = 1 << 63

TYPES = {
    1: "float32",
    2: "float64",
    3: "int32",
    4: "uint8",
    5: "int16",
    6: "int8",
    7: "string",
    8: "complex64",
    9: "int64",
    10: "bool",
    11: "qint8",
    12: "quint8",
    13: "qint32",
    14: "bfloat16",
    15: "qint16",
    16: "quint16",
    17: "uint16",
    18: "complex128",
    19: "float16",
    20: "resource",
    21: "variant",
    22: "uint32",
    23: "uint64",
    24: "float8_e5m2",
    25: "float8_e4m3fn",
    29: "int4",
    30: "uint4",
}
"""TensorFlow's types (`types.proto`) by NumPy's or ml_dtypes' names, or by its own where these have none."""

Extent = tuple[int, int | None]
"""Start and length along an axis; a length of None is all of it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor in the index. size: bytes. slices: the extents of each, of a tensor that is stored in several."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: int = 0
    offset: int = 0
    size: int = 0
    slices: tuple[tuple[Extent, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """A checkpoint's index. order: "<" or ">". slices: the entries of slices, by their key."""

    shards: int
    order: Literal["<", ">"]
    entries: Sequence[Entry]
    slices: Mapping[bytes, Entry]


def is_bundle(source: wexport.Source) -> bool:
    """Whether a file is a table that begins with the empty key, behind which a header's first field stands."""
    return source.head[:2] == b"\0\0" and source.head[3:4] == b"\x08" and table.is_table(source)


def read(source: wexport.Source) -> Bundle:
    """The index. Raises ReadError if it is damaged, HostileFileError if it asks for too much."""
    header: tuple[int, Literal["<", ">"]] | None = None
    entries: list[Entry] = []
    slices: dict[bytes, Entry] = {}
    try:
        for key, value in table.read(source):
            if header is None:
                header = _header(key, value)
            elif key.startswith(b"\0"):  # names do not begin with zero; the keys of slices do
                slices[key] = _entry("", value)
            else:
                entries.append(_entry(key.decode("utf-8", "surrogateescape"), value))
    except wire.MalformedError as error:
        raise wexport.ReadError(
            f"{source.path}: is not an index of a checkpoint: {error}",
            hint="the file is damaged; copy or save it again",
        ) from None
    if header is None:
        raise wexport.ReadError(f"{source.path}: is an empty table", hint="save the checkpoint again")
    return Bundle(*header, entries, slices)


def _header(key: bytes, value: memoryview) -> tuple[int, Literal["<", ">"]]:
    found = dict(wire.fields(value))
    shards, order = wire.whole(found.get(1, 0)), wire.whole(found.get(2, 0))
    if key or not 0 < shards <= MAX_SHARDS or order not in (0, 1):
        raise wire.MalformedError(f"its header says {shards:,} data files and byte order {order:,}")
    return shards, ">" if order else "<"


def _entry(name: str, value: memoryview) -> Entry:
    dtype = shard = offset = size = 0
    shape: tuple[int, ...] = ()
    slices = []
    for number, field in wire.fields(value):
        if number == 1:
            dtype = wire.whole(field)
        elif number == 2:
            shape = _shape(name, wire.stretch(field))
        elif number == 3:
            shard = wire.whole(field)
        elif number == 4:
            offset = wire.whole(field)
        elif number == 5:
            size = wire.whole(field)
        elif number == 7:
            slices.append(_slice(wire.stretch(field)))
    return Entry(name, TYPES.get(dtype, f"type {dtype}"), shape, shard, offset, size, tuple(slices))


def _shape(name: str, message: memoryview) -> tuple[int, ...]:
    lengths = []
    for number, field in wire.fields(message):
        if number == 2:
            lengths.append(next((wire.signed(size) for key, size in wire.fields(wire.stretch(field)) if key == 1), 0))
        elif number == 3 and field:
            raise wire.MalformedError(f"{name}: its shape is not known")
    # Zero-sized axes do not excuse the others: their product is what tables and arrays count in 63 bits.
    size = math.prod(max(1, length) for length in lengths)
    if len(lengths) > MAX_DIMENSIONS or min(lengths, default=0) < 0 or size >= _OVERFLOW:
        raise wire.MalformedError(f"{name}: its shape is {str(tuple(lengths))[:200]}")
    return tuple(lengths)


def _slice(message: memoryview) -> tuple[Extent, ...]:
    extents: list[Extent] = []
    for number, field in wire.fields(message):
        if number == 1:
            found = {key: wire.signed(value) for key, value in wire.fields(wire.stretch(field))}
            extents.append((found.get(1, 0), found.get(2)))
    return tuple(extents)


# -- the keys of slices: `EncodeTensorNameSlice` of saved_tensor_slice_util.cc, by ordered_code.cc --------------------


_ESCAPED = {b"\0": b"\0\xff", b"\xff": b"\xff\0"}


def slice_key(name: str, extents: Sequence[Extent]) -> bytes:
    """The key under which a slice is stored."""
    escaped = re.sub(rb"\0|\xff", lambda found: _ESCAPED[found[0]], name.encode("utf-8", "surrogateescape"))
    parts = [b"\0", escaped, b"\0\1", _unsigned(len(extents))]
    for start, length in extents:
        parts += [_signed(start), _signed(-1 if length is None else length)]
    return b"".join(parts)


def _unsigned(value: int) -> bytes:
    """The number of bytes, and the bytes, the highest first; zero has none."""
    data = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return bytes([len(data)]) + data


def _signed(value: int) -> bytes:
    """As many leading ones as there are bytes, then the number; of a negative one, all bits the other way."""
    bits = (~value if value < 0 else value).bit_length()
    length = bits // 7 + 1
    ones = ((1 << length) - 1) << 7 * length  # seven bits of each byte are for the value and its sign
    return ((value & (1 << 8 * length) - 1) ^ ones).to_bytes(length, "big")
