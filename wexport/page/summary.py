"""The page's summary in words: what was compared, what stands out, what to look at first, what cannot be concluded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from wexport import terminal
from wexport.checking import Finding, groups
from wexport.comparison import Comparison
from wexport.page.render import Sentence

STANDING_OUT = 6
"""How many findings the summary tells before it says how many more there are."""


def summary(
    found: Comparison, architectures: pa.Table, links: Mapping[Finding, str]
) -> list[tuple[str, list[Sentence]]]:
    """The summary's headings with their sentences. links: where findings lead in the page."""
    return [
        ("What was compared", _compared(found, architectures)),
        ("What stands out", _standing_out(found, links)),
        ("What to look at first", _first(found, links)),
        ("What cannot be concluded", _not_concluded(found)),
    ]


def _compared(found: Comparison, architectures: pa.Table) -> list[Sentence]:
    models = found.models.to_pylist()
    parameters = sum(row["parameters"] or 0 for row in models)
    frameworks = sorted({row["framework"] for row in models if row["framework"]})
    written = f", written by {_listed(frameworks)}" if frameworks else ""
    sentences = [Sentence(f"{_count(len(models), 'model')} with {parameters:,} parameters in all{written}.", "#models")]
    firsts = {row["architecture"]: row for row in reversed(architectures.to_pylist())}
    if len(firsts) == 1 and len(models) > 1:
        sentences.append(Sentence("All have one architecture, so their layers are compared one to one."))
    elif len(firsts) > 1:
        largest = max(row["models"] for row in firsts.values())
        sentences.append(
            Sentence(
                f"They have {len(firsts):,} architectures; {_count(largest, 'model')} share the most common. Figures "
                "of different architectures are shown beside each other, but not compared.",
                "#architectures",
            )
        )
    steps = [row for row in models if row["step"] is not None]
    if len(steps) > 1:
        sentences.append(Sentence(f"{len(steps):,} of them are checkpoints of training runs.", "#runs"))
    return sentences


def _standing_out(found: Comparison, links: Mapping[Finding, str]) -> list[Sentence]:
    grouped = [group for group in groups(found.findings) if group.example.severity != "info"]
    sentences = []
    for group in grouped[:STANDING_OUT]:
        each = group.example
        where = f"{group.models:,} models, for instance {each.model}" if group.models > 1 else each.model
        place = f", {each.place}" if each.place else ""
        sentences.append(
            Sentence(
                terminal.safe(f"{each.severity}: {each.finding.replace('_', ' ')} in {where}{place}: {each.seen}"),
                links.get(each, "#findings"),
            )
        )
    if len(grouped) > STANDING_OUT:
        sentences.append(Sentence(f"{len(grouped) - STANDING_OUT:,} more kinds of findings.", "#findings"))
    if not grouped:
        sentences.append(Sentence("No error and no warning was found in the weights.", "#findings"))
    sentences += [Sentence(text, "#closeness") for text in _closeness(found.clusters)]
    return sentences


def _closeness(clusters: pa.Table) -> list[str]:
    """What the query `clusters` says of each group, and of models that stand apart."""
    rows: list[dict[str, Any]] = clusters.to_pylist()
    return [terminal.safe(text) for text in dict.fromkeys(row.get("verdict") for row in rows) if text][:3]


def _first(found: Comparison, links: Mapping[Finding, str]) -> list[Sentence]:
    sentences = []
    worst = next((each for each in found.findings if each.severity != "info"), None)
    if worst is not None:
        advice = f": {worst.advice}" if worst.advice else ""
        sentences.append(
            Sentence(
                terminal.safe(f"{worst.place or worst.model} ({worst.finding}){advice}."), links.get(worst, "#findings")
            )
        )
    if found.rank is not None and found.rank.num_rows and found.rank["place"][0].as_py() is not None:
        best = found.rank.slice(0, 1).to_pylist()[0]
        sentences.append(
            Sentence(terminal.safe(f"By the metrics, {best['model']} comes first: {best['reason']}."), "#rank")
        )
    if not sentences:
        sentences.append(Sentence("The table of models, and which are close to which.", "#models"))
    return sentences


def _not_concluded(found: Comparison) -> list[Sentence]:
    sentences = [
        Sentence("Which model performs better: weights alone do not tell; a metric on data that was held back does."),
        Sentence(
            "That models with different weights behave differently: hidden units may change places without any effect."
        ),
    ]
    if found.rank is None:
        sentences.insert(1, Sentence("There is no ranking, because no metrics were given (--metrics FILE)."))
    return sentences


def _count(number: int, name: str) -> str:
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def _listed(words: list[str]) -> str:
    shown = [terminal.safe(word) for word in words[:5]]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
