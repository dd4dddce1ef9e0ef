"""Positive scales undone: of all models of one function that scaling units gives, one is taken for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from wexport.relating.results import Floats
from wexport.relating.units import POSITIVE, UnitGraph

BALANCED = 1e-9
"""Largest logarithm of a factor at which scales count as balanced; and how often they are gone through at most."""
MOST_SWEEPS = 300


def balanced(graph: UnitGraph, values: Sequence[Floats | None]) -> list[Floats | None]:
    """The tensors of a model with every unit behind a ReLU scaled so that what makes it and what reads it are as long.

    Of all models of the same function that scaling gives, the one whose L2 norm is least: the norm is convex in the
    logarithms of the factors, so that going through the units in turn finds it, from wherever it starts. Units of which
    nothing is made or nothing read are left as they are.
    """
    scales = [number for number, scale in enumerate(graph.scales) if POSITIVE in scale.allows]
    if not scales:
        return list(values)
    found: list[Floats | None] = [
        None if array is None else np.asarray(array, np.float64 if array.dtype == np.float64 else np.float32)
        for array in values
    ]
    shown = [each for each in graph.scale_parts if each.scale in scales and values[each.tensor] is not None]
    axes: dict[int, set[int]] = {}
    for each in shown:
        axes.setdefault(each.tensor, set()).add(each.axis)
    squares = {}
    for tensor, kept in axes.items():
        array = found[tensor]
        assert array is not None
        rest = tuple(axis for axis in range(array.ndim) if axis not in kept)
        finite = np.where(np.isfinite(array), array, 0).astype(np.float64)
        squares[tensor] = np.square(finite).sum(axis=rest, keepdims=True)
    factors = {scale: np.ones(graph.groups[graph.scales[scale].group].units) for scale in scales}
    for _ in range(MOST_SWEEPS):
        largest = 0.0
        for scale in scales:
            mine = [each for each in shown if each.scale == scale]
            length = {1: np.zeros(len(factors[scale])), -1: np.zeros(len(factors[scale]))}
            for each in mine:
                sums = squares[each.tensor].sum(
                    axis=tuple(axis for axis in range(squares[each.tensor].ndim) if axis != each.axis)
                )
                length[each.power] += sums[each.index].sum(axis=1)
            sound = (length[1] > 0) & (length[-1] > 0)
            factor = np.ones(len(sound))
            factor[sound] = (length[-1][sound] / length[1][sound]) ** 0.25
            factors[scale] *= factor
            largest = max(largest, float(np.abs(np.log(factor)).max()))
            for each in mine:
                _scale(squares[each.tensor], each.axis, each.index, factor ** (2 * each.power))
        if largest < BALANCED:
            break
    for tensor in axes:
        array = found[tensor]
        assert array is not None
        found[tensor] = array.copy()
    for each in shown:
        array = found[each.tensor]
        assert array is not None
        _scale(array, each.axis, each.index, factors[each.scale] ** each.power)
    return found


def _scale(array: Floats, axis: int, index: NDArray[np.intp], factor: Floats) -> None:
    along = np.ones(array.shape[axis])
    along[index] = factor[:, None]
    np.multiply(array, along.reshape([-1 if n == axis else 1 for n in range(array.ndim)]), out=array, casting="unsafe")
