"""One tensor in full: statistics, histogram, gates; of two models side by side, on one axis."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from wexport.browsing.held import COUNTS, FIGURES
from wexport.terminal import bars, tables
from wexport.terminal.text import figure, safe

LINES = 5
"""Height of a histogram."""
Sides = Sequence[tuple[str, Mapping[str, Any] | None]]
_COLOURS = ("cyan", "yellow")


def detail(sides: Sides, width: int) -> RenderableType:
    """What is shown of a tensor. sides: a model or two, and its tensor of that slot, if it has one. width: in cells."""
    parts: list[RenderableType] = [_figures(sides)]
    if len(sides) == 2 and (words := _closeness(*(tensor for _, tensor in sides))):
        parts.append(Text(words))
    for model, _ in sides:
        if all(tensor is None for name, tensor in sides if name == model):
            parts.append(Text(f"{safe(model)} has no such slot"))
    found = [(model, tensor["histogram"]) for model, tensor in sides if tensor is not None]
    parts += _histograms("", found, width)
    gates = [_gates(tensor) for _, tensor in sides if tensor is not None]
    for gate in dict.fromkeys(name for each in gates for name in each):
        models = [model for model, tensor in sides if tensor is not None]
        held = [(model, each[gate]["histogram"]) for model, each in zip(models, gates, strict=True) if gate in each]
        parts += _histograms(f"gate {gate}", held, width, LINES - 2)
    return Group(*parts)


def _figures(sides: Sides) -> Table:
    several = len(sides) > 1
    table = Table.grid(padding=(0, 2))
    if several:
        table.add_row("", *(Text(safe(model), style=_COLOURS[place]) for place, (model, _) in enumerate(sides)))
    shown = [tensor or {} for _, tensor in sides]
    rows: dict[str, list[Any]] = {
        "shape": [each.get("shape") for each in shown],
        "dtype": [each.get("dtype") for each in shown],
    }
    for name in (*COUNTS, *FIGURES):
        values = [each.get(name) for each in shown]
        if name in FIGURES or name == "value_count" or any(values):
            rows[name] = [tables.cell_text(value) for value in values]
    if several:
        for name, cells in rows.items():
            table.add_row(name, *(Text(str(cell or "")) for cell in cells))
        return table
    items = list(rows.items())  # one model has room for two columns of figures
    half = (len(items) + 1) // 2
    for place in range(half):
        cells = [(name, Text(str(value[0] or ""))) for name, value in items[place::half]]
        table.add_row(*(each for pair in cells for each in pair))
    return table


def _closeness(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None) -> str:
    """The cosine of what the table holds of both; empty where it cannot be told."""
    if one is None or other is None or one["canonical_shape"] != other["canonical_shape"]:
        return ""
    pairs = [
        (x, y) for x, y in zip(one["sample"] or [], other["sample"] or [], strict=False)
        if x is not None and y is not None and math.isfinite(x) and math.isfinite(y)
    ]  # fmt: skip
    product = math.sqrt(math.fsum(x * x for x, _ in pairs) * math.fsum(y * y for _, y in pairs))
    if not product:
        return ""
    cosine = math.fsum(x * y for x, y in pairs) / product
    part = "" if len(pairs) == one["value_count"] else f", of {len(pairs):,} sampled values"
    return f"cosine {cosine:.4f}{part}"


def _gates(tensor: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {each["gate"]: each for each in tensor["gates"] or []}


def _histograms(
    title: str, found: Sequence[tuple[str, Mapping[str, Any] | None]], width: int, lines: int = LINES
) -> list[RenderableType]:
    """Histograms beside each other, over the same values."""
    held = [(model, each) for model, each in found if each is not None and each["count"]]
    if not held:
        return []
    ends = min(min(each["lower"]) for _, each in held), max(max(each["upper"]) for _, each in held)
    room = max(10, width // len(held) - 2)
    grid = Table.grid(padding=(0, 2))
    drawn = []
    for place, (_, each) in enumerate(held):
        counts = bars.heights(each["lower"], each["upper"], each["count"], room, ends)
        left, right = figure(ends[0]), figure(ends[1])
        axis = left + " " * max(1, room - len(left) - len(right)) + right
        style = _COLOURS[place] if len(held) > 1 else _COLOURS[0]
        drawn.append(Text("\n".join([*bars.tall(counts, lines)]), style=style, no_wrap=True) + Text(f"\n{axis}"))
    grid.add_row(*drawn)
    return [Text(safe(title), style="bold"), grid]
