"""An inspected file as text for the terminal, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.text import Text

from wexport.ingestion.inspection import Inspection
from wexport.terminal import tables, text
from wexport.terminal.bars import spark

GAP, FEWEST_BARS, MOST_BARS = 3, 8, 24


def as_text(inspection: Inspection) -> None:
    """Print a layered listing: a line per layer, and per tensor its shape, type, figures and histogram."""
    from rich import box
    from rich.table import Table

    result = inspection.result
    print(
        f"{text.safe(result.source)}: {result.format}{_written_by(inspection)}, "
        f"{result.tensors:,} tensors, {result.parameters:,} parameters"
    )
    if result.run is not None:
        print(f"checkpoint of the run {text.safe(result.run)}, step {result.step}")
    console = tables.stdout()
    figures, bars = _fitting(inspection, console.width)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer / tensor", overflow="fold")
    for name in ("shape", "dtype"):
        table.add_column(name, no_wrap=True)
    for name in ("parameters", *figures, "zeros"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("histogram", no_wrap=True)
    for layer, layer_class, rows in inspection.layers():
        total = sum(row["value_count"] for row in rows)
        title = Text(text.safe(layer or "(no layer)"), style="bold")
        if layer_class:
            title.append(f"  {text.safe(layer_class)}", style="dim")
        table.add_row(title, "", "", Text(f"{total:,}", style="bold"))
        for row in rows:
            table.add_row(*_cells(row, figures, bars))
    console.print(table)
    for problem in result.problems:
        detail = f": {text.safe(problem.detail)}" if problem.detail else ""
        print(f"not read: {text.safe(problem.name)}: {problem.what}{detail}")
    for name, first in result.aliases.items():
        print(f"the same object: {text.safe(name)} and {text.safe(first)}")
    for what, names in result.left_out.items():
        shown = text.safe(", ".join(names[:3])) + (", ..." if len(names) > 3 else "")
        print(f"left out: {len(names):,} {what}: {shown}")


def _fitting(inspection: Inspection, width: int) -> tuple[tuple[str, ...], int]:
    """The figures, and the bars of the histograms, that a terminal of this width has room for."""
    titles = [f"{layer}  {layer_class or ''}" for layer, layer_class, _ in inspection.layers()]
    names = [f"  {_name(row)}" for row in inspection.rows]
    texts = ([*titles, *names], [_shape(row) for row in inspection.rows], [row["dtype"] for row in inspection.rows])
    taken = sum(min(40, max(map(len, column), default=0)) + GAP for column in texts)
    taken += sum(len(name) + GAP for name in ("parameters", "100.0 %"))
    for figures in (("mean", "std", "min", "max"), ("mean", "std"), ("std",)):
        room = width - taken - len(figures) * (len("-0.12345") + GAP)
        if room >= FEWEST_BARS:
            return figures, min(MOST_BARS, room)
    return ("std",), FEWEST_BARS


def _written_by(inspection: Inspection) -> str:
    for row in inspection.rows:
        if row["framework"]:
            return f", {text.safe(row['framework'])} {text.safe(row['framework_version'] or '')}".rstrip()
    return ""


def _cells(row: dict[str, Any], figures: Sequence[str], width: int) -> list[Text]:
    histogram = row["histogram"]
    missing = row["nan_count"] + row["inf_count"]
    lower, upper, count = (histogram[name].tolist() for name in ("lower", "upper", "count"))
    bars = spark(lower, upper, count, width)
    return [
        Text(f"  {_name(row)}"),
        Text(_shape(row)),
        Text(row["dtype"]),
        Text(f"{row['value_count']:,}"),
        *(Text(text.figure(row[figure])) for figure in figures),
        Text("" if row["zero_fraction"] is None else f"{100 * row['zero_fraction']:.1f} %"),
        Text(bars) + Text(f"  {missing:,} NaN or Inf" if missing else "", style="red"),
    ]


def _name(row: dict[str, Any]) -> str:
    name = row["role"] if row["role"] != "unknown" else row["tensor"].rpartition("/")[2]
    return text.safe(" ".join(word for word in (row["direction"], name, row["gate"]) if word))


def _shape(row: dict[str, Any]) -> str:
    return "x".join(map(str, row["shape"])) or "scalar"


def to_json(inspection: Inspection) -> str:
    """The rows and how reading ended, as one JSON object; NaN and infinities in samples are null."""
    result = inspection.result
    return json.dumps(
        {
            "source": str(result.source),
            "format": result.format,
            "status": result.status,
            "tensors": [_jsonable(row) for row in inspection.rows],
            "not_read": [
                {"name": problem.name, "what": problem.what, "detail": problem.detail} for problem in result.problems
            ],
            "left_out": result.left_out,
            "aliases": result.aliases,
        },
        indent=1,
    )


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _jsonable(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
