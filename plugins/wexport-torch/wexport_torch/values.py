"""The values of a tensor: in place where they stand in order, else gathered a block at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from wexport import ReadError, Tensor
from wexport.reading import Chunks, chunks
from wexport_torch.storages import Storages
from wexport_torch.stored import Stored

Array = NDArray[Any]

MAX_SCALES = 1 << 20
_QUANTIZED_BITS = {"qint8": "int8", "quint8": "uint8", "qint32": "int32"}


@dataclass
class Budget:
    """How many bytes all tensors of a file may be read as: 1 GiB, and 200 for each byte of the file.

    Tensors may share a storage, and repeat its values by strides of 0, so a small file can declare any size.
    """

    file_bytes: int
    declared: int = 0

    def declare(self, size: int) -> None:
        """Account for a tensor of `size` bytes; raises ReadError, without naming the file, past the limit."""
        limit = (1 << 30) + 200 * self.file_bytes
        if self.declared + size > limit:
            raise ReadError(
                f"with its {size:,} bytes, the tensors repeat what is stored past {limit:,} bytes, "
                f"for a file of {self.file_bytes:,}"
            )
        self.declared += size


def tensor(name: str, stored: Stored, storages: Storages, budget: Budget, where: str) -> Tensor:
    """A tensor of the table, read when it is asked for.

    where: the file, as errors name it. Raises ReadError, without naming the file, for one that lies outside of its
    storage, or that declares more than is read.
    """
    _lies_inside(stored, storages)
    budget.declare(stored.size * stored.type.size)
    read = _in_order(stored, storages, f"{where}: {name}") if stored.in_order else _gathered(stored, storages)
    if stored.quantizer is None:
        return Tensor(name=name, shape=stored.shape, dtype=stored.type.name, chunks=read)
    config = {
        "qscheme": stored.quantizer.scheme,
        "axis": stored.quantizer.axis,
        "scale": _plain(stored.quantizer.scale, storages),
        "zero_point": _plain(stored.quantizer.zero_point, storages),
    }
    return Tensor(
        name=name,
        shape=stored.shape,
        dtype=_QUANTIZED_BITS[stored.type.name],
        value_dtype="float32",
        chunks=_dequantised(stored, read, config["scale"], config["zero_point"]),
        layer_config={key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in config.items()},
    )


def _lies_inside(stored: Stored, storages: Storages) -> None:
    """Checks declared against stored sizes: of the storage, and of the tensor in it."""
    held = stored.storage
    declared, there = held.count * held.type.size, storages.size(held.key)
    if declared != there:
        raise ReadError(f"its storage {held.key!r} is said to have {declared:,} bytes, {there:,} are there")
    if stored.end * stored.type.size > held.length * held.type.size:
        raise ReadError(
            f"it ends at value {stored.end:,} of its storage {held.key!r}, which has "
            f"{held.length * held.type.size // stored.type.size:,}"
        )


def _in_order(stored: Stored, storages: Storages, where: str) -> Chunks:
    def read_at(offset: int, count: int) -> bytes:
        window = storages.window(stored.storage.key)
        window.seek(offset)
        return window.read(count) or b""

    dtype = _as_stored(stored, storages)
    start = _start(stored)
    return _native(stored, chunks.of_bytes(read_at, start, dtype, stored.size, where))


def mapped(stored: Stored, storages: Storages) -> Array:
    """The values of a plain tensor as an array in its shape, mapped into memory.

    Raises ReadError, without naming the file, for one that lies outside of its storage.
    """
    _lies_inside(stored, storages)
    dtype = stored.type.dtype
    assert dtype is not None
    found = _view(stored, storages)
    return found.astype(f"u{dtype.itemsize}").view(dtype) if dtype.kind == "V" else found


def _view(stored: Stored, storages: Storages) -> Array:
    dtype = _as_stored(stored, storages)
    window = storages.window(stored.storage.key)
    if _start(stored) + (stored.end - stored.offset) * dtype.itemsize > window.size:
        raise ReadError(f"its storage {stored.storage.key!r} is cut short", hint="copy or save the file again")
    if not stored.size:
        return np.empty(stored.shape, dtype)
    flat = np.memmap(window.base, dtype, "r", window.start + _start(stored), (stored.end - stored.offset,))
    strides = tuple(stride * dtype.itemsize for stride in stored.strides)
    return as_strided(flat, stored.shape, strides, writeable=False)


def _gathered(stored: Stored, storages: Storages) -> Chunks:
    """Strided values are seen through a memory map and copied a block at a time, in C order."""

    def read(limit: int) -> Iterator[Array]:
        if stored.size:
            yield from _blocks(_view(stored, storages), limit)

    return _native(stored, read)


def _blocks(view: Array, limit: int) -> Iterator[Array]:
    """The values of an array in C order, at most `limit` bytes at a time, but one at least."""
    if view.nbytes <= limit or not view.ndim:
        yield np.ascontiguousarray(view).reshape(-1)
        return
    inner = view.nbytes // len(view)
    if inner > limit and view.ndim > 1:
        for part in view:
            yield from _blocks(part, limit)
        return
    step = max(1, limit // inner)
    for start in range(0, len(view), step):
        yield np.ascontiguousarray(view[start : start + step]).reshape(-1)


def _start(stored: Stored) -> int:
    """The byte of the storage that the tensor begins at."""
    return stored.storage.first * stored.storage.type.size + stored.offset * stored.type.size


def _as_stored(stored: Stored, storages: Storages) -> np.dtype[Any]:
    """The type of the bytes, in the file's order; of ml_dtypes' types, whose order cannot be set, as integers."""
    dtype = stored.type.dtype
    assert dtype is not None
    if dtype.kind == "V":
        dtype = np.dtype(f"u{dtype.itemsize}")
    return dtype.newbyteorder(">" if storages.big_endian else "<")


def _native(stored: Stored, read: Chunks) -> Chunks:
    """Values of ml_dtypes' types, which are read as integers."""
    dtype = stored.type.dtype
    assert dtype is not None
    if dtype.kind != "V":
        return read
    return lambda limit: (chunk.astype(f"u{dtype.itemsize}").view(dtype) for chunk in read(limit))


# -- quantised ---------------------------------------------------------------------------------------------------------


def _plain(value: Any, storages: Storages) -> Any:
    """A scale or zero point: a number, or the values of a small tensor."""
    if not isinstance(value, Stored):
        return value
    if value.size > MAX_SCALES:
        raise ReadError(f"it has {value.size:,} scales")
    _lies_inside(value, storages)
    read = _in_order(value, storages, "its scale") if value.in_order else _gathered(value, storages)
    return np.concatenate([np.empty(0, value.type.dtype), *read(1 << 20)]).astype(np.float64)


def _dequantised(stored: Stored, read: Chunks, scale: Any, zero_point: Any) -> Chunks:
    """(stored - zero point) x scale, in float32 as `Tensor.dequantize` computes it."""
    quantizer = stored.quantizer
    assert quantizer is not None

    def values(limit: int) -> Iterator[Array]:
        place = 0
        for chunk in read(max(1, limit // 4 * stored.type.size)):
            integers = chunk.astype(np.int64)
            if quantizer.axis is None:
                channel: Any = ()
            else:
                run = math.prod(stored.shape[quantizer.axis + 1 :])
                channel = (np.arange(place, place + chunk.size) // run) % stored.shape[quantizer.axis]
            place += chunk.size
            shifted = (integers - np.asarray(zero_point).astype(np.int64)[channel]).astype(np.float32)
            yield shifted * np.asarray(scale, np.float32)[channel]

    return values
