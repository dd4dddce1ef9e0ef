"""Which pairs of a table's models may be the same or related, whatever the order of their hidden units.

What no order changes stands in the table: the L2 norms of a kernel's units, sorted, and of each unit the largest weight
by the norm, which no scaling of the unit changes either. Two independent models differ in these by what two samples of
one distribution differ; a copy by rounding alone. Pairs that are nearer than that are candidates, and so are those that
are alike position by position; only for these need the files be opened.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from wexport.analysis import relations
from wexport.analysis.similarity import MIN_COVERAGE, measure
from wexport.sessions.session import opened

if TYPE_CHECKING:
    from wexport.sessions.session import TableLike

LEAST_UNITS = 8
"""Kernels of fewer units tell too little."""
NEAR = 0.8
"""Mean distance of sorted norms up to which a pair is a candidate, where 1 is that of independent samples: the
Wasserstein distance of the two kernels' norms in their standard deviations, times the root of the number of units."""
SAME = 0.02
"""The same of one kernel by what scaling leaves alone, at the nearest kernel."""
_UNITS = """
SELECT model, slot, canonical_shape, list_transform(units, lambda u: u.l2_norm) AS norms,
    list_transform(units, lambda u: u.abs_max) AS largest
FROM weights WHERE kind = 'weight' AND is_kernel(role) AND len(units) >= 8 ORDER BY model, slot
"""
_SOURCES = "SELECT model, any_value(source) AS source FROM weights GROUP BY model ORDER BY model"
_UNRELATED = [relations.WORDS.index(word) for word in ("strangers", "not_comparable")]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Candidates:
    """models: of the table, with the file of each. pairs: numbers of two models each, that the files have to tell."""

    models: list[str]
    sources: list[str]
    pairs: list[tuple[int, int]]


def candidates(table: TableLike) -> Candidates:
    """The pairs that may be more than strangers. Raises TableError, UsageError as the query `similarity`."""
    with opened(table) as session:
        rows = session.ask(_SOURCES).to_pylist()
        names = [row["model"] for row in rows]
        found = _by_units(session.ask(_UNITS).to_pylist(), {name: n for n, name in enumerate(names)})
        by_place = measure(session, "*", MIN_COVERAGE)
    place = {name: n for n, name in enumerate(names)}
    numbers = np.array([place[name] for name in by_place.models], np.intp)
    found[np.ix_(numbers, numbers)] |= ~np.isin(by_place.relation, _UNRELATED)
    pairs = [(int(a), int(b)) for a, b in np.argwhere(np.triu(found, 1))]
    return Candidates(names, [row["source"] for row in rows], pairs)


def _by_units(rows: list[dict[str, Any]], number: dict[str, int]) -> NDArray[np.bool_]:
    """Which pairs are nearer than chance by what no order changes."""
    count = len(number)
    kernels: dict[Any, dict[int, tuple[Floats, Floats]]] = defaultdict(dict)
    for row in rows:
        norms, largest = np.array(row["norms"], np.float64), np.array(row["largest"], np.float64)
        if np.isfinite(norms).all() and np.isfinite(largest).all():
            ratio = np.divide(largest, norms, out=np.zeros_like(norms), where=norms > 0)
            kernels[row["slot"], tuple(row["canonical_shape"])][number[row["model"]]] = np.sort(norms), np.sort(ratio)
    total, shared, least = (np.full((count, count), start) for start in (0.0, 0.0, np.inf))
    for members in kernels.values():
        places = np.fromiter(members, np.intp)
        at = np.ix_(places, places)
        apart, by_ratio = (_distances(np.stack([each[side] for each in members.values()])) for side in (0, 1))
        total[at] += np.minimum(apart, 10.0)
        shared[at] += 1
        least[at] = np.minimum(least[at], by_ratio)
    near: NDArray[np.bool_] = ((total <= NEAR * shared) & (shared > 0)) | (least <= SAME)
    return near


def _distances(rows: Floats) -> Floats:
    """Of sorted values, each row with each: 1 is what independent samples of one distribution have at least, about."""
    units = rows.shape[1]
    spread = rows.std(axis=1)
    centre = rows.mean()
    rows = rows - centre  # what all share would take the digits
    square = np.square(rows).sum(axis=1)
    apart = np.maximum(square[:, None] + square[None] - 2 * rows @ rows.T, 0)
    both = np.maximum(np.maximum(spread[:, None], spread[None]), 1e-9 * (abs(centre) + 1e-30))
    found: Floats = np.sqrt(apart / units) / both * np.sqrt(units)
    return found
