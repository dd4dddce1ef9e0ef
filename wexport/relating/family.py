"""A tree of families: which model came from which, or stands nearest, of all pairs that are related.

The minimum spanning arborescence (Chu & Liu 1965, Edmonds 1967; NetworkX's) over the distances of related pairs. A pair
of which evidence tells the earlier one has an edge in that direction alone; all others have one in either, and what
the tree makes of these is nearness, not descent, and is said so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wexport.answers.tabular import Part, Tabular, table_of
from wexport.errors import WexportError
from wexport.relating.results import Kinship

if TYPE_CHECKING:
    import pyarrow as pa

NO_KIN = ("undecided", "strangers", "not_aligned", "not_comparable")
"""Relations that make no edge."""
_SAME = ("identical", "reordered", "rescaled")
_ROOT = 0
"""Stands above all families; models are strings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A model in the tree.

    family: the model at the root of its family. parent: the model that it came from, or that it stands nearest to;
    None for a root. relation, distance: to the parent; distance is 1 less the similarity, aligned where units are.
    directed: whether evidence tells that the parent came first. depth: how many stand above it. evidence: of the
    relation.
    """

    model: str
    parent: str | None
    family: str
    relation: str | None = None
    distance: float | None = None
    directed: bool = False
    depth: int = 0
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FamilyTree(Tabular):
    """members: families one after the other, the largest first, and each as its tree is read from the top."""

    members: Sequence[Member]

    def to_arrow(self) -> pa.Table:
        """A row a model, with the fields of `Member` as columns."""
        return table_of(Member, self.members)

    def lines(self) -> Iterator[tuple[str, Member]]:
        """Each member with what stands before its name: branches, and an arrow where the direction is known."""
        later = [False] * len(self.members)
        open_ = set[int]()  # depths at which another branch follows below
        for number in reversed(range(len(self.members))):
            depth = self.members[number].depth
            later[number] = depth in open_
            open_ = {each for each in open_ if each < depth} | ({depth} if depth else set())
        follows: dict[int, bool] = {}
        for number, each in enumerate(self.members):
            before = "".join("│   " if follows.get(depth) else "    " for depth in range(1, each.depth))
            follows[each.depth] = later[number]
            branch = ("├─" if later[number] else "└─") + ("▶ " if each.directed else "─ ")
            yield (before + branch if each.depth else ""), each

    def _parts(self) -> Iterable[Part]:
        return [Part(self.to_arrow(), told=[f"{before}{each.model}" for before, each in self.lines()])]


def family_tree(models: Sequence[str], pairs: Sequence[Kinship]) -> FamilyTree:
    """The tree of some models. pairs: of them; those that are not there count as unrelated.

    Raises WexportError where NetworkX is missing.
    """
    try:
        import networkx as nx  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise WexportError(
            "a tree needs NetworkX, which is not installed", hint="pip install 'wexport[relate]'"
        ) from error
    place = {name: number for number, name in enumerate(models)}
    known: dict[tuple[str, str], Kinship] = {}
    graph = nx.DiGraph()
    for pair in pairs:
        if pair.relation in NO_KIN:
            continue
        known[pair.model_a, pair.model_b] = known[pair.model_b, pair.model_a] = pair
        for parent, child in ((pair.model_a, pair.model_b), (pair.model_b, pair.model_a)):
            if pair.earlier in (None, parent):
                graph.add_edge(parent, child, weight=distance(pair))
    alone = 1.0 + 2.0 * len(models)  # as few roots as can be: more than all distances together
    for root, number in place.items():
        graph.add_edge(_ROOT, root, weight=alone + 1e-9 * number)
    tree = nx.minimum_spanning_arborescence(graph)
    families = sorted(tree.successors(_ROOT), key=lambda name: (-len(nx.descendants(tree, name)), place[name]))
    members: list[Member] = []
    for family in families:
        due: list[tuple[str, str | None, int]] = [(family, None, 0)]
        while due:
            model, above, depth = due.pop()
            kin = known[above, model] if above is not None else None
            members.append(
                Member(
                    model=model,
                    parent=above,
                    family=family,
                    relation=kin.relation if kin else None,
                    distance=distance(kin) if kin else None,
                    directed=bool(kin and kin.earlier),
                    depth=depth,
                    evidence=kin.evidence if kin else (),
                )
            )
            below: list[str] = sorted(tree.successors(model), key=lambda each: place[each], reverse=True)
            due += [(each, model, depth + 1) for each in below]
    return FamilyTree(members)


def distance(pair: Kinship) -> float:
    """1 less the similarity of two models, aligned where their units are; 0 for one function."""
    if pair.relation in _SAME:
        return 0.0
    alike = pair.similarity if pair.aligned_similarity is None else pair.aligned_similarity
    return 1.0 if alike is None else min(max(1.0 - alike, 0.0), 2.0)
