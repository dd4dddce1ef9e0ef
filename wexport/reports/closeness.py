"""Who is like whom, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wexport.analysis.clusters import ODD, listed
from wexport.terminal import text

SHOWN = 3
"""Models, groups or families that are named; of the others only the number is told."""

Rows = Sequence[Mapping[str, Any]]


def closeness(clusters: Rows) -> list[str]:
    """What the query `clusters` says, in sentences, the closest first. clusters: its rows."""
    if len(clusters) < 2:
        return []
    of = {
        verdict: [row for row in clusters if row["verdict"] == verdict] for verdict in {r["verdict"] for r in clusters}
    }
    found = [
        *_equal(of.get("identical", []), "are identical, value by value"),
        *_equal(of.get("rounded", []), "are the same in other types of numbers"),
        *_same_but(of.get("same_but", [])),
        *_same_run(of.get("same_run", [])),
        *_close(of.get("close", [])),
        *_related(clusters, of.get("related", [])),
        *[f"{text.safe(row['model'])} is the odd one out: {row['reason']}." for row in of.get(ODD, [])],
        *_strangers(of.get("strangers", [])),
        *_not_comparable(of.get("not_comparable", []), len(clusters)),
    ]
    if any(verdict in of for verdict in ("same_but", "close", "related")):
        found.append("Whether models that are not identical behave alike, only data tell.")
    return found


def _equal(rows: Rows, how: str) -> list[str]:
    groups: dict[Any, list[str]] = {}
    for row in rows:
        groups.setdefault(row["represented_by"] or row["family"], []).append(row["model"])
    found = [f"{names(members)} {how}." for members in list(groups.values())[:SHOWN]]
    if len(groups) > SHOWN:
        found.append(f"{_count(len(groups) - SHOWN, 'more group')} of models {how}.")
    return found


def _same_but(rows: Rows) -> list[str]:
    # Of two that are each other's nearest, one sentence says it.
    pairs = {frozenset((row["model"], row["nearest"])): row for row in reversed(rows)}
    ordered = list(pairs.values())[::-1]
    found = [
        f"{text.safe(row['model'])} is the same as {text.safe(row['nearest'])} but for "
        f"{text.safe(listed(row['differs'] or [], row['changed'] or 0))}."
        for row in ordered[:SHOWN]
    ]
    if len(ordered) > SHOWN:
        found.append(f"{_count(len(ordered) - SHOWN, 'more model')} differ from another in a few tensors only.")
    return found


def _same_run(rows: Rows) -> list[str]:
    families: dict[str, list[str]] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row["model"])
    found = [f"{names(members)} are checkpoints of one run." for members in list(families.values())[:SHOWN]]
    if len(families) > SHOWN:
        found.append(f"{_count(len(families) - SHOWN, 'more run')} of checkpoints.")
    return found


def _close(rows: Rows) -> list[str]:
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["represented_by"] or row["family"], []).append(row)
    found = []
    for members in list(groups.values())[:SHOWN]:
        worst = max(members, key=lambda row: row["worst_relative_l2"] or 0)
        # The one that represents them may be closer still to another, and stand there.
        shown = dict.fromkeys(
            [*(row["represented_by"] for row in members if row["represented_by"]), *(row["model"] for row in members)]
        )
        found.append(
            f"{names([*shown, worst['nearest']] if len(shown) < 2 else list(shown))} are close in every tensor: "
            f"{text.safe(worst['worst_slot'])} differs most, by {100 * worst['worst_relative_l2']:.2g} %."
        )
    if len(groups) > SHOWN:
        found.append(f"{_count(len(groups) - SHOWN, 'more group')} of close models.")
    return found


def _related(clusters: Rows, rows: Rows) -> list[str]:
    families: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row)
    found = []
    for family, members in list(families.items())[:SHOWN]:
        everybody = [row["model"] for row in clusters if row["family"] == family]
        figures = [row["nearest_similarity"] for row in members if row["nearest_similarity"] is not None]
        null = max((row["null_similarity"] or 0 for row in members), default=0)
        alike = (
            f" (nearest ones have a similarity of {min(figures):.2f} or more, independent trainings up to {null:.2f})"
        )
        least = min(members, key=lambda row: row["worst_relative_l2"] or 0)
        found.append(
            f"{names(everybody)} are related{alike if figures else ''}, as by a common start. Of these, "
            f"{names([row['model'] for row in members])} {'is' if len(members) == 1 else 'are'} not close to any: "
            f"{text.safe(least['worst_slot'])} differs by {100 * least['worst_relative_l2']:.0f} % or more."
            if len(members) < len(everybody)
            else f"{names(everybody)} are related{alike if figures else ''}, as by a common start, and not close: the "
            f"tensor that differs most differs by {100 * least['worst_relative_l2']:.0f} % or more."
        )
    if len(families) > SHOWN:
        found.append(f"{_count(len(families) - SHOWN, 'more family', 'more families')} of related models.")
    return found


def _strangers(rows: Rows) -> list[str]:
    if not rows:
        return []
    figures = [row["nearest_similarity"] for row in rows if row["nearest_similarity"] is not None]
    null = [row["null_similarity"] for row in rows if row["null_similarity"] is not None]
    limit = ""
    if figures and null:
        limit = f" (similarity {max(figures):.2f} at most; chance and one kind of data give up to {max(null):.2f})"
    are = "is" if len(rows) == 1 else "are"
    return [
        f"{names([row['model'] for row in rows])} {are} as unlike any other as independent trainings are"
        f"{limit}. By weights alone that says nothing of how they behave."
    ]


def _not_comparable(rows: Rows, models: int) -> list[str]:
    if not rows:
        return []
    if len(rows) == models:
        return ["No two models can be compared weight by weight: they share too few tensors of one place and shape."]
    have = "shares" if len(rows) == 1 else "share"
    return [
        f"{names([row['model'] for row in rows])} {have} too few tensors with the others to be compared with them "
        "weight by weight."
    ]


def names(models: Sequence[str]) -> str:
    """Names in a sentence; of many, the first ones and how many more."""
    shown = [text.safe(model) for model in models]
    if len(shown) > 2 * SHOWN:
        shown = [*shown[:SHOWN], f"{len(shown) - SHOWN:,} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number:,} {one if number == 1 else several or one + 's'}"
