"""DuckDB over one table, able to read that table and nothing else."""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from wexport import library
from wexport.dataset import read_metadata
from wexport.errors import QueryError, TableError, UsageError

PathLike = str | os.PathLike[str]

_READ = {
    ".csv": "read_csv_auto",
    ".tsv": "read_csv_auto",
    ".json": "read_json_auto",
    ".jsonl": "read_json_auto",
    ".ndjson": "read_json_auto",
    ".parquet": "read_parquet",
}


class Connection:
    """A DuckDB session that reads one table, and files named with it; it writes nothing and loads nothing.

    Its views: `weights`, `tensors`, `gates`, `units`, `histogram`, `sample`; `queries/views.sql` makes them. One
    statement at a time, and only one that reads: SELECT, FROM, WITH, VALUES, PIVOT, DESCRIBE, SUMMARIZE.
    A context manager.
    """

    def __init__(self, duck: duckdb.DuckDBPyConnection) -> None:
        self._duck = duck

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session."""
        self._duck.close()

    def sql(self, text: str, parameters: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyRelation:
        """The answer to a query, as DuckDB gives it: `.df()`, `.pl()`, `.to_arrow_table()`, `.fetchall()`, `.show()`.

        parameters: variables that the query reads by `getvariable('name')`, for this query alone.
        Raises QueryError if the statement may do anything but read, or fails.
        """
        statement = reading_statement(text)
        for name, value in (parameters or {}).items():
            self._set(name, value)
        try:
            return self._duck.sql(statement)
        except duckdb.Error as error:
            raise as_query_error(error) from None

    def _set(self, name: str, value: Any) -> None:
        if not re.fullmatch(r"[A-Za-z_]\w*", name):
            raise UsageError(f"{name!r} cannot be the name of a parameter", hint="use letters, digits and _")
        self._duck.execute(f"SET VARIABLE {name} = {literal(value)}")


def connect(
    table: PathLike,
    files: Mapping[str, PathLike] | None = None,
    *,
    memory: int | None = None,
    threads: int | None = None,
) -> Connection:
    """Open a table for queries.

    table: a file that `ingest` wrote, a folder of parts, or a pattern.
    files: your own CSV, JSON or Parquet files, by the name that the queries call them.
    memory: bytes that DuckDB may take; most of its work, not all, keeps to it.
    threads: as many as there are cores by default.

    Raises TableError if there is no such table, UsageError for names or files that make no sense.
    """
    parts = table_files(table)
    named = {name: Path(path) for name, path in (files or {}).items()}
    duck = duckdb.connect(":memory:", config={"threads": str(threads)} if threads else {})
    try:
        _prepare(duck, parts, named, memory)
    except BaseException:
        duck.close()
        raise
    return Connection(duck)


def _prepare(
    duck: duckdb.DuckDBPyConnection, parts: Sequence[Path], named: Mapping[str, Path], memory: int | None
) -> None:
    real = [os.path.realpath(path) for path in parts]
    allowed = [*real, *map(str, parts), *(str(path) for path in named.values())]
    settings = {
        "allowed_paths": allowed,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "python_enable_replacements": False,
        "enable_external_access": False,
    }
    if memory is not None:
        settings["memory_limit"] = f"{memory >> 20}MiB"
    for name, value in settings.items():
        duck.execute(f"SET {name} = {literal(value)}")
    duck.execute(f"SET VARIABLE weights_parquet = {literal(real)}")
    duck.execute(library.views())
    for name, path in named.items():
        _add_file(duck, name, path)
    duck.execute("SET lock_configuration = true")


def _add_file(duck: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    if not re.fullmatch(r"[A-Za-z_]\w*", name):
        raise UsageError(f"{name!r} cannot be the name of a table", hint="--with NAME=FILE; letters, digits and _")
    if duck.execute("SELECT count(*) FROM duckdb_views() WHERE view_name = ?", [name]).fetchone() != (0,):
        raise UsageError(f"{name!r} is the name of a view already", hint="choose another name for your file")
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file", hint="--with NAME=FILE.csv")
    reader = _READ.get(path.suffix.lower())
    if reader is None:
        raise UsageError(f"{path}: {path.suffix or 'no suffix'} is not known", hint=f"known: {', '.join(_READ)}")
    try:
        duck.execute(f'CREATE VIEW "{name}" AS FROM {reader}({literal(str(path))})')
    except duckdb.Error as error:
        raise UsageError(f"{path}: cannot be read: {first_line(error)}") from None


def table_files(table: PathLike) -> list[Path]:
    """The Parquet files that a table is made of. Raises TableError if there are none, or they are not wexport's."""
    path = Path(table)
    if path.is_dir():
        found = sorted(path.glob("*.parquet"))
    elif path.exists():
        found = [path]
    else:
        found = sorted(map(Path, glob.glob(str(table), recursive=True)))  # noqa: PTH207  the pattern may be absolute
    found = [file for file in found if not file.name.startswith(".")]
    if not found:
        raise TableError(f"{table}: there is no such table", hint="wexport ingest *.h5 --out weights.parquet makes one")
    for file in (found[0], found[-1]):
        if not file.is_file():
            raise TableError(f"{file}: is no regular file")
        read_metadata(file)
    return found


def reading_statement(text: str) -> str:
    """The one statement in a text. Raises QueryError if there is not just one, or it does anything but read."""
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise as_query_error(error) from None
    kinds = [statement.type.name for statement in statements]
    if kinds not in (["SELECT"], ["MULTI"], ["CREATE", "SELECT"]):
        raise QueryError(
            f"only one statement that reads is allowed, and this is {' and '.join(kinds) or 'empty'}",
            hint="write one SELECT, FROM, WITH or PIVOT",
        )
    return text


def as_query_error(error: duckdb.Error) -> QueryError:
    """DuckDB's error as ours, without its stack of text."""
    return QueryError(str(error).strip())


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).strip().splitlines()[0]


def literal(value: Any) -> str:
    """A value as SQL writes it."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"'{value!r}'::DOUBLE"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(literal, value))}]"
    return "'" + str(value).replace("'", "''") + "'"
