"""What stands before the values: metadata, and for each tensor its name, shape, type and place.

Everything in it is a stranger's claim. Lengths and counts are held against what the format and the file allow before
anything is read or kept, and what is not wanted (a tokenizer's 100,000 strings) is passed over without being made.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NoReturn, TypeAlias

import wexport

MAX_HEADER_BYTES = 128 << 20
"""Real headers have up to about 20 MB, nearly all of it the tokenizer's words."""
MAX_KEYS, MAX_TENSORS = 100_000, 200_000
MAX_KEY_BYTES, MAX_NAME_BYTES, MAX_TEXT_BYTES = 1 << 16, 4096, 4096
"""Keys have at most 65,535 bytes by the format, names 64; metadata that is longer is passed over."""
MAX_ITEMS = 4_000_000
"""Texts, and arrays in arrays, all together; a tokenizer has about 250,000 words, and as many merges."""
MAX_DIMENSIONS = 4
MAX_NESTING = 4
DEFAULT_ALIGNMENT = 32
_DAMAGED = "the file is damaged or cut short; copy or convert it again"
_OVERFLOW = 1 << 63

# By the number of a metadata value's type.
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9

Metadata: TypeAlias = dict[str, "int | float | bool | str"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A tensor as the header declares it.

    shape: in C order, the reverse of ggml's `ne`: (out, in) for a linear layer, as in torch. type: ggml's number of
    it. offset: of its first byte, from where the values begin.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True, slots=True)
class Header:
    """order: "<" or ">", the file's byte order. metadata: scalars and short texts. values: where they begin."""

    order: Literal["<", ">"]
    metadata: Metadata
    entries: Sequence[Entry]
    values: int
    alignment: int


def read(source: wexport.Source) -> Header:
    """The header of a file of version 2 or 3.

    Raises ReadError for another version and for what is damaged, HostileFileError for what is repeated or too large.
    """
    order = _order(source)
    cursor = _Cursor(source, order)
    cursor.skip(8)
    tensor_count, key_count = cursor.number("Q"), cursor.number("Q")
    if tensor_count > MAX_TENSORS or key_count > MAX_KEYS:
        raise wexport.HostileFileError(
            f"{source.path}: declares {tensor_count:,} tensors and {key_count:,} keys; {MAX_TENSORS:,} and "
            f"{MAX_KEYS:,} are allowed",
            hint=_DAMAGED,
        )
    metadata = _metadata(cursor, key_count)
    alignment = _alignment(source, metadata)
    entries = [_entry(cursor) for _ in range(tensor_count)]
    names: set[str] = set()
    for entry in entries:
        if entry.name in names:
            raise wexport.HostileFileError(f"{source.path}: two tensors are named {entry.name!r}", hint=_DAMAGED)
        names.add(entry.name)
    return Header(order, metadata, entries, math.ceil(cursor.place / alignment) * alignment, alignment)


def _order(source: wexport.Source) -> Literal["<", ">"]:
    """The byte order, told by the version, whose upper half is 0."""
    word = source.head[4:8]
    if len(word) < 4:
        raise wexport.ReadError(f"{source.path}: ends within its first 8 bytes", hint=_DAMAGED)
    order: Literal["<", ">"] = "<" if word[0] else ">"
    version = struct.unpack(f"{order}I", word)[0]
    if version == 1:
        raise wexport.ReadError(
            f"{source.path}: is GGUF of version 1, which was in use for some weeks of 2023",
            hint="convert the model again with a newer llama.cpp",
        )
    if version not in (2, 3):
        raise wexport.ReadError(
            f"{source.path}: is GGUF of version {version:,}; 2 and 3 are known",
            hint="the file is damaged, or this reader too old: pip install -U wexport-gguf",
        )
    return order


class _Cursor:
    """Reads a header from its beginning to its end, and not further than headers go."""

    def __init__(self, source: wexport.Source, order: str) -> None:
        self.source = source
        self.place = 0
        self._order = order
        self._limit = min(source.size, MAX_HEADER_BYTES)
        self._buffer, self._start = b"", 0
        self._items = 0

    def number(self, letter: str) -> Any:
        """The next number, of the type that the letter of `struct` says."""
        form = struct.Struct(self._order + letter)
        (value,) = form.unpack_from(*self._next(form.size))
        return value

    def text(self, limit: int) -> str:
        """The next string. One that is not UTF-8 keeps its odd bytes as surrogates."""
        length = self.number("Q")
        if length > limit:
            raise wexport.HostileFileError(
                f"{self.source.path}: declares a name of {length:,} bytes at byte {self.place - 8:,}; {limit:,} are "
                "allowed",
                hint=_DAMAGED,
            )
        buffer, start = self._next(length)
        return buffer[start : start + length].decode("utf-8", "surrogateescape")

    def skip(self, count: int) -> None:
        """Pass over this many bytes."""
        if count > self._limit - self.place:
            self._too_far(count)
        self.place += count

    def count(self, items: int) -> None:
        """Raises HostileFileError when more texts and arrays are declared than would be passed over in good time."""
        self._items += items
        if self._items > MAX_ITEMS:
            raise wexport.HostileFileError(
                f"{self.source.path}: its metadata declares {self._items:,} texts or arrays; {MAX_ITEMS:,} are allowed",
                hint=_DAMAGED,
            )

    def skip_texts(self, count: int) -> None:
        """Pass over this many strings: a loop of its own, as there are hundreds of thousands in a tokenizer."""
        self.count(count)
        length_of = struct.Struct(f"{self._order}Q")
        while count:
            buffer, start = self._next(8)
            self.place -= 8
            at, last = start, len(buffer) - 8
            while count and at <= last:
                at += 8 + length_of.unpack_from(buffer, at)[0]
                count -= 1
            self.skip(at - start)

    def _next(self, count: int) -> tuple[bytes, int]:
        """A buffer that holds the next bytes, and where in it they begin; passes over them."""
        if count > self._limit - self.place:
            self._too_far(count)
        at = self.place - self._start
        if not 0 <= at <= len(self._buffer) - count:
            size = min(max(count, 1 << 18), self._limit - self.place)
            self._buffer, self._start, at = self.source.read_at(self.place, size), self.place, 0
            if len(self._buffer) < count:
                self._too_far(count)
        self.place += count
        return self._buffer, at

    def _too_far(self, count: int) -> NoReturn:
        if self.place + count > self.source.size:
            raise wexport.ReadError(
                f"{self.source.path}: ends within its header: {count:,} bytes are due at byte {self.place:,}, "
                f"{self.source.size - self.place:,} are there",
                hint=_DAMAGED,
            )
        raise wexport.HostileFileError(
            f"{self.source.path}: its header is larger than {MAX_HEADER_BYTES >> 20} MiB", hint=_DAMAGED
        )


def _metadata(cursor: _Cursor, count: int) -> Metadata:
    keys: set[str] = set()
    found: Metadata = {}
    for _ in range(count):
        key = cursor.text(MAX_KEY_BYTES)
        if key in keys:
            raise wexport.HostileFileError(f"{cursor.source.path}: the key {key!r} stands twice", hint=_DAMAGED)
        keys.add(key)
        value = _value(cursor, cursor.number("I"), key)
        if value is not None:
            found[key] = value
    return found


def _value(cursor: _Cursor, kind: int, key: str) -> int | float | bool | str | None:
    """A scalar or short text; None for an array or a long text, which is passed over."""
    if kind in _SCALARS:
        value: int | float | bool = cursor.number(_SCALARS[kind])
        return value
    if kind == _STRING:
        length = cursor.number("Q")
        if length > MAX_TEXT_BYTES:
            cursor.skip(length)
            return None
        cursor.place -= 8
        return cursor.text(MAX_TEXT_BYTES)
    _skip_array(cursor, kind, key, 0)
    return None


def _skip_array(cursor: _Cursor, kind: int, key: str, depth: int) -> None:
    if kind != _ARRAY:
        raise wexport.ReadError(
            f"{cursor.source.path}: the key {key!r} is of type {kind:,}, which is none", hint=_DAMAGED
        )
    if depth == MAX_NESTING:
        raise wexport.HostileFileError(
            f"{cursor.source.path}: the key {key!r} nests arrays deeper than {MAX_NESTING}", hint=_DAMAGED
        )
    inner, count = cursor.number("I"), cursor.number("Q")
    if inner in _SCALARS:
        cursor.skip(count * struct.calcsize(f"={_SCALARS[inner]}"))
    elif inner == _STRING:
        cursor.skip_texts(count)
    else:
        cursor.count(count)
        for _ in range(count):
            _skip_array(cursor, inner, key, depth + 1)


def _alignment(source: wexport.Source, metadata: Metadata) -> int:
    value = metadata.get("general.alignment", DEFAULT_ALIGNMENT)
    if type(value) is not int or value < 1 or value & (value - 1) or value > 1 << 31:
        raise wexport.HostileFileError(
            f"{source.path}: general.alignment is {value!r}, which is not a power of two", hint=_DAMAGED
        )
    return value


def _entry(cursor: _Cursor) -> Entry:
    name = cursor.text(MAX_NAME_BYTES)
    count = cursor.number("I")
    if count > MAX_DIMENSIONS:
        raise wexport.HostileFileError(
            f"{cursor.source.path}: {name}: declares {count:,} dimensions; ggml has {MAX_DIMENSIONS}", hint=_DAMAGED
        )
    lengths = [cursor.number("Q") for _ in range(count)]
    # Zero-sized axes do not excuse the others: their product is what tables and arrays count in 63 bits.
    if math.prod(max(1, length) for length in lengths) >= _OVERFLOW:
        raise wexport.HostileFileError(
            f"{cursor.source.path}: {name}: declares the shape {tuple(reversed(lengths))}", hint=_DAMAGED
        )
    return Entry(name, tuple(reversed(lengths)), cursor.number("I"), cursor.number("Q"))
