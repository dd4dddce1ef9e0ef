"""The files that a table is made of: which they are, and whether wexport wrote them and they go together."""

from __future__ import annotations

import glob
import json
import math
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from wexport.errors import MissingTableError, TableError
from wexport.sessions.statements import first_line
from wexport.table import seal
from wexport.table.schema import COLUMNS, SCHEMA_VERSION, Column

_MAKE = "wexport ingest *.h5 --out weights.parquet makes one"
_AGAIN = "leave it out, or write it anew with `wexport ingest`"


def table_files(table: str | os.PathLike[str]) -> list[Path]:
    """The Parquet files of a table: a file, those in a folder, or those that a pattern matches.

    Raises MissingTableError if there are none.
    """
    path = Path(table)
    if path.is_dir():
        found = sorted(path.glob("*.parquet"))
        if not found:
            raise MissingTableError(f"{table}: the folder holds no .parquet files", hint=_MAKE)
    elif path.exists():
        found = [path]
    else:
        found = sorted(map(Path, glob.glob(str(table), recursive=True)))  # noqa: PTH207  the pattern may be absolute
    if found != [path]:  # what is named is meant
        found = [file for file in found if not file.name.startswith(".")]
    if not found:
        what = "the pattern matches no file" if glob.has_magic(str(table)) else "there is no such table"
        raise MissingTableError(f"{table}: {what}", hint=_MAKE)
    for file in found:
        if not file.is_file():
            raise TableError(f"{file}: is not a regular file", hint=_AGAIN)
    # A file that is reached by two names is read once.
    names = {os.path.realpath(file): file for file in reversed(found)}
    for name, file in names.items():
        if any("\ud800" <= letter <= "\udfff" for letter in name):
            raise TableError(f"{file}: its name is not UTF-8, and DuckDB reads no such files", hint="rename it")
    return list(names.values())[::-1]


def as_pattern(path: str) -> str:
    """The pattern that matches a path alone: DuckDB takes each path for a pattern."""
    return re.sub(r"([*?\[])", r"[\1]", path)


def check_files(duck: duckdb.DuckDBPyConnection, files: Sequence[Path]) -> None:
    """Raises TableError, naming the file, if one is damaged, not wexport's, or newer than this program; or if a model
    stands in two of them.
    """
    names = [os.path.realpath(file) for file in files]
    files_by_name = dict(zip(names, map(str, files), strict=True))
    _check_seals(files_by_name)
    kept = "SELECT file_name, decode(value) FROM parquet_kv_metadata(?) WHERE decode(key) = 'wexport'"
    versions: dict[str, str] = dict(_ask(duck, kept, names, files_by_name))
    for name in names:
        _check_version(files_by_name[name], versions.get(name))
    _check_columns(duck, names, files_by_name)
    if len(names) > 1:
        _check_models(duck, names, files_by_name)


SEALED_BYTES, SEAL_SECONDS = 4 << 30, 20.0
"""A table is read when it is opened, to see whether it is as it was written: this much of it in any case, and what is
beyond if that is done in this time. Nobody waits minutes for a question that takes seconds."""


def _check_seals(files_by_name: dict[str, str]) -> None:
    end = time.monotonic() + SEAL_SECONDS
    size = 0
    try:
        for name, file in files_by_name.items():
            size += Path(name).stat().st_size
            seal.check(Path(name), file, math.inf if size <= SEALED_BYTES else end)
    except OSError as error:
        raise TableError(f"the table cannot be read: {error.strerror or error}", hint=_AGAIN) from None


def _ask(duck: duckdb.DuckDBPyConnection, sql: str, names: Sequence[str], files_by_name: dict[str, str]) -> list[Any]:
    """The answer to a question about all files; if it fails, the one to blame is told."""
    try:
        return duck.execute(sql, [list(map(as_pattern, names))]).fetchall()
    except duckdb.Error as error:
        for name in names:
            try:
                duck.execute("SELECT count(*) FROM parquet_schema(?)", [as_pattern(name)]).fetchall()
            except duckdb.Error as cause:
                what = _why_no_parquet(name) or first_line(cause).partition(": ")[2]
                raise TableError(f"{files_by_name[name]}: is not a Parquet file: {what}", hint=_AGAIN) from None
        raise TableError(f"the table cannot be read: {first_line(error)}", hint=_AGAIN) from None


def _why_no_parquet(name: str) -> str:
    size = Path(name).stat().st_size
    if not size:
        return "it is empty"
    with Path(name).open("rb") as file:
        begins = file.read(4)
        file.seek(max(0, size - 4))
        ends = file.read(4)
    if begins == b"PAR1" and ends != b"PAR1":
        return "it is cut off"
    return "" if begins == b"PAR1" else "its first bytes are not PAR1"


def _check_version(file: str, text: str | None) -> None:
    if text is None:
        raise TableError(f"{file}: is a Parquet file that wexport did not write", hint=_AGAIN)
    try:
        metadata = json.loads(text)
        version, wrote = int(metadata["schema_version"]), str(metadata.get("wexport_version", "?"))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise TableError(f"{file}: what wexport wrote about itself cannot be read", hint=_AGAIN) from None
    if version > SCHEMA_VERSION:
        raise TableError(
            f"{file}: was written by wexport {wrote} with version {version} of the columns, and this one knows "
            f"{SCHEMA_VERSION}",
            hint="pip install --upgrade wexport",
        )


def _check_columns(duck: duckdb.DuckDBPyConnection, names: Sequence[str], files_by_name: dict[str, str]) -> None:
    """The files have all of our columns. One that lacks some would fail each query in words that do not help."""
    # Most files are alike, so one of each sort is looked at; what parquet_schema lists are leaves and roots together.
    sorts = _ask(
        duck,
        "SELECT min(file_name) FROM (SELECT file_name, list_sort(list(name || coalesce(type, ''))) AS sort "
        "FROM parquet_schema(?) GROUP BY file_name) GROUP BY sort",
        names,
        files_by_name,
    )
    for (name,) in sorts:
        there = _ask(duck, "DESCRIBE FROM read_parquet(?)", [name], files_by_name)
        known = {row[0] for row in there} | {
            f"{row[0]}.{field}" for row in there for field in re.findall(r"[(,] ?\"?(\w+)\"? ", row[1])
        }
        lacking = [part for column in COLUMNS for part in _parts(column) if part not in known]
        if lacking:
            raise TableError(f"{files_by_name[name]}: lacks the column {lacking[0]!r}", hint=_AGAIN)
        types = {row[0]: row[1] for row in there}
        for column in COLUMNS:
            if _alike(types[column.name]) != _alike(_in_duckdb(column.type)):
                raise TableError(
                    f"{files_by_name[name]}: the column {column.name!r} holds {types[column.name]}, and should hold "
                    f"{_in_duckdb(column.type)}",
                    hint=_AGAIN,
                )


def _parts(column: Column) -> list[str]:
    """The column, and its fields where it is a list of structs."""
    nested = column.type.value_type if pa.types.is_list(column.type) else None
    if nested is None or not pa.types.is_struct(nested):
        return [column.name]
    return [column.name, *(f"{column.name}.{field.name}" for field in nested)]


_SCALARS = {"string": "VARCHAR", "int64": "BIGINT", "int32": "INTEGER", "bool": "BOOLEAN"}


def _in_duckdb(kind: pa.DataType) -> str:
    """What DuckDB calls an Arrow type."""
    if pa.types.is_map(kind):
        return f"MAP({_in_duckdb(kind.key_type)}, {_in_duckdb(kind.item_type)})"
    if pa.types.is_list(kind):
        return f"{_in_duckdb(kind.value_type)}[]"
    if pa.types.is_struct(kind):
        return f"STRUCT({', '.join(f'{field.name} {_in_duckdb(field.type)}' for field in kind)})"
    return _SCALARS.get(str(kind), str(kind).upper())


def _alike(kind: str) -> str:
    """A type of DuckDB's without what does not matter: how wide numbers are, and quotes around names."""
    kind = re.sub(r"\b(?:U?(?:TINYINT|SMALLINT|INTEGER|BIGINT)|HUGEINT)\b", "INTEGER", kind.replace('"', ""))
    return re.sub(r"\bFLOAT\b", "DOUBLE", kind)


def _check_models(duck: duckdb.DuckDBPyConnection, names: Sequence[str], files_by_name: dict[str, str]) -> None:
    twice = _ask(
        duck,
        "SELECT model, min(filename), max(filename) FROM read_parquet(?, filename = true) "
        "GROUP BY model HAVING min(filename) <> max(filename) ORDER BY model LIMIT 1",
        names,
        files_by_name,
    )
    for model, one, other in twice:
        raise TableError(
            f"the model {model!r} stands in two files of the table, {files_by_name[one]} and {files_by_name[other]}",
            hint="leave one of them out, or ingest one again with another --name",
        )
