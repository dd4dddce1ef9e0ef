"""How the layers of a model feed one another, as the file tells it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """A layer that is called once; a layer that is called twice has two.

    layer: as `Tensor.layer` of its variables has it, or begins. class_name: of the layer, by Keras 3's name for it.
    config: inert. inputs: numbers of the calls whose outputs it takes; empty for an input of the model.
    """

    layer: str
    class_name: str
    config: Mapping[str, Any]
    inputs: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Graph:
    """Calls in an order in which each follows what it takes; outputs: numbers of those whose outputs are the model's.

    told_by: what of the file tells it, in words.
    """

    calls: Sequence[Call]
    outputs: tuple[int, ...]
    told_by: str
