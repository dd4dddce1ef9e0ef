"""The column `extra`: figures by the statistics of plugins."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.model.extensions import Statistic
from wexport.model.tensors import Tensor
from wexport.plugins.guard import ForeignError, foreign_code
from wexport.stats import BLOCK_BYTES, dtype_named
from wexport.stats.blocks import chunks_of
from wexport.stats.canonical import canonical_array


class Extra:
    """The statistics of one run: (plugin, statistic) each; `notes` are what went wrong, once a statistic."""

    def __init__(self, statistics: Sequence[tuple[str, Statistic]]) -> None:
        self._statistics = statistics
        self._noted: set[str] = set()
        self.notes: list[str] = []

    def of(self, tensor: Tensor) -> dict[str, float] | None:
        """The figures of a tensor by name, those that are defined; None if there are none.

        Its values are read once more, if any statistic wants them. Raises what the reader raises.
        """
        wanted = [(plugin, each) for plugin, each in self._statistics if tensor.size <= each.max_values]
        if not wanted:
            return None
        values = _values(tensor)
        found: dict[str, float] = {}
        for plugin, statistic in wanted:
            value = self._figure(plugin, statistic, values, tensor)
            if value is not None:
                found[statistic.name] = value
        return found or None

    def _figure(self, plugin: str, statistic: Statistic, values: NDArray[Any], tensor: Tensor) -> float | None:
        try:
            with foreign_code(passing=()), np.errstate(all="ignore"):
                answer = statistic.of(values, tensor)
                if answer is None:
                    return None
                value = float(answer)
                if not math.isfinite(value):
                    raise ValueError(f"it is {value}")
                return value
        except ForeignError as error:  # it may have asked for too much memory, too: this one is NULL
            if statistic.name not in self._noted:
                self._noted.add(statistic.name)
                detail = " ".join(str(error).split())[:300]
                about = f"statistic {statistic.name} of plugin {plugin} is NULL for some"
                self.notes.append(f"{about}: {detail} (first for {tensor.name})")
        return None


def _values(tensor: Tensor) -> NDArray[Any]:
    """A tensor's values in the canonical layout, as float64; not to be written to, as the next statistic reads them."""
    dtype = dtype_named(tensor.value_dtype or tensor.dtype)
    assert dtype is not None, "its other figures are made already"
    flat = np.empty(tensor.size, np.float64)
    start = 0
    for chunk in chunks_of(tensor, dtype, BLOCK_BYTES):
        flat[start : start + chunk.size] = chunk
        start += chunk.size
    values = np.ascontiguousarray(canonical_array(flat, tensor.shape, tensor.layout))
    values = values.reshape(values.shape if tensor.shape else ())  # ascontiguousarray makes a scalar a vector
    values.flags.writeable = False
    return values
