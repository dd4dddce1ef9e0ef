"""Which values of a tensor the table keeps.

Positions are canonical, so that the samples of one slot line up across models and frameworks, and follow from the
canonical shape and the sample size alone.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.model.tensors import Layout, Tensor
from wexport.stats.results import Sample
from wexport.stats.streams import stored_positions, streams_of

Positions = NDArray[np.int64]

FEW_CHANNELS = 4
"""A convolution kernel that sees at most this many input channels is a picture and kept whole ..."""
PICTURE_VALUES = 16_384
"""... up to this many values."""
OUTPUT_VALUES = 65_536
"""Outputs of a layer are kept whole up to this many values: those for a few inputs are looked at one by one."""


def positions(canonical_shape: tuple[int, ...], sample_size: int, layout: Layout | None = None) -> Positions:
    """Canonical flat positions to keep, int64, ascending: all of them up to `sample_size`, else that many.

    The array is divided into `sample_size` strata of equal length, and each gives one place, chosen by a hash
    (splitmix64: Steele, Lea and Flood, 2014) of the shape and the stratum. A plain stride would fall into step
    with the axes and see few columns only.
    """
    size = math.prod(canonical_shape)
    if size <= sample_size or keep_whole(canonical_shape, layout):
        return np.arange(size, dtype=np.int64)
    stratum = np.arange(sample_size + 1, dtype=np.uint64)
    whole, rest = divmod(size, sample_size)
    # Starts are floor(stratum * size / sample_size), in a form that does not overflow.
    starts = stratum * np.uint64(whole) + stratum * np.uint64(rest) // np.uint64(sample_size)
    seed = 0
    for length in (len(canonical_shape), *canonical_shape, sample_size):
        seed = int(_splitmix64(np.array([seed ^ length], np.uint64))[0])
    jitter = _splitmix64(stratum[:-1] * _STEP + np.uint64(seed)) % np.diff(starts)
    return (starts[:-1] + jitter).astype(np.int64)


def keep_whole(canonical_shape: tuple[int, ...], layout: Layout | None) -> bool:
    """Whether values are a picture: a convolution that sees few channels, or a few outputs, of a size to be kept."""
    if layout is not None and layout.pooled_axes:
        return math.prod(canonical_shape) <= OUTPUT_VALUES
    if layout is None or len(canonical_shape) < 3 or not layout.unit_axes or not layout.input_axes:
        return False
    channels = math.prod(canonical_shape[axis] for axis in layout.input_axes)
    spatial = set(range(len(canonical_shape))) - set(layout.unit_axes) - set(layout.input_axes)
    return bool(spatial) and channels <= FEW_CHANNELS and math.prod(canonical_shape) <= PICTURE_VALUES


class SampleValues:
    """Picks the sample out of the chunks as they pass."""

    def __init__(self, tensor: Tensor, sample_size: int) -> None:
        self._index, self._stored, self._order = _plan(tensor.shape, tensor.layout, sample_size)
        self._found = np.empty(self._stored.size)
        self._start = self._filled = 0
        self.whole = self._stored.size == tensor.size
        """Whether every value is kept."""

    def add(self, chunk: NDArray[Any]) -> None:
        """Take the next chunk of the stored values."""
        end = self._start + chunk.size
        last = int(np.searchsorted(self._stored, end))
        wanted = self._stored[self._filled : last] - self._start
        self._found[self._filled : last] = chunk[wanted]
        self._start, self._filled = end, last

    def result(self) -> Sample:
        """The sample, once all chunks have passed."""
        value = np.empty_like(self._found)
        value[self._order] = self._found
        return Sample(self._index, value)


@lru_cache(maxsize=64)  # the models of a folder are alike
def _plan(
    shape: tuple[int, ...], layout: Layout | None, sample_size: int
) -> tuple[Positions, Positions, NDArray[np.intp]]:
    """Canonical positions; the stored ones, ascending; and the place in the first of each of the second."""
    streams = streams_of(shape, layout)
    index = positions(streams.canonical_shape, sample_size, layout)
    stored = stored_positions(streams, index)
    order = np.argsort(stored)
    stored = stored[order]
    for shared in (index, stored, order):
        shared.flags.writeable = False
    return index, stored, order


_STEP = np.uint64(0x9E3779B97F4A7C15)


def _splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    z = state + _STEP
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))
