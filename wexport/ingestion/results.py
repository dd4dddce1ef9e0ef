"""How each model ended that was to be read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from wexport.files.remote import RemoteFile
from wexport.files.stamps import Stamp
from wexport.ingestion.inputs import Input
from wexport.ingestion.messages import RowBatch
from wexport.model.tensors import Skipped

OPTIMIZER = "optimizer state"
RUN_STATES = frozenset({OPTIMIZER, "state of random generators", "state of a scheduler", "arguments of a training run"})
"""What readers call what a training run leaves beside its models, and what is not a model on its own."""


@dataclass(slots=True)
class ModelResult:
    """How one file ended.

    status: "ok"; "partial" (some objects could not be read); "empty" (no numbers in it); "failed"; "unchanged" (its
        part is up to date); "skipped" (met in a folder, and no model).
        aliases: tensors that are second names of others, and the first names.
    failure: "crashed", "killed", "timed out" or "memory" where the process that read it was lost; "" otherwise.
    problems: what could not be read though it should be. left_out: the names of what is no part of the model, by what
        it is; left_out_bytes: of the numbers in these, as far as known.
    run, step: the series that it is a checkpoint of, and its place there, see `ingestion.series`.
    source: where it lies; of what a URI names, what its store says of it.
    stamp: its files as they were before it was read. changed: whether they were others afterwards.
    """

    model: str
    source: Path | RemoteFile
    run: str | None = None
    step: int | None = None
    status: str = "ok"
    reason: str = ""
    hint: str = ""
    failure: str = ""
    format: str = ""
    reader: str = ""
    tensors: int = 0
    parameters: int = 0
    source_bytes: int = 0
    problems: list[Skipped] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    left_out_bytes: dict[str, int] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stamp: Stamp = field(default_factory=list)
    changed: bool = False

    @property
    def deserves_another_try(self) -> bool:
        """Whether it was not the file that failed: it was being written, or its process was killed from outside."""
        return self.changed or self.failure == "killed"

    @property
    def readable(self) -> bool:
        """Whether it has ended with rows, or as a file without any."""
        return self.status in ("ok", "partial", "empty")

    def fail(self, reason: str, hint: str = "") -> None:
        """Say why it cannot be read or written; the first reason stays."""
        if self.status != "failed":
            self.status, self.reason, self.hint = "failed", reason, hint

    def begin_again(self) -> None:
        """Forget how it ended; not what it is called, and which checkpoint of which run it is."""
        fresh = ModelResult(self.model, self.source, self.run, self.step)
        for each in fields(self):
            setattr(self, each.name, getattr(fresh, each.name))


Work = list[tuple[Input, ModelResult]]
Measured = Iterator[tuple[ModelResult, RowBatch | None]]
"""The rows of each model in batches, and (result, None) when it has ended."""


def note_skipped(result: ModelResult, skipped: Sequence[Skipped]) -> None:
    """Note what gave no row."""
    for each in skipped:
        if each.problem:
            result.problems.append(each)
        else:
            result.left_out.setdefault(each.what, []).append(each.name)
            result.left_out_bytes[each.what] = result.left_out_bytes.get(each.what, 0) + each.size


def count_rows(result: ModelResult, columns: Mapping[str, Sequence[Any]], count: int) -> None:
    """Count rows that were read. Parameters are what a model has, not what its optimizer or a run of it adds."""
    result.tensors += count
    sizes = zip(columns["value_count"], columns["kind"], strict=True)
    result.parameters += sum(size for size, kind in sizes if kind in ("weight", "array"))


def fail_changed(result: ModelResult) -> None:
    """Say of a model that its files were written while it was read, again."""
    result.status = "ok"
    result.fail(f"{result.source}: was changed while it was read, twice", "ingest it once it is all written")


def conclude(result: ModelResult) -> None:
    """Say how a model ended, once all of its rows are counted."""
    if result.status != "ok":
        return
    if result.tensors:
        result.status = "partial" if result.problems else "ok"
    elif result.problems:
        first = result.problems[0]
        result.fail(
            f"{result.source}: none of its tensors can be read; the first, {first.name}: {first.what}"
            + (f" ({first.detail})" if first.detail else ""),
            "",
        )
    elif result.left_out and result.left_out.keys() <= RUN_STATES:
        what = ", ".join(result.left_out)
        result.status, result.reason = "skipped", f"{result.source}: holds no model but the {what} of a run"
        result.hint = "--optimizer reads it" if OPTIMIZER in result.left_out else "name the model beside it"
    else:
        result.status, result.reason = "empty", "it holds no numbers"
