"""Tensors as matrices, from what the table keeps: every value where the sample holds them all, else the grid.

Columns are the output units and rows everything else, each flattened in canonical order, as in the column `grid`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Matrix:
    """A tensor as a matrix.

    shape: canonical shape of the tensor. row_axes, column_axes: which of its axes each side has.
    cells: (rows, columns). Values as stored, or root mean squares of blocks; NaN where a block has no finite value.
    row_edges, column_edges: where cells begin and end, in indices of the flattened sides.
    is_rms: whether cells are root mean squares of blocks. pooled: over how many inputs each is one, of outputs.
    gates: names of the equal blocks that the columns fall into, left to right; empty without gates.
    """

    shape: tuple[int, ...]
    row_axes: tuple[int, ...]
    column_axes: tuple[int, ...]
    cells: Floats
    row_edges: Places
    column_edges: Places
    is_rms: bool
    gates: tuple[str, ...] = ()
    pooled: int = 1

    @property
    def block(self) -> str:
        """How many values a cell stands for, as words: "4 x 8" or, where blocks differ, "3-4 x 8"."""
        return " x ".join(_extent(np.diff(edges)) for edges in (self.row_edges, self.column_edges))


def whole_values(row: Mapping[str, Any]) -> Floats | None:
    """A tensor's values in its canonical shape, from a row of the table; None where the table does not hold all."""
    sample, size = row["sample"], row["value_count"]
    if sample is None or len(sample["value"]) != size:
        return None
    values = np.full(size, np.nan)
    values[np.asarray(sample["index"], np.int64)] = np.asarray(sample["value"], np.float64)
    return values.reshape(row["canonical_shape"])


def matrix_of(row: Mapping[str, Any]) -> Matrix | None:
    """The matrix of a row of the table; None where the table keeps neither all values nor a grid.

    row: columns canonical_shape, unit_axes, role, value_count, sample, grid, and `gates` as a list of names.
    """
    shape = tuple(row["canonical_shape"])
    columns = tuple(row["unit_axes"] or ((len(shape) - 1,) if shape else ()))
    rows = tuple(axis for axis in range(len(shape)) if axis not in columns)
    height, width = (math.prod(shape[axis] for axis in side) for side in (rows, columns))
    names = tuple(row["gates"] or ())
    gates = names if names and columns == (len(shape) - 1,) and width % len(names) == 0 else ()
    values = whole_values(row)
    if values is not None:
        cells = values.transpose(rows + columns).reshape(height, width)
        return Matrix(shape, rows, columns, cells, np.arange(height + 1), np.arange(width + 1), False, gates)
    grid = row["grid"]
    if grid is None:
        return None
    bands = (grid["rows"], grid["cols"])
    cells = np.asarray(grid["rms"], np.float64).reshape(bands)
    # The grid of outputs of a layer, or of gradients by them, is one over the inputs, which their first axis counts.
    pooled = shape[0] if row["role"] in ("input", "output") else 1
    if pooled > 1:
        rows, height = tuple(axis for axis in rows if axis), height // pooled
    edges = band_edges(height, bands[0]), band_edges(width, bands[1])
    return Matrix(shape, rows, columns, cells, *edges, is_rms=True, gates=gates, pooled=pooled)


def shape_words(lengths: Sequence[int]) -> str:
    """A shape as text."""
    return " x ".join(f"{length:,}" for length in lengths) or "scalar"


def band_edges(length: int, bands: int) -> Places:
    """Where bands begin: index i of n is in band i * bands // n."""
    edges: Places = -(-np.arange(bands + 1) * length // bands)
    return edges


def _extent(sizes: Places) -> str:
    least, most = int(sizes.min()), int(sizes.max())
    return f"{least:,}" if least == most else f"{least:,}-{most:,}"
