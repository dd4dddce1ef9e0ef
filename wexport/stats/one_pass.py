"""All statistics of a tensor in one pass over its chunks.

The values are hashed and sampled as they come, cut anew into blocks (`blocks`), and each block adds to the counts
(`histogram`), moments (`moments`), units and inputs (`units`) and grid (`grid`) of the gate it belongs to. The
statistics of a tensor with gates are the merged ones of its gates. Every statistic is bitwise the same
whatever the reader's chunk size.
"""

from __future__ import annotations

import sys
from functools import lru_cache, reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.errors import PluginError, UsageError
from wexport.model.tensors import Tensor
from wexport.stats import blocks
from wexport.stats.compiled import Kernel
from wexport.stats.distribution import DistributionSums
from wexport.stats.grid import GridSums
from wexport.stats.results import GateStatistics, TensorStatistics
from wexport.stats.sample import SampleValues
from wexport.stats.streams import Streams, streams_of
from wexport.stats.units import LiveInputs, UnitStatistics, fold_of
from wexport.stats.workspace import Workspace

Array = NDArray[Any]

SAMPLE_SIZE = 1_024
BLOCK_BYTES = 1 << 20
"""Asked of a reader at a time."""
SORTED = 1 << 16
"""Quantiles are exact, by sorting, for tensors of at most this many values."""


def measure(
    tensor: Tensor, *, sample_size: int = SAMPLE_SIZE, detail: bool = True, block_bytes: int = BLOCK_BYTES
) -> TensorStatistics:
    """The statistics of one tensor.

    sample_size: values kept of a larger tensor. detail: whether sample, grid and units are wanted.
    block_bytes: limit given to the reader; it changes no statistic.

    32-bit and 64-bit integers are measured as float64, so statistics of integers beyond 2**53 are rounded.
    content_hash is XXH3-128 over the line "dtype shape" (as in "float32 (3, 4)", UTF-8, ended by a newline) and the
    stored values, little-endian, in C order. Memory: at most 40 MiB, whatever the tensor's size.

    Raises PluginError if the tensor is not what it says it is, UsageError for a sample size below 1, and whatever the
    reader raises.
    """
    passing = Pass(tensor, sample_size=sample_size, detail=detail)
    for chunk in blocks.chunks_of(tensor, passing.dtype, block_bytes):
        passing.add(chunk)
    return passing.result()


@lru_cache(maxsize=64)
def dtype_named(name: str) -> np.dtype[Any] | None:
    """The NumPy type of a `Tensor.dtype`, in native byte order; None for one that has no statistics."""
    import ml_dtypes

    try:
        dtype = np.dtype(getattr(ml_dtypes, name, name))
    except TypeError:
        return None
    extension = dtype.kind not in "fiub" and hasattr(ml_dtypes, name) and dtype.itemsize <= 2
    return dtype if extension or (dtype.kind in "fiub" and dtype.itemsize <= 8) else None


class Pass:
    """One pass over one tensor, for whoever has its values as they come: `measure` without a reader."""

    def __init__(
        self,
        tensor: Tensor,
        *,
        sample_size: int = SAMPLE_SIZE,
        detail: bool = True,
        workspaces: dict[np.dtype[Any], Workspace] | None = None,
    ) -> None:
        """tensor: what is to come; its `chunks` is not asked. sample_size, detail: as for `measure`.

        workspaces: shared by passes that take turns. Raises as `measure` does for what can be told beforehand.
        """
        import xxhash

        if sample_size < 1:
            raise UsageError(f"sample size {sample_size} is below 1", hint="leave the sample out with detail=False")
        dtype = dtype_named(tensor.value_dtype or tensor.dtype)
        if dtype is None:
            raise PluginError(
                f"{tensor.name}: {tensor.dtype} is not a type that statistics are made of",
                hint="readers yield integers, bools and floats of at most 64 bits",
            )
        self._tensor, size = tensor, tensor.size
        self.dtype: np.dtype[Any] = dtype
        """Of the values to come, in native byte order."""
        streams = self._streams = _streams_of(tensor)
        self._workspaces = workspaces
        self._workspace: Workspace | None = None
        self._sums = [DistributionSums(streams.size, exact=size <= SORTED) for _ in range(streams.count)]
        units = fold_of(streams, streams.unit_axes) if size else None
        self._units = UnitStatistics(units, size, listed=detail) if units else None
        inputs = fold_of(streams, streams.input_axes) if size else None
        self._inputs = LiveInputs(inputs) if inputs else None
        self._sample = SampleValues(tensor, sample_size) if detail else None
        pictured = self._sample is not None and (not self._sample.whole or bool(streams.pooled_axes))
        self._grid = GridSums(streams) if pictured and size else None
        shape = tuple(int(length) for length in tensor.shape)  # NumPy's integers print otherwise
        self._hasher = xxhash.xxh3_128(f"{dtype.name} {shape}\n".encode())
        self._kernel = Kernel.of(dtype, streams, self._sums, self._units, self._inputs, self._grid)
        self._cutter = blocks.Blocks(streams, self._row(), dtype)
        self._due = size

    def add(self, chunk: Array) -> None:
        """Take the next values: one-dimensional, contiguous, of `dtype`, in C order; any number of them.

        Raises PluginError for others, and for more values than the tensor has.
        """
        if chunk.dtype != self.dtype or chunk.ndim != 1 or not chunk.flags.c_contiguous:
            raise blocks.broken(self._tensor, f"a chunk is {chunk.ndim}-dimensional {chunk.dtype}")
        self._due -= chunk.size
        if self._due < 0:
            raise blocks.broken(self._tensor, blocks.miscounted(self._due))
        with np.errstate(all="ignore"):  # NaN, infinities and the edges of float64 are each provided for
            self._hasher.update(_little_endian(chunk))
            if self._sample:
                self._sample.add(chunk)
            self._cutter.add(chunk, self._take)

    def result(self) -> TensorStatistics:
        """The statistics, once all values have passed; to be asked once. Raises PluginError if some are missing."""
        if self._due:
            raise blocks.broken(self._tensor, blocks.miscounted(self._due))
        with np.errstate(all="ignore"):
            return self._result(self._hasher.hexdigest())

    def _row(self) -> int:
        if self._units:
            return max(1, self._units.fold.row)
        return max(1, self._grid.row if self._grid else blocks.BLOCK)

    def _take(self, gate: int, start: int, stored: Array) -> None:
        if self._kernel and self._kernel.add(gate, start, stored):
            return
        block = self._room().prepare(stored)
        self._sums[gate].add(block)
        if self._units:
            self._units.add(block, start)
        if self._inputs:
            self._inputs.add(block, start)
        if self._grid:
            self._grid.add(gate, block, start)

    def _room(self) -> Workspace:
        if self._workspace is None:
            if self._workspaces is None:
                self._workspace = Workspace(self.dtype, min(self._tensor.size, blocks.BLOCK))
            else:
                if self.dtype not in self._workspaces:
                    self._workspaces[self.dtype] = Workspace(self.dtype, blocks.BLOCK)
                self._workspace = self._workspaces[self.dtype]
        return self._workspace

    def _result(self, content_hash: str) -> TensorStatistics:
        pairs = zip(self._streams.gates, self._sums, strict=False)  # a tensor without gates has one sum all the same
        gates = tuple(GateStatistics(gate=name, **sums.result()) for name, sums in pairs)
        units = self._units
        return TensorStatistics(
            **reduce(DistributionSums.absorb, self._sums).result(),
            content_hash=content_hash,
            unit_count=units.fold.groups if units else None,
            zero_unit_count=units.zero_count() if units else None,
            zero_input_count=self._inputs.zero_count() if self._inputs else None,
            units=units.result() if units else None,
            sample=self._sample.result() if self._sample else None,
            grid=self._grid.result() if self._grid else None,
            gates=gates or None,
        )


def _streams_of(tensor: Tensor) -> Streams:
    try:
        return streams_of(tensor.shape, tensor.layout)
    except (TypeError, ValueError) as error:  # TypeError: a list where a tuple belongs
        raise PluginError(
            f"{tensor.name}: stored shape {tensor.shape} and {tensor.layout} do not go together: {error}",
            hint="the reader that described this tensor has to be corrected",
        ) from None


def _little_endian(chunk: Array) -> memoryview:
    if sys.byteorder == "big":
        chunk = chunk.byteswap()
    return chunk.view(np.uint8).data
