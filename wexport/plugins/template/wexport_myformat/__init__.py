"""Reads myformat files for wexport.

The format as this template makes it up, to be replaced by yours: the word MYFORMAT, the length of the header (8 bytes,
little-endian), a header in JSON, and the values. The header names each tensor, with its type, its shape, and where its
values begin, counted from the end of the header: {"dense/kernel": {"type": "float32", "shape": [5, 4], "begin": 0}}.
"""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

import wexport
from wexport.reading import chunks, roles

MAGIC = b"MYFORMAT"
MAX_HEADER_BYTES = 16 << 20
TYPES = ("float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool")


def sniff(source: wexport.Source) -> float:
    """How sure this is a myformat file, from 0 to 1: by its first bytes, never by its name."""
    return 0.9 if source.head.startswith(MAGIC) else 0.0


def open_myformat(source: wexport.Source) -> wexport.Model:
    """What is in a file. Only the header is read here; values are read when the chunks of a tensor are asked for."""
    start = len(MAGIC) + 8
    size = int.from_bytes(source.read_at(len(MAGIC), 8), "little")
    if size > min(MAX_HEADER_BYTES, source.size - start):
        raise damaged(source, f"declares a header of {size:,} bytes")
    try:
        header = json.loads(source.read_at(start, size))
        tensors = [_tensor(source, start + size, name, **entry) for name, entry in header.items()]
    except (ValueError, TypeError, AttributeError, RecursionError) as error:  # it is not JSON, or not as it should be
        raise damaged(source, f"its header cannot be read: {error}") from None
    return wexport.Model(format="myformat", tensors=tensors)


def _tensor(source: wexport.Source, values: int, name: str, type: str, shape: list[int], begin: int) -> wexport.Tensor:
    """One tensor. values: where the values of the file begin."""
    if type not in TYPES:
        raise ValueError(f"{name} is of type {type!r}")
    if not name or not all(isinstance(length, int) and length >= 0 for length in (begin, *shape)):
        raise ValueError(f"{name!r} has the shape {shape} and begins at {begin!r}")
    dtype, count = np.dtype(type).newbyteorder("<"), math.prod(shape)
    if values + begin + count * dtype.itemsize > source.size:
        raise ValueError(f"{name} ends behind the end of the file")
    where = f"{source.path}: {name}"
    described: dict[
        str, Any
    ] = {}  # what your file tells of a tensor: layer, layer_class, layer_index, role, layout, ...
    return roles.by_name(
        wexport.Tensor(
            name=name,
            shape=tuple(shape),
            dtype=type,
            chunks=chunks.of_bytes(source.read_at, values + begin, dtype, count, where),
            **described,
        )
    )


def damaged(source: wexport.Source, what: str) -> wexport.ReadError:
    """Every error names the file, the value and the way out."""
    return wexport.ReadError(f"{source.path}: {what}", hint="the file is damaged; copy or save it again")


READER = wexport.Reader(
    name="myformat", reads="myformat files", sniff=sniff, open=open_myformat, suffixes=(".myformat",)
)


@wexport.hookimpl
def wexport_readers() -> list[wexport.Reader]:
    """What wexport asks this plugin for."""
    return [READER]
