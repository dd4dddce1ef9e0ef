"""Who is like whom and why: models of one architecture, their hidden units aligned."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from wexport.analysis.relations import MEANINGS
from wexport.answers.tabular import Part, Tabular, table_of
from wexport.ingestion.series import series
from wexport.model.roles import KERNELS, NON_TRAINED
from wexport.relating import forms, judging, reading
from wexport.relating.balancing import balanced
from wexport.relating.chains import TOLD_BY
from wexport.relating.chance import Later, null_similarity
from wexport.relating.family import FamilyTree, family_tree
from wexport.relating.figures import cosine, percent, relative_l2, similarity
from wexport.relating.judging import SAME
from wexport.relating.layers import Known, unit_graph
from wexport.relating.lineage import lineage
from wexport.relating.origins import origin_of
from wexport.relating.reading import Held
from wexport.relating.results import Floats, Kinship
from wexport.relating.staged import is_table, of_table
from wexport.relating.units import UnitGraph
from wexport.relating.weight_matching import LARGE, Matcher, Order, applied, assignment

if TYPE_CHECKING:
    import pyarrow as pa

MIN_COVERAGE = 0.5
"""Share of the larger model's values that must have a partner of their slot and shape."""

WIRED = "layers are put together by names and shapes; activations are not told, and taken to let pass what is found"


@dataclass(frozen=True, slots=True)
class Related(Tabular):
    """pairs: a row a pair, in the order in which the models were given. failed: name, reason and way out.

    compared: how many pairs were asked of. Where a table was given, those that it tells to be strangers are no rows.
    models: that were read.
    """

    pairs: Sequence[Kinship]
    failed: Sequence[tuple[str, str, str]]
    compared: int = 0
    models: Sequence[str] = ()

    def tree(self) -> FamilyTree:
        """Families of related models. Raises WexportError where NetworkX is missing."""
        return family_tree(self.models, self.pairs)

    def to_arrow(self) -> pa.Table:
        """A row a pair, with the fields of `Kinship` as columns."""
        return table_of(Kinship, self.pairs)

    def _parts(self) -> Iterable[Part]:
        failed = [f"{name}: {reason}" for name, reason, _ in self.failed]
        met = {pair.relation for pair in self.pairs}
        words = [f"{word}: {means}" for word, means in MEANINGS.items() if word in met]
        return [Part(self.to_arrow(), told=[*failed, *words])]


def relate(
    paths: Sequence[str | os.PathLike[str]],
    *,
    external_data: bool = False,
    reader: str | None = None,
    plugins: Sequence[str] = (),
    timeout: float | None = None,
    progress: reading.Progress | None = None,
) -> Related:
    """Every pair of some models: the same function, related, or strangers.

    paths: model files, folders and patterns; or one table that `ingest` wrote, which tells most strangers by itself, so
    that files are opened for the other pairs only. progress: called as each file is read and before each pair. The
    others as in `diff`.

    Values are read in child processes and held in memory, 2 GiB at most. Raises UsageError for fewer than two files,
    ReadError if fewer than two could be read, WexportError where SciPy is missing.
    """
    assignment(np.zeros((1, 1)))  # what is missing is told before anything is read
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if is_table(given):
        staged = of_table(
            given[0], external_data=external_data, reader=reader, plugins=plugins, timeout=timeout, progress=progress
        )
        held, failed, wanted, compared = staged.held, staged.failed, staged.pairs, staged.compared
    else:
        held, failed = reading.read_all(
            given, external_data=external_data, reader=reader, plugins=plugins, timeout=timeout, progress=progress
        )
        wanted = list(itertools.combinations(held, 2))
        compared = len(wanted)
    comparison = Comparison()
    names = [each.name for each in held]
    places = dict(zip(names, series(names), strict=True))
    with threadpool_limits(1, user_api="blas"):  # the cores are taken by threads of our own
        pairs: list[Kinship] = []
        for a, b in wanted:
            if progress is not None:
                progress(len(pairs), len(wanted), f"{a.name} and {b.name}")
            pairs.append(judging.in_one_run(comparison.pair(a, b), places))
    return Related([replace(pair, confidence=judging.confidence(pair)) for pair in pairs], failed, compared, names)


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
            return replace(found, evidence=(f"{percent(shared, larger)} of the values have a partner",))
        ones = [a.values[one] for one, _ in partners]
        others = [b.values[other] for _, other in partners]
        slots = [a.opened.tensors[one].slot for one, _ in partners]
        kernels = [a.opened.tensors[one].role in KERNELS for one, _ in partners]
        whole = len(partners) == len(a.values) == len(b.values)
        apart = [relative_l2(one, other) for one, other in zip(ones, others, strict=True)]
        found = replace(judging.figures(found, slots, apart), similarity=similarity(ones, others, kernels))
        if whole and all(np.array_equal(x, y, equal_nan=True) for x, y in zip(ones, others, strict=True)):
            return replace(found, relation="identical", differs=(), evidence=("all values are equal",))
        form = forms.form_of(ones, others, kernels, slots) if whole else None
        if form is not None:
            first = (a, b)[form.earlier].name
            return replace(found, relation=form.relation, evidence=form.evidence, earlier=first)
        partial = judging.same_but(found, ones, apart, whole)
        graph = self._graph(a)
        if partial is None or (whole and graph is not None):
            aligned = self._if_aligned(found, graph, a, b, partners, whole)
            if partial is None or aligned.relation in ("reordered", "rescaled"):
                return aligned
        differing = [n for n, is_kernel in enumerate(kernels) if is_kernel and apart[n] > 0]
        chance = 4.5 / max(1.0, min((ones[n].size for n in differing), default=1)) ** 0.5
        likeness = [cosine(ones[n], others[n]) for n in differing]
        layers = [a.opened.tensors[partners[n][0]].layer for n in differing]
        return judging.what_differs(partial, a.opened.graph, layers, likeness, chance)

    def _if_aligned(
        self, found: Kinship, graph: UnitGraph | None, a: Held, b: Held, partners: list[tuple[int, int]], whole: bool
    ) -> Kinship:
        """What is left once the units are aligned; what can be said by place where that cannot be."""
        why = ""
        if graph is None:
            told = next((f" ({each.opened.why})" for each in (a, b) if each.opened.why), "")
            why = f"the file does not tell the graph of layers{told}"
        elif not _same_graph(graph, self._graph(b), partners):
            why = "the files do not tell one graph of layers"
        elif not graph.groups:
            why = "no hidden units may change places"
        if graph is not None and not why:
            return self._aligned(found, graph, a, b, partners, whole)
        ones, others = [a.values[one] for one, _ in partners], [b.values[other] for _, other in partners]
        kernels = [a.opened.tensors[one].role in KERNELS for one, _ in partners]
        origin = origin_of([a.opened.tensors[one] for one, _ in partners], ones, others)
        return judging.unaligned(found, ones, others, kernels, origin, whole=whole, why=why)

    def _aligned(
        self, found: Kinship, graph: UnitGraph, a: Held, b: Held, partners: list[tuple[int, int]], whole: bool
    ) -> Kinship:
        to = dict(partners)
        one = self._scaled(a, graph)
        other_scaled = self._scaled(b, graph)
        other = [other_scaled[to[number]] if number in to else None for number in range(len(one))]
        told = a.opened.tensors
        counted = [number in to and told[number].role not in NON_TRAINED for number in range(len(one))]
        matcher = Matcher(graph, one, other, counted)
        chance = self._chance(matcher, a, one, other, counted)
        order = matcher.best()
        pairs = [(n, other[n]) for n, _ in partners]
        ordered = [applied(graph, n, values, order) for n, values in pairs if values is not None]
        kernels = [told[n].role in KERNELS for n, _ in partners]
        ones = [one[n] for n, _ in partners]
        apart = [relative_l2(x, y) for x, y in zip(ones, ordered, strict=True)]
        aligned = similarity(ones, ordered, kernels)
        del ordered
        test = lineage(matcher)
        found = replace(
            judging.figures(found, [told[n].slot for n, _ in partners], apart),
            aligned_similarity=aligned,
            null_similarity=chance(),
            p_value=None if test is None else test.p_value,
            moved=order.moved,
            turned=order.turned,
        )
        plain = [applied(graph, n, b.values[m], order) for n, m in partners]
        unscaled = [relative_l2(a.values[n], y) for (n, _), y in zip(partners, plain, strict=True)]
        same = whole and max(apart) <= SAME
        origin = origin_of([told[n] for n, _ in partners], [a.values[n] for n, _ in partners], plain)
        raw = [a.values[n] for n, _ in partners], [b.values[m] for _, m in partners]
        placed = judging.likeness_by_place(*raw, kernels)
        if a.opened.graph is not None and a.opened.graph.told_by == TOLD_BY:
            found = replace(found, evidence=(WIRED,))
        return judging.judged(
            found, graph, order, test, origin, placed, same=same, unscaled=max(unscaled) <= SAME, whole=whole
        )

    def in_order(self, a: Held, b: Held) -> tuple[list[tuple[int, int]], list[Floats], Order | None]:
        """Partners of two models, and b's values with its units in a's order; as they are where that is not told."""
        partners = _partners(a, b)
        graph = self._graph(a)
        if graph is None or not graph.groups or not _same_graph(graph, self._graph(b), partners):
            return partners, [b.values[other] for _, other in partners], None
        to = dict(partners)
        scaled = self._scaled(b, graph)
        others = [scaled[to[number]] if number in to else None for number in range(len(a.values))]
        counted = [n in to and each.role not in NON_TRAINED for n, each in enumerate(a.opened.tensors)]
        order = Matcher(graph, self._scaled(a, graph), others, counted).best()
        return partners, [applied(graph, one, b.values[other], order) for one, other in partners], order

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

    def _chance(
        self, matcher: Matcher, a: Held, one: list[Floats], other: Sequence[Floats | None], counted: Sequence[bool]
    ) -> Callable[[], float | None]:
        """What finds the null of similarity; it is found once for models of one architecture."""
        key = tuple((each.slot, each.canonical_shape) for each in a.opened.tensors)

        def found() -> float | None:
            if key not in self._nulls:
                kernels = [each.role in KERNELS for each in a.opened.tensors]
                self._nulls[key] = null_similarity(matcher, one, other, counted, kernels)
            return self._nulls[key]

        return Later(found).result if key not in self._nulls and matcher.values > LARGE else found


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
