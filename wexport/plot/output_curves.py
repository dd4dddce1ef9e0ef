"""Curves of what the units of a layer give: along time, or unit by unit."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from wexport.errors import UsageError
from wexport.plot import style
from wexport.plot.data import Table
from wexport.plot.matrices import Floats
from wexport.plot.outputs import Output, load


def curves(
    table: Table,
    slot: str,
    *,
    ax: Axes,
    model: str = "*",
    number: int = 0,
    shown: int = style.SHOWN,
    scale: str = "linear",
) -> list[Line2D]:
    """What the units of a recurrent or one-dimensional layer give, step by step, a line a unit; of a layer without
    steps, unit by unit, a line an input.

    slot, model: one of each. number: of the input, from 0, where the table holds single outputs; of many inputs it
    holds the root mean square over all. shown: how many lines stand out; of the others the range is grey. scale: linear
    or log, of magnitudes.
    Raises UsageError if there is nothing to draw, or the output is a picture.
    """
    style.choice("scale", scale, ("linear", "log"))
    data = load(table, slot, model)
    if len(data.shape) > 2 or not data.shape:
        raise UsageError(f"{data.slot} has {len(data.shape)} axes: no curve", hint="wexport plot maps draws those")
    lines, x, words = _lines(data, number)
    with style.settings():
        made = _draw(ax, data, np.abs(lines) if scale == "log" else lines, x, words, shown)
        if scale == "log":
            style.logarithmic(ax)
        return made


def _lines(data: Output, number: int) -> tuple[Floats, Floats, str]:
    """The lines (lines, points), where the points are, and what is drawn."""
    if len(data.shape) == 1:
        if data.values is None:
            assert data.bands is not None
            return data.bands, _middles(data.shape[0], data.bands.shape[1]), f"RMS over {data.inputs:,} inputs"
        return data.values, np.arange(data.shape[0], dtype=np.float64), f"{data.inputs:,} inputs"
    steps = data.shape[0]
    if data.values is not None:
        return data.chosen(number).T, np.arange(steps, dtype=np.float64), f"input {number} of {data.inputs:,}"
    assert data.bands is not None
    width = "" if data.bands.shape[1] == data.shape[1] else f", {data.bands.shape[1]} bands of {data.shape[1]:,} units"
    return data.bands.T, _middles(steps, data.bands.shape[0]), f"RMS over {data.inputs:,} inputs{width}"


def _middles(length: int, bands: int) -> Floats:
    edges = -(-np.arange(bands + 1) * length // bands)
    middles: Floats = (edges[:-1] + edges[1:] - 1) / 2
    return middles


def _draw(ax: Axes, data: Output, lines: Floats, x: Floats, words: str, shown: int) -> list[Line2D]:
    along_units = len(data.shape) == 1
    name = "input" if along_units else "unit" if len(lines) == data.shape[1] else "band of units"
    chosen = style.standing_out(len(lines), shown)
    made = []
    if len(chosen) < len(lines):
        others = np.delete(lines, chosen, axis=0)
        band = np.nanmin(others, axis=0), np.nanmax(others, axis=0)
        label = f"range of {len(others):,} others"
        ax.fill_between(x, *band, color=style.OTHERS, alpha=0.35, linewidth=0, label=label)
    marker: dict[str, Any] = {"marker": "o", "markersize": 3} if len(x) <= 40 else {}
    for place, line in enumerate(chosen):
        made += ax.plot(x, lines[line], label=f"{name} {line}", linewidth=1.3, **style.look(place), **marker)
    style.label(
        ax,
        title=f"{style.short(data.slot, 60)}: {style.short(data.model, 60)}\n{words}",
        x="unit" if along_units else "time step",
        y=data.what,
    )
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    if len(chosen) > 1:
        style.legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made
