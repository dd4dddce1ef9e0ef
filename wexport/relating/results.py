"""What is asked of a child process that reads a model's values, and what is told of a pair."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport.model.graph import Graph
from wexport.model.tensors import Layout

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class ReadTask:
    """A file, which of several models in it, and whether the user named it."""

    path: Path
    part: str | None = None
    named: bool = True


@dataclass(frozen=True, slots=True)
class Read:
    """A tensor without its values; the fields as in `Tensor`."""

    slot: str
    layer: str
    role: str
    direction: str | None
    shape: tuple[int, ...]
    layout: Layout | None
    dtype: str
    size: int

    @property
    def canonical_shape(self) -> tuple[int, ...]:
        return self.layout.canonical_shape(self.shape) if self.layout else self.shape


@dataclass(frozen=True, slots=True)
class ModelOpened:
    """graph: as the file tells it, or names and shapes; None where they do not, and then `why`."""

    tensors: tuple[Read, ...]
    graph: Graph | None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Values:
    """Some of a tensor's values, in stored order."""

    tensor: int
    values: NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kinship:
    """What two models have to do with each other.

    relation: a word of `analysis.relations.WORDS`. earlier: the model that came first, where the evidence tells one.
    similarity: mean cosine of the kernels, weighted by their sizes, position by position; None if no kernel has a
    partner. aligned_similarity: the same, with the hidden units of b in the order, and of the scale and sign, that are
    likest those of a; None where the units are not known. null_similarity: the largest that the same procedure gives
    against b with the values of each tensor shuffled. p_value: of the two models having been trained apart; None where
    no layer can be tested. moved, turned: hidden units of b in another place, and of another sign. worst_slot,
    worst_relative_l2: the tensor that differs most after alignment. differs: slots that differ by more than rounding.
    evidence: what the relation rests on, and what was left out, in words. confidence: "certain" where the values leave
    no other explanation, "high" where a test decides whose errors were measured, "fair" where likeness alone does;
    None where nothing was decided.
    """

    model_a: str
    model_b: str
    relation: str
    similarity: float | None = None
    aligned_similarity: float | None = None
    null_similarity: float | None = None
    p_value: float | None = None
    moved: int | None = None
    turned: int | None = None
    worst_slot: str | None = None
    worst_relative_l2: float | None = None
    differs: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    earlier: str | None = None
    confidence: str | None = None
