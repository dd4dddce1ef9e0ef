"""Tables on disk as they are found again: what they remember, their rows, and the parts of a folder."""

from __future__ import annotations

import hashlib
import json
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wexport.errors import TableError


def read_metadata(path: Path) -> dict[str, Any]:
    """What wexport wrote about a table into the file: versions and options.

    Raises TableError if the file is no Parquet file or not wexport's.
    """
    try:
        found = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException) as error:
        raise TableError(
            f"{path}: is no Parquet file: {str(error).splitlines()[0]}", hint="name another --out"
        ) from None
    if b"wexport" not in found:
        raise TableError(f"{path}: is a Parquet file that wexport did not write", hint="name another --out")
    metadata: dict[str, Any] = json.loads(found[b"wexport"])
    return metadata


def row_groups(path: Path) -> Iterator[pa.Table]:
    """A table's row groups, one at a time."""
    with pq.ParquetFile(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def without_models(table: pa.Table, models: set[str]) -> pa.Table:
    """The rows of all other models."""
    return table.filter(pc.invert(pc.is_in(table["model"], pa.array(sorted(models), pa.string()))))


def is_current(part: Path, stamp: Mapping[str, Any]) -> bool:
    """Whether a part was written from just this source by just these options."""
    if not part.is_file() or "source" not in stamp:
        return False
    try:
        return read_metadata(part) == stamp
    except TableError:
        return False


def model_sources(path: Path) -> dict[str, str | None]:
    """The models in a table, with the file each came from; None for one that was in memory."""
    table = pq.read_table(path, columns=["model", "source"])
    return dict(zip(table["model"].to_pylist(), table["source"].to_pylist(), strict=True))


def part_path(folder: Path, model: str) -> Path:
    """Where the part of a model stands in a folder of parts."""
    name = urllib.parse.quote(model, safe=" ()[]{}=,+@~")
    if len(name) > 180:
        name = f"{name[:140]}~{hashlib.sha256(model.encode('utf-8', 'surrogateescape')).hexdigest()[:16]}"
    return folder / f"{name}.parquet"
