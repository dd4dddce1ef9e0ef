"""Tables on disk as they are found again: what they remember, their rows, and the parts of a folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import urllib.parse
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wexport.errors import TableError


def read_metadata(path: Path) -> dict[str, Any]:
    """What wexport wrote about a table into the file: versions and options.

    Raises TableError if the file is not a Parquet file or not wexport's.
    """
    try:
        found = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise TableError(
            f"{path}: is not a Parquet file: {str(error).splitlines()[0]}", hint="name another --out"
        ) from None
    if b"wexport" not in found:
        raise TableError(f"{path}: is a Parquet file that wexport did not write", hint="name another --out")
    metadata: dict[str, Any] = json.loads(found[b"wexport"])
    return metadata


SOURCES_KEY = "wexport_sources"
"""The key of the stamps of all models in a table's metadata."""


def read_stamps(path: Path) -> dict[str, Any]:
    """The stamp of each model's files as they were when it was read; none for models that were in memory."""
    try:
        found = (pq.read_metadata(path).metadata or {}).get(SOURCES_KEY.encode())
        stamps = json.loads(found or "{}")
    except (OSError, ValueError, pa.ArrowException):
        return {}
    return stamps if isinstance(stamps, dict) else {}


def row_groups(path: Path) -> Iterator[pa.Table]:
    """A table's row groups, one at a time. Raises TableError where the table is damaged, as its checksums tell."""
    with _damage_told(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def read_columns(path: Path, names: Sequence[str]) -> pa.Table:
    """Some columns of a table. Raises TableError where it is damaged, or no table of wexport's."""
    with _damage_told(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read(columns=list(names))
    if missing := [name for name in names if name not in table.column_names]:
        raise TableError(f"{path}: has no column {missing[0]!r}", hint="name a table that wexport wrote")
    return table


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0][:200]
        raise TableError(
            f"{path}: is damaged: {reason}", hint="copy it again, or write it anew with `wexport ingest`"
        ) from None


def without_models(table: pa.Table, models: set[str]) -> pa.Table:
    """The rows of all other models."""
    import pyarrow.compute as pc  # it takes long to import

    return table.filter(pc.invert(pc.is_in(table["model"], pa.array(sorted(models), pa.string()))))


def is_current(part: Path, metadata: Mapping[str, Any], model: str, stamp: Sequence[Any]) -> bool:
    """Whether a part was written by just these options from files that are as they were."""
    if not part.is_file() or not stamp:
        return False
    try:
        return read_metadata(part) == metadata and read_stamps(part).get(model) == stamp
    except TableError:
        return False


def model_sources(path: Path) -> dict[str, str | None]:
    """The models in a table, with the file each came from; None for one that was in memory."""
    table = read_columns(path, ["model", "source"])
    return dict(zip(table["model"].to_pylist(), table["source"].to_pylist(), strict=True))


def model_names(table: Path) -> dict[str, str]:
    """The models in a table or a folder of parts by the files that they were read from, see `part_sources`."""
    if table.is_dir():
        return dict(part_sources(table).values())
    pairs = [(source, model) for model, source in model_sources(table).items() if source is not None]
    several = Counter(source for source, _ in pairs)  # parts of a file, which no name tells
    return {source: model for source, model in pairs if several[source] == 1}


def part_sources(folder: Path) -> dict[Path, tuple[str, str]]:
    """The parts in a folder that were read from files: of each the file, as the table names it, and the model."""
    found = {}
    for part in sorted(folder.glob("*.parquet")):
        with contextlib.suppress(TableError, KeyError, TypeError, ValueError):
            source = read_metadata(part)["source"]
            found[part] = str(source["path"]), str(source["model"])
    return found


def part_path(folder: Path, model: str) -> Path:
    """Where the part of a model stands in a folder of parts."""
    name = urllib.parse.quote(model, safe=" ()[]{}=,+@~")
    if name.startswith("."):  # nobody would find it
        name = "%2E" + name[1:]
    if len(name) > 180:
        name = f"{name[:140]}~{hashlib.sha256(model.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    return folder / f"{name}.parquet"
