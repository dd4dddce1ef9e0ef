"""The values of a tensor: as they stand, or decoded by the `gguf` package a few blocks at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import wexport
from wexport.reading import Chunks, chunks
from wexport_gguf.header import Entry, Header

_PLAIN: dict[int, np.dtype[Any]] = {
    0: np.dtype("f4"),
    1: np.dtype("f2"),
    24: np.dtype("i1"),
    25: np.dtype("i2"),
    26: np.dtype("i4"),
    27: np.dtype("i8"),
    28: np.dtype("f8"),
    30: np.dtype(ml_dtypes.bfloat16),
}
"""ggml's types that are NumPy's too, by their number."""

DECODED_VALUES = 1 << 16
"""Decoded at a time: few enough for the decoder's own arrays to stay in the cache."""
_DAMAGED = "the file is damaged or cut short; copy or convert it again"
_NEWER = "pip install -U gguf"


@dataclass(frozen=True, slots=True)
class _Type:
    """A type of ggml's: blocks of `size` bytes, of `values` values each.

    plain: the type in NumPy, where a block is one value. decoded: whether values can be made of it.
    """

    name: str
    number: int
    values: int
    size: int
    plain: np.dtype[Any] | None = None
    decoded: bool = True


def tensors(source: wexport.Source, header: Header) -> Sequence[wexport.Tensor | wexport.Skipped]:
    """Every tensor that the header declares, or why it alone cannot be read.

    Raises HostileFileError if two share bytes: a small file could have the same values read without end.
    """
    found: list[wexport.Tensor | wexport.Skipped] = []
    stretches: list[tuple[int, int, str]] = []
    for entry in header.entries:
        try:
            kind, start, size = _place(source, header, entry)
        except wexport.ReadError as error:
            why = f"{error}; {error.hint}"
            found.append(wexport.Skipped("unreadable tensor", entry.name, True, why, size=_stored_bytes(entry)))
            continue
        if size:
            stretches.append((start, start + size, entry.name))
        found.append(_tensor(source, header, entry, kind, start))
    stretches.sort()
    for (_, end, name), (start, _, other) in pairwise(stretches):
        if start < end:
            raise wexport.HostileFileError(f"{source.path}: {name!r} and {other!r} share bytes", hint=_DAMAGED)
    return found


def _place(source: wexport.Source, header: Header, entry: Entry) -> tuple[_Type, int, int]:
    """Type, first byte and number of bytes of a tensor. Raises ReadError, which names neither, if it cannot be read."""
    kind = _type(entry.type)
    if kind is None or not kind.decoded:
        name = f"type number {entry.type:,} of ggml" if kind is None else kind.name
        raise wexport.ReadError(f"is stored as {name}, which the installed gguf package does not decode", hint=_NEWER)
    if kind.plain is None and header.order == ">":
        raise wexport.ReadError(
            f"is stored as {kind.name} in big-endian order, which is not decoded",
            hint="convert the model again, for a little-endian machine",
        )
    row = entry.shape[-1] if entry.shape else 1
    if row % kind.values:
        raise wexport.ReadError(
            f"a row of {row:,} values is not a whole number of blocks of {kind.name}, which have {kind.values}",
            hint=_DAMAGED,
        )
    if entry.offset % header.alignment:
        raise wexport.ReadError(
            f"its offset {entry.offset:,} is not a multiple of the alignment, {header.alignment:,}", hint=_DAMAGED
        )
    start, size = header.values + entry.offset, _stored_bytes(entry)
    if start + size > source.size:
        raise wexport.ReadError(
            f"takes {size:,} bytes from byte {start:,} on, and the file has {source.size:,}", hint=_DAMAGED
        )
    return kind, start, size


def _stored_bytes(entry: Entry) -> int:
    """Bytes of a tensor's blocks, scales included; 0 where nothing is known of its type."""
    kind = _type(entry.type)
    return 0 if kind is None else math.prod(entry.shape) // kind.values * kind.size


@lru_cache(maxsize=64)
def _type(number: int) -> _Type | None:
    """What is known of a type; importing the gguf package takes as long as reading many a model, so only here."""
    plain = _PLAIN.get(number)
    if plain is not None:
        return _Type(plain.name, number, 1, plain.itemsize, plain)
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

    try:
        name = GGMLQuantizationType(number).name.lower()
        values, size = GGML_QUANT_SIZES[GGMLQuantizationType(number)]
    except (ValueError, KeyError):
        return None
    found = _Type(name, number, values, size)
    try:
        _decode(found, np.zeros(size, np.uint8))
    except NotImplementedError:
        return replace(found, decoded=False)
    return found


def _decode(kind: _Type, stored: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The values of whole blocks."""
    from gguf.constants import GGMLQuantizationType
    from gguf.quants import dequantize

    with np.errstate(all="ignore"):  # a block's scale may be NaN, infinite or tiny: so are its values then
        # As one long row: gguf takes sixteen rows at a time, and such a call costs more than sixteen blocks.
        values: NDArray[np.float32] = dequantize(stored.reshape(1, -1), GGMLQuantizationType(kind.number)).reshape(-1)
    return values


def _tensor(source: wexport.Source, header: Header, entry: Entry, kind: _Type, start: int) -> wexport.Tensor:
    size, where = math.prod(entry.shape), f"{source.path}: {entry.name}"
    if kind.plain is None:
        read = _decoded(source, kind, start, size, where)
    elif kind.plain.kind == "V" and header.order == ">":  # NumPy has no bfloat16 of the other byte order
        read = _as_bfloat16(chunks.of_bytes(source.read_at, start, np.dtype(">u2"), size, where))
    else:
        read = chunks.of_bytes(source.read_at, start, kind.plain.newbyteorder(header.order), size, where)
    return wexport.Tensor(
        name=entry.name,
        shape=entry.shape,
        dtype=kind.name,
        value_dtype="float32" if kind.plain is None else None,
        chunks=read,
        storage_bytes=_stored_bytes(entry) if kind.plain is None else None,
    )


def _as_bfloat16(read: Chunks) -> Chunks:
    return lambda limit: (chunk.astype("=u2").view(ml_dtypes.bfloat16) for chunk in read(limit))


def _decoded(source: wexport.Source, kind: _Type, start: int, size: int, where: str) -> Chunks:
    """`size` values out of blocks; of a block that is larger than the limit, in pieces."""
    stored = chunks.of_bytes(source.read_at, start, np.dtype("u1"), size // kind.values * kind.size, where)

    def read(limit: int) -> Iterator[NDArray[Any]]:
        step = max(1, limit // 4)
        blocks = max(1, min(step, DECODED_VALUES) // kind.values)
        for packed in stored(blocks * kind.size):
            values = _decode(kind, packed)
            for begin in range(0, values.size, step):
                yield values[begin : begin + step]

    return read
