"""Whether one model came from the other, as a p-value: do two ways of matching its units agree?

After the robust test of Zhu, Ahmed, Kuditipudi & Liang, "Independence tests for language models" (ICML 2025): hidden
units are matched once by what makes them and once by what reads them. If the two models were trained apart, the order
of the units is chance, and the two matchings have nothing to do with each other; their Spearman correlation then has a
known distribution. Fisher's method sums up the groups.

Other than there, the neighbours of a group are in an order of their own here, which has to be found first. If it were
found from all weights, the two matchings would share what they were made of. So there are two passes: one from the
inputs on, which uses for each group the tensors up to it, and one from the outputs back, which uses those behind it. A
group whose two matchings would share a tensor is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wexport.relating.units import Part
from wexport.relating.weight_matching import Floats, Matcher, Order, assignment

LEAST_UNITS = 8
"""Of fewer, the approximation of Spearman's distribution is too coarse, and chance too likely."""
LEAST_P = 1e-300
"""No smaller p-value is told: float64 ends there."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """p_value: of independence. groups: layers whose units tested it. units: how many these are."""

    p_value: float
    groups: tuple[str, ...]
    units: int


def lineage(matcher: Matcher, seed: int = 0) -> Lineage | None:
    """The test on two models as they are; None if no group of at least eight units can be matched both ways."""
    rng = np.random.default_rng([seed, 15])
    forward = _pass(matcher, rng, made=True)
    backward = _pass(matcher, rng, made=False)
    p_values, groups, units = [], [], 0
    for number, group in enumerate(matcher.graph.groups):
        if number not in forward or number not in backward or group.units < LEAST_UNITS:
            continue
        (one, used), (other, also) = forward[number], backward[number]
        if used & also:
            continue
        p_values.append(spearman_p(one, other))
        groups.append(group.layer)
        units += group.units
    return Lineage(fisher(p_values), tuple(groups), units) if p_values else None


def spearman_p(one: NDArray[np.intp], other: NDArray[np.intp]) -> float:
    """One-sided p-value that two permutations agree as they do, by Student's t with n - 2 degrees of freedom."""
    from scipy import special  # type: ignore[import-untyped, unused-ignore]

    n = len(one)
    rho = 1 - 6 * float(np.square((one - other).astype(np.float64)).sum()) / (n * (n * n - 1))
    least = max(math.exp(-math.lgamma(n + 1)), LEAST_P)  # one of n! orders
    if rho >= 1:
        return least
    t = rho * math.sqrt((n - 2) / ((1 + rho) * (1 - rho))) if rho > -1 else -math.inf
    return max(float(special.stdtr(n - 2, -t)), least)


def fisher(p_values: Sequence[float]) -> float:
    """Fisher's method: -2 sum(ln p) follows chi squared with 2 n degrees of freedom."""
    from scipy import special

    return max(float(special.gammaincc(len(p_values), -sum(math.log(p) for p in p_values))), LEAST_P)


def _pass(
    matcher: Matcher, rng: np.random.Generator, *, made: bool
) -> Mapping[int, tuple[NDArray[np.intp], frozenset[int]]]:
    """The order of each group from one side alone, and the tensors that it rests on."""
    graph = matcher.graph
    order = Order.as_it_is(graph)
    found: dict[int, tuple[NDArray[np.intp], frozenset[int]]] = {}
    numbers = range(len(graph.groups)) if made else reversed(range(len(graph.groups)))
    for group in numbers:
        parts, used = [], set[int]()
        for part in graph.parts:
            if part.group != group or part.made != made or not matcher.is_matrix(part.tensor):
                continue
            others = {each.group for each in graph.parts if each.tensor == part.tensor and each.axis != part.axis}
            if group in others or not others <= found.keys():
                continue
            parts.append(part)
            used |= {part.tensor}.union(*(found[other][1] for other in others))
        if parts:
            cosines, by_scale = _cosines(matcher, group, order, parts, rng)
            order.units[group] = assignment(cosines)
            for scale, products in by_scale.items():
                turned = products[np.arange(len(products)), order.units[group]] < 0
                order.signs[scale] = np.where(turned, -1, 1).astype(np.float32)
            found[group] = (order.units[group], frozenset(used))
    return found


def _cosines(
    matcher: Matcher, group: int, order: Order, parts: Sequence[Part], rng: np.random.Generator
) -> tuple[Floats, dict[int, Floats]]:
    """Sums of cosines of the units' weights, and products that turn with each scale.

    The weights' lengths, which what makes and what reads a unit may share, do not count.
    """
    total, by_scale = matcher.products(group, order, set(range(len(order.units))), parts, normed=True)
    # Where several are as good, chance decides, not the order in the file.
    noise = 1e-6 * rng.standard_normal(total.shape)
    return total + noise, {scale: each for scale, each in by_scale.items() if scale is not None}
