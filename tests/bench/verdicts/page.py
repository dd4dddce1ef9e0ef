"""The tables, in Markdown."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from verdicts.asked import Told
from verdicts.collection import Entry
from verdicts.scored import LOUD, SEVERITIES, ByFinding, Expected, Relations, Sickness

MOST_EXAMPLES = 6
_GOALS = {
    "healthy strangers of whom something is claimed": ("strangers", "distilled"),
    "strangers, one of them sick, of whom something is claimed": ("strangers, one sick",),
    "models of another architecture of whom something is claimed": ("other_architecture",),
    "heads that are called close or the like": ("head_replaced", "two_heads"),
    "models of one start that are called close or the like": ("same_start",),
    "models with a planted illness that are called close or the like": ("same_but",),
}
"""False claims that matter most, and the truths that they are made of."""


def table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def contents(entries: Sequence[Entry]) -> str:
    rows = []
    for name in sorted({entry.architecture for entry in entries}):
        mine = [entry for entry in entries if entry.architecture == name]
        sick = [entry for entry in mine if entry.illness]
        bases = [entry.metric for entry in mine if entry.model.endswith("/base")]
        reached = f"{min(bases):.3f} to {max(bases):.3f}" if bases else ""
        rows.append((name, mine[0].task, len(mine) - len(sick), len(sick), reached))
    return table(("architecture", "task", "healthy", "sick", "metric of the base models"), rows)


def illnesses(sick: Sequence[Sickness], expected: Expected) -> str:
    """A row an illness; the misses named."""
    by_kind: dict[str, list[Sickness]] = defaultdict(list)
    for each in sick:
        assert each.entry.illness
        by_kind[each.entry.illness.kind].append(each)
    rows = []
    for kind, models in sorted(by_kind.items(), key=lambda item: (_found(item[1]) / len(item[1]), item[0])):
        info = sum(each.found == "info" for each in models)
        missed = [each for each in models if each.found not in LOUD]
        others = Counter(told.finding for each in missed for told in each.told if told.severity in LOUD)
        rows.append(
            (
                kind, len(models), _found(models), sum(each.there and each.found in LOUD for each in models), info,
                ", ".join(each.entry.model.split("/")[0] for each in missed) or "",
                ", ".join(f"{name} {count}" for name, count in others.most_common(3)), expected.reason(kind),
            )
        )  # fmt: skip
    head = (
        "illness",
        "models",
        "found",
        "at its layer",
        "as info",
        "missed",
        "told of these instead",
        "why not findable",
    )
    return table(head, rows)


def _found(models: Sequence[Sickness]) -> int:
    return sum(each.found in LOUD for each in models)


def findings(scores: Mapping[tuple[str, str], ByFinding]) -> str:
    rows = [
        (
            severity, finding, len(row.right), len(row.beside), len(row.false), _share(row.precision),
            f"{len(row.right)} of {len(row.wanted)}", ", ".join(sorted(row.false)[:4]),
        )
        for (severity, finding), row in sorted(
            scores.items(), key=lambda item: (SEVERITIES.index(item[0][0]), item[0][1])
        )
    ]  # fmt: skip
    head = ("severity", "finding", "right", "on other sick", "on healthy", "precision", "recall", "healthy, the first")
    return table(head, rows)


def alarms(told: Sequence[Told], healthy: int) -> str:
    models = {each.model for each in told}
    lines = [f"{len(models)} of {healthy} healthy models have a warning or an error ({len(told)} in all)."]
    if told:
        rows = [(each.severity, each.finding, each.model, each.place, each.seen) for each in told[:80]]
        lines += ["", table(("severity", "finding", "model", "place", "seen"), rows)]
    return "\n".join(lines)


def relations(found: Relations) -> str:
    rows = [
        (
            kind, sum(counts.values()), grades["right"], grades["near"], grades["missed"], grades["false"],
            ", ".join(f"{name} {count}" for name, count in counts.most_common()),
        )
        for kind, counts in sorted(found.verdicts.items()) for grades in [found.grades[kind]]
    ]  # fmt: skip
    return table(("true", "pairs", "right", "near", "nothing claimed", "false", "said"), rows)


def verdicts(found: Relations) -> str:
    """Each relation that was said, or should have been: how often it was right, and how many it found."""
    rows = []
    for word in sorted({*found.by_word, *found.wanted}):
        grades = found.by_word[word]
        said = grades.total()
        true = grades["right"] + grades["near"]
        rows.append(
            (
                word, said, grades["right"], grades["near"], grades["missed"], grades["false"],
                _share(true / said if said else None), f"{found.found[word]} of {found.wanted[word]}",
            )
        )  # fmt: skip
    return table(("said", "pairs", "right", "near", "too little", "false", "precision", "recall"), rows)


def false_claims(found: Relations) -> str:
    lines = [f"{len(found.false)} false claims."]
    if found.false:
        rows = []
        for kind in sorted({row[0] for row in found.false}):
            mine = [row for row in found.false if row[0] == kind]
            rows += [(kind, *key, told.relation, _figure(told.similarity)) for _, key, told in mine[:MOST_EXAMPLES]]
        lines += ["", table(("true", "a", "b", "said", "similarity"), rows)]
    return "\n".join(lines)


def summary(
    half: str, sick: Sequence[Sickness], told: Sequence[Told], healthy: int, pairs: Mapping[str, Relations],
    expected: Expected,
) -> str:  # fmt: skip
    """The goals, in a line each."""
    by_kind: dict[str, list[Sickness]] = defaultdict(list)
    for each in sick:
        assert each.entry.illness
        by_kind[each.entry.illness.kind].append(each)
    whole = sum(_found(models) == len(models) for models in by_kind.values())
    not_findable = sum(bool(expected.reason(kind)) for kind in by_kind)
    rows = [
        ("sick models found by a finding of their illness", f"{_found(sick)} of {len(sick)}"),
        ("illnesses found in all that have them", f"{whole} of {len(by_kind)} ({not_findable} not findable)"),
        ("sick models with any warning or error", f"{sum(each.any in LOUD for each in sick)} of {len(sick)}"),
        ("healthy models with a warning or an error", f"{len({each.model for each in told})} of {healthy}"),
    ]
    for by, found in pairs.items():
        for words, kinds in _GOALS.items():
            of = [counts for kind, counts in found.grades.items() if kind in kinds]
            false, count = sum(counts["false"] for counts in of), sum(sum(counts.values()) for counts in of)
            rows.append((f"{words}, by {by}", f"{false} of {count} pairs"))
    return table((half, "models or pairs"), rows)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.0%}"


def _figure(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"
