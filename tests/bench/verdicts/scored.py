"""How right wexport was: of findings, and of relations."""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from verdicts.asked import Pair, Related, Told, pair
from verdicts.collection import Entry, Family

LOUD = ("error", "warning")
SEVERITIES = (*LOUD, "info")
NOT_CLOSE = ("strangers", "other_architecture", "distilled")
"""Pairs that share nothing that weights could show: any claim about them is false."""
CLAIMS = frozenset(
    (
        "identical", "rounded", "reordered", "rescaled", "folded", "quantised", "pruned", "average", "same_but",
        "same_run", "fine_tuned", "same_start", "close", "related",
    )
)  # fmt: skip
INTERCHANGEABLE = frozenset(("identical", "rounded", "reordered", "rescaled", "folded", "quantised", "close"))
"""Claims that one model would do for the other."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What counts as right; see expected.json. Findings are patterns, since their names may change.

    of_any_illness: findings that say that a model is sick, and not of what.
    """

    of_any_illness: Sequence[str]
    illnesses: Mapping[str, Mapping[str, Any]]
    relations: Mapping[str, Mapping[str, Sequence[str]]]

    @classmethod
    def read(cls) -> Expected:
        return cls(**json.loads(Path(__file__).with_name("expected.json").read_text("utf-8")))

    def is_of(self, finding: str, kind: str) -> bool:
        """Whether a finding, however its words are joined, names the illness."""
        words = finding.replace(" ", "_"), finding.replace("_", " ")
        patterns = (*self.illnesses[kind]["findings"], *self.of_any_illness)
        return any(fnmatchcase(word, pattern) for word in words for pattern in patterns)

    def reason(self, kind: str) -> str:
        """Why an illness is not to be found in files; "" where it should be."""
        return str(self.illnesses[kind].get("not_findable", ""))


@dataclass(slots=True)
class Sickness:
    """One sick model: the severity at which it was found by a finding of its illness, and at which by any; "" never."""

    entry: Entry
    found: str
    any: str
    there: bool
    told: list[Told]


@dataclass(slots=True)
class ByFinding:
    """One finding at one severity. right: models whose illness it names; beside: other sick ones; false: healthy."""

    right: set[str] = field(default_factory=set)
    beside: set[str] = field(default_factory=set)
    false: set[str] = field(default_factory=set)
    wanted: set[str] = field(default_factory=set)

    @property
    def precision(self) -> float | None:
        told = len(self.right) + len(self.beside) + len(self.false)
        return len(self.right | self.beside) / told if told else None

    @property
    def recall(self) -> float | None:
        return len(self.right) / len(self.wanted) if self.wanted else None


def sicknesses(entries: Iterable[Entry], told: Iterable[Told], expected: Expected) -> list[Sickness]:
    by_model = _by_model(told)
    found = []
    for entry in entries:
        if entry.illness is None:
            continue
        mine = by_model[entry.model]
        named = [each for each in mine if expected.is_of(each.finding, entry.illness.kind)]
        there = any(_is_there(each.place, entry.illness.layer) for each in named)
        found.append(Sickness(entry, _worst(named), _worst(mine), there, mine))
    return found


def findings(
    entries: Sequence[Entry], told: Iterable[Told], expected: Expected
) -> dict[tuple[str, str], ByFinding]:  # fmt: skip
    """By severity and finding."""
    of = {entry.model: entry for entry in entries}
    found: dict[tuple[str, str], ByFinding] = defaultdict(ByFinding)
    for each in told:
        illness, row = of[each.model].illness, found[each.severity, each.finding]
        if illness is None:
            row.false.add(each.model)
        elif expected.is_of(each.finding, illness.kind):
            row.right.add(each.model)
        else:
            row.beside.add(each.model)
    for (_, name), row in found.items():
        row.wanted |= {e.model for e in entries if e.illness and expected.is_of(name, e.illness.kind)}
    return dict(found)


def alarms(entries: Iterable[Entry], told: Iterable[Told]) -> list[Told]:
    """What was told loudly of healthy models."""
    healthy = {entry.model for entry in entries if entry.illness is None}
    return [each for each in told if each.model in healthy and each.severity in LOUD]


def _by_model(told: Iterable[Told]) -> dict[str, list[Told]]:
    found: dict[str, list[Told]] = defaultdict(list)
    for each in told:
        found[each.model].append(each)
    return found


def _worst(told: Iterable[Told]) -> str:
    return min((each.severity for each in told), key=SEVERITIES.index, default="")


def _is_there(place: str, layer: str) -> bool:
    """Whether a finding speaks of the layer, or the illness of the whole model; a slot begins with the layer."""
    return not layer or not place or place.split("/")[0] == layer or layer in place.split("/")


@dataclass(slots=True)
class Relations:
    """Pairs by what is true and by what was said. false: claims about pairs that share nothing, or that are not close.

    verdicts: for each truth, how often each relation was said; grades: and how well. by_word: for each relation that
    was said, how well. wanted: how often each was the one that says most; found: and was said then.
    """

    verdicts: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    grades: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    by_word: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    wanted: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    false: list[tuple[str, Pair, Related]] = field(default_factory=list)
    missed: list[tuple[str, Pair, Related]] = field(default_factory=list)


def relations(entries: Sequence[Entry], said: Mapping[Pair, Related], expected: Expected) -> Relations:
    """Only pairs within an architecture, and those that were spoken of."""
    found, family = Relations(), Family.of(entries)
    for number, a in enumerate(entries):
        for b in entries[number + 1 :]:
            key = pair(a.model, b.model)
            if key not in said:
                continue
            truth, told = family.relation(a, b), said[key]
            kind = truth.kind
            row = f"{kind}, one sick" if kind == "strangers" and (a.illness or b.illness) else kind
            grade = _grade(kind, told, expected)
            found.verdicts[row][told.relation] += 1
            found.grades[row][grade] += 1
            found.by_word[told.relation][grade] += 1
            best = expected.relations[kind]["right"][0]
            if kind != "one_family":  # of which several words may be the best
                found.wanted[best] += 1
                found.found[best] += told.relation == best
            if grade == "false":
                found.false.append((row, key, told))
            elif grade == "missed":
                found.missed.append((row, key, told))
    return found


def _grade(kind: str, told: Related, expected: Expected) -> str:
    """right, near (true but vague), missed (nothing was claimed), or false (what was claimed is not so).

    "The same but for" tensors that only one model has is true of one that packs three kernels into one; not so where a
    tensor that both have is said to differ.
    """
    allowed, said = expected.relations[kind], told.relation
    if said in allowed["right"]:
        return "right"
    if said in allowed["near"]:
        return "near"
    if said in allowed.get("near_where_all_shared_is_equal", ()) and told.rest.get("changed") == 0:
        return "near"
    return "false" if said in CLAIMS else "missed"


def separation(entries: Sequence[Entry], said: Mapping[Pair, Related], figure: str) -> tuple[float | None, int, int]:
    """Area under the ROC curve of a figure for descent of one training against strangers, and how many of each."""
    family = Family.of(entries)
    high, low = [], []
    for number, a in enumerate(entries):
        for b in entries[number + 1 :]:
            key = pair(a.model, b.model)
            if key not in said or a.illness or b.illness:
                continue
            value, kind = said[key].rest.get(figure), family.relation(a, b).kind
            if value is not None and kind in ("fine_tuned", "same_run", "average", "one_family"):
                high.append(value)
            elif value is not None and kind == "strangers":
                low.append(value)
    if not high or not low:
        return None, len(high), len(low)
    wins = sum((a > b) + 0.5 * (a == b) for a in high for b in low)
    return wins / len(high) / len(low), len(high), len(low)


def uniformity(entries: Sequence[Entry], said: Mapping[Pair, Related]) -> tuple[int, float, float, float] | None:
    """Of the p-values of healthy strangers: how many, the least, and their Kolmogorov-Smirnov distance from the uniform
    law, with the probability of such a distance by chance (the asymptotic series). None without p-values.

    Pairs share models, so that the probability is a guide and no more.
    """
    family, found = Family.of(entries), []
    for number, a in enumerate(entries):
        for b in entries[number + 1 :]:
            row = said.get(pair(a.model, b.model))
            if row and not a.illness and not b.illness and family.relation(a, b).kind == "strangers":
                found.append(row.rest.get("p_value"))
    values = sorted(value for value in found if value is not None)
    if not values:
        return None
    count = len(values)
    distance = max(max((i + 1) / count - value, value - i / count) for i, value in enumerate(values))
    reach = distance * count**0.5
    chance = 2 * sum((-1) ** (k - 1) * math.exp(-2 * (k * reach) ** 2) for k in range(1, 101))
    return count, values[0], distance, min(max(chance, 0.0), 1.0)
