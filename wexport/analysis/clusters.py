"""Who is like whom, a row a model: its nearest, its group, and the odd one out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wexport import library
from wexport.analysis import similarity
from wexport.analysis.relations import INTERCHANGEABLE, WORDS
from wexport.analysis.similarity import Similarity

if TYPE_CHECKING:
    from wexport.sessions.session import Session

FEWEST = 4
"""Among fewer comparable models none is odd."""
MOST_ODD = 0.1
"""Share of the comparable models that can be odd; of more, each is one of several kinds. One always can."""
ODD = "odd one out"

_KIN = WORDS.index("related")
"""Relations up to this one make a family."""


def model_groups(session: Session, parameters: Mapping[str, Any]) -> pa.Table:
    """The answer to the query `clusters`; the rule is that of its SQL form, which does not ask who is sick."""
    found = similarity.measure(session, parameters["model"], parameters["min_coverage"], parameters["close"])
    return judge(found, set() if session.kinds else _sick(session))


def _sick(session: Session) -> set[str]:
    """Models with an error or a warning of the query `health`."""
    rows = session.ask(library.get("health").sql).select(["severity", "model"]).to_pylist()
    return {row["model"] for row in rows if row["severity"] in ("error", "warning")}


def judge(found: Similarity, sick: Collection[str] = ()) -> pa.Table:
    """A row a model: how it stands to its nearest, its group and its family, and the evidence.

    sick: models with an error or a warning, which represent no other.
    """
    count = len(found.models)
    relation = found.relation.astype(np.intp)
    np.fill_diagonal(relation, len(WORDS))
    nearness = np.where(np.isnan(found.matrix), -np.inf, found.matrix)
    np.fill_diagonal(nearness, -np.inf)
    near = relation <= WORDS.index("close")
    near &= np.isin(relation, [WORDS.index(word) for word in INTERCHANGEABLE])
    group = _groups(near, relation, nearness, np.array([name in sick for name in found.models], bool))
    family = _families(relation <= _KIN)
    comparable = relation < WORDS.index("not_comparable")
    odd = _odd(family, comparable)
    rows = []
    for row, name in enumerate(found.models):
        nearest = min(range(count), key=lambda o: (relation[row, o], -nearness[row, o], o)) if count > 1 else None
        if nearest is None or not comparable[row].any():
            nearest = None
        verdict = "not_comparable" if nearest is None else ODD if odd[row] else WORDS[relation[row, nearest]]
        members = np.flatnonzero((group == group[row]) & near[row] | (np.arange(count) == row))
        leader = None if group[row] < 0 else found.models[group[row]]
        of_family = np.flatnonzero(family == family[row])
        compared = found.matrix[row, comparable[row]]
        rows.append(
            {
                "model": name,
                "verdict": verdict,
                "represented_by": leader,
                "group_size": int(np.sum(group == group[row])) if group[row] >= 0 else len(members),
                "family": found.models[of_family[0]],
                "family_size": len(of_family),
                "nearest": None if nearest is None else found.models[nearest],
                "nearest_similarity": _figure(found.matrix, row, nearest),
                "null_similarity": _figure(found.null, row, nearest),
                "worst_slot": None if nearest is None else _slot(found, row, nearest),
                "worst_relative_l2": _figure(found.worst_relative_l2, row, nearest),
                "changed": None if nearest is None else int(found.changed[row, nearest]),
                "lacking": None if nearest is None else int(found.lacking[row, nearest]),
                "differs": None if nearest is None else found.named(row, nearest),
                "typical": float(np.nanmedian(compared)) if np.isfinite(compared).any() else None,
                "compared_with": int(comparable[row].sum()),
                "reason": _reason(found, verdict, row, nearest),
            }
        )
    order = (*WORDS[: _KIN + 1], ODD, *WORDS[_KIN + 1 :])
    rows.sort(
        key=lambda row: (order.index(row["verdict"]), -row["group_size"], row["represented_by"] or "", row["model"])
    )
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


def _groups(
    near: NDArray[np.bool_], relation: NDArray[np.intp], nearness: NDArray[np.float64], sick: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """For each model, the one that represents it: whoever has most close models first, and is well.

    -1 for a model that only sick ones are close to.
    """
    count = len(near)
    order = np.lexsort((np.arange(count), -near.sum(axis=1), sick))
    leaders: list[int] = []
    for model in order:
        alone = not near[model].any()
        if alone or (not sick[model] and not near[model, leaders].any()):
            leaders.append(int(model))
    group = np.full(count, -1, np.intp)
    for model in range(count):
        choices = [leader for leader in leaders if near[model, leader]]
        if model in leaders:
            group[model] = model
        elif choices:
            group[model] = min(choices, key=lambda o: (relation[model, o], -nearness[model, o], o))
    return group


def _families(kin: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The first model of those that one can reach from relation to relation."""
    family = np.arange(len(kin))
    for start in range(len(kin)):
        if family[start] != start:
            continue
        waiting = [start]
        while waiting:
            for other in np.flatnonzero(kin[waiting.pop()]):
                if family[other] > start:
                    family[other] = start
                    waiting.append(int(other))
    return family


def _odd(family: NDArray[np.intp], comparable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Models outside of a family that nearly all of those they can be compared with belong to."""
    found = np.zeros(len(family), bool)
    for model in range(len(family)):
        circle = np.append(np.flatnonzero(comparable[model]), model)
        members, sizes = np.unique(family[circle], return_counts=True)
        largest = members[sizes.argmax()]
        outside = int(np.sum(family[circle] != largest))
        few = outside <= max(1, int(MOST_ODD * len(circle)))
        found[model] = len(circle) >= FEWEST and sizes.max() >= FEWEST - 1 and family[model] != largest and few
    return found


def _figure(matrix: NDArray[np.float64], row: int, nearest: int | None) -> float | None:
    return None if nearest is None or not np.isfinite(matrix[row, nearest]) else float(matrix[row, nearest])


def _slot(found: Similarity, row: int, nearest: int) -> str | None:
    key = found.worst[row, nearest]
    return found.slots[key] if key >= 0 and found.worst_relative_l2[row, nearest] > 0 else None


def _reason(found: Similarity, verdict: str, row: int, nearest: int | None) -> str:
    if nearest is None:
        return "no other model with enough matching tensors that tell anything"
    other, worst = found.models[nearest], found.worst_relative_l2[row, nearest]
    where = f"{_slot(found, row, nearest)} " + (
        f"differs by {worst:.3g}" if np.isfinite(worst) else "has values that are not finite"
    )
    match verdict:
        case "identical":
            return f"equal to {other} in every value"
        case "rounded":
            return f"{other} in another type"
        case "same_but":
            return f"{other} but for {_listed(found, row, nearest)}"
        case "same_run":
            return f"a checkpoint of the run of {other}"
        case "close":
            return f"close to {other} in every tensor; {where} at most"
        case "related":
            return f"alike in direction, and not close: {where}"
        case "odd one out":
            return "as unalike to the others as independent trainings, which they are not to each other"
    null = found.null[row, nearest]
    chance = "" if np.isnan(null) else f", where independent trainings have up to {null:.2f}"
    return f"correlation at most {found.correlation[row, nearest]:.2f}{chance}" if chance else "no matrix to compare"


def _listed(found: Similarity, row: int, nearest: int) -> str:
    return listed(found.named(row, nearest), int(found.changed[row, nearest] + found.lacking[row, nearest]))


def listed(slots: Sequence[str], count: int) -> str:
    """Slots in words, of which only the first are known."""
    if not slots:
        return "tensors that one of them lacks"
    more = count - len(slots)
    return ", ".join(slots) + (f" and {more:,} more" if more > 0 else "")


_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("model", "verdict", "represented_by")),
        ("group_size", pa.int64()),
        ("family", pa.string()),
        ("family_size", pa.int64()),
        ("nearest", pa.string()),
        *((name, pa.float64()) for name in ("nearest_similarity", "null_similarity")),
        ("worst_slot", pa.string()),
        ("worst_relative_l2", pa.float64()),
        ("changed", pa.int64()),
        ("lacking", pa.int64()),
        ("differs", pa.list_(pa.string())),
        ("typical", pa.float64()),
        ("compared_with", pa.int64()),
        ("reason", pa.string()),
    ]
)
