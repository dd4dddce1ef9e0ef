"""Reads safetensors for wexport: one file, or the shards that an index names.

A file is eight bytes with the header's length, little-endian, the header in JSON, and the values: of each tensor its
dtype, its shape, and the place of its values, which lie one after the other without gaps.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

import wexport
from wexport.reading import ExternalFiles, chunks, roles, shards, state_dict

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 25_000_000
"""The library's own limit is 100 MB. A header has about a hundred bytes for each tensor, and costs ten times its length
to parse."""
MAX_RANK = 32

DTYPES = {
    "BOOL": "bool",
    **{
        f"{letter}{bits}": f"{name}{bits}" for letter, name in (("I", "int"), ("U", "uint")) for bits in (8, 16, 32, 64)
    },
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}
"""What the format calls a type, and what NumPy and ml_dtypes do."""
LEFT_OUT = {"C64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
"""Bits of the types that give no row: complex numbers, and parts of bytes, which nothing says how they are packed."""

FRAMEWORKS = {"pt": "torch", "np": "numpy", "tf": "tensorflow", "flax": "flax", "mlx": "mlx", "paddle": "paddle"}
"""The header's word `format`, and whose it is."""


class _Entry(NamedTuple):
    """What the header says of one tensor; begin and end count from the first byte of values."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


def sniff(source: wexport.Source) -> float:
    """0.9 for a header's length and a header behind it, or for an index of such files."""
    length = int.from_bytes(source.head[:LENGTH_BYTES], "little")
    header = source.head[LENGTH_BYTES:].lstrip()
    if 2 <= length < 1 << 32 and header.startswith(b"{") and header[1:].lstrip()[:1] in (b'"', b"}"):
        return 0.9
    return 0.9 if shards.begins_as_index(source.head, ".safetensors") else 0.0


def open_(source: wexport.Source) -> wexport.Model:
    """The tensors of a file, or of all shards of an index.

    Raises ReadError for a damaged file or header, HostileFileError for one that lies, BudgetError for a header of more
    than 25 MB.
    """
    if shards.begins_as_index(source.head, ".safetensors"):
        tensors, skipped, metadata = _sharded(source)
    else:
        tensors, skipped, metadata = _one_file(source)
    values = state_dict.decoded(tensors)
    tensors, skipped = values.tensors, [*skipped, *values.skipped]
    if state_dict.looks_like_torch(tensor.name for tensor in tensors):
        # The library sorts tensors by size of type and name, so the order of the file is not the model's.
        tensors = state_dict.describe(tensors, ordered=False)
    else:
        tensors = [roles.by_name(tensor) for tensor in tensors]
    framework = FRAMEWORKS.get(metadata.get("format", ""))
    return wexport.Model(tensors=tensors, format="safetensors", framework=framework, skipped=skipped)


_Found = tuple[list[wexport.Tensor], list[wexport.Skipped], Mapping[str, str]]


# -- shards ------------------------------------------------------------------------------------------------------------


def _sharded(source: wexport.Source) -> _Found:
    """The tensors that an index names, from the files in its own folder."""
    index, external = shards.read_index(source.path), ExternalFiles(source)
    tensors: list[wexport.Tensor] = []
    skipped: list[wexport.Skipped] = []
    metadata: dict[str, str] = {}
    named: dict[str, list[str]] = {}
    for name, file in index.items():
        named.setdefault(file, []).append(name)
    for file in sorted(named):
        try:
            found, left_out, stated = _one_file(external.opened(file))
        except wexport.ReadError as error:  # the other shards are still worth having
            skipped.append(wexport.Skipped("unreadable shard", file, True, str(error)))
            continue
        tensors += [tensor for tensor in found if index.get(tensor.name) == file]
        skipped += left_out
        metadata.update(stated)
        there = {tensor.name for tensor in found} | {item.name for item in left_out}
        skipped += [
            wexport.Skipped("missing tensor", name, True, f"{file} does not hold it")
            for name in named[file]
            if name not in there
        ]
        skipped += [
            wexport.Skipped(
                "tensor that the index does not name", tensor.name, detail=f"in {file}", size=tensor.stored_bytes
            )
            for tensor in found
            if index.get(tensor.name) != file
        ]
    return tensors, skipped, metadata


# -- one file ----------------------------------------------------------------------------------------------------------


def _one_file(source: wexport.Source) -> _Found:
    header, start = _header(source)
    metadata = _metadata(header.pop("__metadata__", None))
    entries = {name: _entry(source.path, name, stated) for name, stated in header.items()}
    _check_places(source.path, entries)
    tensors: list[wexport.Tensor] = []
    skipped: list[wexport.Skipped] = []
    where = str(source.path)
    for name, entry in entries.items():
        if start + entry.end > source.size:
            missing = start + entry.end - max(source.size, start + entry.begin)
            skipped.append(wexport.Skipped("tensor cut short", name, True, f"{missing:,} of its bytes are missing"))
        elif entry.dtype not in DTYPES:
            size = entry.end - entry.begin
            skipped.append(wexport.Skipped(f"tensor of type {entry.dtype}", name, size=size))
        else:
            tensors.append(_tensor(source, where, start, name, entry))
    end = start + max((entry.end for entry in entries.values()), default=0)
    if end < source.size:
        raise wexport.HostileFileError(f"{source.path}: {source.size - end:,} bytes at the end belong to no tensor")
    return tensors, skipped, metadata


def _tensor(source: wexport.Source, where: str, start: int, name: str, entry: _Entry) -> wexport.Tensor:
    dtype = _numpy(entry.dtype)
    return wexport.Tensor(
        name=name,
        shape=entry.shape,
        dtype=dtype.name,
        chunks=chunks.of_bytes(
            source.read_at,
            start + entry.begin,
            dtype,
            math.prod(entry.shape),
            where,
            name,
        ),
    )


def _numpy(name: str) -> np.dtype[Any]:
    """The type that the header calls so, little-endian; those of ml_dtypes are so on any machine that it runs on."""
    own = getattr(ml_dtypes, DTYPES[name], None)
    return np.dtype(DTYPES[name]).newbyteorder("<") if own is None else np.dtype(own)


# -- the header --------------------------------------------------------------------------------------------------------


def _header(source: wexport.Source) -> tuple[dict[str, Any], int]:
    """The header's entries, and where the values begin."""
    length = int.from_bytes(source.head[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise wexport.BudgetError(
            f"{source.path}: declares a header of {length:,} bytes, {MAX_HEADER_BYTES:,} are allowed",
            hint="save it in several files with an index: each header may have that much",
        )
    if LENGTH_BYTES + length > source.size:
        raise wexport.ReadError(
            f"{source.path}: declares a header of {length:,} bytes, the file has {source.size:,}",
            hint="the file is cut short; copy or save it again",
        )
    try:
        header = json.loads(
            source.read_at(LENGTH_BYTES, length), object_pairs_hook=_once, parse_constant=_refused, parse_float=_refused
        )
    except (ValueError, RecursionError) as error:
        raise wexport.ReadError(
            f"{source.path}: its header cannot be read: {str(error)[:200]}",
            hint="the file is damaged; copy or save it again",
        ) from None
    if not isinstance(header, dict):
        raise wexport.ReadError(f"{source.path}: its header names no tensors", hint="save it again")
    return header, LENGTH_BYTES + length


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"it holds {twice[:100]!r} twice")
    return found


def _refused(text: str) -> Any:
    raise ValueError(f"it holds {text[:100]}, which is not a whole number")


def _metadata(stated: Any) -> Mapping[str, str]:
    """The header's own words, as far as they are texts."""
    if not isinstance(stated, dict):
        return {}
    return {name: value for name, value in stated.items() if isinstance(value, str)}


def _entry(path: Path, name: str, stated: Any) -> _Entry:
    where = f"{path}: {name[:200]}"
    match stated:
        case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(begin), int(end)]}:
            pass
        case _:
            raise wexport.ReadError(
                f"{where}: the header says no dtype, shape and data_offsets", hint="save the model again"
            )
    if not all(type(length) is int and length >= 0 for length in shape) or len(shape) > MAX_RANK:
        raise wexport.HostileFileError(f"{where}: declares the shape {str(shape)[:100]}")
    if not 0 <= begin <= end or isinstance(begin, bool) or isinstance(end, bool):
        raise wexport.HostileFileError(f"{where}: declares values from byte {begin} to byte {end}")
    bits = 8 * _numpy(dtype).itemsize if dtype in DTYPES else LEFT_OUT.get(dtype)
    if bits is not None and (end - begin) * 8 != math.prod(shape) * bits:
        raise wexport.HostileFileError(
            f"{where}: declares {math.prod(shape):,} values of {dtype} in {end - begin:,} bytes"
        )
    return _Entry(dtype, tuple(shape), begin, end)


def _check_places(path: Path, entries: Mapping[str, _Entry]) -> None:
    """Raise HostileFileError unless values follow one another, from the first byte on."""
    places = sorted(((entry.begin, entry.end), name) for name, entry in entries.items())
    if places and places[0][0][0]:
        raise wexport.HostileFileError(f"{path}: the first {places[0][0][0]:,} bytes of values belong to no tensor")
    for ((_, end), before), ((begin, _), name) in pairwise(places):
        if begin < end:
            raise wexport.HostileFileError(f"{path}: {before[:200]} and {name[:200]} share bytes")
        if begin > end:
            raise wexport.HostileFileError(
                f"{path}: {begin - end:,} bytes between {before[:200]} and {name[:200]} belong to no tensor"
            )


READER = wexport.Reader(
    name="safetensors",
    reads="safetensors, whole or sharded",
    sniff=sniff,
    open=open_,
    suffixes=(".safetensors", ".safetensors.index.json"),
)


@wexport.hookimpl
def wexport_readers() -> Sequence[wexport.Reader]:
    return [READER]
