"""What a layer gives for one input, as pictures: a tile a channel, or time by unit."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from wexport.errors import UsageError
from wexport.plot import style
from wexport.plot.data import Table
from wexport.plot.kinds import plots
from wexport.plot.matrices import Floats, band_edges
from wexport.plot.outputs import Output, axes_words, drawn_by, load
from wexport.plot.scales import LOST, Scale, colour_bar
from wexport.plot.tiles import Tiling, canvas


@plots
def maps(
    table: Table, slot: str = "", *, ax: Axes, model: str = "*", number: int | None = None, limit: float | None = None
) -> list[QuadMesh]:
    """What a layer gives for one input: a convolution's channels as tiles, a sequence as time by unit.

    A sequence of many inputs is drawn as the root mean square over them, in blocks. number: of the input, from 0; the
    first by default, where the table holds single outputs. limit: where the colour scale ends; by default the largest
    value, or less where a few are far above all others.
    Raises UsageError if there is nothing to draw, or the table holds no single outputs.
    """
    data = load(table, slot, model)
    with style.settings():
        made, scale = _draw(ax, data, number, limit)
        colour_bar([ax], scale)
    return made


def whole(
    table: Table,
    slot: str,
    *,
    model: str = "*",
    number: int | None = None,
    limit: float | None = None,
    size: tuple[float, float] | None = None,
) -> Figure:
    """The same as a figure of its own, as large as its tiles need."""
    data = load(table, slot, model)
    height = 4.5
    if len(data.shape) == 3:
        layout = Tiling.of((data.shape[2], 1, *data.shape[:2]))
        height = float(np.clip(8 * layout.height / layout.width + 0.6, 2.0, 9.0))
    with style.settings():
        made = style.Picture(figsize=size or (8.5, height))
        ax = made.subplots()
        _, scale = _draw(ax, data, number, limit)
        colour_bar([ax], scale)
    return made


def _draw(ax: Axes, data: Output, number: int | None, limit: float | None) -> tuple[list[QuadMesh], Scale]:
    title = f"{style.short(data.slot, 60)}: {style.short(data.model, 60)}"
    if len(data.shape) == 3:
        number = number or 0
        tiles = data.chosen(number).transpose(2, 0, 1)[:, None]
        scale = Scale.over([tiles], limit, is_rms=False, words=data.quantity.axis)
        mesh = _draw_tiles(ax, tiles, scale)
        high, wide, channels = data.shape
        style.label(ax, title=f"{title}\n{channels:,} channels of {high} x {wide}, input {number} of {data.inputs:,}")
        return [mesh], scale
    if len(data.shape) == 2:
        single = number is not None or data.values is not None
        number = number or 0
        cells = data.chosen(number) if single else data.bands
        assert cells is not None
        words = data.quantity.axis if single else f"RMS of the {data.quantity.axis} over inputs"
        scale = Scale.over([cells], limit, is_rms=not single, words=words)
        mesh = _draw_sequence(ax, cells, data, scale)
        what = f"input {number} of {data.inputs:,}" if single else f"over {data.inputs:,} inputs"
        title += f"\n{data.shape[0]:,} steps of {data.shape[1]:,} units, {what}"
        style.label(ax, title=title, x="unit", y="time step")
        return [mesh], scale
    raise UsageError(f"{data.slot} is not a picture: {axes_words(data)}", hint=drawn_by(data))


def _draw_tiles(ax: Axes, tiles: Floats, scale: Scale) -> QuadMesh:
    layout = Tiling.of(tiles.shape)
    values, is_tile = canvas(tiles, layout)
    shades = scale.map.with_extremes(bad=LOST[False][0])
    cells = np.ma.masked_invalid(values[..., 0])
    gaps = np.where(is_tile, 0.0, 1.0)
    mesh = ax.pcolormesh(layout.x, layout.y, cells, cmap=shades, norm=scale.norm, rasterized=True)
    # What lies between the tiles is not a value: it is covered, so that a lost one inside a tile keeps its colour.
    cover = np.ma.masked_equal(gaps, 0.0)
    ax.pcolormesh(layout.x, layout.y, cover, cmap="gray", vmin=0, vmax=1, rasterized=True)
    ax.set_xlim(0, layout.width)
    ax.set_ylim(layout.height, 0)
    ax.set_aspect("equal")
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    ax.set_yticks([])
    if layout.numbered:
        wide, cells_a_line = tiles.shape[3], 2 + tiles.shape[2]
        for channel in range(len(tiles)):
            line, column = divmod(channel, layout.a_line)
            x = layout.x[column * (wide + 1) : column * (wide + 1) + wide + 1].mean()
            y = layout.y[line * cells_a_line + 1]
            style.plain([ax.text(float(x), float(y), str(channel), ha="center", va="bottom", fontsize=7)])
    return mesh


def _draw_sequence(ax: Axes, cells: Floats, data: Output, scale: Scale) -> QuadMesh:
    edges = [band_edges(length, bands) - 0.5 for length, bands in zip(data.shape, cells.shape, strict=True)]
    mesh = ax.pcolormesh(
        edges[1], edges[0], np.ma.masked_invalid(cells), cmap=scale.map, norm=scale.norm, rasterized=True
    )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(8, integer=True, min_n_ticks=1))
    ax.set_xlim(edges[1][0], edges[1][-1])
    ax.set_ylim(edges[0][-1], edges[0][0])
    return mesh
