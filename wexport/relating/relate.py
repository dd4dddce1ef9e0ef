"""Who is like whom and why: models of one architecture, their hidden units aligned."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from wexport.answers.tabular import Part, Tabular, table_of
from wexport.errors import ReadError, UsageError
from wexport.ingestion import inputs
from wexport.ingestion.inputs import model_names
from wexport.model.roles import KERNELS, NON_TRAINED
from wexport.plugins.catalog import absolute
from wexport.plugins.messages import Setup
from wexport.relating import reading
from wexport.relating.layers import Known, unit_graph
from wexport.relating.lineage import Lineage, lineage
from wexport.relating.reading import Held
from wexport.relating.results import WORDS, Floats, Kinship
from wexport.relating.units import UnitGraph
from wexport.relating.weight_matching import Matcher, Order, applied, assignment, balanced

if TYPE_CHECKING:
    import pyarrow as pa

MIN_COVERAGE = 0.5
"""Share of the larger model's values that must have a partner of their slot and shape."""
SAME = 1e-5
"""Relative L2 up to which a tensor counts as the same after alignment: the rounding of float32 and of scaling."""
SURE = 1e-6
"""p-value from which on two models are not held to have been trained apart."""
DRAWS = 5
"""How often values are shuffled for `null_similarity`."""
SHARED, LEAST = 0.5, 0.1
"""As `analysis.relations`: share of the values that are equal, or of half the tensors, which no two trainings give."""


@dataclass(frozen=True, slots=True)
class Related(Tabular):
    """pairs: a row a pair, in the order in which the models were given. failed: name, reason and way out."""

    pairs: Sequence[Kinship]
    failed: Sequence[tuple[str, str, str]]

    def to_arrow(self) -> pa.Table:
        """A row a pair, with the fields of `Kinship` as columns."""
        return table_of(Kinship, self.pairs)

    def _parts(self) -> Iterable[Part]:
        failed = [f"{name}: {reason}" for name, reason, _ in self.failed]
        said = [f"{word}: {WORDS[word]}" for word in WORDS if any(pair.relation == word for pair in self.pairs)]
        return [Part(self.to_arrow(), told=[*failed, *said])]


def relate(
    paths: Sequence[str | os.PathLike[str]],
    *,
    external_data: bool = False,
    reader: str | None = None,
    plugins: Sequence[str] = (),
    timeout: float | None = None,
) -> Related:
    """Every pair of some models: the same function, related, or strangers.

    paths: model files, folders and patterns. The others as in `diff`.

    Values are read in child processes and held in memory, 2 GiB at most. Raises UsageError for fewer than two files,
    ReadError if fewer than two could be read, WexportError where SciPy is missing.
    """
    assignment(np.zeros((1, 1)))  # what is missing is told before anything is read
    found = inputs.expand(paths)
    if len(found) < 2:
        raise UsageError(f"{len(found)} file is nothing to relate", hint="name two model files or more, or a folder")
    names = model_names([item.called for item in found])
    setup = Setup(absolute(plugins), reader, external_data=external_data)
    held, failed = reading.read(found, names, setup, timeout)
    if len(held) < 2:
        told = "; ".join(f"{name}: {reason}" for name, reason, _ in failed[:3])
        raise ReadError(f"fewer than two models could be read{f': {told}' if told else ''}", hint="name model files")
    comparison = Comparison()
    return Related([comparison.pair(a, b) for a, b in itertools.combinations(held, 2)], failed)


@dataclass
class Comparison:
    """Pairs of models, with what is known of each kept for the next pair."""

    _graphs: dict[int, UnitGraph | None] = field(default_factory=dict)
    _balanced: dict[int, list[Floats]] = field(default_factory=dict)
    _nulls: dict[object, float | None] = field(default_factory=dict)

    def pair(self, a: Held, b: Held) -> Kinship:
        """What two models have to do with each other."""
        partners = _partners(a, b)
        found = Kinship(model_a=a.name, model_b=b.name, relation="not_comparable")
        shared = sum(a.values[one].size for one, _ in partners)
        larger = max(sum(values.size for values in side.values) for side in (a, b))
        if not partners or shared < MIN_COVERAGE * larger:
            return replace(found, evidence=(f"{_percent(shared, larger)} of the values have a partner",))
        ones = [a.values[one] for one, _ in partners]
        others = [b.values[other] for _, other in partners]
        slots = [a.opened.tensors[one].slot for one, _ in partners]
        kernels = [a.opened.tensors[one].role in KERNELS for one, _ in partners]
        whole = len(partners) == len(a.values) == len(b.values)
        apart = [relative_l2(one, other) for one, other in zip(ones, others, strict=True)]
        found = replace(_figures(found, slots, apart), similarity=similarity(ones, others, kernels))
        if whole and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(ones, others, strict=True)):
            return replace(found, relation="identical", differs=(), evidence=("all values are equal",))
        partial = _same_but(found, ones, apart, whole)
        graph = self._graph(a)
        if partial is None or (whole and graph is not None):
            aligned = self._if_aligned(found, graph, a, b, partners, slots, whole)
            if partial is None or aligned.relation in ("reordered", "rescaled"):
                return aligned
        return partial

    def _if_aligned(
        self, found: Kinship, graph: UnitGraph | None, a: Held, b: Held, partners: list[tuple[int, int]],
        slots: list[str], whole: bool,
    ) -> Kinship:  # fmt: skip
        """What is left once the units are aligned; `not_aligned` where that cannot be."""
        if graph is None or not _same_graph(graph, self._graph(b), partners):
            why = "the files do not tell one graph of layers" if graph else "the file does not tell the graph of layers"
            return replace(found, relation="not_aligned", evidence=(why,))
        if not graph.groups:
            return replace(found, relation="not_aligned", evidence=("no hidden units may change places",))
        return self._aligned(found, graph, a, b, partners, slots, whole)

    def _aligned(
        self, found: Kinship, graph: UnitGraph, a: Held, b: Held, partners: list[tuple[int, int]], slots: list[str],
        whole: bool,
    ) -> Kinship:  # fmt: skip
        to = dict(partners)
        one = self._scaled(a, graph)
        other_scaled = self._scaled(b, graph)
        other = [other_scaled[to[number]] if number in to else None for number in range(len(one))]
        told = a.opened.tensors
        counted = [number in to and told[number].role not in NON_TRAINED for number in range(len(one))]
        matcher = Matcher(graph, one, other, counted)
        order = matcher.best()
        pairs = [(n, other[n]) for n, _ in partners]
        ordered = [applied(graph, n, values, order) for n, values in pairs if values is not None]
        kernels = [told[n].role in KERNELS for n, _ in partners]
        ones = [one[n] for n, _ in partners]
        apart = [relative_l2(x, y) for x, y in zip(ones, ordered, strict=True)]
        test = lineage(matcher)
        found = replace(
            _figures(found, slots, apart),
            aligned_similarity=similarity(ones, ordered, kernels),
            null_similarity=self._null(graph, a, one, other, counted),
            p_value=None if test is None else test.p_value,
            moved=order.moved,
            turned=order.turned,
        )
        plain = [applied(graph, n, b.values[m], order) for n, m in partners]
        unscaled = [relative_l2(a.values[n], y) for (n, _), y in zip(partners, plain, strict=True)]
        return _judged(found, graph, order, test, whole and max(apart) <= SAME, max(unscaled) <= SAME)

    def _graph(self, model: Held) -> UnitGraph | None:
        if id(model) not in self._graphs:
            graph = model.opened.graph
            known = [
                Known(each.layer, each.role, each.canonical_shape, each.direction) for each in model.opened.tensors
            ]
            self._graphs[id(model)] = unit_graph(graph, known) if graph else None
        return self._graphs[id(model)]

    def _scaled(self, model: Held, graph: UnitGraph) -> list[Floats]:
        if id(model) not in self._balanced:
            own = self._graphs.get(id(model)) or graph
            self._balanced[id(model)] = [each for each in balanced(own, model.values) if each is not None]
        return self._balanced[id(model)]

    def _null(
        self, graph: UnitGraph, a: Held, one: list[Floats], other: Sequence[Floats | None], counted: Sequence[bool]
    ) -> float | None:
        """The largest similarity to shuffled values; found once for models of one architecture."""
        key = tuple((each.slot, each.canonical_shape) for each in a.opened.tensors)
        if key not in self._nulls:
            kernels = [each.role in KERNELS for each in a.opened.tensors]
            drawn = []
            for draw in range(DRAWS):
                rng = np.random.default_rng([draw, 16])
                shuffled = [None if x is None else rng.permutation(x.ravel()).reshape(x.shape) for x in other]
                order = Matcher(graph, one, shuffled, counted).best()
                ordered = [None if x is None else applied(graph, n, x, order) for n, x in enumerate(shuffled)]
                both = [(x, y, k) for x, y, k in zip(one, ordered, kernels, strict=True) if y is not None]
                drawn.append(similarity([x for x, _, _ in both], [y for _, y, _ in both], [k for _, _, k in both]))
            known = [value for value in drawn if value is not None]
            self._nulls[key] = max(known) if known else None
        return self._nulls[key]


# -- figures -----------------------------------------------------------------------------------------------------------


def similarity(ones: Sequence[Floats], others: Sequence[Floats], kernels: Sequence[bool]) -> float | None:
    """Mean of the cosines of kernels, weighted by their sizes; a kernel of zeros has the cosine 0 to all others."""
    total, weight = 0.0, 0
    for x, y, is_kernel in zip(ones, others, kernels, strict=True):
        if is_kernel and x.size:
            left, right = (np.nan_to_num(each.ravel().astype(np.float64), posinf=0, neginf=0) for each in (x, y))
            length = float(np.linalg.norm(left) * np.linalg.norm(right))
            total += x.size * (float(left @ right) / length if length else 0.0)
            weight += x.size
    return total / weight if weight else None


def relative_l2(x: Floats, y: Floats) -> float:
    """||x - y|| / max(||x||, ||y||), from 0 to 2; infinite where either has values that are not finite."""
    left, right = x.astype(np.float64), y.astype(np.float64)
    length = max(float(np.linalg.norm(left)), float(np.linalg.norm(right)))
    apart = float(np.linalg.norm(left - right)) / length if length else 0.0
    return apart if np.isfinite(apart) else float("inf")


def _figures(found: Kinship, slots: Sequence[str], apart: Sequence[float]) -> Kinship:
    worst = int(np.argmax(apart))
    differs = tuple(slot for slot, each in zip(slots, apart, strict=True) if each > SAME)
    finite = apart[worst] if np.isfinite(apart[worst]) else None
    return replace(found, worst_slot=slots[worst], worst_relative_l2=finite, differs=differs)


def _same_but(found: Kinship, ones: Sequence[Floats], apart: Sequence[float], whole: bool) -> Kinship | None:
    """Where much is equal bit for bit: constants, which all trainings may share, do not count."""
    telling = [(x.size, each == 0) for x, each in zip(ones, apart, strict=True) if x.size > 1 and x.min() < x.max()]
    total = sum(size for size, _ in telling)
    equal = sum(size for size, same in telling if same)
    tensors = sum(same for _, same in telling)
    if not equal or not (equal >= SHARED * total or (2 * tensors >= len(telling) and equal >= LEAST * total)):
        return None
    where = "all others are equal" if whole else "all others that both have are equal"
    return replace(found, relation="same_but", evidence=(f"{_percent(equal, total)} of the values are equal", where))


def _judged(
    found: Kinship, graph: UnitGraph, order: Order, test: Lineage | None, same: bool, unscaled: bool
) -> Kinship:
    evidence = list(_told(graph, order, test))
    if same:
        relation = "reordered" if unscaled and order.moved and not order.turned else "rescaled"
        return replace(found, relation=relation, differs=(), evidence=tuple(evidence))
    aligned, null = found.aligned_similarity, found.null_similarity
    if test is not None and test.p_value <= SURE and aligned is not None and null is not None and aligned > null:
        relation = "related"
    elif aligned is not None and null is not None and aligned <= null:
        relation = "strangers"
    else:
        relation = "undecided" if test is None or test.p_value < 0.01 else "strangers"
    return replace(found, relation=relation, evidence=tuple(evidence))


def _told(graph: UnitGraph, order: Order, test: Lineage | None) -> Iterator[str]:
    units = sum(group.units for group in graph.groups)
    yield f"{order.moved:,} of {units:,} hidden units are in another place"
    if order.turned:
        yield f"{order.turned:,} are of another sign"
    if test is None:
        yield "no layer can be tested for lineage"
    else:
        yield f"lineage tested by {', '.join(test.groups[:4])}{', ...' if len(test.groups) > 4 else ''}"
    if graph.not_understood:
        yield f"units left as they are around {', '.join(graph.not_understood[:4])}"


def _partners(a: Held, b: Held) -> list[tuple[int, int]]:
    """Tensors of one slot, role and canonical shape."""
    theirs = b.by_slot()
    found = []
    for number, each in enumerate(a.opened.tensors):
        other = theirs.get(each.slot)
        if other is not None:
            partner = b.opened.tensors[other]
            if (partner.canonical_shape, partner.role) == (each.canonical_shape, each.role):
                found.append((number, other))
    return found


def _same_graph(one: UnitGraph, other: UnitGraph | None, partners: Sequence[tuple[int, int]]) -> bool:
    """Whether the hidden units stand at the same places of the tensors that both models have."""
    if other is None or [group.units for group in one.groups] != [group.units for group in other.groups]:
        return False
    to = dict(partners)
    back = {b: a for a, b in partners}

    def places(graph: UnitGraph, numbers: dict[int, int]) -> set[tuple[object, ...]]:
        return {
            (numbers[part.tensor], part.axis, part.group, part.made, part.index.tobytes())
            for part in graph.parts
            if part.tensor in numbers
        }

    return places(one, {number: number for number in to}) == places(other, back)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f} %" if whole else "nothing"
