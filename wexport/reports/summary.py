"""The page's summary in words: what was compared, what stands out, what to look at first, what cannot be concluded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from wexport.findings.checking import groups
from wexport.findings.finding import Finding
from wexport.findings.meanings import meaning
from wexport.reports.closeness import closeness
from wexport.reports.comparison import Comparison
from wexport.reports.render import Sentence
from wexport.terminal.text import counted, safe

STANDING_OUT = 6
"""How many findings the summary tells before it says how many more there are."""


def summary(
    found: Comparison, architectures: pa.Table, links: Mapping[Finding, str], changed: Sequence[Sentence] = ()
) -> list[tuple[str, list[Sentence]]]:
    """The summary's headings with their sentences.

    links: where findings lead in the page. changed: what is to be said of an earlier table.
    """
    return [
        ("What was compared", [*_compared(found, architectures), *changed]),
        ("What stands out", _standing_out(found, links)),
        ("What to look at first", _first(found, links)),
        ("What cannot be concluded", _not_concluded(found)),
    ]


def _compared(found: Comparison, architectures: pa.Table) -> list[Sentence]:
    models = found.models.to_pylist()
    parameters = sum(row["parameters"] or 0 for row in models)
    frameworks = sorted({row["framework"] for row in models if row["framework"]})
    written = f", written by {_listed(frameworks)}" if frameworks else ""
    sentences = [
        Sentence(f"{counted(len(models), 'model')} with {parameters:,} parameters in all{written}.", "#models")
    ]
    firsts = {row["architecture"]: row for row in reversed(architectures.to_pylist())}
    if len(firsts) == 1 and len(models) > 1:
        sentences.append(
            Sentence("All have one architecture: layers of the same kinds and shapes, so they are compared one to one.")
        )
    elif len(firsts) > 1:
        largest = max(row["models"] for row in firsts.values())
        share = f"{largest:,} models share the most common" if largest > 1 else "no two models share one"
        sentences.append(
            Sentence(
                f"They have {len(firsts):,} architectures (layers of other kinds or shapes); {share}. Only tensors of "
                "the same place and shape are compared, whatever the model.",
                "#architectures",
            )
        )
    steps = sum(row["step"] is not None for row in models)
    if steps > 1:
        share = "All" if steps == len(models) else f"{steps:,} of them"
        sentences.append(Sentence(f"{share} are checkpoints: states of a model along its training.", "#drift"))
    return sentences


def _standing_out(found: Comparison, links: Mapping[Finding, str]) -> list[Sentence]:
    grouped = [group for group in groups(found.findings) if group.example.severity != "info"]
    sentences = []
    for group in grouped[:STANDING_OUT]:
        each = group.example
        where = f"{each.place} of {each.model}" if each.place else each.model
        more = f", and the same in {counted(group.models - 1, 'other model')}" if group.models > 1 else ""
        sentences.append(
            Sentence(
                f"{each.severity.capitalize()}: {meaning(each)}, in {safe(where)}: {safe(each.seen)}{more}.",
                links.get(each, "#findings"),
                safe(each.place or "") if each in links else "",
            )
        )
    if len(grouped) > STANDING_OUT:
        sentences.append(Sentence(f"{len(grouped) - STANDING_OUT:,} more.", "#findings"))
    if not grouped:
        sentences.append(
            Sentence(
                "No error and no warning: the checks for NaN, dead units, exploding values, jumps and untrained layers "
                "found nothing alarming.",
                "#findings",
            )
        )
    return sentences + [Sentence(text, "#closeness") for text in closeness(found.clusters.to_pylist())]


def _first(found: Comparison, links: Mapping[Finding, str]) -> list[Sentence]:
    sentences = []
    worst = next((each for each in found.findings if each.severity != "info"), None)
    if worst is not None:
        where = f"{worst.place} of {worst.model}" if worst.place else worst.model
        advice = f" What may help: {worst.advice}." if worst.advice else ""
        link, place = links.get(worst, "#findings"), safe(worst.place or "") if worst in links else ""
        sentences.append(Sentence(safe(f"{where}: {worst.seen}.{advice}"), link, place))
    if found.rank is not None and found.rank.num_rows and found.rank["place"][0].as_py() is not None:
        best = found.rank.slice(0, 1).to_pylist()[0]
        sentences.append(Sentence(safe(f"By the metrics, {best['model']} comes first: {best['reason']}."), "#rank"))
    if sum(row["step"] is not None for row in found.models.select(["step"]).to_pylist()) > 1:
        sentences.append(Sentence("What moved most from checkpoint to checkpoint.", "#drift"))
    if not sentences:
        several = found.models.num_rows > 1
        text = "Which models are close to which." if several else "The layers: how the values of each are spread."
        sentences.append(Sentence(text, "#closeness" if several else "#layers"))
    return sentences


def _not_concluded(found: Comparison) -> list[Sentence]:
    several = found.models.num_rows > 1
    better = "Which model performs better" if several else "How well the model performs"
    sentences = [Sentence(f"{better}: weights alone do not tell; a metric on data that was held back does.")]
    if found.rank is None and several:
        sentences.append(Sentence("There is no ranking, because no metrics were given (--metrics FILE)."))
    if several:
        sentences.append(
            Sentence(
                "That models with different weights behave differently: hidden units may change places without any "
                "effect."
            )
        )
    if any(each.severity != "info" for each in found.findings):
        sentences.append(
            Sentence("That what was found does harm: units that do nothing may cost nothing. Measure before you mend.")
        )
    else:
        sentences.append(
            Sentence("That all is well: these checks see NaN, dead units and the like, not what a model has learnt.")
        )
    return sentences


def _listed(words: list[str]) -> str:
    shown = [safe(word) for word in words[:5]]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
