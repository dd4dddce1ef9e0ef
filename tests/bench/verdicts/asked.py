"""Asks wexport, through what is public: commands and the functions of `wexport`."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import wexport
from verdicts.collection import Entry

CLOSE = 0.95
"""Within a group of `clusters`, each is close to the one that represents it, and perhaps to others."""
_SAME = ("identical", "equal but for dtype", "within tolerance")
Pair = tuple[str, str]
"""Two models' names, the smaller first."""


@dataclass(frozen=True, slots=True)
class Told:
    """One finding about one model."""

    model: str
    severity: str
    finding: str
    place: str
    seen: str


@dataclass(frozen=True, slots=True)
class Related:
    """What was said of a pair. relation: "nothing" where no claim was made. rest: the whole row, of `relate`."""

    relation: str
    similarity: float | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)


def pair(a: str, b: str) -> Pair:
    return (a, b) if a < b else (b, a)


def ingest(folder: Path, entries: Iterable[Entry], table: Path) -> Path:
    """A table of the models of one half; raises RuntimeError where a model was not read whole."""
    table.unlink(missing_ok=True)
    result = wexport.ingest([folder / entry.file for entry in entries], table)
    lost = [each for each in result.models if each.status != "ok"]
    if lost:
        raise RuntimeError(f"{len(lost)} models were not read whole, the first: {lost[0]}")
    return table


def findings(table: Path, entries: Sequence[Entry]) -> list[Told]:
    names = {entry.model for entry in entries}
    told = [
        Told(each.model, each.severity, each.finding, each.place or "", each.seen) for each in wexport.check(table)
    ]  # fmt: skip
    strangers = {each.model for each in told} - names
    if strangers:
        raise RuntimeError(f"findings about models that are not in the manifest: {sorted(strangers)[:3]}")
    return told


def has_relate() -> bool:
    call = [sys.executable, "-m", "wexport", "relate", "--help"]
    return subprocess.run(call, capture_output=True, check=False).returncode == 0


def by_relate(folder: Path, entries: Sequence[Entry]) -> dict[Pair, Related]:
    """Every pair within each architecture, by `wexport relate`."""
    found: dict[Pair, Related] = {}
    for group in _architectures(entries):
        found |= _related(folder, group)
    return found


def _related(folder: Path, group: Sequence[Entry]) -> dict[Pair, Related]:
    call = [sys.executable, "-m", "wexport", "relate", *(str(folder / each.file) for each in group), "--format", "json"]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise RuntimeError(f"wexport relate ended with {done.returncode}: {done.stderr[-500:]}")
    rows = json.loads(done.stdout)
    rows = rows["pairs"] if isinstance(rows, dict) else rows
    names = {each.model: each.model for each in group} | {
        name: each.model for each in group for name in (str(folder / each.file), each.file, Path(each.file).name)
    }
    found = {}
    for row in rows:
        a, b = (_name(row[side], names) for side in ("model_a", "model_b"))
        found[pair(a, b)] = Related(row["relation"], row.get("similarity"), row)
    return found


def _name(said: str, names: Mapping[str, str]) -> str:
    if said in names:
        return names[said]
    ends = [model for name, model in names.items() if name.endswith(said)]
    if not ends:
        raise RuntimeError(f"wexport relate speaks of {said!r}, which it was not asked about")
    return ends[0]


def by_queries(table: Path) -> dict[Pair, Related]:
    """Every pair, from the table alone: the relation that the query `similarity` tells.

    Where it tells none: identical by `duplicates`, close by `clusters`, or nothing said.
    """
    rows = _rows("similarity", table)
    if rows and "relation" in rows[0]:
        return {pair(r["model_a"], r["model_b"]): Related(r["relation"], r["similarity"], r) for r in rows}
    group = {row["model"]: row["represented_by"] for row in _rows("clusters", table) if row["verdict"] == "close"}
    identical = [set(row["models"]) for row in _rows("duplicates", table) if row["finding"] == "identical models"]
    found = {}
    for row in rows:
        a, b = row["model_a"], row["model_b"]
        if any({a, b} <= models for models in identical):
            relation = "identical"
        elif row["similarity"] is None:
            relation = "not_comparable"
        elif group.get(a) is not None and group.get(a) == group.get(b):
            relation = "close" if group[a] in (a, b) or row["similarity"] >= CLOSE else "nothing"
        else:
            relation = "nothing"
        found[pair(a, b)] = Related(relation, row["similarity"], row)
    return found


def odd_ones(table: Path) -> list[str]:
    return [row["model"] for row in _rows("clusters", table) if row["verdict"] == "odd one out"]


def difference(folder: Path, a: Entry, b: Entry) -> tuple[bool, set[str]]:
    """Whether `diff` says that two files are the same, and the layers that it says differ."""
    found = wexport.diff(folder / a.file, folder / b.file)
    apart = [each for each in found.tensors if each.status not in _SAME]
    return found.same, {str(each.side.layer or each.name) for each in apart}


def _rows(question: str, table: Path) -> list[dict[str, Any]]:
    answer = wexport.query(question, table)
    rows: list[dict[str, Any]] = (answer if hasattr(answer, "to_pylist") else answer.to_arrow_table()).to_pylist()
    return rows


def _architectures(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[entry.architecture].append(entry)
    yield from groups.values()
