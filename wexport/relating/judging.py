"""From the figures of a pair to its relation, a word of `analysis.relations`, with the evidence in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from wexport.analysis import relations
from wexport.ingestion.series import Place
from wexport.model.graph import Graph
from wexport.relating.figures import percent, similarity
from wexport.relating.lineage import Lineage
from wexport.relating.origins import Origin
from wexport.relating.results import Floats, Kinship
from wexport.relating.units import UnitGraph
from wexport.relating.weight_matching import Order

SAME = 1e-5
"""Relative L2 up to which a tensor counts as the same after alignment: the rounding of float32 and of scaling."""
SURE = 1e-6
"""p-value from which on two models are not held to have been trained apart."""
UNDECIDED = 0.01
"""p-value from which on they are."""


def figures(found: Kinship, slots: Sequence[str], apart: Sequence[float]) -> Kinship:
    """The worst tensor and those that differ; apart: the relative L2 of each."""
    worst = int(np.argmax(apart))
    differs = tuple(slot for slot, each in zip(slots, apart, strict=True) if each > SAME)
    finite = apart[worst] if np.isfinite(apart[worst]) else None
    return replace(found, worst_slot=slots[worst], worst_relative_l2=finite, differs=differs)


def same_but(found: Kinship, ones: Sequence[Floats], apart: Sequence[float], whole: bool) -> Kinship | None:
    """Where much is equal bit for bit: constants, which all trainings may share, do not count."""
    telling = [(x.size, each == 0) for x, each in zip(ones, apart, strict=True) if x.size > 1 and x.min() < x.max()]
    total = sum(size for size, _ in telling)
    equal = sum(size for size, same in telling if same)
    tensors = sum(same for _, same in telling)
    most = equal >= relations.SAME_SHARE * total
    if not equal or not (most or (2 * tensors >= len(telling) and equal >= relations.SAME_LEAST * total)):
        return None
    where = "all others are equal" if whole else "all others that both have are equal"
    return replace(found, relation="same_but", evidence=(f"{percent(equal, total)} of the values are equal", where))


def what_differs(
    found: Kinship, graph: Graph | None, layers: Sequence[str], likeness: Sequence[float], chance: float
) -> Kinship:
    """`same_but`, with what the tensors that differ are: a head, replaced or trained on, or what was not frozen.

    layers: of the kernels that differ. likeness: their cosines. chance: what cosines of independent values reach.
    """
    if not layers:
        return found
    heads = _heads(graph) if graph else set()
    is_head = bool(heads) and all(any(_within(layer, head) for head in heads) for layer in layers)
    unlike = max(likeness) <= chance
    near = f"cosine {min(likeness):.2f} to {max(likeness):.2f}, chance up to {chance:.2f}"
    if is_head:
        told = f"the head was {'replaced' if unlike else 'trained on'}"
    else:
        told = "what differs was begun anew" if unlike else "all was frozen but what differs, which was trained on"
    if chance < min(likeness) or unlike:
        return replace(found, evidence=(*found.evidence, f"{told} ({near})"))
    return found


def _within(layer: str, head: str) -> bool:
    return layer == head or layer.startswith(f"{head}/")


def _heads(graph: Graph) -> set[str]:
    """Layers with weights from which the model's outputs come with no other in between."""
    found, due, seen = set(), list(graph.outputs), set[int]()
    while due:
        number = due.pop()
        if number in seen:
            continue
        seen.add(number)
        call = graph.calls[number]
        if call.class_name in ("Dense", "EinsumDense", "LSTM", "GRU", "SimpleRNN", "Bidirectional", "Embedding") or (
            "Conv" in call.class_name
        ):
            found.add(call.layer)
        else:
            due += call.inputs
    return found


def judged(
    found: Kinship, graph: UnitGraph, order: Order, test: Lineage | None, origin: Origin | None,
    placed: tuple[float | None, float | None], *, same: bool, unscaled: bool, whole: bool,
) -> Kinship:  # fmt: skip
    """The relation of two models whose units are aligned.

    origin: what lies behind them if they are related. placed: as `likeness_by_place` says of them.
    same: whether no tensor differs by more than rounding; unscaled: nor without scaling. whole: whether all tensors of
    both have a partner.
    """
    evidence = [*found.evidence, *_told(graph, order, test)]
    by_place, chance = placed
    if same:
        relation = "reordered" if unscaled and order.moved and not order.turned else "rescaled"
        return replace(found, relation=relation, differs=(), evidence=tuple(evidence))
    aligned, null, worst = found.aligned_similarity, found.null_similarity, found.worst_relative_l2
    above = aligned is not None and null is not None and aligned > null
    is_close = whole and worst is not None and worst <= relations.CLOSE
    if test is not None and test.p_value <= SURE and above and not (is_close and origin is None):
        return related(replace(found, evidence=tuple(evidence)), origin)
    if is_close:
        relation = "close"
    elif by_place is not None and chance is not None and by_place > chance:
        evidence.append(f"alike by place: {by_place:.2f}, independent trainings have {chance:.2f} at most")
        return related(replace(found, evidence=tuple(evidence)), origin)
    elif not above and aligned is not None and null is not None:
        relation = "strangers"
    else:
        relation = "undecided" if test is None or test.p_value < UNDECIDED else "strangers"
    if relation == "strangers" and graph.not_understood:
        relation = "not_aligned"  # they may be the same, with units in another order where none could be moved
    return replace(found, relation=relation, evidence=tuple(evidence))


def related(found: Kinship, origin: Origin | None) -> Kinship:
    """Two models of which one came from the other, or both from one start; and which, where evidence tells."""
    if origin is None:
        return replace(found, relation="related")
    first = None if origin.earlier is None else (found.model_a, found.model_b)[origin.earlier]
    return replace(found, relation=origin.relation, evidence=(*found.evidence, origin.evidence), earlier=first)


_LOOSER = ("fine_tuned", "same_start", "close", "related", "undecided")
"""What two checkpoints of one run are to each other as well."""
_BY_VALUES = ("identical", "reordered", "rescaled", "rounded", "pruned", "same_but")
"""What the values leave no other explanation for."""


def in_one_run(found: Kinship, places: Mapping[str, Place]) -> Kinship:
    """The same, or `same_run` where the names say so and the weights do not speak against it.

    places: run and step of each model, as the names of all files tell.
    """
    (run, step), (other_run, other_step) = places[found.model_a], places[found.model_b]
    if run is None or run != other_run or step is None or other_step is None or found.relation not in _LOOSER:
        return found
    steps = f"steps {step:,} and {other_step:,} of one run, by the names of the files"
    earlier = None if step == other_step else (found.model_a if step < other_step else found.model_b)
    return replace(found, relation="same_run", earlier=earlier, evidence=(steps, *found.evidence))


def confidence(found: Kinship) -> str | None:
    """What the relation rests on: see `Kinship`."""
    if found.relation in _BY_VALUES:
        return "certain"
    if found.relation in ("undecided", "not_aligned", "not_comparable"):
        return None
    if found.relation in ("quantised", "close", "same_start", "fine_tuned"):
        return "high"
    tested = found.p_value is not None and (found.p_value <= SURE or found.p_value >= UNDECIDED)
    return "high" if tested and found.relation in ("related", "strangers", "same_run") else "fair"


def unaligned(
    found: Kinship, ones: Sequence[Floats], others: Sequence[Floats], kernels: Sequence[bool], origin: Origin | None,
    *, whole: bool, why: str,
) -> Kinship:  # fmt: skip
    """What can be said of models whose units cannot be aligned.

    The null is that of the table: what independent trainings have position by position.
    """
    correlation, null = likeness_by_place(ones, others, kernels)
    worst = found.worst_relative_l2
    found = replace(found, null_similarity=null)
    if whole and worst is not None and worst <= relations.CLOSE:
        return replace(found, relation="close", evidence=(f"{why}: compared place by place",))
    if null is not None and correlation is not None and correlation > null:
        return related(replace(found, evidence=(f"{why}: compared place by place",)), origin)
    return replace(found, relation="not_aligned", evidence=(why,))


def likeness_by_place(
    ones: Sequence[Floats], others: Sequence[Floats], kernels: Sequence[bool]
) -> tuple[float | None, float | None]:
    """The correlation of kernels position by position, and the upper end of what independent trainings have.

    Kernels whose values are all positive are alike and tell nothing, so they are taken less their means.
    """
    size = np.array([sum(x.size for x, is_kernel in zip(ones, kernels, strict=True) if is_kernel)], np.float64)
    one, other = ([each - each.mean() if each.size else each for each in side] for side in (ones, others))
    found = similarity(one, other, kernels)
    return found, None if found is None else float(relations.null_similarity(size, size)[0])


def _units(graph: UnitGraph) -> int:
    return sum(group.units for group in graph.groups)


def _told(graph: UnitGraph, order: Order, test: Lineage | None) -> Iterator[str]:
    yield f"{order.moved:,} of {_units(graph):,} hidden units are in another place"
    if order.turned:
        yield f"{order.turned:,} are of another sign"
    if test is None:
        yield "no layer can be tested for lineage"
    else:
        yield f"lineage tested by {', '.join(test.groups[:4])}{', ...' if len(test.groups) > 4 else ''}"
    if graph.not_understood:
        yield f"units left as they are around {', '.join(graph.not_understood[:4])}"
