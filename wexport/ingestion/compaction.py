"""Many parts joined into one file: a table of ten thousand files is opened in seconds, one of a single file at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from wexport.errors import TableError, WexportError
from wexport.files import cached, outputs, uris
from wexport.files.locks import locked
from wexport.files.outputs import TABLE, PathLike
from wexport.sessions.table_files import table_files
from wexport.table import stored
from wexport.table.writer import ROW_GROUP_BYTES, ROW_GROUP_ROWS, TableWriter

_SHARED = ("schema_version", "options")
"""What parts must have in common, or their figures are not to be compared."""


def compact(table: PathLike, out: PathLike, *, overwrite: bool = False) -> Path | str:
    """Join the parts of a table into one file, which appears whole or not at all; the parts stay as they are.

    table: a folder of parts, as `ingest` or its shards wrote, a pattern, or a URI of these. out: a Parquet file, or a
    URI of one; it can be asked, and added to with `ingest(append=True)`. overwrite: replace what stands there.

    One part is in memory at a time, and a row group of the new file. Returns `out`. Raises TableError if there is no
    such table, a part is damaged, parts were made with different options, or two hold one model; UsageError for a place
    that cannot be written to.
    """
    files = table_files(cached.local(table))
    if not uris.is_remote(out):
        target = outputs.claim(out, TABLE, inputs=files, overwrite=overwrite)
        with locked(target):
            _joined(files, target)
        return target
    from wexport.ingestion import to_store

    uri = str(out)
    if to_store.is_folder(uri):
        raise TableError(
            f"{uri}: is a folder, and parts are joined into one file", hint=f"name {uri.rstrip('/')}.parquet"
        )
    with to_store.written(uri, append=False, overwrite=overwrite) as (place, put):
        try:
            _joined(files, Path(place))
            put()
        except WexportError as error:
            raise type(error)(str(error).replace(place, uri), hint=error.hint) from None
    return uri


def _joined(files: Sequence[Path], target: Path) -> None:
    metadata = _common([(file, stored.read_metadata(file)) for file in files])
    where: dict[str, Path] = {}
    waiting: list[pa.Table] = []
    with TableWriter(target, metadata) as writer:
        for file in files:
            for group in stored.row_groups(file):
                for model in group["model"].unique().to_pylist():
                    if where.setdefault(model, file) != file:
                        raise TableError(
                            f"the model {model!r} is in two files of the table, {where[model]} and {file}",
                            hint="leave one of them out, or ingest one again with another --name",
                        )
                waiting.append(group)
                rows, size = (sum(getattr(each, name) for each in waiting) for name in ("num_rows", "nbytes"))
                if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                    writer.add_table(pa.concat_tables(waiting))
                    waiting = []
            for model, stamp in stored.read_stamps(file).items():
                writer.remember(model, stamp)
        if waiting:
            writer.add_table(pa.concat_tables(waiting))
        writer.commit()


def _common(found: Sequence[tuple[Path, Mapping[str, Any]]]) -> dict[str, Any]:
    """What the joined table remembers. Raises TableError where the parts do not go together."""
    first, kept = found[0]
    for file, metadata in found[1:]:
        for key in _SHARED:
            if metadata.get(key) != kept.get(key):
                raise TableError(
                    f"{file}: was written with {key} {metadata.get(key)}, and {os.fspath(first)} with {kept.get(key)}",
                    hint="join those that were made alike",
                )
    metadata = {key: kept[key] for key in ("wexport_version", *_SHARED) if key in kept}
    roots = {each.get("root") for _, each in found}
    root = roots.pop() if len(roots) == 1 else None
    return metadata if root is None else {**metadata, "root": root}
