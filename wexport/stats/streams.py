"""Where stored values belong in the canonical array: gates as streams, and canonical positions.

A tensor with gates is taken apart into one *stream* per gate: that gate's values in stored order. Inside a stream
every axis is plain, so units, inputs and grid need no word about gates or CuDNN. A tensor without gates is one stream.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from wexport.model.gates import canonical_order
from wexport.model.tensors import Layout

Positions = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Streams:
    """How a tensor's stored values fall into streams.

    gates: names in canonical order; empty without gates.
    stored: for each canonical gate, its place in stored order.
    run: values of one gate that follow one another in the file; the whole tensor without gates.
    dims: shape of one stream in stored order. axes: the canonical axis of each of these.
    unit_axes, input_axes, pooled_axes, gate_axis: canonical, as in Layout.
    canonical_shape: of the whole tensor.
    """

    gates: tuple[str, ...]
    stored: tuple[int, ...]
    run: int
    dims: tuple[int, ...]
    axes: tuple[int, ...]
    unit_axes: tuple[int, ...]
    input_axes: tuple[int, ...]
    pooled_axes: tuple[int, ...]
    gate_axis: int | None
    canonical_shape: tuple[int, ...]

    @property
    def count(self) -> int:
        """Number of streams, at least one."""
        return max(1, len(self.gates))

    @property
    def size(self) -> int:
        """Values in one stream."""
        return math.prod(self.dims)

    def extent(self, axis: int) -> int:
        """Length of a canonical axis within one stream."""
        return self.dims[self.axes.index(axis)]


@lru_cache(maxsize=256)  # the models of a folder are alike
def streams_of(shape: tuple[int, ...], layout: Layout | None) -> Streams:
    """The streams of a tensor of this stored shape.

    Raises ValueError, saying why, for a layout that does not fit the shape.
    """
    layout = layout or Layout()
    view = shape if layout.view is None else layout.view
    order = tuple(range(len(view))) if layout.permutation is None else layout.permutation
    problem = _problem(shape, layout, view, order)
    if problem:
        raise ValueError(problem)
    axes = tuple(order.index(axis) for axis in range(len(view)))
    dims, run = view, math.prod(view)
    stored: tuple[int, ...] = (0,)
    if layout.gates:
        assert layout.gate_axis is not None
        place, gates = order[layout.gate_axis], len(layout.gates)
        dims = (*view[:place], view[place] // gates, *view[place + 1 :])
        run = math.prod(dims[place:])
        stored = gate_order(layout.gates)
        if layout.cudnn_kernel:
            dims, axes = dims[::-1], axes[::-1]
    return Streams(
        gates=tuple(layout.gates[gate] for gate in stored) if layout.gates else (),
        stored=stored,
        run=run,
        dims=dims,
        axes=axes,
        unit_axes=layout.unit_axes,
        input_axes=layout.input_axes,
        pooled_axes=layout.pooled_axes,
        gate_axis=layout.gate_axis if layout.gates else None,
        canonical_shape=layout.canonical_shape(shape),
    )


def gate_order(stored: Sequence[str]) -> tuple[int, ...]:
    """For each gate in canonical order (i f c o; z r h; else as stored), its place in stored order."""
    return tuple(stored.index(gate) for gate in canonical_order(tuple(stored)))


def _problem(shape: tuple[int, ...], layout: Layout, view: tuple[int, ...], order: tuple[int, ...]) -> str:
    if math.prod(view) != math.prod(shape):
        return "the view holds another number of values"
    if sorted(order) != list(range(len(view))):
        return "the permutation does not name each axis once"
    named = (*layout.unit_axes, *layout.input_axes, *layout.pooled_axes)
    if any(not 0 <= axis < len(view) for axis in named):
        return "a unit, input or pooled axis does not exist"
    if set(layout.unit_axes) & set(layout.pooled_axes):
        return "an axis is both of units and pooled"
    if any(len(set(axes)) != len(axes) for axes in (layout.unit_axes, layout.input_axes, layout.pooled_axes)):
        return "a unit, input or pooled axis is named twice"
    if not layout.gates:
        return "CuDNN's order needs gates" if layout.cudnn_kernel else ""
    if layout.gate_axis is None or not 0 <= layout.gate_axis < len(view):
        return "gates need a gate axis that exists"
    if view[order[layout.gate_axis]] % len(layout.gates):
        return "the gate axis does not divide into its gates"
    if layout.cudnn_kernel and (order, layout.gate_axis) != ((0, 1), 1):
        return "CuDNN's order is one of (inputs, gates x units) matrices"
    return ""


def stored_positions(streams: Streams, canonical: Positions) -> Positions:
    """Flat positions in the file of flat positions in the canonical array."""
    index = list(np.unravel_index(canonical, streams.canonical_shape)) if streams.canonical_shape else []
    gate: Positions = np.zeros_like(canonical)
    if streams.gate_axis is not None:
        extent = streams.extent(streams.gate_axis)
        block, index[streams.gate_axis] = np.divmod(index[streams.gate_axis], extent)
        gate = np.array(streams.stored, np.int64)[block]
    within = np.zeros_like(canonical)
    for axis, length in zip(streams.axes, streams.dims, strict=True):
        within = within * length + index[axis]
    return (within // streams.run * streams.count + gate) * streams.run + within % streams.run
