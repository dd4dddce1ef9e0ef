"""Which models are close, and which is the odd one out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wexport.analysis import similarity
from wexport.analysis.similarity import Similarity

if TYPE_CHECKING:
    from wexport.sessions.session import Session

MOST_DEVIATIONS = 5 * 1.4826
"""Median absolute deviations below the usual similarity, from which on a model is odd: 5 standard deviations."""
FEWEST = 4
"""Among fewer comparable models none is odd."""

_ORDER = ("odd one out", "close", "on its own", "not comparable")


def model_groups(session: Session, parameters: Mapping[str, Any]) -> pa.Table:
    """The answer to the query `clusters`; the rule is that of its SQL form."""
    found = similarity.measure(session, parameters["model"], parameters["min_coverage"])
    return judge(found, parameters["close"], parameters["gap"])


def judge(found: Similarity, close: float, gap: float) -> pa.Table:
    """A row a model: its group, its verdict and the evidence.

    close: similarity from which on two models are close. gap: by how much less similar to others an odd one is.
    """
    matrix = found.matrix.copy()
    np.fill_diagonal(matrix, np.nan)
    known = ~np.isnan(matrix)
    compared = known.sum(axis=1)
    typical = np.array([_median(matrix[row, known[row]]) for row in range(len(matrix))])
    group = _groups(matrix, typical, close)
    rows = []
    for row, name in enumerate(found.models):
        others = np.flatnonzero(known[row])
        circle = typical[[row, *others]]
        usual = _median(circle)
        deviation = _median(np.abs(circle - usual))
        same = group[others] == group[row]
        size = int(np.sum(group == group[row]))
        odd = compared[row] >= FEWEST - 1 and usual - typical[row] > max(gap, MOST_DEVIATIONS * deviation)
        verdict = _verdict(int(compared[row]), size, bool(odd))
        nearest = int(np.nanargmax(matrix[row])) if len(others) else None
        leader = found.models[group[row]]
        rows.append(
            {
                "model": name,
                "verdict": verdict,
                "represented_by": leader,
                "group_size": size,
                "nearest": None if nearest is None else found.models[nearest],
                "nearest_similarity": None if nearest is None else float(matrix[row, nearest]),
                "within": _mean(matrix[row, others[same]]),
                "between": _mean(matrix[row, others[~same]]),
                "typical": float(typical[row]) if len(others) else None,
                "usual": float(usual) if len(others) else None,
                "compared_with": int(compared[row]),
                "reason": _reason(verdict, leader, size, int(compared[row]), bool((matrix[row] >= close).any())),
            }
        )
    rows.sort(key=lambda row: (_ORDER.index(row["verdict"]), -row["group_size"], row["represented_by"], row["model"]))
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _groups(matrix: NDArray[np.float64], typical: NDArray[np.float64], close: float) -> NDArray[np.intp]:
    """For each model, the one that represents it: whoever has most close models first."""
    near = matrix >= close
    order = np.lexsort((-np.nan_to_num(typical, nan=-np.inf), -near.sum(axis=1)))
    leaders: list[int] = []
    for model in order:
        if not near[model, leaders].any():
            leaders.append(int(model))
    leaders.sort()
    group = np.arange(len(matrix))
    for model in set(range(len(matrix))) - set(leaders):
        group[model] = leaders[int(np.nanargmax(matrix[model, leaders]))]
    return group


def _verdict(compared: int, size: int, odd: bool) -> str:
    if not compared:
        return "not comparable"
    if odd:
        return "odd one out"
    return "close" if size > 1 else "on its own"


def _reason(verdict: str, leader: str, size: int, compared: int, near: bool) -> str:
    match verdict:
        case "not comparable":
            return "no other model with enough matching tensors"
        case "odd one out":
            return "typically less similar to the others than they are to each other"
        case "close":
            return f"by weights, {leader} would do for {size} models"
    if near:
        return "close only to models that another represents"
    return "no model is close" + (
        "; an odd one is told among 4 or more" if compared < FEWEST - 1 else ", as with independent trainings"
    )


def _median(values: NDArray[np.float64]) -> float:
    return float(np.median(values)) if len(values) and not np.isnan(values).all() else float("nan")


def _mean(values: NDArray[np.float64]) -> float | None:
    return float(values.mean()) if len(values) else None


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("model", "verdict", "represented_by")),
        ("group_size", pa.int64()),
        ("nearest", pa.string()),
        *((name, pa.float64()) for name in ("nearest_similarity", "within", "between", "typical", "usual")),
        ("compared_with", pa.int64()),
        ("reason", pa.string()),
    ]
)
