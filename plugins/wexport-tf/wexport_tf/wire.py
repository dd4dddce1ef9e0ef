"""Protocol buffers as far as checkpoints need them: the fields of one message, without its schema.

The format is that of protobuf's documentation, "Encoding": each field is a number, a wire type, and a varint, 4 or 8
bytes, or a counted stretch of bytes. Nothing recurses, so nesting is as deep as the caller looks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

MAX_VARINT_BYTES = 10

Value: TypeAlias = "int | memoryview"
"""Numbers are unsigned; fixed-width ones and stretches come as bytes."""


class MalformedError(ValueError):
    """The bytes are not a message."""


def varint(data: memoryview, at: int) -> tuple[int, int]:
    """(value of 64 bits, where it ends) of the varint at `at`."""
    value = 0
    for place in range(at, min(at + MAX_VARINT_BYTES, len(data))):
        byte = data[place]
        value |= (byte & 0x7F) << 7 * (place - at)
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, place + 1
    raise MalformedError(f"a number at byte {at} does not end")


def fields(data: memoryview) -> Iterator[tuple[int, Value]]:
    """(number, value) of each field of a message. Raises MalformedError."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = varint(data, at)
            yield number, value
            continue
        if kind == 2:
            length, at = varint(data, at)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise MalformedError(f"a field of wire type {kind}")
        if length > len(data) - at:
            raise MalformedError(f"a field of {length} bytes where {len(data) - at} are left")
        yield number, data[at : at + length]
        at += length


def signed(value: Value) -> int:
    """A varint as the int64 or int32 that it stands for."""
    number = whole(value)
    return number - (1 << 64) if number >= 1 << 63 else number


def whole(value: Value) -> int:
    """A field that has to be a varint."""
    if isinstance(value, int):
        return value
    raise MalformedError("bytes where a number is due")


def stretch(value: Value) -> memoryview:
    """A field that has to be bytes."""
    if isinstance(value, int):
        raise MalformedError("a number where bytes are due")
    return value


def text(value: Value) -> str:
    """A field that has to be a string; what is not UTF-8 is kept as surrogates."""
    return bytes(stretch(value)).decode("utf-8", "surrogateescape")
