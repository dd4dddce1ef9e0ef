"""What may be said of a node: which layer it is, and what its inputs mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import wexport

Shape = tuple[int, ...]
Shapes = Mapping[int, Shape | None]
"""The shapes of those inputs that are weights, by number; None where the graph reshapes them first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What an input, or a part of it, means.

    role: a word of wexport's. leaf: the end of the slot, where that is not the role. known: whether the layout is;
    view, permutation, gate_names: as in `roles.layout`, of the shape that the operator sees. take: makes the part's
    tensor of the whole one. direction: as in `Tensor`.
    """

    role: str = "unknown"
    leaf: str | None = None
    known: bool = True
    view: Shape | None = None
    permutation: tuple[int, ...] | None = None
    gate_names: tuple[str, ...] | None = None
    direction: str | None = None
    take: Callable[[wexport.Tensor], wexport.Tensor] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a node is.

    layer_class: Keras 3's name of a layer that computes the same, else the operator. parts: of inputs, by number; an
    input that is not named is unknown. computes: the layer of Keras' whose axes the kernel has, if that is another.
    units: outputs of a layer to which a bias may still be added, 0 for all else; trailing: axes of the output behind
    that of the units. wrapper: Keras' layer around it, that of two directions.
    """

    layer_class: str
    parts: Mapping[int, tuple[Part, ...]] = field(default_factory=dict)
    computes: str | None = None
    units: int = 0
    trailing: int = 0
    wrapper: str | None = None
