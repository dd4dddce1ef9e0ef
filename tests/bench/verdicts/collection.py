"""What is in a collection of models: the manifest, and what is true of each pair."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

HALVES = ("development", "held-out")
MANIFEST = "manifest.json"
DIRECT = (
    "copy", "reencoded", "rounded", "reordered", "rescaled", "sign_flipped", "pruned", "quantised", "average",
    "fine_tuned", "head_replaced", "same_but",
)  # fmt: skip
"""How a model can be made out of others."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a model was made of. by: one of DIRECT. coefficients: of an average, in the order of `models`."""

    models: tuple[str, ...]
    by: str
    coefficients: tuple[float, ...] = ()
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Illness:
    """What is wrong. kind: a key of expected.json. layer: where. means: how it came about. planted: by editing."""

    kind: str
    layer: str
    means: str
    planted: bool


@dataclass(frozen=True, slots=True)
class Entry:
    """One model. file: from the collection's folder on. model: its name in a table of its half.

    root: the training that its values come from; start: the initialisation. run, step: of a checkpoint. teacher: whose
    outputs it was trained on.
    """

    file: str
    model: str
    half: str
    architecture: str
    task: str
    seed: int
    metric: float
    root: str
    start: str
    illness: Illness | None = None
    origin: Origin | None = None
    run: str | None = None
    step: int | None = None
    teacher: str | None = None


@dataclass(frozen=True, slots=True)
class Truth:
    """What is true of a pair. kind: a key of expected.json's relations. coefficients: of an average."""

    kind: str
    detail: str = ""
    coefficients: tuple[float, ...] = ()


def write(entries: Iterable[Entry], path: Path) -> None:
    path.write_text(json.dumps([asdict(entry) for entry in entries], indent=1) + "\n", "utf-8")


def read(path: Path) -> list[Entry]:
    return [_entry(each) for each in json.loads(path.read_text("utf-8"))]


def _entry(values: dict[str, Any]) -> Entry:
    illness, origin = values.pop("illness"), values.pop("origin")
    if origin:
        origin = Origin(**(origin | {key: tuple(origin[key]) for key in ("models", "coefficients")}))
    return Entry(**values, illness=Illness(**illness) if illness else None, origin=origin)


ALIKE = {"normed", "tanh"}
"""Networks whose kernels have the same shapes: from one seed they begin with the same draws."""


def _number(entry: Entry) -> str:
    return entry.start.rpartition("-")[2]


@dataclass(slots=True)
class Family:
    """Entries by name, to trace what came of what."""

    entries: dict[str, Entry] = field(default_factory=dict)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Family:
        return cls({entry.model: entry for entry in entries})

    def relation(self, a: Entry, b: Entry) -> Truth:
        """What is true of a pair of one half; copies stand for what they are copies of."""
        a_same, b_same = self._copied(a), self._copied(b)
        if a_same.model == b_same.model:
            kinds = {each.origin.by for each in (a, b) if each.origin and each.origin.by in ("copy", "reencoded")}
            return Truth("reencoded" if "reencoded" in kinds else "copy")
        for child, parent in ((a_same, b_same), (b_same, a_same)):
            if child.origin and parent.model in child.origin.models:
                return Truth(child.origin.by, child.origin.detail, child.origin.coefficients)
            if child.teacher == parent.model:
                return Truth("distilled")
        if a.architecture != b.architecture:
            if {each.start.rpartition("-")[0] for each in (a, b)} == ALIKE and _number(a) == _number(b):
                return Truth("same_start")
            return Truth("other_architecture")
        if a_same.run and a_same.run == b_same.run:
            return Truth("same_run")
        if a.root == b.root:
            heads = [each.origin is not None and each.origin.by == "head_replaced" for each in (a_same, b_same)]
            return Truth("two_heads" if all(heads) else "one_family")
        if a.start == b.start:
            return Truth("same_start")
        return Truth("strangers")

    def _copied(self, entry: Entry) -> Entry:
        while entry.origin and entry.origin.by in ("copy", "reencoded"):
            entry = self.entries[entry.origin.models[0]]
        return entry
