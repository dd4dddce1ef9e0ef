"""What an initialiser is: its name, type and shape, and where its values stand, in the file or beside it.

The message is `TensorProto` of https://github.com/onnx/onnx/blob/main/onnx/onnx.proto. Values are in `raw_data`,
little-endian, or in the typed field that its comment names for each type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import wexport
from wexport.reading import ExternalFiles, chunks
from wexport_onnx.wire import BYTES, MAX_TEXT_BYTES, VARINT, Wire, unpack

MAX_RANK = 32
# TensorProto's fields
_DIMS, _TYPE, _SEGMENT, _FLOATS, _INT32S, _STRINGS, _INT64S, _NAME, _RAW = 1, 2, 3, 4, 5, 6, 7, 8, 9
_DOUBLES, _UINT64S, _EXTERNAL, _LOCATION = 10, 11, 13, 14
_TYPED = {_FLOATS: "float_data", _INT32S: "int32_data", _INT64S: "int64_data"} | {
    _DOUBLES: "double_data",
    _UINT64S: "uint64_data",
}
_PLACE = frozenset({"location", "offset", "length"})
_FIXED: dict[int, np.dtype[Any]] = {_FLOATS: np.dtype("<f4"), _DOUBLES: np.dtype("<f8")}

_FIELD_OF = {
    _FLOATS: ("float32",),
    _DOUBLES: ("float64",),
    _INT64S: ("int64",),
    _UINT64S: ("uint32", "uint64"),
}
# TensorProto.DataType, in NumPy's and ml_dtypes' words.
_TYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    4: "uint16",
    5: "int16",
    6: "int32",
    7: "int64",
    9: "bool",
    10: "float16",
    11: "float64",
    12: "uint32",
    13: "uint64",
    16: "bfloat16",
    17: "float8_e4m3fn",
    18: "float8_e4m3fnuz",
    19: "float8_e5m2",
    20: "float8_e5m2fnuz",
    24: "float8_e8m0fnu",
}
_NO_NUMBERS = {8: "strings", 14: "complex numbers", 15: "complex numbers"}
_NOT_READ = {27: "floats of 6 bits", 28: "floats of 6 bits"}
_PACKED = {21: ("uint4", 4), 22: ("int4", 4), 23: ("float4_e2m1fn", 4), 25: ("uint2", 2), 26: ("int2", 2)}
"""Types of which several values share a byte, the first in its lowest bits; and the bits of each."""


def name_of_type(number: int) -> str | None:
    """NumPy's or ml_dtypes' name of a type; None for one whose values are not plain numbers."""
    return _TYPES.get(number)


def _meanings(name: str, bits: int) -> NDArray[Any]:
    """The value behind each pattern of bits, in the smallest type of whole bytes."""
    patterns: NDArray[Any] = np.arange(1 << bits)
    if name.startswith("float"):
        small: NDArray[Any] = patterns.astype(np.uint8).view(getattr(ml_dtypes, name))
        return small.astype(np.float32)
    if name.startswith("uint"):
        return patterns.astype(np.uint8)
    return np.where(patterns < 1 << bits - 1, patterns, patterns - (1 << bits)).astype(np.int8)


@dataclass
class _Proto:
    """A TensorProto as it stands in the file. Places are (begin, end)."""

    name: str = ""
    dims: list[int] = field(default_factory=list)
    type: int = 0
    segment: bool = False
    values: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    unpacked: bool = False
    strings: bool = False
    external: bool = False
    entries: dict[str, str] = field(default_factory=dict)


class Store:
    """Makes tensors of one file's initialisers."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._source = wire.source
        self._external_files: ExternalFiles | None = None

    def tensor(self, start: int, end: int, name: str | None = None) -> wexport.Tensor | wexport.Skipped:
        """The tensor whose message stands from `start` to `end`; what cannot be one is told with its reason.

        name: what it is called where its own name does not count, as in the node Constant.
        """
        called = f"initializer at byte {start}" if name is None else name
        try:
            proto = self._proto(start, end)
            called = proto.name if name is None and proto.name else called
            if proto.type in _NO_NUMBERS or proto.strings:
                return wexport.Skipped(_NO_NUMBERS.get(proto.type, "strings"), called)
            if proto.type in _NOT_READ:
                return wexport.Skipped(_NOT_READ[proto.type], called, True, "not read")
            if proto.external and not self._source.external_data:
                place = proto.entries.get("location", "")[:200] or "another file"
                return wexport.Skipped(
                    "values in another file", called, True, f"stored in {place}: --external-data reads them"
                )
            return self._tensor(proto, called)
        except wexport.BudgetError:
            raise
        except wexport.ReadError as error:  # the others are still worth having
            return wexport.Skipped("unreadable tensor", called, True, str(error))

    def _proto(self, start: int, end: int) -> _Proto:
        proto, wire = _Proto(), self._wire
        for number, kind, value, stop in wire.fields(start, end):
            if number == _DIMS and kind in (VARINT, BYTES):
                proto.dims += wire.integers(kind, value, stop, 10 * (MAX_RANK + 1))
                if len(proto.dims) > MAX_RANK:
                    raise wexport.HostileFileError(
                        f"{self._source.path}: {proto.name or 'a tensor'} has more than {MAX_RANK} axes"
                    )
            elif number == _TYPE and kind == VARINT:
                proto.type = value
            elif number == _NAME and kind == BYTES:
                proto.name = wire.text(value, stop)
            elif number in _TYPED or (number == _RAW and kind == BYTES):
                proto.unpacked |= kind != BYTES
                places = proto.values.setdefault(number, [])
                if stop > value and len(places) < 2:  # two say already that there is more than one stretch
                    places.append((value, stop))
            elif number == _EXTERNAL and kind == BYTES:
                key, text = entry(wire, value, stop)
                if key in _PLACE:
                    proto.entries[key] = text
            elif number == _LOCATION and kind == VARINT:
                proto.external = value == 1
            elif number == _SEGMENT:
                proto.segment = True
            elif number == _STRINGS:
                proto.strings = True
        return proto

    def _tensor(self, proto: _Proto, name: str) -> wexport.Tensor:
        where = f"{self._source.path}: {name}"
        if any(length < 0 for length in proto.dims):
            raise wexport.HostileFileError(f"{where}: declares the shape {tuple(proto.dims)}")
        if proto.type not in _TYPES and proto.type not in _PACKED:
            raise wexport.ReadError(f"{where}: is of type {proto.type}, which is not known")
        if proto.segment:
            raise wexport.ReadError(f"{where}: is one segment of a tensor, the others are not told")
        shape = tuple(proto.dims)
        if proto.type in _PACKED:
            dtype, bits = _PACKED[proto.type]
            per_byte = 8 // bits
            count = -(-math.prod(shape) // per_byte)
            stored = self._values(proto, np.dtype(np.uint8), count, where)
            meanings = _meanings(dtype, bits)
            return wexport.Tensor(
                name=name,
                shape=shape,
                dtype=dtype,
                value_dtype=meanings.dtype.name,
                chunks=_unpacked(stored, meanings, bits, math.prod(shape)),
            )
        dtype = _TYPES[proto.type]
        number_type: np.dtype[Any] = np.dtype(getattr(ml_dtypes, dtype, dtype))
        return wexport.Tensor(
            name=name, shape=shape, dtype=dtype, chunks=self._values(proto, number_type, math.prod(shape), where)
        )

    # -- where the values stand ---------------------------------------------------------------------------------------

    def _values(self, proto: _Proto, dtype: np.dtype[Any], size: int, where: str) -> Any:
        places = {number: spans for number, spans in proto.values.items() if any(end > begin for begin, end in spans)}
        if proto.unpacked:
            raise wexport.ReadError(f"{where}: its values stand one by one, which no exporter writes")
        if proto.external:
            if places:
                raise wexport.HostileFileError(f"{where}: has values in the file and names another file for them")
            return self._external(proto, dtype, size, where)
        if len(places) > 1 or any(len(spans) > 1 for spans in places.values()):
            raise wexport.HostileFileError(f"{where}: has its values twice, so nobody knows which count")
        if not places:
            if size:
                raise wexport.ReadError(f"{where}: declares {size:,} values and has none")
            return chunks.of_bytes(self._source.read_at, 0, dtype, 0, where)
        ((number, ((begin, end),)),) = places.items()
        if number == _RAW:
            _check(end - begin, size * dtype.itemsize, f"{where}: raw_data")
            return chunks.of_bytes(self._source.read_at, begin, dtype.newbyteorder("<"), size, where)
        if number != _field_of(proto.type):
            raise wexport.ReadError(f"{where}: its values stand in {_TYPED[number]} where its type has them elsewhere")
        if number in _FIXED:
            _check(end - begin, size * dtype.itemsize, f"{where}: {_TYPED[number]}")
            return chunks.of_bytes(self._source.read_at, begin, _FIXED[number], size, where)
        if size > end - begin:  # each takes a byte at least
            raise wexport.HostileFileError(
                f"{where}: declares {size:,} values, and {_TYPED[number]} has {end - begin:,} bytes"
            )
        return _of_varints(self._source.read_at, begin, end, dtype, size, where)

    def _external(self, proto: _Proto, dtype: np.dtype[Any], size: int, where: str) -> Any:
        location = proto.entries.get("location", "")
        begin = _whole(proto.entries, "offset", where) or 0
        needed = size * dtype.itemsize
        length = _whole(proto.entries, "length", where)
        if length is not None:
            _check(length, needed, f"{where}: its part of {location}")
        if self._external_files is None:
            self._external_files = ExternalFiles(self._source)
        external = self._external_files
        there = external.size(location)
        if begin + needed > there:
            raise wexport.ReadError(
                f"{where}: its values stand at byte {begin:,} to {begin + needed:,} of {location}, "
                f"which has {there:,} bytes",
                hint=f"{location} is cut short or belongs to another model; copy both again",
            )

        def read_at(offset: int, count: int) -> bytes:
            return external.read_at(location, offset, count)

        return chunks.of_bytes(read_at, begin, dtype.newbyteorder("<"), size, f"{where} in {location}")


def _field_of(data_type: int) -> int:
    """The typed field that holds values of a type; int32_data holds all that no other does."""
    dtype = _TYPES.get(data_type, "")
    return next((number for number, types in _FIELD_OF.items() if dtype in types), _INT32S)


def _check(there: int, due: int, what: str) -> None:
    if there != due:
        raise wexport.ReadError(
            f"{what} has {there:,} bytes where type and shape make {due:,}",
            hint="the file is damaged; copy or save it again",
        )


def entry(wire: Wire, start: int, end: int) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto; of a long value the beginning."""
    found = {1: "", 2: ""}
    for number, kind, value, stop in wire.fields(start, end):
        if number in found and kind == BYTES:
            found[number] = wire.text(value, min(stop, value + MAX_TEXT_BYTES))
    return found[1], found[2]


def _whole(entries: dict[str, str], key: str, where: str) -> int | None:
    text = entries.get(key)
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise wexport.HostileFileError(f"{where}: {key} is {text[:40]!r}")
    return int(text)


def _of_varints(
    read_at: Callable[[int, int], bytes], begin: int, end: int, dtype: np.dtype[Any], size: int, where: str
) -> Callable[[int], Iterator[NDArray[Any]]]:
    """Values of which each is a varint: integers, or the bits of small floats."""
    unsigned = np.dtype(f"u{dtype.itemsize}")

    def read(limit: int) -> Iterator[NDArray[Any]]:
        step = max(10, limit // 8)
        position, due = begin, size
        while position < end:
            data = read_at(position, min(step, end - position))
            try:
                values, taken = unpack(data)
            except ValueError as error:
                raise wexport.ReadError(f"{where}: {error}") from None
            if not taken:
                raise wexport.ReadError(f"{where}: the last of its numbers is cut short")
            position += taken
            due -= values.size
            if due < 0:
                break
            most = max(1, limit // dtype.itemsize)
            cut = values.astype(unsigned) if dtype.kind != "b" else (values != 0).view(np.uint8)
            for start in range(0, cut.size, most):
                yield cut[start : start + most].view(dtype)
        if due:
            raise wexport.ReadError(
                f"{where}: has {abs(due):,} values too {'many' if due < 0 else 'few'} for its shape",
                hint="the file is damaged; copy or save it again",
            )

    return read


def _unpacked(stored: Any, meanings: NDArray[Any], bits: int, size: int) -> Callable[[int], Iterator[NDArray[Any]]]:
    """The values of which several share each stored byte."""
    per_byte, mask = 8 // bits, (1 << bits) - 1

    def read(limit: int) -> Iterator[NDArray[Any]]:
        left, most = size, max(1, limit // meanings.itemsize)
        for data in stored(max(1, most // per_byte)):
            patterns = np.stack([data >> shift & mask for shift in range(0, 8, bits)], -1).reshape(-1)[:left]
            left -= patterns.size
            values = meanings[patterns]
            for start in range(0, values.size, most):
                yield values[start : start + most]

    return read
