"""One cause, one finding: what another finding of the same model explains is told with it, and not by itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Final

from wexport.findings.finding import Finding

EVERYTHING: Final = frozenset({"*"})
MODEL_CAUSES: Mapping[str, Collection[str]] = {
    "diverged": EVERYTHING,
    "fresh model": ("far_from_siblings", "trainable but unchanged", "partly unchanged", "bias never moved"),
}
"""By a finding about a whole model: which findings anywhere in it follow from it; "*" are all."""
SLOT_CAUSES: Mapping[str, Collection[str]] = {
    "nan": ("inf",),
    "exploding": (
        *("collapsed_units", "outliers", "gate_scale", "recurrent_scale", "rank_one", "twin_units", "zero_inputs"),
        *("ordered_kernel", "vanishing_gamma", "near_zero_tensor"),
    ),
    "zero_tensor": ("zero_inputs", "zero_units", "gate_zero", "dead_units", "zero_block"),
    "near_zero_tensor": ("zero_inputs", "zero_units", "collapsed_units", "dead_units", "rank_one", "twin_units"),
    "constant": ("zero_inputs", "twin_units", "rank_one", "ordered_kernel"),
    "zero_block": ("zero_inputs", "zero_units", "ordered_kernel"),
    "twin_units": ("rank_one", "zero_inputs"),
    "rank_one": ("collapsed_units", "zero_inputs", "zero_units"),
    "gate_zero": ("gate_scale", "zero_block"),
    "gate_scale": ("recurrent_scale", "outliers"),
    "zero_units": ("dead_units",),
    "collapsed_units": ("dead_units",),
    "negative_variance": ("statistics_uniform",),
}
"""By a finding about a tensor: which other findings about that tensor follow from it."""
_SUMMARY = "far_from_siblings"
"""It names the tensor that stands out most; whatever else is told of that one explains it."""


def folded(findings: Sequence[Finding], own: Collection[str] = ()) -> list[Finding]:
    """The findings that no other one explains; each cause says what it explains.

    own: queries of the user's own, whose findings stand by themselves.
    """
    by_model: dict[str, list[Finding]] = {}
    for each in findings:
        by_model.setdefault(each.model, []).append(each)
    kept: list[Finding] = []
    for mine in by_model.values():
        kept += _of_model(mine, own)
    return kept


def _of_model(findings: Sequence[Finding], own: Collection[str]) -> list[Finding]:
    causes = {place: _cause(each, findings) for place, each in enumerate(findings) if each.query not in own}
    effects: dict[int, Counter[str]] = {}
    for place, cause in causes.items():
        if cause is not None:
            effects.setdefault(_root(cause, causes), Counter())[findings[place].finding] += 1
    kept = []
    for place, each in enumerate(findings):
        if causes.get(place) is not None:
            continue
        follows = effects.get(place)
        if follows is None:
            kept.append(each)
            continue
        reasons = ", ".join(
            f"{count} {name}" for name, count in sorted(follows.items(), key=lambda item: (-item[1], item[0]))
        )
        kept.append(replace(each, seen=f"{each.seen}; with it: {reasons}", explains=follows.total()))
    return kept


def _root(place: int, causes: Mapping[int, int | None]) -> int:
    """The last cause of a chain."""
    while (further := causes.get(place)) is not None:
        place = further
    return place


def _cause(each: Finding, findings: Sequence[Finding]) -> int | None:
    """Where the finding stands that explains this one; of a whole model first."""
    for place, other in enumerate(findings):
        if other.place is None and other is not each and each.finding not in MODEL_CAUSES:
            effects = MODEL_CAUSES.get(other.finding, ())
            if effects is EVERYTHING or each.finding in effects:
                return place
    for place, other in enumerate(findings):
        if other is each or other.place is None or other.place != each.place:
            continue
        if each.finding in SLOT_CAUSES.get(other.finding, ()):
            return place
        if each.finding == _SUMMARY and other.severity != "info" and other.finding != _SUMMARY:
            return place
    return None
