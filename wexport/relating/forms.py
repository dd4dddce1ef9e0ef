"""Whether one model is the other in another form: cast to a smaller type, put on a grid, or with weights set to zero.

Each of these is told by the values themselves, place by place, and each tells which of the two came first: casting,
rounding to a grid and setting to zero lose what cannot be made again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from wexport.analysis.relations import ROUNDING
from wexport.relating.figures import percent, relative_l2
from wexport.relating.results import Floats

SMALLER: tuple[tuple[str, Any], ...] = (
    ("float32", np.float32),
    ("float16", np.float16),
    ("bfloat16", ml_dtypes.bfloat16),
    ("float8_e4m3fn", ml_dtypes.float8_e4m3fn),
    ("float8_e5m2", ml_dtypes.float8_e5m2),
)
NEAR_GRID = 0.005
"""How far from a whole number of steps a value may be: a value of chance is as near with a probability of 1 in 100."""
STEPS = 256
"""A grid has at most so many."""
LEAST_VALUES = 64
"""Of a tensor with fewer values, a grid is not looked for."""
SOUND_ERROR = 0.6
"""Root mean square of the difference in steps: 1/sqrt(12) = 0.289 for rounding to the nearest, 0.58 for rounding down
or by chance."""


@dataclass(frozen=True, slots=True)
class Form:
    """relation: "rounded", "quantised" or "pruned". earlier: 0 if the first of the two came first, 1 if the second."""

    relation: str
    earlier: int
    evidence: tuple[str, ...]


def form_of(
    ones: Sequence[Floats], others: Sequence[Floats], kernels: Sequence[bool], slots: Sequence[str]
) -> Form | None:
    """Which of the three the second model is of the first, or the first of the second.

    ones, others: partners of one shape, all tensors of both models. kernels: which are kernels. None for none of them.
    """
    for earlier, (source, made) in enumerate(((ones, others), (others, ones))):
        for look in (_rounded, _pruned):
            evidence = look(source, made)
            if evidence is not None:
                return Form(look.__name__[1:], earlier, evidence)
    for earlier, (source, made) in enumerate(((ones, others), (others, ones))):
        evidence = _quantised(source, made, kernels, slots)
        if evidence is not None:
            return Form("quantised", earlier, evidence)
    return None


def _rounded(source: Sequence[Floats], made: Sequence[Floats]) -> tuple[str, ...] | None:
    differing = [(x, y) for x, y in zip(source, made, strict=True) if not _equal(x, y)]
    for name, dtype in SMALLER:
        if all(_is_cast(x, y, dtype) for x, y in differing):
            kept = f", {len(source) - len(differing)} tensors are equal" if len(differing) < len(source) else ""
            return (f"every value is the other's cast to {name}{kept}",)
    return None


def _is_cast(x: Floats, y: Floats, dtype: Any) -> bool:
    with np.errstate(over="ignore", invalid="ignore"):
        head = slice(0, 256)  # most are told by their first values
        first = np.array_equal(x.ravel()[head].astype(dtype).astype(y.dtype), y.ravel()[head], equal_nan=True)
        return first and np.array_equal(x.astype(dtype).astype(y.dtype), y, equal_nan=True)


def _pruned(source: Sequence[Floats], made: Sequence[Floats]) -> tuple[str, ...] | None:
    zeroed = total = 0
    larger = kept = 0.0
    for x, y in zip(source, made, strict=True):
        total += x.size
        if _equal(x, y):
            continue
        gone = (y == 0) & (x != 0)
        if not gone.any() or not np.array_equal(x[~gone], y[~gone], equal_nan=True) or not y.any():
            return None
        zeroed += int(gone.sum())
        # By magnitude: no weight that went is larger than one that stayed.
        stayed = np.abs(y[y != 0])
        larger += float((np.abs(x[gone]) <= stayed.min()).sum())
        kept += int(gone.sum())
    how = "the smallest of each tensor" if larger == kept else f"{percent(larger, kept)} of them below all that stayed"
    return (f"{zeroed:,} of {total:,} weights ({percent(zeroed, total)}) are zero in one, {how}; all others are equal",)


def _quantised(
    source: Sequence[Floats], made: Sequence[Floats], kernels: Sequence[bool], slots: Sequence[str]
) -> tuple[str, ...] | None:
    found: list[tuple[float, float, str]] = []  # signal to noise in dB, error in steps, slot
    signal = noise = 0.0
    saturated = values = 0
    for x, y, is_kernel, slot in zip(source, made, kernels, slots, strict=True):
        step = grid_of(y) if is_kernel and y.size >= LEAST_VALUES else None
        if step is None:
            if is_kernel and y.size >= LEAST_VALUES and not _equal(x, y):
                return None
            if relative_l2(x, y) > ROUNDING:
                return None
            continue
        wide, narrow = x.astype(np.float64), y.astype(np.float64)
        on_grid = np.abs(wide / step - np.rint(wide / step)) <= NEAR_GRID
        if on_grid[narrow != 0].mean() > 0.5:
            return None
        apart = wide - narrow
        extreme = (np.abs(narrow) >= np.abs(narrow).max(axis=_within(step), keepdims=True)) & (np.abs(apart) > step)
        error = float(np.sqrt(np.mean(np.square(apart / step)[~extreme])))
        if error > SOUND_ERROR or extreme.mean() > 0.05:
            return None
        saturated, values = saturated + int(extreme.sum()), values + y.size
        signal, noise = signal + float(np.square(wide).sum()), noise + float(np.square(apart).sum())
        found.append((_decibels(float(np.square(wide).sum()), float(np.square(apart).sum())), error, slot))
    if not found:
        return None
    worst, errors = min(found), sorted(error for _, error, _ in found)
    return (
        f"{values:,} values of {len(found)} kernels lie on grids of at most {STEPS} steps",
        f"signal to noise {_decibels(signal, noise):.1f} dB; least, {worst[0]:.1f} dB, in {worst[2]}",
        f"error of {errors[len(errors) // 2]:.3f} steps (median; 0.289 for rounding to the nearest)"
        + (f"; {percent(saturated, values)} beyond the grid" if saturated else ""),
    )


def _within(step: Floats) -> tuple[int, ...]:
    """The axes along which a grid is the same."""
    return tuple(axis for axis, length in enumerate(step.shape) if length == 1)


def grid_of(values: Floats) -> Floats | None:
    """The step of the grid that a tensor lies on, to be broadcast: one for all, or one for each index of an axis.

    Steps are looked for among those that the largest values or the range give at 4 and 8 bits, and, of all values, the
    smallest difference of two. None if there is no grid of at most 256 steps, if not all are finite, and for constants.
    """
    wide = values.astype(np.float64)
    if not np.isfinite(wide).all() or not wide.any():
        return None
    for axis in (None, *range(wide.ndim - 1, -1, -1)):
        if axis is not None and wide.size // wide.shape[axis] < 4:
            continue
        rest = tuple(each for each in range(wide.ndim) if each != axis)
        for step in _steps(wide, rest, whole=axis is None):
            if _on(wide, step, rest):
                return step
    return None


def _steps(wide: Floats, rest: tuple[int, ...], *, whole: bool) -> Iterator[Floats]:
    largest = np.abs(wide).max(axis=rest, keepdims=True)
    width = wide.max(axis=rest, keepdims=True) - wide.min(axis=rest, keepdims=True)
    for steps in (127, 128, 7, 8):
        yield largest / steps
    for steps in (255, 15):
        yield width / steps
    if whole:
        different = np.unique(wide.ravel()[: 4 * LEAST_VALUES * LEAST_VALUES])
        if 2 < len(different) <= STEPS + 1:
            yield np.full([1] * wide.ndim, np.diff(different).min())


def _on(wide: Floats, step: Floats, rest: tuple[int, ...]) -> bool:
    """Whether all values are whole multiples of a step, and there are few steps and more values than these."""
    sound = np.where(step > 0, step, 1.0)
    head = tuple(slice(0, 64) if axis in rest else slice(None) for axis in range(wide.ndim))
    for part in (wide[head], wide):  # most are told by a few
        places = part / sound
        if (np.abs(places - np.rint(places)) > NEAR_GRID).any():
            return False
    width = wide.max(axis=rest, keepdims=True) - wide.min(axis=rest, keepdims=True)
    return bool((width / sound).max() <= STEPS + 2 * NEAR_GRID)


def _equal(x: Floats, y: Floats) -> bool:
    return np.array_equal(x, y, equal_nan=True)


def _decibels(signal: float, noise: float) -> float:
    return 10 * float(np.log10(signal / noise)) if noise > 0 and signal > 0 else float("inf")
