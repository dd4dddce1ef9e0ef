"""Questions to a table: a query of the library by its name, or any SQL that reads."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from wexport import library
from wexport.connection import PathLike
from wexport.errors import UsageError
from wexport.library import Query
from wexport.session import MEMORY_BYTES, SECONDS, Session

TABLE = "weights.parquet"

_CASTS = {"VARCHAR": str, "DOUBLE": float, "BIGINT": int}


def query(
    question: str,
    table: PathLike = TABLE,
    parameters: Mapping[str, Any] | None = None,
    *,
    files: Mapping[str, PathLike] | None = None,
    seconds: float = SECONDS,
    memory: int = MEMORY_BYTES,
) -> pa.Table:
    """Ask a table a question.

    question: the name of a query in the library, or SQL that reads.
    table: a file that `ingest` wrote, a folder of parts, or a pattern.
    parameters: of the query.
    files: your own CSV, JSON or Parquet files, by the name that the SQL calls them.
    seconds, memory: what the query may take.

    Raises UsageError for an unknown name or parameter, QueryError if the SQL is refused or fails, TableError if there
    is no such table.
    """
    named = named_query(question)
    given = typed(named, parameters or {}) if named else dict(parameters or {})
    with Session(table, files, seconds=seconds, memory=memory) as session:
        return session.ask(named.sql if named else question, given)


def named_query(question: str) -> Query | None:
    """The query of that name, or None where the text is SQL. Raises UsageError for a word that is neither."""
    return library.get(question) if re.fullmatch(r"\s*[\w-]+\s*", question) else None


def typed(named: Query, given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the query's types; texts are converted. Raises UsageError for one that does not fit."""
    return {name: _typed(named, name, value) for name, value in given.items()}


def _typed(named: Query, name: str, value: Any) -> Any:
    kind = named.parameter(name).type
    if value is None:
        return None
    if kind == "BOOLEAN":
        if str(value).lower() in ("true", "false", "yes", "no"):
            return str(value).lower() in ("true", "yes")
    elif kind == "VARCHAR[]":
        return value.split(",") if isinstance(value, str) else [str(item) for item in value]
    else:
        try:
            return _CASTS[kind](value)
        except (TypeError, ValueError):
            pass
    raise UsageError(f"parameter {name} of query {named.name} is {kind}, and {value!r} is not")
