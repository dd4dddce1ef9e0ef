"""Pictures of one slot in several models, for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wexport.plot import gate_panels, histograms
from wexport.plot.bins import Bins
from wexport.reports.elements import Picture
from wexport.reports.pictures import fixed, picture
from wexport.terminal import text
from wexport.terminal.text import counted

BARS, GATE_BARS = 40, 24


def histogram_of(slot: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """The histograms of a slot over each other. rows: `model`, `value_count`, `missing` and `histogram`."""
    held = [row for row in rows if row["histogram"] is not None]
    data = histograms.Histograms(
        slot,
        [row["model"] for row in held],
        [Bins.of(row["histogram"]) for row in held],
        [row["value_count"] for row in held],
        [row["missing"] for row in held],
    )
    with fixed(3.5) as ax:
        histograms.draw(data, ax, bars=BARS)
        ax.locator_params("y", nbins=5)
    return picture(ax.figure, f"Histograms of {text.safe(slot)} in {counted(len(held), 'model')}")


def gates_of(slot: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Each gate of a slot in a panel of its own. rows: `model`, `role`, `layer_class` and `gates`."""
    role = rows[0]["role"]
    panels: dict[tuple[str, gate_panels.Column], dict[str, gate_panels.Histogram]] = {}
    for row in rows:
        for gate in row["gates"]:
            one = gate_panels.Histogram.of(gate)
            panels.setdefault((role, gate_panels.Column(None, gate["gate"])), {})[row["model"]] = one
    columns = [column for _, column in panels]
    data = gate_panels.Gates(
        slot, {row["layer_class"] for row in rows}, [row["model"] for row in rows], [role], columns, panels
    )
    with fixed(2.7, right=0.8 if len(rows) > 1 else 0.98, top=0.55) as ax:
        gate_panels.draw(data, ax, bars=GATE_BARS)
    gates = ", ".join(text.safe(column.gate) for column in columns)
    return picture(ax.figure, f"Histograms of the gates {gates} of {text.safe(slot)} in {counted(len(rows), 'model')}")
