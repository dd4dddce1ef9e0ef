"""Tables that no run of wexport makes: each change here is one to the rows of a sound one.

What a change does must be told by whoever reads what it changed, in one line that names file, column and row.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Row = dict[str, Any]


def of(column: str, value: Any) -> Callable[[Row], None]:
    """Another value in a column."""

    def change(row: Row) -> None:
        row[column] = value

    return change


def inside(column: str, **changes: Callable[[list[Any]], list[Any]]) -> Callable[[Row], None]:
    """Other lists in a column that is a struct of lists."""

    def change(row: Row) -> None:
        row[column] = {**row[column], **{name: edit(list(row[column][name])) for name, edit in changes.items()}}

    return change


def in_gate(row: Row) -> None:
    gate = row["gates"][0]
    row["gates"] = [
        {**gate, "histogram": {**gate["histogram"], "upper": gate["histogram"]["upper"][::-1]}},
        *row["gates"][1:],
    ]


CHANGES: Mapping[str, tuple[str, Callable[[Row], None]]] = {
    "bins reversed": ("histogram", inside("histogram", lower=lambda each: each[::-1], upper=lambda each: each[::-1])),
    "a bin reversed": ("histogram", inside("histogram", upper=lambda each: [-1e3, *each[1:]])),
    "an edge without end": ("histogram", inside("histogram", upper=lambda each: [*each[:-1], float("inf")])),
    "an edge that is no number": ("histogram", inside("histogram", lower=lambda each: [float("nan"), *each[1:]])),
    "an edge that is missing": ("histogram", inside("histogram", lower=lambda each: [None, *each[1:]])),
    "an edge too few": ("histogram", inside("histogram", lower=lambda each: each[1:])),
    "a count below zero": ("histogram", inside("histogram", count=lambda each: [-each[0], *each[1:]])),
    "more counted than there is": ("histogram", inside("histogram", count=lambda each: [1 << 60, *each[1:]])),
    "no counts": ("histogram", of("histogram", {"lower": [0.0], "upper": [1.0], "count": None})),
    "a gate's bins reversed": ("gates", in_gate),
    "a gate without a name": ("gates", lambda row: row["gates"][0].update(gate=None)),
    "a position beyond the end": ("sample", inside("sample", index=lambda each: [*each[:-1], 1 << 40])),
    "a position below zero": ("sample", inside("sample", index=lambda each: [-1, *each[1:]])),
    "a position too few": ("sample", inside("sample", index=lambda each: each[1:])),
    "a position that is missing": ("sample", inside("sample", index=lambda each: [None, *each[1:]])),
    "a value too many": ("sample", inside("sample", value=lambda each: [*each, 0.0])),
    "a grid of other size": ("grid", of("grid", {"rows": 1 << 30, "cols": 1 << 30, "rms": [1.0]})),
    "a grid below zero": ("grid", of("grid", {"rows": -1, "cols": -1, "rms": [1.0]})),
    "a unit too few": ("units", lambda row: row.update(units=row["units"][1:])),
    "a unit that is missing": ("units", lambda row: row.update(units=[None, *row["units"][1:]])),
    "a length below zero": ("shape", of("shape", [-1, 4])),
    "a huge length": ("canonical_shape", of("canonical_shape", [1 << 40, 1 << 40])),
    "a length that is missing": ("shape", of("shape", [None])),
    "an axis that is not there": ("unit_axes", of("unit_axes", [7])),
    "an axis twice": ("unit_axes", of("unit_axes", [0, 0])),
    "fewer values than none": ("counts", of("value_count", -5)),
    "more zeros than values": ("counts", of("zero_count", 1 << 50)),
    "no model": ("model, slot and kind", of("model", None)),
    "no slot": ("model, slot and kind", of("slot", None)),
    "no kind": ("model, slot and kind", of("kind", None)),
}
"""What is changed: the column that is told, and how one row is changed."""


def craft(sound: Path, out: Path, change: Callable[[Row], None]) -> Path:
    """Write a table whose row of the most values that has gates or a grid, if there is one, is changed."""
    table = pq.read_table(sound)
    rows = table.to_pylist(maps_as_pydicts="strict")
    change(max(rows, key=lambda row: (bool(row["gates"]), len(row["units"] or ()), row["value_count"])))
    pq.write_table(pa.Table.from_pylist(rows, table.schema), out)
    return out
