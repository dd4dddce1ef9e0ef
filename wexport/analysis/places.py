"""A tensor as matching sees it, and what its words tell."""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from wexport.model.roles import ROLES, snake_case

_SIDES = frozenset({"forward", "backward", "query", "key", "value", "attention_output"})
"""Parts of a slot that are words of the layer's own: a layer of one such word is never one of another."""
_NUMBER = re.compile(r"_?\d+$")
_CONTAINERS = frozenset({"model", "functional", "sequential", "layers", "time_distributed", "bidirectional", "module"})
"""Names that a framework gives a nested model, or a list of layers, by itself."""
_PARAMETRIZED = re.compile(r"(^|/)parametrizations/([^/]+)/original([01])$")
_PARAMETRIZED_LAYER = re.compile(r"/parametrizations/[^/]+$")


@dataclass(frozen=True, slots=True)
class Place:
    """A tensor as matching sees it.

    slot, kind, role, canonical_shape: as in the table. index: its place in the file.
    content: a hash of the values as stored; None where it is not known, which only leaves out what it would tell.
    sample: the same of values at fixed places of the canonical layout, which tells equal content however it is stored.
    ordered: whether the places of the file are the model's own order; False for files that sort by name.
    name, layer_class: the layer as the file calls it.
    values: the values at those fixed places, which tell nearly equal content.
    """

    slot: str
    kind: str
    role: str
    canonical_shape: tuple[int, ...]
    index: int
    content: Hashable = None
    sample: Hashable = None
    ordered: bool = True
    name: str | None = None
    layer_class: str | None = None
    values: NDArray[np.float64] | None = field(default=None, compare=False)

    @property
    def family(self) -> str:
        """Kinds that may be paired: what one reader takes for a weight is an array to another."""
        return "weight" if self.kind == "array" else self.kind

    @property
    def path(self) -> str:
        """The slot, where a framework has two ways to write one thing the older: `weight_g` and `weight_v`."""
        if "parametrizations" not in self.slot:
            return self.slot
        return _PARAMETRIZED.sub(lambda found: f"{found[1]}{found[2]}_{'gv'[int(found[3])]}", self.slot)

    @property
    def layer(self) -> tuple[str, str] | None:
        """The layer, by its family and slot; None in a file without groups."""
        layer, slash, _ = self.path.rpartition("/")
        return (self.family, layer) if slash else None

    @property
    def leaf(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def sides(self) -> tuple[str, ...]:
        """The words of the slot that say which side of a layer it is, such as `forward`."""
        return tuple(part for part in self.path.split("/")[:-1] if part in _SIDES)

    @property
    def word(self) -> str:
        """The role; where the file does not tell it, the slot's last word if that is exactly one (`gamma:0`)."""
        if self.role != "unknown":
            return self.role
        word = self.leaf.partition(":")[0]
        return word if word in ROLES else "unknown"

    @property
    def given_name(self) -> str | None:
        """The layer's name in the file if somebody chose it; None for one that is class and number."""
        if not self.name:
            return None
        name = _PARAMETRIZED_LAYER.sub("", self.name)
        *outer, last = name.split("/")
        of_class = {snake_case(self.layer_class)} if self.layer_class else set()
        automatic = any(_is_automatic(part, _CONTAINERS) for part in outer)
        return None if automatic or _is_automatic(last, _CONTAINERS | of_class) else name


def _is_automatic(part: str, words: frozenset[str] | set[str]) -> bool:
    return part.isdigit() or _NUMBER.sub("", part) in words


def compatible(one: str, other: str) -> bool:
    """Whether tensors of these roles may be the same."""
    return one == other or "unknown" in (one, other)


def without_ordinals(layer: str) -> str:
    """A slot without the places among siblings: `conv2d_3/dense` is `conv2d/dense`."""
    return "/".join(_NUMBER.sub("", part) or part for part in layer.split("/"))
