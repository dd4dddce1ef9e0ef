"""The modules of a state dict as a tree, and what flows from one to the next where that can be told."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

from wexport.model.tensors import Tensor

MAX_DEPTH = 64
"""Components of a name, at most; real ones have about ten. A longer one is not a module path."""

VECTORS = frozenset({"weight", "bias"})
STATISTICS = frozenset({"running_mean", "running_var"})
COUNTER = "num_batches_tracked"


@dataclass(eq=False)
class Module:
    """A module: its path, its own parameters and buffers by name, and the modules inside."""

    path: tuple[str, ...] = ()
    parent: Module | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    children: dict[str, Module] = field(default_factory=dict)

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a parameter; None if there is none of this name."""
        tensor = self.tensors.get(name)
        return None if tensor is None else tensor.shape

    def has(self, *names: str) -> bool:
        """Whether these are all its parameters, and no module is inside."""
        return self.tensors.keys() == set(names) and not self.children

    @property
    def in_list(self) -> bool:
        """Whether it is one of a Sequential or a ModuleList, as its name is a number."""
        return bool(self.path) and is_number(self.path[-1])

    @property
    def is_batch_norm(self) -> bool:
        """BatchNorm, with or without its own scale and offset, of torch 0.4 too, which counted no batches.

        InstanceNorm with running statistics has the same names; with these statistics it computes the same.
        """
        if self.children or not self.tensors.keys() >= STATISTICS:
            return False
        rest = self.tensors.keys() - STATISTICS - {COUNTER}
        lengths = {tensor.shape for name, tensor in self.tensors.items() if name != COUNTER}
        counter = self.shape(COUNTER)
        return (
            rest in (set(), VECTORS) and len(lengths) == 1 and len(next(iter(lengths))) == 1 and counter in (None, ())
        )

    @property
    def siblings(self) -> Collection[str]:
        """Names of the modules of its parent."""
        return () if self.parent is None else self.parent.children.keys()

    # -- chains: what can be told without knowing `forward` ------------------------------------------------------

    @cached_property
    def chain(self) -> list[int]:
        """The numbers of its modules in order, if all are called by numbers, as a Sequential's are; else empty.

        A ModuleList's are, too, but normalisations between them show which it is.
        """
        if not all(is_number(name) for name in self.children):
            return []
        return sorted(int(name) for name in self.children)

    def before(self) -> Module | None:
        """What comes before this module in the innermost chain in which something does; None if none is sure to."""
        here = self
        while here.parent is not None:
            chain, children = here.parent.chain, here.parent.children
            if chain:
                place = bisect_left(chain, int(here.path[-1]))
                if place:
                    return children.get(str(chain[place - 1]))
            elif len(children) > 1:
                return None
            here = here.parent
        return None

    def after(self) -> Module | None:
        """What comes after this module in its own chain."""
        if self.parent is None or not self.parent.chain:
            return None
        chain = self.parent.chain
        place = bisect_right(chain, int(self.path[-1]))
        return self.parent.children.get(str(chain[place])) if place < len(chain) else None

    def width(self) -> int | None:
        """How many channels come out of it; None where that is not sure."""
        here = self
        while here.children:
            if here.chain:
                last = here.children.get(str(here.chain[-1]))
            else:
                last = next(iter(here.children.values())) if len(here.children) == 1 else None
            if last is None:
                return None
            here = last
        if here.is_batch_norm:
            return here.tensors["running_mean"].shape[0]
        bias = here.shape("bias")
        return bias[0] if bias is not None and len(bias) == 1 and here.has("weight", "bias") else None


def tree_of(tensors: Iterable[Tensor]) -> Module:
    """The modules of tensors by their names."""
    root = Module()
    for tensor in tensors:
        *path, name = split(tensor.name)
        here = root
        for part in path:
            if part not in here.children:
                here.children[part] = Module((*here.path, part), here)
            here = here.children[part]
        here.tensors[name] = tensor
    return root


def split(name: str) -> list[str]:
    """The parts of a name."""
    parts = name.split(".")
    return parts if len(parts) <= MAX_DEPTH else [name]


def modules(root: Module) -> Iterator[Module]:
    """A module and all inside, in no order."""
    waiting = [root]
    while waiting:
        here = waiting.pop()
        yield here
        waiting.extend(here.children.values())


def is_float(tensor: Tensor) -> bool:
    """Whether values are real numbers, not codes of a quantisation."""
    return (tensor.value_dtype or tensor.dtype).startswith(("float", "bfloat"))


def is_number(name: str) -> bool:
    """Whether a module's name is one of those that a Sequential gives."""
    return name.isascii() and name.isdecimal() and len(name) <= 9


def natural(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts names as people number them: `layers.2` before `layers.10`."""
    key: list[tuple[int, int, str]] = []
    for component in split(name):
        key += _natural(component)
    return key


@lru_cache(4096)  # the same few words stand in thousands of names
def _natural(component: str) -> tuple[tuple[int, int, str], ...]:
    parts = re.split(r"([0-9]{1,18})", component)
    key = [(1, int(part), "") if number % 2 else (2, 0, part) for number, part in enumerate(parts) if part]
    return (*key, (0, 0, ""))
