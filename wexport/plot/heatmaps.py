"""Heat maps of kernels and other tensors, with gates marked, over one or several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wexport.errors import UsageError
from wexport.plot import style
from wexport.plot.data import Table, quoted
from wexport.plot.gate_panels import GATE_WORDS
from wexport.plot.kinds import plots
from wexport.plot.matrices import Matrix, matrix_of, shape_words
from wexport.plot.picks import Picks, models_words, pick
from wexport.plot.quantities import Quantity
from wexport.plot.scales import LOST, Scale, colour_bar

SLOTS = 6
"""How many slots one figure shows, a row each."""
PANELS, PANELS_A_ROW = 8, 4
"""How many models one figure shows of one slot; of several slots, as many models as fit in a row."""
MARKED = 200
"""Up to this many cells that are not finite get a mark each; more are seen by their colour alone."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One tensor of one model. matrix: None where there is nothing to draw, and `reason` says why."""

    model: str
    slot: str
    role: str
    matrix: Matrix | None
    nan_count: int = 0
    inf_count: int = 0
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Heatmaps:
    """Panels to be compared: a row a slot, a column a model."""

    picks: Picks
    panels: list[list[Panel]]


@plots
def heatmap(
    table: Table, slot: str = "", *, ax: Axes, model: str = "*", limit: float | None = None, shown: int = PANELS
) -> list[QuadMesh]:
    """A heat map of one tensor of one model: inputs down, output units across.

    All values where the table holds them, else the root mean square of blocks, and the colour bar says so.

    slot, model: one of each. limit: where the colour scale ends; by default the largest drawn, or less where
    a few values are far above all others. shown: for whole figures.
    Raises UsageError if there is nothing to draw, or more than one tensor is asked for.
    """
    data = load(table, slot, model, shown=shown)
    if len(data.picks.slots) > 1 or data.picks.of > 1:
        found = f"{len(data.picks.slots):,} slots" if len(data.picks.slots) > 1 else f"{data.picks.of:,} models"
        raise UsageError(f"{found} fit, and axes have room for one tensor", hint="name one, or make a whole figure")
    panel = data.panels[0][0]
    with style.settings():
        scale = _scale([panel], limit, data.picks.quantity)
        made = draw(panel, ax, scale, title=f"{style.short(panel.slot, 60)}: {style.short(panel.model, 60)}")
        colour_bar([ax], scale)
    return made


def whole(
    table: Table,
    slot: str,
    *,
    model: str = "*",
    limit: float | None = None,
    shown: int = PANELS,
    size: tuple[float, float] | None = None,
) -> Figure:
    """Heat maps of one slot, or of several, over several models; each slot has one colour scale for all models.

    slot: one, or a pattern that at most six fit, such as "lstm/*". shown: how many models at most.
    """
    data = load(table, slot, model, shown=shown)
    with style.settings():
        rows, columns = _layout(data)
        made = style.Picture(figsize=size or _size(data, rows, columns))
        places = made.subplots(rows, columns, squeeze=False, height_ratios=_heights(data, rows))
        panels = [panel for row in data.panels for panel in row]
        for place in places.flat[len(panels) :]:
            place.set_axis_off()
        grouped = [list(zip(row, places.flat[start:], strict=False)) for start, row in _starts(data.panels)]
        for slot_row in grouped:
            _draw_row(made, slot_row, data, limit)
        if len(panels) > 1:
            style.plain([made.suptitle(_title(data), x=0.01, ha="left", fontsize=10, wrap=True)])
    return made


def load(table: Table, slot: str, model: str = "*", *, shown: int = PANELS) -> Heatmaps:
    """The tensors of some slots in some models; of more than `shown` models, some evenly spread over their order.

    Raises UsageError if there is none, none that can be drawn, or too many slots fit.
    """
    picks = pick(table, slot, model, slots=SLOTS, models=shown, models_of_several=PANELS_A_ROW)
    panels = [[_panel(name, one, picks.rows.get((name, one))) for one in picks.models] for name in picks.slots]
    if all(panel.matrix is None for row in panels for panel in row):
        reason = panels[0][0].reason
        raise UsageError(
            f"{quoted(slot)} cannot be drawn: {reason}", hint="a table of --detail full holds values or grids"
        )
    return Heatmaps(picks, panels)


def _panel(slot: str, model: str, row: dict[str, Any] | None) -> Panel:
    if row is None:
        return Panel(model, slot, "unknown", None, reason="no such slot in this model")
    if not row["value_count"]:
        return Panel(model, slot, row["role"], None, reason="it has no values")
    matrix = matrix_of(row)
    reason = "" if matrix else "the table holds neither all its values nor a grid"
    return Panel(model, slot, row["role"], matrix, row["nan_count"], row["inf_count"], reason)


# -- drawing ---------------------------------------------------------------------------------------------------------


def draw(panel: Panel, ax: Axes, scale: Scale, *, title: str = "", wide: bool = True) -> list[QuadMesh]:
    """Draw a tensor onto axes. wide: whether there is room for the gates' names beside their letters."""
    matrix = panel.matrix
    if matrix is None:
        ax.set_axis_off()
        words = ax.text(0.5, 0.5, panel.reason, ha="center", va="center", wrap=True, fontsize=8, color="#555555")
        style.plain([words])
        style.label(ax, title=title)
        return []
    edges = matrix.column_edges - 0.5, matrix.row_edges - 0.5
    cells = np.ma.masked_invalid(matrix.cells)
    # As an image inside SVG and PDF: thousands of rectangles are large and slow there.
    mesh = ax.pcolormesh(*edges, cells, cmap=scale.map, norm=scale.norm, rasterized=True)
    ax.set_xlim(edges[0][0], edges[0][-1])
    ax.set_ylim(edges[1][-1], edges[1][0])
    _mark_lost(ax, matrix)
    _ticks(ax, matrix, panel.role)
    _mark_gates(ax, matrix, wide)
    style.label(ax, title=title + _lost_words(panel), x=_side(matrix, panel.role, 1), y=_side(matrix, panel.role, 0))
    return [mesh]


def _mark_lost(ax: Axes, matrix: Matrix) -> None:
    """Rings around cells that are not finite: alone, one would be too small to be seen."""
    rows, columns = np.nonzero(~np.isfinite(matrix.cells))
    if 0 < rows.size <= MARKED:
        middles = [(edges[:-1] + edges[1:] - 1) / 2 for edges in (matrix.column_edges, matrix.row_edges)]
        look: dict[str, Any] = {"facecolors": "none", "edgecolors": "black", "linewidths": 0.8}
        ax.scatter(middles[0][columns], middles[1][rows], 26, clip_on=False, zorder=4, **look)


def _ticks(ax: Axes, matrix: Matrix, role: str) -> None:
    height, width = int(matrix.row_edges[-1]), int(matrix.column_edges[-1])
    ax.yaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    if height == 1:
        ax.set_yticks([])
    elif len(matrix.shape) == 2 and height == 2 and role == "bias":
        # The two vectors of a GRU that resets after the product, and of CuDNN's layers.
        ax.set_yticks([0, 1], ["input", "recurrent"])
    if matrix.gates:
        units = width // len(matrix.gates)
        within = np.arange(0, units, max(1, -(-units // 2)))
        starts = np.arange(len(matrix.gates)) * units
        ticks = (starts[:, None] + within).ravel()
        ax.set_xticks(ticks, [f"{unit:,}" for unit in np.tile(within, len(matrix.gates))])


def _mark_gates(ax: Axes, matrix: Matrix, wide: bool) -> None:
    if not matrix.gates:
        return
    borders = np.linspace(0, matrix.column_edges[-1], len(matrix.gates) + 1) - 0.5
    for border in borders[1:-1]:
        ax.axvline(border, color="black", linewidth=1.2, zorder=3)
    names = [f"{gate}: {GATE_WORDS[gate]}" if wide and gate in GATE_WORDS else gate for gate in matrix.gates]
    top = ax.secondary_xaxis("top")
    top.set_xticks([(low + high) / 2 for low, high in pairwise(borders)], [style.short(name, 16) for name in names])
    top.tick_params(length=0, pad=1)
    top.spines["top"].set_visible(False)
    style.plain(top.get_xticklabels())


def _side(matrix: Matrix, role: str, side: int) -> str:
    """What the rows (0) or the columns (1) are."""
    axes = (matrix.row_axes, matrix.column_axes)[side]
    if not axes or (side == 0 and len(matrix.shape) < 2):
        return ""
    kernel = role in _SIDES or role.endswith("kernel")
    named = (kernel and len(matrix.shape) > 1) or (role == "bias" and side == 1)
    words = _SIDES.get(role, ("input", "unit"))[side] if named else "index" if side else ""
    if role in ("input", "output"):  # of a layer
        words = "input" if axes == (0,) else "unit" if side else "input and place" if 0 in axes else "place"
    if matrix.gates and side:
        words = f"{words} in each gate"
    if len(axes) > 1:
        words += f"{' ' if words else ''}({shape_words([matrix.shape[axis] for axis in axes])} flattened)"
    return words


_SIDES = {"recurrent_kernel": ("from hidden unit", "to hidden unit"), "embeddings": ("token", "dimension")}


def _lost_words(panel: Panel) -> str:
    assert panel.matrix is not None
    counts = [(panel.nan_count, "NaN"), (panel.inf_count, "infinite")]
    words = ", ".join(f"{count:,} {name}" for count, name in counts if count)
    colour = LOST[panel.matrix.is_rms][1]
    if not words:
        return ""
    if panel.matrix.is_rms:
        return f"\n{words}, left out of the blocks ({colour}: nothing else in it)"
    return f"\n{words} ({colour})"


def _scale(panels: Sequence[Panel], limit: float | None, quantity: Quantity) -> Scale:
    matrices = [panel.matrix for panel in panels if panel.matrix is not None]
    blocks = {matrix.block for matrix in matrices}
    words = f"RMS of blocks of {blocks.pop() if len(blocks) == 1 else 'different numbers of'} {quantity.many}"
    if matrices[0].pooled > 1:
        words += f"\nover {matrices[0].pooled:,} inputs"
    is_rms = matrices[0].is_rms
    words = words if is_rms else quantity.axis
    return Scale.over([matrix.cells for matrix in matrices], limit, is_rms=is_rms, words=words)


# -- whole figures ---------------------------------------------------------------------------------------------------


def _starts(rows: Sequence[list[Panel]]) -> list[tuple[int, list[Panel]]]:
    """Rows of panels with the place of the first of each."""
    return [(sum(len(before) for before in rows[:place]), row) for place, row in enumerate(rows)]


def _layout(data: Heatmaps) -> tuple[int, int]:
    if len(data.picks.slots) > 1:
        return len(data.picks.slots), len(data.picks.models)
    rows = -(-len(data.picks.models) // PANELS_A_ROW)
    return rows, -(-len(data.picks.models) // rows)


def _heights(data: Heatmaps, rows: int) -> list[float]:
    """Relative heights of the rows of panels: those of few rows of cells are flat."""
    each = [max(0.3 + 0.09 * (min(_depth(panel), 9) - 1) for panel in row) for row in data.panels]
    return each if len(data.picks.slots) > 1 else each * rows


def _depth(panel: Panel) -> int:
    return 1 if panel.matrix is None else len(panel.matrix.cells)


def _size(data: Heatmaps, rows: int, columns: int) -> tuple[float, float]:
    unit = 2.6 if columns > 1 else 3.4
    return max(8.0, 3.2 * columns + 1.0), 1.1 + sum(unit * height + 0.6 for height in _heights(data, rows))


def _draw_row(made: Figure, row: list[tuple[Panel, Axes]], data: Heatmaps, limit: float | None) -> None:
    """The panels of one slot: those of values share one scale, those of root mean squares another."""
    for is_rms in (False, True):
        group = [(panel, ax) for panel, ax in row if panel.matrix is not None and panel.matrix.is_rms == is_rms]
        if not group:
            continue
        scale = _scale([panel for panel, _ in group], limit, data.picks.quantity)
        for panel, ax in group:
            draw(panel, ax, scale, title=_panel_title(panel, data), wide=len(data.picks.models) == 1)
            place = ax.get_subplotspec()
            if place is not None and not place.is_first_col():
                ax.set_ylabel("")
        colour_bar([ax for _, ax in row], scale)
    for panel, ax in row:
        if panel.matrix is None:
            draw(panel, ax, Scale(False, 1.0), title=_panel_title(panel, data))


def _panel_title(panel: Panel, data: Heatmaps) -> str:
    model = style.short_all(data.picks.models, 36)[data.picks.models.index(panel.model)]
    shape = "" if panel.matrix is None else f" ({shape_words(panel.matrix.shape)})"
    if len(data.picks.models) == 1:
        lead = f": {model}" if len(data.picks.slots) == 1 else ""
        return f"{style.short(panel.slot, 60)}{lead}{shape}"
    if (
        len({other.matrix.shape for row in data.panels for other in row if other.matrix and other.slot == panel.slot})
        > 1
    ):
        model += shape
    if len(data.picks.slots) == 1:
        return model
    # The slot stands over the first panel of its row, and has the room over the others as well.
    return f"{style.short(panel.slot, 70) if panel.model == data.picks.models[0] else ' '}\n{model}"


def _kinds(row: list[Panel]) -> set[bool]:
    """Whether the panels of a slot are root mean squares: some may be, and others not, where shapes differ."""
    return {panel.matrix.is_rms for panel in row if panel.matrix is not None}


def _title(data: Heatmaps) -> str:
    shapes = {panel.matrix.shape for row in data.panels for panel in row if panel.matrix is not None}
    parts = []
    if len(data.picks.slots) == 1:
        shape = f" ({shape_words(next(iter(shapes)))})" if len(shapes) == 1 else " (of different shapes)"
        parts.append(style.short(data.picks.slots[0], 60) + shape)
    if len(data.picks.models) > 1:
        parts.append(models_words(data.picks))
        mixed = any(len(_kinds(row)) > 1 for row in data.panels)
        parts.append("one colour scale" + (" for values, one for RMS" if mixed else ""))
        parts[-1] += ", in each row" if len(data.picks.slots) > 1 else ""
    elif data.picks.of > 1:
        parts.append(f"{style.short(data.picks.models[0], 60)}, 1 of {data.picks.of:,} models")
    else:
        parts.append(f"{style.short(data.picks.models[0], 80)}; one colour scale a slot")
    return "; ".join(parts)
