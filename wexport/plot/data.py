"""What plots draw, fetched from a table."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from wexport.errors import UsageError
from wexport.sessions.connection import Connection, PathLike
from wexport.sessions.session import Session, opened
from wexport.terminal.text import safe

Table = PathLike | Connection | Session
"""A table to draw from: a file, folder or pattern, what `connect` gives, or an open session over one."""

ORDER = "run NULLS FIRST, step NULLS FIRST, model"
"""The order of models in plots: checkpoints by step."""


_MODELS = f"""
SELECT model, asked_for(model, getvariable('model')) AS asked FROM weights GROUP BY model, run, step ORDER BY {ORDER}
"""
_SLOTS = """
SELECT slot FROM weights WHERE asked_for(model, getvariable('model')) GROUP BY slot ORDER BY min(tensor_index), slot
"""
LISTED = 8
SEPARATOR = "\x1f"
"""Stands between several patterns, as the macro `asked_for` has it."""


def pattern(given: str | Sequence[str]) -> str:
    """Which are asked for, as one text: a name or pattern, or several; those that begin with ! leave out."""
    return given if isinstance(given, str) else SEPARATOR.join(given)


def quoted(asked: str) -> str:
    """What was asked for, as a message says it."""
    return ", ".join(map(repr, asked.split(SEPARATOR)))


def known(table: Table, asked: str) -> None:
    """Raises UsageError if one of several names of models, or one that is left out, is of none; with the nearest."""
    parts = asked.split(SEPARATOR)
    if len(parts) == 1 and not asked.startswith("!"):
        return  # what draws it says so
    with opened(table) as session:
        for part in parts:
            if hint := unless_any_fits(session, part.removeprefix("!")):
                raise UsageError(f"there is no model {quoted(part.removeprefix('!'))}", hint=hint)


def fetch(table: Table, sql: str, parameters: Mapping[str, Any], nothing: str) -> list[dict[str, Any]]:
    """Rows of an answer. Raises UsageError if there are none: `nothing`, or that no model fits, and what there is."""
    with opened(table) as session:
        found: pa.Table = session.ask(sql, parameters)
        if not found.num_rows:
            model = parameters.get("model", "*")
            if models := unless_any_fits(session, model):
                raise UsageError(f"there is no model {quoted(model)}", hint=models)
            raise UsageError(nothing, hint=there_is(session, parameters))
    rows: list[dict[str, Any]] = found.to_pylist()
    return rows


def there_is(session: Session, asked: Mapping[str, Any]) -> str:
    """What could have been asked for, as a hint: models, where none fits `model`, else slots of those that do."""
    model = asked.get("model", "*")
    if models := unless_any_fits(session, model):
        return models
    slots: list[str] = session.ask(_SLOTS, {"model": model}).column("slot").to_pylist()
    return f"slots {'here' if model == '*' else 'of ' + quoted(model)} are {listed(slots, asked.get('slot', ''))}"


def unless_any_fits(session: Session, model: str) -> str:
    """Which models there are, as a hint; empty where the name or pattern fits some."""
    models = session.ask(_MODELS, {"model": model}).to_pylist()
    fits = any(row["asked"] for row in models)
    return "" if fits else f"models are {listed([row['model'] for row in models], model)}"


def listed(names: Sequence[str], wanted: str = "") -> str:
    """Some of many names, those that are most like the wanted one if any are, and how many more there are."""
    near = [each for part in wanted.split(SEPARATOR) for each in difflib.get_close_matches(part, names, LISTED, 0.5)]
    shown = list(dict.fromkeys(near))[:LISTED] or names[:LISTED]
    more = len(names) - len(shown)
    return ", ".join(safe(name) for name in shown) + (f" and {more:,} more" if more else "")
