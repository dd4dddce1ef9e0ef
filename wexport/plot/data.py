"""What plots draw, fetched from a table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from wexport.connection import PathLike
from wexport.errors import UsageError
from wexport.session import Session

Table = PathLike | Session
"""A table to draw from: a file, folder or pattern, or an open session over one."""

ORDER = "run NULLS FIRST, step NULLS FIRST, model"
"""The order of models in plots: checkpoints by step."""


@contextlib.contextmanager
def asking(table: Table) -> Iterator[Session]:
    """A session over a table; one that is open already stays open."""
    if isinstance(table, Session):
        yield table
        return
    with Session(table) as session:
        yield session


def fetch(table: Table, sql: str, parameters: Mapping[str, Any], nothing: str) -> list[dict[str, Any]]:
    """Rows of an answer. Raises UsageError, saying `nothing`, if there are none."""
    with asking(table) as session:
        found: pa.Table = session.ask(sql, parameters)
    if not found.num_rows:
        raise UsageError(nothing, hint=_seen(parameters))
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def _seen(parameters: Mapping[str, Any]) -> str:
    asked = ", ".join(f"{name} {value!r}" for name, value in parameters.items() if value is not None)
    return f"asked for {asked}; `wexport query tensors` lists slots and models"
