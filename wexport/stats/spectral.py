"""Singular values of kernels and what follows from them: `ingest --spectral`.

A kernel is seen as matrices (inputs, units): one for each place of a convolution's window, pooled as WeightWatcher does
(Martin, Peng & Mahoney, "Predicting trends in the quality of state-of-the-art neural networks", 2021), and each gate
also by itself. Singular values come from the Gram matrix of the shorter side, summed up in blocks in float64. Where
that would take too long, the largest ones come from a random sketch (Halko, Martinsson & Tropp, 2011), and what needs
all of them is left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.model.gates import canonical_order
from wexport.model.roles import KERNELS
from wexport.model.tensors import Layout, Tensor
from wexport.stats.blocks import chunks_of
from wexport.stats.canonical import canonical_array
from wexport.stats.one_pass import BLOCK_BYTES, dtype_named
from wexport.stats.power_law import power_law

Array = NDArray[Any]
Floats = NDArray[np.float64]

EXACT_SIDE = 4_096
"""All singular values are worked out if a matrix has at most so many; of a larger one, the largest."""
EXACT_WORK = 1 << 37
"""And if that is at most so many multiplications: a minute on one core of today."""
SKETCHED, MORE, SWEEPS = 128, 16, 3
"""How many are sought by a sketch, how many more columns it has, and how often it is sharpened."""
MOST_VALUES = 1 << 27
"""Larger tensors have no spectral statistics: their values would not fit."""
BLOCK_VALUES = 1 << 20
TRACY_WIDOM = 3.27
"""The 99.9 % quantile of the Tracy-Widom law for real matrices: 1 in 1,000 random matrices has a value beyond it."""


@dataclass(frozen=True, slots=True)
class Spectral:
    """A spectral statistic, as it stands in the column `extra`, and for a gate with the gate's letter: `name.i`."""

    name: str
    unit: str
    doc: str


STATISTICS = (
    Spectral("spectral_norm", "weight", "Largest singular value, of all window places."),
    Spectral("stable_rank", "", "||W||_F^2 / spectral_norm^2, squares summed up over all window places."),
    Spectral(
        "effective_rank", "", "exp(-sum p ln p) with p = s / sum(s) of the singular values s (Roy & Vetterli 2007)."
    ),
    Spectral(
        "alpha", "", "Exponent of the power law of the tail of s^2 (Clauset et al. 2009); NULL below 50 tail values."
    ),
    Spectral("alpha_distance", "", "Kolmogorov-Smirnov distance of the tail to that law; small is a good fit."),
    Spectral("alpha_tail", "values", "How many values of s^2 are in the tail."),
    Spectral(
        "random_edge",
        "weight",
        "Largest singular value of a random matrix of this shape and root mean square r, in the limit: "
        "r (sqrt(inputs) + sqrt(units)) (Marchenko & Pastur 1967).",
    ),
    Spectral(
        "spikes",
        "values",
        "Singular values beyond the edge and what 999 of 1,000 random matrices have (Johnstone 2001).",
    ),
    Spectral(
        "spectral_exact",
        "",
        "1 if all singular values were worked out; 0 for matrices of more than 4,096 on the shorter side or too much "
        "work, of which the 128 largest were, by a sketch: then ranks and alpha are NULL but for stable_rank.",
    ),
)
"""All of them, in the order in which they are told."""


def spectral_of(tensor: Tensor) -> dict[str, float] | None:
    """The spectral statistics of a tensor, and of each of its gates; None for what is not a kernel.

    Its values are read once more. Undefined ones are left out. Raises what the reader raises.
    """
    dtype = dtype_named(tensor.value_dtype or tensor.dtype)
    plain = tensor.role == "unknown" and tensor.layout is None and len(tensor.shape) == 2
    if dtype is None or dtype.kind == "b" or not (tensor.role in KERNELS or plain) or tensor.kind != "weight":
        return None
    if not 0 < tensor.size <= MOST_VALUES:
        return None
    flat = np.empty(tensor.size, np.float64 if dtype.itemsize > 4 else np.float32)
    start = 0
    for chunk in chunks_of(tensor, dtype, BLOCK_BYTES):
        flat[start : start + chunk.size] = chunk
        start += chunk.size
    return spectral(canonical_array(flat, tensor.shape, tensor.layout), tensor.layout)


def spectral(values: Array, layout: Layout | None) -> dict[str, float] | None:
    """The same for values in canonical layout. None for values that are not all finite, or no matrix."""
    whole = matrices(values, layout)
    if whole is None or not np.isfinite(values).all():
        return None
    found = _figures(whole)
    if layout is not None and layout.gates and layout.gate_axis is not None:
        letters = canonical_order(layout.gates)
        for letter, part in zip(letters, np.split(values, len(letters), layout.gate_axis), strict=True):
            block = matrices(part, layout)
            if block is not None:
                found |= {f"{name}.{letter}": value for name, value in _figures(block).items()}
    return found


def matrices(values: Array, layout: Layout | None) -> Array | None:
    """A kernel as (window places, inputs, units); None where units or inputs are not known, or are one."""
    if layout is None or not (layout.unit_axes and layout.input_axes):
        if values.ndim != 2:
            return None
        seen = values[None]
    else:
        units = [axis % values.ndim for axis in layout.unit_axes]
        inputs = [axis % values.ndim for axis in layout.input_axes if axis % values.ndim not in units]
        places = [axis for axis in range(values.ndim) if axis not in (*units, *inputs)]
        if not inputs:
            return None
        lengths = [math.prod(values.shape[axis] for axis in axes) for axes in (places, inputs, units)]
        seen = values.transpose(*places, *inputs, *units).reshape(lengths)
    return seen if min(seen.shape[1:]) > 1 else None


def _figures(seen: Array) -> dict[str, float]:
    places, inputs, units = seen.shape
    exact = _is_exact(inputs, units)
    squares = float(sum(np.square(part, dtype=np.float64).sum() for part in seen))
    found = {"spectral_exact": float(exact)}
    if not squares > 0:
        return {**found, "spectral_norm": 0.0, "spikes": 0.0}
    singular = np.sort(np.concatenate([singular_values(part) for part in seen]))
    norm = float(singular[-1])
    rms = math.sqrt(squares / (places * inputs * units))
    found |= {"spectral_norm": norm, "stable_rank": squares / norm**2}
    if exact:
        found["effective_rank"] = effective_rank(singular)
        law = power_law(np.square(singular))
        if law is not None:
            found |= {"alpha": law.alpha, "alpha_distance": law.distance, "alpha_tail": float(law.tail)}
    spikes = int(np.count_nonzero(singular > rms * chance_norm(inputs, units)))
    found["random_edge"] = rms * (math.sqrt(inputs) + math.sqrt(units))
    if exact or spikes < len(singular):
        found["spikes"] = float(spikes)
    return found


def effective_rank(singular: Floats) -> float:
    """The exponential of the entropy of the singular values as shares of their sum; 0 if all are zero."""
    total = singular.sum()
    if not total > 0:
        return 0.0
    share = singular[singular > 0] / total
    return float(np.exp(-np.sum(share * np.log(share))))


def chance_norm(inputs: int, units: int) -> float:
    """What the largest singular value of a random matrix with values of variance one exceeds once in 1,000 draws.

    Johnstone, "On the distribution of the largest eigenvalue in principal components analysis" (2001).
    """
    n, p = max(inputs, units), min(inputs, units)
    root = math.sqrt(n - 1) + math.sqrt(p)
    spread = root * (1 / math.sqrt(n - 1) + 1 / math.sqrt(p)) ** (1 / 3)
    return math.sqrt(root**2 + TRACY_WIDOM * spread)


def _is_exact(inputs: int, units: int) -> bool:
    short = min(inputs, units)
    return short <= EXACT_SIDE and inputs * units * short <= EXACT_WORK


def singular_values(matrix: Array) -> Floats:
    """Of a finite matrix, ascending: all, or the 128 largest where all would take too long."""
    if not _is_exact(*matrix.shape):
        return _sketched(matrix)
    short = min(matrix.shape)
    wide = matrix if matrix.shape[1] >= matrix.shape[0] else matrix.T
    gram = np.zeros((short, short))
    for block in _blocks(wide):
        gram += block @ block.T
    found: Floats = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))
    return found


def _blocks(wide: Array) -> Iterator[Floats]:
    """Columns of a matrix in float64, some at a time."""
    step = max(1, BLOCK_VALUES // wide.shape[0])
    for start in range(0, wide.shape[1], step):
        yield wide[:, start : start + step].astype(np.float64)


def _sketched(matrix: Array) -> Floats:
    """The largest singular values by subspace iteration from a random start, the same for every call."""
    wide = matrix if matrix.shape[1] >= matrix.shape[0] else matrix.T
    rng = np.random.default_rng([wide.shape[0], wide.shape[1], 15])
    basis = rng.standard_normal((wide.shape[0], SKETCHED + MORE)).astype(wide.dtype)
    for _ in range(SWEEPS):
        basis, _ = np.linalg.qr(basis)
        basis = wide @ (wide.T @ basis)
    basis, _ = np.linalg.qr(basis)
    found: Floats = np.linalg.svd((wide.T @ basis).astype(np.float64), compute_uv=False)
    return np.sort(found)[-SKETCHED:]
