"""Where the rows go: one table, or a folder with one part per model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wexport.errors import TableError
from wexport.files import uris
from wexport.files.locks import Lock
from wexport.files.stamps import stamp
from wexport.ingestion import inputs
from wexport.ingestion.messages import RowBatch
from wexport.ingestion.options import Options
from wexport.ingestion.results import Measured, ModelResult, Work, fail_changed
from wexport.table import stored
from wexport.table.schema import SCHEMA_VERSION
from wexport.table.writer import TableWriter
from wexport.version import __version__

Provenance = Mapping[str, Any]
Read = Callable[[Work, int], Measured]
"""Reads models, for the first or the second time."""
Ended = Callable[[ModelResult], None]
"""Told of each file as it ends."""


def write_table(
    target: Path, work: Work, options: Options, provenance: Provenance, read: Read, ended: Ended
) -> tuple[int, bool]:
    """Write all models into one file; returns its number of rows, and whether it was written.

    provenance: what the table remembers of plugins.
    """
    adding = options.append and target.exists()
    if adding:
        _check_addition(
            target,
            {result.model: inputs.source_name(item.origin) for item, result in work},
            metadata_of(options, provenance),
        )
    with TableWriter(target, metadata_of(options, provenance)) as writer:
        due = work
        for tries in (1, 2):
            again: list[ModelResult] = []
            for result, batch in read(due, tries):
                if batch is not None:
                    writer.add(batch.columns, batch.count, batch.size)
                    continue
                retry = tries == 1 and result.deserves_another_try
                if result.changed and not retry:
                    fail_changed(result)
                if (retry or result.status == "failed") and result.tensors:
                    writer.take_back(result.model)
                if retry:
                    again.append(result)
                else:
                    ended(result)
            if not again:
                break
            writer.settle()
            due = _again(due, again)
        done = {result.model for _, result in work if result.readable}
        if not done:
            return 0, False
        if adding:
            for group in stored.row_groups(target):
                writer.add_table(stored.without_models(group, done))
            for model, kept in stored.read_stamps(target).items():
                writer.remember(model, kept)
        for _, result in work:
            if result.model in done:
                remember(writer, result)
        writer.commit()
        return writer.rows, True


def _again(work: Work, again: Sequence[ModelResult]) -> Work:
    """The part of the work that is done once more."""
    for result in again:
        result.begin_again()
    return [(item, result) for item, result in work if any(result is each for each in again)]


def write_living(
    target: Path,
    model: str,
    measured: Measured,
    options: Options,
    provenance: Provenance,
    *,
    folder: bool = False,
    source: str | None = None,
) -> int:
    """Write a model in memory: into a table as `write_table` does, or as a part of its own in a folder.

    source: the file that it was loaded from, if it was. Returns the table's number of rows.
    """
    if folder:
        target = stored.part_path(target, model)
    adding = options.append and target.exists()
    metadata = metadata_of(options, provenance)
    if adding:
        _check_addition(target, {model: source}, metadata)
    with TableWriter(target, metadata) as writer:
        for _, batch in measured:
            if batch is not None:
                writer.add(batch.columns, batch.count, batch.size)
        if adding:
            for group in stored.row_groups(target):
                writer.add_table(stored.without_models(group, {model}))
            for other, kept in stored.read_stamps(target).items():
                if other != model:
                    writer.remember(other, kept)
        writer.commit()
        return writer.rows


def _check_addition(target: Path, work: Mapping[str, str | None], now: Mapping[str, Any]) -> None:
    """Refuse to mix what does not belong in one table. work: the models to come, with the files they are read from."""
    before = stored.read_metadata(target)
    for key in ("schema_version", "options"):
        if before.get(key) != now[key]:
            raise TableError(
                f"{target}: was written with {key} {before.get(key)}, not {now[key]}",
                hint="use the same options, or name another --out",
            )
    sources = stored.model_sources(target)
    for model, source in work.items():
        if sources.get(model, source) != source:
            raise TableError(
                f"{target}: has a model {model!r} already, read from {sources[model] or 'memory'}",
                hint=f"give {source} another name with --name, e.g. --name '{{parent}}/{{stem}}'"
                if source
                else f"give this one another name, e.g. name={model + '_2'!r}",
            )


def write_parts(
    folder: Path, work: Work, options: Options, provenance: Provenance, read: Read, ended: Ended
) -> tuple[int, bool]:
    """One part per model; a part whose files have not changed is left as it is."""
    make_folder(folder)
    shared = metadata_of(options, provenance)
    due: Work = []
    for item, result in work:
        # Whether the files beside a model have changed, nobody remembers.
        metadata, part = _metadata_of_part(shared, item, result, options), stored.part_path(folder, result.model)
        if not options.external_data and stored.is_current(part, metadata, result.model, stamp(item.origin)):
            result.status = "unchanged"
        elif (other := _other_source(part, metadata)) is not None:
            result.fail(
                f"{item.origin}: {part} holds a model {result.model!r} already, read from {other}",
                "give this one another name with --name, e.g. --name '{parent}/{stem}', or name another --out",
            )
        else:
            due.append((item, result))
            continue
        ended(result)
    total = 0
    written = False
    for tries in (1, 2):
        items = {id(result): item for item, result in due}
        again: list[ModelResult] = []
        part_being_written = _Part()
        with part_being_written:
            for result, batch in read(due, tries):
                if batch is not None or result.readable:
                    metadata = _metadata_of_part(shared, items[id(result)], result, options)
                    part_being_written.begin(stored.part_path(folder, result.model), metadata, result)
                if batch is not None:
                    part_being_written.add(batch)
                    continue
                retry = tries == 1 and result.deserves_another_try
                if result.changed and not retry:
                    fail_changed(result)
                rows = part_being_written.end(result, whole=not retry and result.readable)
                total += rows or 0
                written |= rows is not None
                if retry:
                    again.append(result)
                else:
                    ended(result)
        if not again:
            break
        due = _again(due, again)
    return total, written


class _Part:
    """The part that is written at the moment, if any, and the lock on it; a context manager, which drops it."""

    def __init__(self) -> None:
        self._model: ModelResult | None = None
        self._writer: TableWriter | None = None
        self._lock: Lock | None = None

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *exc: object) -> None:
        self._drop()

    def begin(self, path: Path, metadata: Mapping[str, Any], result: ModelResult) -> None:
        """Open the part of a model, unless it is; where another process writes it, the model fails."""
        if self._model is result:
            return
        self._model = result
        try:
            self._lock = Lock(path)
        except TableError as error:
            result.fail(str(error), error.hint)
            return
        self._writer = TableWriter(path, metadata)

    def add(self, batch: RowBatch) -> None:
        if self._writer is not None:
            self._writer.add(batch.columns, batch.count, batch.size)

    def end(self, result: ModelResult, *, whole: bool) -> int | None:
        """Put the part in its place if it is whole; returns its rows then."""
        rows = None
        if self._writer is not None and whole:
            remember(self._writer, result)
            self._writer.commit()
            rows = self._writer.rows
        self._drop()
        return rows

    def _drop(self) -> None:
        if self._writer is not None:
            self._writer.discard()
        if self._lock is not None:
            self._lock.release()
        self._model = self._writer = self._lock = None


def remember(writer: TableWriter, result: ModelResult) -> None:
    """Keep what a model was read from; not where some of it is missing, so that it is read, and told, again."""
    if result.status != "partial":
        writer.remember(result.model, result.stamp)


def _other_source(part: Path, metadata: Mapping[str, Any]) -> str | None:
    """The file that a part was read from, if it is there and another than the one that would take its place."""
    if not part.is_file():
        return None
    try:
        before = str(stored.read_metadata(part)["source"]["path"])
    except (TableError, KeyError, TypeError, ValueError):
        return None
    gone = not uris.is_uri(before) and not os.path.lexists(before)
    return before if before != metadata["source"]["path"] and not gone else None


def make_folder(folder: Path) -> None:
    """Make a folder for parts, unless it is there. Raises TableError."""
    try:
        folder.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise TableError(f"{folder}: cannot be made: {reason}", hint="name another --out") from None


def _metadata_of_part(
    shared: Mapping[str, Any], item: inputs.Input, result: ModelResult, options: Options
) -> dict[str, Any]:
    """What a part remembers besides, so that the next run sees whether it is up to date."""
    source = {"path": inputs.source_name(item.called), "model": result.model}
    return {**shared, "source": source, "naming": {"series": options.series, "reader": options.reader}}


def metadata_of(options: Options, provenance: Provenance | None = None) -> dict[str, Any]:
    """What the table remembers: the versions, and every option and plugin that shaped its rows."""
    chosen: dict[str, Any] = {"detail": options.detail, "optimizer": options.optimizer}
    if options.spectral:
        from wexport.stats import spectral

        chosen["spectral"] = {each.name: {"unit": each.unit, "doc": each.doc} for each in spectral.STATISTICS}
    if options.external_data:
        chosen["external_data"] = True
    if provenance:
        chosen["plugins"] = dict(provenance)
    kept = {"wexport_version": __version__, "schema_version": SCHEMA_VERSION, "options": chosen}
    return kept if options.root is None else {**kept, "root": options.root}
