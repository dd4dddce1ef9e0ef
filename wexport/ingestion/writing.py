"""Where the rows go: one table, or a folder with one part per model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from wexport.errors import TableError
from wexport.ingestion import inputs
from wexport.ingestion.reading import Measured, ModelResult, Options, Readers, Work
from wexport.table import stored
from wexport.table.schema import SCHEMA_VERSION
from wexport.table.writer import TableWriter
from wexport.version import __version__

Provenance = Mapping[str, Any]
Ended = Callable[[ModelResult], None]
"""Told of each file as it ends."""


def write_table(
    target: Path, work: Work, options: Options, provenance: Provenance, measured: Measured, ended: Ended
) -> tuple[int, bool]:
    """Write all models into one file; returns its number of rows, and whether it was written.

    provenance: what the table remembers of plugins.
    """
    adding = options.append and target.exists()
    if adding:
        _check_addition(
            target,
            {result.model: inputs.source_name(item.path) for item, result in work},
            metadata_of(options, provenance),
        )
    with TableWriter(target, metadata_of(options, provenance)) as writer:
        for result, piece in measured:
            if piece is not None:
                writer.add(piece.columns, piece.count, piece.size)
                continue
            if result.status == "failed" and result.tensors:
                writer.take_back(result.model)
            ended(result)
        read = {result.model for _, result in work if result.status in ("ok", "partial", "empty")}
        if not read:
            return 0, False
        if adding:
            for group in stored.row_groups(target):
                writer.add_table(stored.without_models(group, read))
        writer.commit()
        return writer.rows, True


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
        _make_folder(target)
        target = stored.part_path(target, model)
    adding = options.append and target.exists()
    metadata = metadata_of(options, provenance)
    if adding:
        _check_addition(target, {model: source}, metadata)
    with TableWriter(target, metadata) as writer:
        for _, piece in measured:
            if piece is not None:
                writer.add(piece.columns, piece.count, piece.size)
        if adding:
            for group in stored.row_groups(target):
                writer.add_table(stored.without_models(group, {model}))
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


def write_parts(folder: Path, work: Work, options: Options, readers: Readers, ended: Ended) -> tuple[int, bool]:
    """One part per model; a part whose source has not changed is left as it is."""
    _make_folder(folder)
    due: Work = []
    # Taken before reading: a file that changes meanwhile is read again the next time.
    shared = metadata_of(options, readers.provenance())
    stamps = {result.model: {**shared, **_stamp(item.path, result.model, options)} for item, result in work}
    for item, result in work:
        # Whether the files beside a model have changed, nobody remembers.
        if not options.external_data and stored.is_current(
            stored.part_path(folder, result.model), stamps[result.model]
        ):
            result.status = "unchanged"
            ended(result)
        else:
            due.append((item, result))
    total = 0
    written = False
    writer: TableWriter | None = None
    try:
        for result, piece in readers.measure(due):
            if writer is None and (piece is not None or result.status in ("ok", "partial", "empty")):
                writer = TableWriter(stored.part_path(folder, result.model), stamps[result.model])
            if piece is not None:
                assert writer is not None
                writer.add(piece.columns, piece.count, piece.size)
                continue
            if writer is not None:
                if result.status in ("ok", "partial", "empty"):
                    writer.commit()
                    total += writer.rows
                    written = True
                writer.discard()
                writer = None
            ended(result)
    finally:
        if writer is not None:
            writer.discard()
    return total, written


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except (OSError, ValueError) as error:  # ValueError: a NUL
        reason = error.strerror if isinstance(error, OSError) else error
        raise TableError(f"{folder}: cannot be made: {reason}", hint="name another --out") from None


def _stamp(path: Path, model: str, options: Options) -> dict[str, Any]:
    """What a part remembers besides, so that the next run sees whether it is up to date."""
    try:
        stat = path.stat()
    except OSError:
        return {}  # reading it will fail and say why
    source = {"path": inputs.source_name(path), "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "model": model}
    return {"source": source, "naming": {"series": options.series, "reader": options.reader}}


def metadata_of(options: Options, provenance: Provenance | None = None) -> dict[str, Any]:
    """What the table remembers: the versions, and every option and plugin that shaped its rows."""
    chosen: dict[str, Any] = {"detail": options.detail, "optimizer": options.optimizer}
    if options.external_data:
        chosen["external_data"] = True
    if provenance:
        chosen["plugins"] = dict(provenance)
    return {"wexport_version": __version__, "schema_version": SCHEMA_VERSION, "options": chosen}
