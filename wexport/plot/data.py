"""What plots draw, fetched from a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from wexport.connection import PathLike
from wexport.errors import UsageError
from wexport.session import Session, opened

Table = PathLike | Session
"""A table to draw from: a file, folder or pattern, or an open session over one."""

ORDER = "run NULLS FIRST, step NULLS FIRST, model"
"""The order of models in plots: checkpoints by step."""


def fetch(table: Table, sql: str, parameters: Mapping[str, Any], nothing: str) -> list[dict[str, Any]]:
    """Rows of an answer. Raises UsageError, saying `nothing`, if there are none."""
    with opened(table) as session:
        found: pa.Table = session.ask(sql, parameters)
    if not found.num_rows:
        raise UsageError(nothing, hint=_seen(parameters))
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def _seen(parameters: Mapping[str, Any]) -> str:
    asked = ", ".join(f"{name} {value!r}" for name, value in parameters.items() if value is not None)
    return f"asked for {asked}; `wexport query tensors` lists slots and models"
