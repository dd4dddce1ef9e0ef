"""How one model moved to another: of the difference of each kernel, and of each gate, how long, how wide, of what rank.

A low rank in one place is an adapter that was merged; a full rank everywhere is training. Each figure stands beside
what chance gives: a random matrix of the same shape and root mean square. Intruder dimensions follow Shuttleworth,
Andreas, Torralba & Sharma, "LoRA vs full fine-tuning: an illusion of equivalence" (2024).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from wexport.answers.tabular import Tabular, table_of
from wexport.errors import UsageError
from wexport.model.gates import canonical_order
from wexport.model.roles import KERNELS
from wexport.relating import reading
from wexport.relating.relate import Comparison
from wexport.relating.results import Floats, Read
from wexport.relating.weight_matching import assignment
from wexport.stats.spectral import EXACT_SIDE, chance_norm, effective_rank, matrices, singular_values

if TYPE_CHECKING:
    import pyarrow as pa

TOP, INTRUDES = 10, 0.5
"""How many of the new matrix' first singular vectors are asked, and below which |cos| to all old ones one intrudes."""
INTRUDER_SIDE = 1_024
"""Singular vectors are worked out for matrices of at most so many on the shorter side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """The difference of one tensor, or of one gate of it.

    relative_length: ||b - a|| / ||a||. changed: share of the values that differ. stable_rank, effective_rank: of the
    difference, window places pooled, as `ingest --spectral` has them; full_rank: what a full one has at most.
    chance_rank: the effective rank of a random matrix of this shape, by one draw. spikes: singular values of the
    difference beyond what random ones have. intruders: of the first ten singular vectors of b those that are near none
    of a's. None where undefined: for vectors, an unchanged tensor, and too large a matrix.
    """

    slot: str
    gate: str | None
    relative_length: float | None
    changed: float
    stable_rank: float | None = None
    effective_rank: float | None = None
    chance_rank: float | None = None
    full_rank: int | None = None
    spikes: int | None = None
    intruders: int | None = None


@dataclass(frozen=True, slots=True)
class Moved(Tabular):
    """rows: tensors that both have, in the order of the first model. moved: units put into the first model's order.

    aligned: whether the files tell enough for that; else values are compared place by place.
    """

    model_a: str
    model_b: str
    rows: Sequence[Movement]
    aligned: bool
    moved: int

    def to_arrow(self) -> pa.Table:
        """A row a tensor or gate, with the fields of `Movement` as columns."""
        return table_of(Movement, self.rows)


def change(
    paths: Sequence[str | os.PathLike[str]],
    *,
    external_data: bool = False,
    reader: str | None = None,
    plugins: Sequence[str] = (),
    timeout: float | None = None,
) -> Moved:
    """How the second of two models differs from the first, tensor by tensor and gate by gate, units aligned.

    The arguments as in `relate`. Raises UsageError unless two models are named, and as `relate` does.
    """
    assignment(np.zeros((1, 1)))  # what is missing is told before anything is read
    held, _ = reading.read_all(paths, external_data=external_data, reader=reader, plugins=plugins, timeout=timeout)
    if len(held) != 2:
        raise UsageError(f"{len(held)} models are named, where a change has two", hint="name the one before first")
    a, b = held
    partners, others, order = Comparison().in_order(a, b)
    rows = [
        each
        for (number, _), other in zip(partners, others, strict=True)
        for each in _of_tensor(a.opened.tensors[number], a.values[number], other)
    ]
    return Moved(a.name, b.name, rows, order is not None, 0 if order is None else order.moved)


def _of_tensor(tensor: Read, one: Floats, other: Floats) -> Iterator[Movement]:
    yield _movement(tensor, None, one, other)
    layout = tensor.layout
    if layout is not None and layout.gates and layout.gate_axis is not None:
        letters = canonical_order(layout.gates)
        halves = (np.split(each, len(letters), layout.gate_axis) for each in (one, other))
        for letter, x, y in zip(letters, *halves, strict=True):
            yield _movement(tensor, letter, x, y)


def _movement(tensor: Read, gate: str | None, one: Floats, other: Floats) -> Movement:
    x, y = one.astype(np.float64), other.astype(np.float64)
    apart = y - x
    length = float(np.linalg.norm(x))
    relative = float(np.linalg.norm(apart)) / length if length > 0 and np.isfinite(apart).all() else None
    changed = float(np.mean(x != y)) if x.size else 0.0
    seen = matrices(apart, tensor.layout) if tensor.role in KERNELS else None
    told = Movement(slot=tensor.slot, gate=gate, relative_length=relative, changed=changed)
    if seen is None or not np.isfinite(apart).all() or not apart.any() or min(seen.shape[1:]) > EXACT_SIDE:
        return told
    places, inputs, units = seen.shape
    singular = np.sort(np.concatenate([singular_values(each) for each in seen]))
    rms = float(np.sqrt(np.mean(np.square(apart))))
    random = np.random.default_rng(15).standard_normal((inputs, units))
    return Movement(
        slot=tensor.slot,
        gate=gate,
        relative_length=relative,
        changed=changed,
        stable_rank=float(np.square(singular).sum() / singular[-1] ** 2),
        effective_rank=effective_rank(singular),
        chance_rank=effective_rank(np.tile(singular_values(random), places)),
        full_rank=places * min(inputs, units),
        spikes=int(np.count_nonzero(singular > rms * chance_norm(inputs, units))),
        intruders=_intruders(x.reshape(-1, x.shape[-1]), y.reshape(-1, y.shape[-1])),
    )


def _intruders(old: Floats, new: Floats) -> int | None:
    """Of the new matrix' first left singular vectors those that are near none of the old ones'."""
    if min(old.shape) > INTRUDER_SIDE or not old.any() or not new.any():
        return None
    before, _, _ = np.linalg.svd(old, full_matrices=False)
    after, _, _ = np.linalg.svd(new, full_matrices=False)
    cosines = np.abs(before.T @ after[:, :TOP])
    return int(np.count_nonzero(cosines.max(axis=0) < INTRUDES))
