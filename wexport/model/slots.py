"""The slot of a tensor: its place in the model, in words that all models of one architecture share."""

from __future__ import annotations

import re
from collections.abc import Sequence

from wexport.model.roles import snake_case
from wexport.model.tensors import Node, Tensor


def slot_names(tensors: Sequence[Tensor]) -> list[str]:
    """The slot of each tensor of one model, unique among the tensors of its kind.

    A slot is the path of the layer tree, then the direction, then the leaf. A layer of known class is called by it
    and by its place among the weight-bearing siblings of that class (`dense`, `dense_1`); one of unknown class by its
    name's stem and the rank of its trailing number among the siblings of that stem; so automatic numbers, which
    differ from run to run, do not matter. Two tensors that would still be called the same are told apart by `~2`,
    `~3`, ... in their order.
    """
    found = [""] * len(tensors)
    for kind in dict.fromkeys(tensor.kind for tensor in tensors):
        places = [place for place, tensor in enumerate(tensors) if tensor.kind == kind]
        names = _slots([tensors[place] for place in places])
        for place, name in zip(places, names, strict=True):
            found[place] = name
    return found


class _Branch:
    """A node of the layer tree of all tensors: its children in order of appearance."""

    def __init__(self) -> None:
        self.children: dict[Node, _Branch] = {}
        self.components: dict[Node, str] = {}

    def grow(self, lineage: tuple[Node, ...]) -> None:
        here = self
        for node in lineage:
            here = here.children.setdefault(node, _Branch())

    def name(self) -> None:
        """Give every node below its component, no two children of a node the same."""
        waiting = [self]
        while waiting:
            branch = waiting.pop()
            taken: set[str] = set()
            components = _components(list(branch.children))
            for node, component in zip(branch.children, components, strict=True):
                branch.components[node] = _free(component, taken)
            waiting += branch.children.values()

    def path(self, lineage: tuple[Node, ...]) -> list[str]:
        here, parts = self, []
        for node in lineage:
            parts.append(here.components[node])
            here = here.children[node]
        return parts


def _slots(tensors: list[Tensor]) -> list[str]:
    root = _Branch()
    lineages = [tensor.lineage or _lineage_of_name(tensor.name) for tensor in tensors]
    for lineage in lineages:
        root.grow(lineage)
    root.name()
    taken: set[str] = set()
    found = []
    for tensor, lineage in zip(tensors, lineages, strict=True):
        if tensor.slot is not None:
            found.append(_free(tensor.slot, taken))
            continue
        direction = [tensor.direction] if tensor.direction else []
        found.append(_free("/".join([*root.path(lineage), *direction, _leaf(tensor)]), taken))
    return found


def _lineage_of_name(name: str) -> tuple[Node, ...]:
    return tuple(Node(part) for part in name.split("/")[:-1] if part)


def _leaf(tensor: Tensor) -> str:
    if tensor.slot_leaf is not None:
        return tensor.slot_leaf
    if tensor.role != "unknown":
        return f"{tensor.role}_{tensor.gate}" if tensor.gate else tensor.role
    if tensor.variable_index is not None:
        return str(tensor.variable_index)
    return tensor.name.rsplit("/", 1)[-1]


def _components(siblings: list[Node]) -> list[str]:
    """What siblings are called in a slot; two may still get the same word."""
    numbered: dict[str, list[tuple[int, str]]] = {}
    for node in siblings:
        if not node.fixed and node.class_name is None:
            stem, number = _stem(node.name)
            numbered.setdefault(stem, []).append((number, node.name))
    ranks = {name: (stem, rank) for stem, names in numbered.items() for rank, (_, name) in enumerate(sorted(names))}
    counts: dict[str, int] = {}
    found = []
    for node in siblings:
        if node.fixed:
            found.append(node.name)
            continue
        if node.class_name is None:
            stem, rank = ranks[node.name]
        else:
            stem = snake_case(node.class_name)
            rank = counts.get(stem, 0)
            counts[stem] = rank + 1
        found.append(f"{stem}_{rank}" if rank else stem)
    return found


def _stem(name: str) -> tuple[str, int]:
    """`gru_12` is ("gru", 12), `gru` comes before `gru_0`; a name that is all number is its own stem."""
    match = re.fullmatch(r"(.*[^0-9_]|.+(?=_))_?([0-9]{1,18})", name, re.DOTALL)
    return (match[1], int(match[2])) if match else (name, -1)


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}~{number}", number + 1
    taken.add(name)
    return name
