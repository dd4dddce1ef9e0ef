"""The values of a tensor as an array in the canonical layout."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.model.cudnn import CudnnLayout
from wexport.model.tensors import Layout
from wexport.stats.streams import gate_order, streams_of

Array = NDArray[Any]
Room = Callable[[int, "np.dtype[Any]"], Array]
"""Given a count and a type, an array of that many values, not yet set."""


def canonical_array(flat: Array, shape: tuple[int, ...], layout: Layout | None, room: Room = np.empty) -> Array:
    """All values of a tensor, given in stored order, as an array of the canonical shape: a view where that will do.

    room: where a copy is made, if one is needed. Raises ValueError for a layout that does not fit the shape.
    """
    streams = streams_of(shape, plain_gates(layout))
    back = np.argsort(streams.axes)
    if streams.count == 1:
        return flat.reshape(streams.dims).transpose(back)
    assert streams.gate_axis is not None
    whole = room(flat.size, flat.dtype).reshape(streams.canonical_shape)
    rows = flat.reshape(-1, streams.count, streams.run)
    for stored, target in zip(streams.stored, np.split(whole, streams.count, axis=streams.gate_axis), strict=True):
        np.copyto(target, np.ascontiguousarray(rows[:, stored]).reshape(streams.dims).transpose(back))
    return whole


def plain_gates(layout: Layout | None) -> Layout:
    """The layout without its gates if they are stored in canonical order: then they change no value's place."""
    layout = layout or Layout()
    if (
        layout.gates
        and not isinstance(layout, CudnnLayout)
        and gate_order(layout.gates) == tuple(range(len(layout.gates)))
    ):
        return replace(layout, gates=(), gate_axis=None)
    return layout
