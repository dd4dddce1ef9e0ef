"""A reader's chunks cut anew at places that depend on the tensor alone.

Statistics are summed up block by block, and a sum of floats depends on where it is cut. Because blocks never follow the
reader's chunks, every statistic is bitwise the same whatever chunks the reader yields.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.errors import PluginError
from wexport.model.tensors import Tensor
from wexport.stats.streams import Streams

BLOCK = 1 << 18
"""Values in a block, at most: few enough for its float64 copies to stay in a shared cache, enough for the cost of some
forty calls a block not to matter."""

Array = NDArray[Any]


def chunks_of(tensor: Tensor, dtype: np.dtype[Any], limit: int) -> Iterator[Array]:
    """The tensor's chunks, checked against its promises, contiguous and in native byte order.

    Raises PluginError if the values are not as many or not of the type that the tensor says, or a chunk is larger than
    was asked for: it may be too large for memory the next time.
    """
    due = tensor.size
    for chunk in tensor.chunks(limit):
        if not isinstance(chunk, np.ndarray):
            raise broken(tensor, f"a chunk is {type(chunk).__name__}, and no NumPy array")
        if chunk.nbytes > max(limit, chunk.itemsize):
            raise broken(tensor, f"a chunk of {chunk.nbytes:,} bytes comes where {limit:,} were asked for")
        if chunk.ndim != 1 or chunk.dtype.newbyteorder("=") != dtype:
            raise broken(tensor, f"a chunk is {chunk.ndim}-dimensional {chunk.dtype}")
        due -= chunk.size
        if due < 0:
            break
        if not (chunk.flags.c_contiguous and chunk.flags.aligned and chunk.dtype.isnative):
            chunk = np.require(chunk.astype(dtype), requirements=["C", "A"])
        yield chunk
    if due:
        raise broken(tensor, miscounted(due))


def miscounted(due: int) -> str:
    """What is wrong where this many values are still due, or came too many."""
    return f"its chunks hold {-due} values too many" if due < 0 else f"{due} values are missing"


def broken(tensor: Tensor, what: str) -> PluginError:
    return PluginError(
        f"{tensor.name}: declared {tensor.dtype} of shape {tensor.shape}, but {what}",
        hint="the reader that yields this tensor has to be corrected",
    )


Take = Callable[[int, int, Array], None]


class Blocks:
    """Cuts chunks into the blocks of a tensor's streams and hands each on."""

    def __init__(self, streams: Streams, row: int, dtype: np.dtype[Any]) -> None:
        """Blocks hold whole rows of `row` values where these fit."""
        self._streams = streams
        self._pieces = streams.run if streams.count > 1 else row
        self._span = self._spanned(streams.count if streams.count > 1 else 1)
        self._size = streams.size * streams.count
        self._start = 0
        self._held = np.empty(0, dtype)
        self._filled = 0
        self._gate = np.empty(0, dtype)
        self._canonical = [streams.stored.index(gate) for gate in range(streams.count)]

    def _spanned(self, gates: int) -> int:
        """Stored values of a block, or of one block per gate; 0 where rows have to be divided."""
        return max(1, BLOCK // self._pieces) * self._pieces * gates if self._pieces <= BLOCK else 0

    def _length(self) -> int:
        if self._span:
            return min(self._span, self._size - self._start)
        place = self._start % self._pieces
        step = math.ceil(self._pieces / math.ceil(self._pieces / BLOCK))
        return min(step, self._pieces - place)

    def add(self, chunk: Array, take: Take) -> None:
        """Cut one more chunk; what does not fill a block is copied and kept.

        take(stream, start, block): called for every block, in the file's order; streams are numbered in the canonical
        order of their gates, and `start` is the place of the block's first value in its stream. The block is contiguous
        and may be overwritten after the call. It is not kept here: whoever holds this may be what takes, and would
        then outlive its use until the garbage is collected.
        """
        place = 0
        while place < chunk.size:
            length = self._length()
            share = min(length - self._filled, chunk.size - place)
            part = chunk[place : place + share]
            block = part if share == length else self._hold(part, length)
            place += share
            if block.size == length:
                self._hand_on(block, take)
                self._start += length
                self._filled = 0

    def _hold(self, part: Array, length: int) -> Array:
        if self._held.size < length:
            self._held = np.empty(length, self._held.dtype)
        self._held[self._filled : self._filled + part.size] = part
        self._filled += part.size
        return self._held[: self._filled]

    def _hand_on(self, block: Array, take: Take) -> None:
        run, gates = self._streams.run, self._streams.count
        if gates == 1:
            take(0, self._start, block)
        elif not self._span:
            row, gate = divmod(self._start // run, gates)
            take(self._canonical[gate], row * run + self._start % run, block)
        else:
            values = block.reshape(-1, gates, run)
            if self._gate.size < block.size // gates:
                self._gate = np.empty(block.size // gates, block.dtype)
            for gate in range(gates):
                part = self._gate[: block.size // gates]
                np.copyto(part.reshape(-1, run), values[:, gate])
                take(self._canonical[gate], self._start // gates, part)
