"""Which models are close, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wexport.terminal import text
from wexport.terminal.text import counted

RELATED = 0.5
"""Above this similarity a model that is close to none is told to be related to its nearest."""


def closeness(clusters: Sequence[Mapping[str, Any]]) -> list[str]:
    """What the query `clusters` says of groups, odd ones and models on their own, in sentences. clusters: its rows."""
    if len(clusters) < 2:
        return []
    verdicts: dict[str, list[Mapping[str, Any]]] = {}
    for row in clusters:
        verdicts.setdefault(row["verdict"], []).append(row)
    return [
        *_close(verdicts.get("close", [])),
        *_odd(verdicts.get("odd one out", [])),
        *_alone(verdicts.get("on its own", [])),
        *_not_comparable(verdicts.get("not comparable", []), len(clusters)),
    ]


def _close(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    sizes = {row["represented_by"]: row["group_size"] for row in rows}
    largest = sorted(sizes, key=lambda leader: -sizes[leader])
    found = [
        f"{text.safe(leader)} and {counted(sizes[leader] - 1, 'other')} have nearly the same weights: by weights, "
        "one model "
        "would do for all of them. Whether it does, only data tell."
        for leader in largest[:2]
    ]
    if len(largest) > 2:
        more = len(largest) - 2
        found.append(f"{more:,} more {'group' if more == 1 else 'groups'} of models with nearly the same weights.")
    return found


def _odd(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"{text.safe(row['model'])} is the odd one out: {row['reason']}." for row in rows]


def _alone(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    near = [row for row in rows if (row["nearest_similarity"] or 0) >= RELATED]
    apart = len(rows) - len(near)
    related = list({frozenset((row["model"], row["nearest"])): row for row in reversed(near)}.values())[::-1]
    found = [
        f"{text.safe(row['model'])} is related to {text.safe(row['nearest'])} (similarity "
        f"{row['nearest_similarity']:.2f}), but not so close that one would do for both."
        for row in related[:2]
    ]
    if len(related) > 2:
        found.append(f"{len(related) - 2:,} more pairs of models are related without being close.")
    if apart:
        have = "1 model has" if apart == 1 else f"{apart:,} models have"
        found.append(
            f"{have} weights unlike those of all others. That is usual for models that were trained apart, even "
            "on the same data."
        )
    return found


def _not_comparable(rows: Sequence[Mapping[str, Any]], models: int) -> list[str]:
    if not rows:
        return []
    if len(rows) == models:
        return ["No two models can be compared weight by weight: they share too few tensors of one place and shape."]
    have = "1 model shares" if len(rows) == 1 else f"{len(rows):,} models share"
    return [f"{have} too few tensors with the others to be compared with them weight by weight."]
