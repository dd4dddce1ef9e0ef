"""Curves of what the units of a layer give: along time, or unit by unit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from wexport.errors import UsageError
from wexport.plot import style
from wexport.plot.data import Table
from wexport.plot.kinds import plots
from wexport.plot.matrices import Floats, band_edges
from wexport.plot.outputs import Output, axes_words, drawn_by, load
from wexport.terminal.text import counted


@dataclass(frozen=True, slots=True)
class Lines:
    """y: (lines, points). x: where the points are. each: what a line is of; first: the number of the first one.

    what: what is drawn, for the title. is_rms: whether it is the root mean square over inputs.
    """

    y: Floats
    x: Floats
    each: str
    what: str
    first: int = 0
    is_rms: bool = False


@plots
def curves(
    table: Table,
    slot: str = "",
    *,
    ax: Axes,
    model: str = "*",
    number: int | None = None,
    shown: int = style.SHOWN,
    scale: str = "linear",
) -> list[Line2D]:
    """What the units of a recurrent or one-dimensional layer give, step by step, a line a unit; of a layer without
    steps, unit by unit, a line an input.

    slot, model: one of each. number: of the input, from 0, where the table holds single outputs; by default the first
    of sequences, and all of a layer without steps. Of many inputs the table holds the root mean square alone.
    shown: how many lines stand out; of the others the range is grey. scale: linear or log, of magnitudes.
    Raises UsageError if there is nothing to draw, or the output is a picture.
    """
    style.choice("scale", scale, ("linear", "log"))
    if shown < 1:
        raise UsageError(f"shown {shown} is not a number of lines", hint="give 1 or more")
    data = load(table, slot, model)
    if len(data.shape) not in (1, 2):
        raise UsageError(f"{data.slot} is not a curve: {axes_words(data)}", hint=drawn_by(data))
    lines = _along_units(data, number) if len(data.shape) == 1 else _along_time(data, number)
    y, words = lines.y, lines.what
    what = f"{'RMS of the ' if lines.is_rms else ''}{data.quantity.axis}"
    if scale == "log":
        if zeros := int((y == 0).sum()):
            words += f"; {counted(zeros, 'zero')} not shown"
        y = np.where(y == 0, np.nan, np.abs(y))
        what = what if lines.is_rms else f"magnitude of the {what}"
        if not np.isfinite(y).any():
            raise UsageError(f"no {data.quantity.one} is other than 0", hint="choose scale linear")
    with style.settings():
        made = _draw(ax, lines, y, shown)
        title = f"{style.short(data.slot, 60)}: {style.short(data.model, 60)}\n{words}"
        style.label(ax, title=title, x="unit" if len(data.shape) == 1 else "time step", y=what)
        if scale == "log":
            style.logarithmic(ax)
        return made


def _along_units(data: Output, number: int | None) -> Lines:
    (units,) = data.shape
    if number is not None:
        what = f"input {number} of {data.inputs:,}"
        return Lines(data.chosen(number)[None], np.arange(units, dtype=np.float64), "input", what, number)
    if data.values is not None:
        return Lines(data.values, np.arange(units, dtype=np.float64), "input", counted(data.inputs, "input"))
    assert data.bands is not None
    bands = data.bands.shape[1]
    return Lines(data.bands, _middles(units, bands), "input", _over_inputs(data, units, bands), is_rms=True)


def _along_time(data: Output, number: int | None) -> Lines:
    steps, units = data.shape
    if number is not None or data.values is not None:
        number = number or 0
        what = f"input {number} of {data.inputs:,}"
        return Lines(data.chosen(number).T, np.arange(steps, dtype=np.float64), "unit", what)
    assert data.bands is not None
    bands = data.bands.shape[1]
    each = "unit" if bands == units else "band of units"
    x = _middles(steps, len(data.bands))
    return Lines(data.bands.T, x, each, _over_inputs(data, units, bands), is_rms=True)


def _over_inputs(data: Output, units: int, bands: int) -> str:
    width = "" if bands == units else f", {bands} bands of {units:,} units"
    return f"RMS over {counted(data.inputs, 'input')}{width}"


def _middles(length: int, bands: int) -> Floats:
    edges = band_edges(length, bands)
    middles: Floats = (edges[:-1] + edges[1:] - 1) / 2
    return middles


def _draw(ax: Axes, lines: Lines, y: Floats, shown: int) -> list[Line2D]:
    chosen = style.standing_out(len(y), shown)
    made = []
    if len(chosen) < len(y):
        others = np.delete(y, chosen, axis=0)
        band = np.fmin.reduce(others), np.fmax.reduce(others)  # of those that are not NaN
        label = f"range of {len(others):,} others"
        ax.fill_between(lines.x, *band, color=style.OTHERS, alpha=0.35, linewidth=0, label=label)
    marker: dict[str, Any] = {"marker": "o", "markersize": 3} if len(lines.x) <= 40 else {}
    for place, line in enumerate(chosen):
        label = f"{lines.each} {lines.first + line}"
        made += ax.plot(lines.x, y[line], label=label, linewidth=1.3, **style.look(place), **marker)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    if len(y) > 1:
        style.legend(ax, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return made
