"""An inspected file as text for the terminal, and as JSON."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from rich.text import Text

from wexport import terminal
from wexport.inspection import Inspection


def as_text(inspection: Inspection) -> None:
    """Print a layered listing: a line per layer, and per tensor its shape, type, figures and histogram."""
    from rich import box
    from rich.table import Table

    result = inspection.result
    print(
        f"{terminal.safe(result.source)}: {result.format}{_written_by(inspection)}, "
        f"{result.tensors:,} tensors, {result.parameters:,} parameters"
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("layer / tensor", overflow="fold", min_width=20)
    for name in ("shape", "dtype"):
        table.add_column(name)
    for name in ("parameters", "mean", "std", "min", "max", "zeros"):
        table.add_column(name, justify="right")
    table.add_column("min  histogram  max", no_wrap=True)
    for layer, layer_class, rows in inspection.layers():
        total = sum(row["value_count"] for row in rows)
        title = Text(terminal.safe(layer or "(no layer)"), style="bold")
        if layer_class:
            title.append(f"  {terminal.safe(layer_class)}", style="dim")
        table.add_row(title, "", "", Text(f"{total:,}", style="bold"))
        for row in rows:
            table.add_row(*_cells(row))
    terminal.stdout().print(table)
    for problem in result.problems:
        detail = f": {terminal.safe(problem.detail)}" if problem.detail else ""
        print(f"not read: {terminal.safe(problem.name)}: {problem.what}{detail}")
    for what, names in result.left_out.items():
        shown = terminal.safe(", ".join(names[:3])) + (", ..." if len(names) > 3 else "")
        print(f"left out, no numbers: {len(names):,} {what}: {shown}")


def _written_by(inspection: Inspection) -> str:
    for row in inspection.rows:
        if row["framework"]:
            return f", {terminal.safe(row['framework'])} {terminal.safe(row['framework_version'] or '')}".rstrip()
    return ""


def _cells(row: dict[str, Any]) -> list[Text]:
    name = row["role"] if row["role"] != "unknown" else row["tensor"].rpartition("/")[2]
    if row["direction"]:
        name = f"{row['direction']} {name}"
    if row["gate"]:
        name = f"{name} {row['gate']}"
    histogram = row["histogram"]
    missing = row["nan_count"] + row["inf_count"]
    bars = terminal.spark(histogram["lower"].tolist(), histogram["upper"].tolist(), histogram["count"].tolist())
    return [
        Text(f"  {terminal.safe(name)}"),
        Text("x".join(map(str, row["shape"])) or "scalar"),
        Text(row["dtype"]),
        Text(f"{row['value_count']:,}"),
        *(Text(terminal.figure(row[figure])) for figure in ("mean", "std", "min", "max")),
        Text("" if row["zero_fraction"] is None else f"{100 * row['zero_fraction']:.1f} %"),
        Text(bars) + Text(f"  {missing:,} NaN or Inf" if missing else "", style="red"),
    ]


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
