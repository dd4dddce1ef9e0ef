"""Metrics files that are not rows: JSON whose objects hold objects, made into a row a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

MOST_BYTES = 64 << 20
"""Larger files are left to DuckDB as they are."""


def as_rows(path: Path, target: Path) -> Path:
    """A file that DuckDB reads as rows: the one given, or where it is JSON of objects in objects, one written for it.

    `{"model_a": {"val_loss": 0.2}}` has a row for each name, and `{"model": "a", "metrics": {"val_loss": 0.2}}` the
    inner names as columns. What is no JSON, and what is rows already, is left as it is. target: where to write.
    """
    if path.suffix.lower() != ".json" or not path.is_file() or path.stat().st_size > MOST_BYTES:
        return path
    try:
        whole = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return path  # lines of JSON, or what DuckDB says is none
    rows = [whole] if isinstance(whole, dict) else whole
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        return path
    if not any(isinstance(value, dict) for row in rows for value in row.values()):
        return path
    if len(rows) == 1 and all(isinstance(value, (dict, list)) for value in rows[0].values()):
        rows = list(_by_name(rows[0]))
    with target.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(dict(_flat(row))) + "\n")
    return target


def _by_name(whole: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """A row for each name, or for each of the objects in its list, as of epochs."""
    for name, value in whole.items():
        for each in value if isinstance(value, list) else [value]:
            yield {"model": name, **(each if isinstance(each, dict) else {"value": each})}


def _flat(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The values of a row by their innermost names."""
    for name, value in row.items():
        if isinstance(value, dict):
            yield from _flat(value)
        else:
            yield name, value
