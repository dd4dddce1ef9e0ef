"""The values of two tensors side by side, in one order, however each is stored.

Tensors that are stored alike are read in step, in bounded memory. Others are held whole, in memory or, if they are
large, in a temporary file, and seen through views in canonical order.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.errors import PluginError
from wexport.model.tensors import Tensor
from wexport.stats.blocks import chunks_of
from wexport.stats.canonical import canonical_array, plain_gates
from wexport.stats.one_pass import dtype_named
from wexport.stats.streams import streams_of

Array = NDArray[Any]

BLOCK = 1 << 18
"""Values in a block, at most: few enough for their float64 copies to stay in a shared cache."""
HELD_BYTES = 24 << 20
"""What is held of a tensor in memory; a larger one goes to a temporary file."""


def value_dtype(tensor: Tensor) -> np.dtype[Any]:
    """The NumPy type of a tensor's values; raises PluginError for one that is not a number."""
    dtype = dtype_named(tensor.value_dtype or tensor.dtype)
    if dtype is None:
        raise PluginError(f"{tensor.name}: {tensor.dtype} is not a type that values are compared in")
    return dtype


def stored_alike(one: Tensor, other: Tensor) -> bool:
    """Whether equal places in the file are equal places in the canonical array."""
    return _order(one) == _order(other)


def in_step(one: Tensor, other: Tensor) -> Iterator[tuple[Array, Array]]:
    """Values in stored order, in pairs of blocks; each is valid until the next is asked for."""
    a = b = np.empty(0)
    lefts, rights = chunks(one), chunks(other)
    while True:
        a = a if a.size else next(lefts, a)
        b = b if b.size else next(rights, b)
        count = min(a.size, b.size)
        if not count:
            return
        yield a[:count], b[:count]
        a, b = a[count:], b[count:]


def in_canonical_order(one: Tensor, other: Tensor) -> Iterator[tuple[Array, Array]]:
    """Values in canonical order, in pairs of blocks; each is valid until the next is asked for.

    Memory: the tensors if they are small, else the part of the temporary files that the system keeps there.
    """
    if not one.size:
        return
    arrays = [_canonical(tensor) for tensor in (one, other)]
    flags: Any = ["external_loop", "buffered"]
    yield from np.nditer(arrays, flags=flags, order="C", buffersize=BLOCK)


def chunks(tensor: Tensor) -> Iterator[Array]:
    """The values in stored order, contiguous and in native byte order, at most a block at a time."""
    dtype = value_dtype(tensor)
    return chunks_of(tensor, dtype, BLOCK * dtype.itemsize)


def _order(tensor: Tensor) -> tuple[Any, ...]:
    """What tells where each value belongs; axes of length 1 do not matter."""
    streams = streams_of(tensor.shape, plain_gates(tensor.layout))
    longer = [(axis, length) for axis, length in zip(streams.axes, streams.dims, strict=True) if length != 1]
    axes = [axis for axis, _ in longer]
    if streams.count > 1:
        return streams.stored, streams.run, *longer
    return () if axes == sorted(axes) else tuple(longer)


def _canonical(tensor: Tensor) -> Array:
    """All values as an array of the canonical shape."""
    dtype = value_dtype(tensor)
    flat = _room(tensor.size, dtype)
    start = 0
    for chunk in chunks(tensor):
        flat[start : start + chunk.size] = chunk
        start += chunk.size
    return canonical_array(flat, tensor.shape, tensor.layout, _room)


def _room(count: int, dtype: np.dtype[Any]) -> Array:
    """An array of that many values, not yet set."""
    if count * dtype.itemsize <= HELD_BYTES:
        return np.empty(count, dtype)
    with tempfile.TemporaryFile(prefix="wexport-") as file:
        file.truncate(count * dtype.itemsize)
        # The mapping outlives the file's name and descriptor.
        return np.memmap(file, np.uint8, "r+", shape=(count * dtype.itemsize,)).view(dtype)
