"""What changed since an earlier table: which models came, went or are others, and what is found in them now."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from wexport.findings.checking import check, newly_found
from wexport.findings.finding import Finding
from wexport.reports.elements import Cell, Heading, Table
from wexport.reports.render import Section, Sentence
from wexport.sessions.session import Session, opened
from wexport.terminal.text import counted, safe

if TYPE_CHECKING:
    from wexport.sessions.connection import Connection, PathLike

ROWS = 200
"""How many models the page tells of."""
_MODELS = """
SELECT
    model, count(*) AS tensors, hash(list(content ORDER BY content)) AS contents,
    hash(list(slot || content ORDER BY slot, content)) AS whole
FROM (SELECT model, slot, coalesce(content_hash, '') AS content FROM weights) GROUP BY model ORDER BY model
"""
_TENSORS = """
SELECT model, slot, coalesce(content_hash, '') AS content FROM weights
WHERE list_contains(getvariable('models'), model)
"""
_DOCS = {
    "model": "the model",
    "what": "new, gone, renamed, or changed: how many of its tensors hold other values, came or went",
    "found since": "errors and warnings that were not found before",
    "found no more": "errors and warnings of before that are not found now",
}


def changes(session: Session, earlier: PathLike | Connection, timeout: float, memory: int) -> tuple[Section, Sentence]:
    """The section and a sentence for the summary. earlier: the table of before.

    Raises TableError if there is no such table, QueryError if a question cannot be answered.
    """
    with opened(earlier, timeout=timeout, memory=memory) as then:
        old, new = _models(then), _models(session)
        both = [model for model in new if model in old and new[model]["whole"] != old[model]["whole"]][:ROWS]
        tensors = [_tensors(each, both) for each in (then, session)]
        before = [each for each in check(then, every=True) if each.severity != "info"]
    now = [each for each in check(session, every=True) if each.severity != "info"]
    renamed = _renamed(old, new)
    what = {model: f"renamed, from {safe(before)}" for model, before in renamed.items()}
    what |= dict.fromkeys(sorted(old.keys() - new.keys() - set(renamed.values())), "gone")
    what |= {model: "new" for model in new if model not in old and model not in what}
    what |= {model: "changed: " + _differences(*(each.get(model, {}) for each in tensors)) for model in both}
    came, went = _by_model(newly_found(now, before)), _by_model(newly_found(before, now))
    listed = list(dict.fromkeys([*what, *sorted(came.keys() | {each for each in went if each in new})]))
    same = len(new.keys() & old.keys()) - sum(model in new and model in old for model in listed)
    name = safe(earlier if isinstance(earlier, (str, os.PathLike)) else earlier.table)
    words = _words(list(what.values()), came, same)
    rows = [
        [Cell(safe(model)), Cell(what.get(model, "as it was")), Cell(came.get(model, "")), Cell(went.get(model, ""))]
        for model in listed[:ROWS]
    ]
    table = Table(
        "changes",
        f"What changed since {name}",
        [Heading(each, doc=doc) for each, doc in _DOCS.items()],
        rows,
        max(0, len(listed) - ROWS),
        command=f"wexport check TABLE --baseline {name}",
    )
    section = Section("changes", words=[f"Since {name}: {words}."], tables=[table] if rows else [])
    return section, Sentence(f"Since {name}: {words}.", "#changes")


def _models(session: Session) -> dict[str, dict[str, Any]]:
    return {row["model"]: row for row in session.ask(_MODELS).to_pylist()}


def _tensors(session: Session, models: Sequence[str]) -> dict[str, dict[str, str]]:
    """By model what each slot holds."""
    found: dict[str, dict[str, str]] = {}
    if models:
        for row in session.ask(_TENSORS, {"models": list(models)}).to_pylist():
            found.setdefault(row["model"], {})[row["slot"]] = row["content"]
    return found


def _renamed(old: Mapping[str, Mapping[str, Any]], new: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Models that hold what one held that is gone, and the name of this; each of these once."""
    gone: dict[Any, list[str]] = {}
    for model, row in old.items():
        if model not in new:
            gone.setdefault((row["contents"], row["tensors"]), []).append(model)
    found: dict[str, str] = {}
    for model, row in new.items():
        if model not in old and (before := gone.get((row["contents"], row["tensors"]))):
            found[model] = before.pop(0)
    return found


def _differences(old: Mapping[str, str], new: Mapping[str, str]) -> str:
    """Which tensors of a model are others."""
    other = sum(old[slot] != new[slot] for slot in old.keys() & new.keys())
    parts = [f"{other:,} of {counted(len(new), 'tensor')}"] if other else []
    for word, one, two in (("more", new, old), ("gone", old, new)):
        if count := len(one.keys() - two.keys()):
            parts.append(f"{count:,} {word}")
    return ", ".join(parts)


def _by_model(findings: Iterable[Finding]) -> dict[str, str]:
    """For each model what is found, once each."""
    found: dict[str, dict[str, None]] = {}
    for each in findings:
        found.setdefault(each.model, {})[each.finding.replace("_", " ")] = None
    return {model: ", ".join(names) for model, names in found.items()}


def _words(what: Sequence[str], came: Mapping[str, str], same: int) -> str:
    parts = []
    for word in ("new", "gone", "renamed", "changed"):
        if count := sum(each.startswith(word) for each in what):
            parts.append(f"{count:,} {word}")
    models = ", ".join([*parts, *([f"{same:,} as before"] if same else [])])
    worse = f"; new findings in {counted(len(came), 'model')}" if came else "; no new findings"
    return (models or "no models in either") + worse
