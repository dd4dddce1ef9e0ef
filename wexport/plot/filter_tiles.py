"""Convolution kernels as pictures, a tile a filter, where the table holds them whole."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from wexport.errors import UsageError
from wexport.plot import style
from wexport.plot.data import Table
from wexport.plot.kinds import plots
from wexport.plot.matrices import Floats, shape_words, whole_values
from wexport.plot.picks import Picks, models_words, pick
from wexport.plot.quantities import WEIGHT, Quantity
from wexport.plot.scales import LOST, Scale, colour_bar
from wexport.plot.tiles import Tiling, canvas
from wexport.sessions.session import opened

COLOURS = ("diverging", "grey", "rgb")
PANELS, PANELS_A_ROW = 6, 3

_HELD = """
SELECT slot FROM weights
WHERE asked_for(model, getvariable('model'))
    AND len(canonical_shape) >= 3 AND unit_axes IS NOT NULL AND len(sample.value) = value_count
    AND role NOT IN ('input', 'output')
    AND coalesce(layer_class, 'Conv') LIKE '%Conv%'
GROUP BY slot ORDER BY min(tensor_index), slot
"""


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of one kernel. tiles: (filters, planes, height, width); a plane is what a filter does to one
    input channel (of a 3D convolution: in one slice). filter_names, plane_names: what each is called.
    """

    model: str
    slot: str
    shape: tuple[int, ...]
    tiles: Floats
    filter_names: list[str]
    plane_names: list[str]
    nan_count: int
    inf_count: int


@plots
def filters(
    table: Table,
    slot: str = "",
    *,
    ax: Axes,
    model: str = "*",
    colour: str = "diverging",
    limit: float | None = None,
    shown: int = PANELS,
) -> list[QuadMesh]:
    """The filters of one convolution of one model as tiles, all on one colour scale.

    slot, model: one of each. colour: "diverging", "grey", or "rgb" for kernels that see three channels.
    limit: where the scale ends; by default at the largest. shown: for whole figures.
    Raises UsageError if the table does not hold the kernel whole, or it is not a convolution's.
    """
    picks, found = load(table, slot, model, shown=shown)
    if len(found) > 1:
        raise UsageError(f"{len(found):,} models fit, and axes have room for one", hint="name one, or make a figure")
    with style.settings():
        scale = scale_over(found, colour, limit, picks.quantity)
        made = draw(found[0], ax, scale, title=f"{_slot_words(found[0])}; {style.short(found[0].model, 60)}")
        if colour != "rgb":
            colour_bar([ax], scale)
    return made


def whole(
    table: Table,
    slot: str,
    *,
    model: str = "*",
    colour: str = "diverging",
    limit: float | None = None,
    shown: int = PANELS,
    size: tuple[float, float] | None = None,
) -> Figure:
    """The filters of one convolution in several models, a panel each, on one colour scale. shown: at most this many."""
    picks, found = load(table, slot, model, shown=shown)
    with style.settings():
        scale = scale_over(found, colour, limit, picks.quantity)
        rows = -(-len(found) // PANELS_A_ROW)
        columns = -(-len(found) // rows)
        width = 8.0 if columns == 1 else 4.2 * columns
        geometry = Tiling.of(found[0].tiles.shape, colour == "rgb")
        # What the colour bar and the names of channels leave.
        height = rows * (0.84 * width / columns * geometry.height / geometry.width + 0.4) + 0.5
        made = style.Picture(figsize=size or (width, min(max(height, 2.0), 9.0 if columns == 1 else 14.0)))
        panels = made.subplots(rows, columns, squeeze=False).ravel()
        names = style.short_all([one.model for one in found])
        for one, ax, name in zip(found, panels, names, strict=False):
            draw(one, ax, scale, title=name)
        for ax in panels[len(found) :]:
            ax.set_axis_off()
        if colour != "rgb":
            colour_bar(list(panels), scale)
        style.plain([made.suptitle(_title(picks, found, scale), x=0.01, ha="left", fontsize=10, wrap=True)])
    return made


def load(table: Table, slot: str, model: str = "*", *, shown: int = PANELS) -> tuple[Picks, list[Filters]]:
    """The filters of a slot in some models. Raises UsageError, naming slots that can be drawn, if this one cannot."""
    with opened(table) as session:
        picks = pick(session, slot, model, slots=1, models=shown, models_of_several=shown)
        found: list[Filters] = []
        for one in picks.models:
            row = picks.rows[picks.slots[0], one]
            reason = _refused(row)
            if reason:
                held = [line["slot"] for line in session.ask(_HELD, {"model": model}).to_pylist()]
                names = ", ".join(held[:6]) + (f" and {len(held) - 6:,} more" if len(held) > 6 else "")
                hint = f"held whole: {names}" if held else "the table holds no convolution whole; try a heatmap"
                raise UsageError(f"{picks.slots[0]} of {one}: {reason}", hint=hint)
            found.append(_filters(row))
    return picks, found


def _refused(row: dict[str, Any]) -> str:
    """Why a tensor cannot be drawn as filters; empty if it can."""
    shape, units = row["canonical_shape"], row["unit_axes"]
    if row["role"] in ("input", "output"):
        return "no kernel, but what goes through a layer; wexport plot maps draws it"
    if len(shape) < 3 or not units or min(units) < len(shape) - 2 or "Conv" not in (row["layer_class"] or "Conv"):
        return f"no convolution's kernel, as far as the table tells (shape {shape_words(shape)})"
    if not row["value_count"]:
        return "it has no values"
    held = len(row["sample"]["value"]) if row["sample"] else 0
    if held != row["value_count"]:
        return f"not held whole: the table has {held:,} of its {row['value_count']:,} values"
    return ""


def _filters(row: dict[str, Any]) -> Filters:
    values = whole_values(row)
    assert values is not None
    shape, units = values.shape, tuple(row["unit_axes"])
    channels = tuple(axis for axis in range(values.ndim - 2, values.ndim) if axis not in units)
    spatial = shape[: values.ndim - 2]
    ordered = values.transpose(*units, *channels, *range(values.ndim - 2))
    count, seen = math.prod(shape[axis] for axis in units), math.prod(shape[axis] for axis in channels)
    slices = math.prod(spatial[:-2])
    tiles = ordered.reshape(count, seen * slices, *((1, *spatial) if len(spatial) == 1 else spatial[-2:]))
    gates = row["gates"] or [""]
    a_gate = count // len(gates)
    names = [f"{gates[place // a_gate]} {place % a_gate}".strip() for place in range(count)]
    planes = [f"channel {channel}" for channel in range(seen)]
    if slices > 1:
        planes = [f"{name}, slice {number}" for name in planes for number in range(slices)]
    return Filters(row["model"], row["slot"], shape, tiles, names, planes, row["nan_count"], row["inf_count"])


def scale_over(found: list[Filters], colour: str, limit: float | None = None, quantity: Quantity = WEIGHT) -> Scale:
    """One scale for all filters of all models. quantity: what they hold.

    Raises UsageError for a kind of colour that does not fit them.
    """
    style.choice("colour", colour, COLOURS)
    for one in found:
        if colour == "rgb" and (len(one.plane_names) != 3 or len(one.shape) != 4):
            raise UsageError(
                f"rgb needs filters that see 3 channels, and those of {one.slot} see {one.tiles.shape[1]}",
                hint="choose diverging or grey",
            )
    name = {"diverging": "", "grey": "gray", "rgb": "gray"}[colour]
    scale = Scale.over([one.tiles for one in found], limit, is_rms=False, words=quantity.axis, colours=name)
    return scale if colour != "rgb" else Scale(False, scale.limit, scale.beyond, scale.of, "rgb", name)


# -- drawing ---------------------------------------------------------------------------------------------------------


def draw(found: Filters, ax: Axes, scale: Scale, *, title: str = "") -> list[QuadMesh]:
    """Draw the filters of one kernel onto axes; gaps are left empty, and cells that are not finite are marked."""
    rgb = scale.words == "rgb"
    layout = Tiling.of(found.tiles.shape, rgb)
    values, is_tile = canvas(found.tiles, layout)
    lost = is_tile & ~np.isfinite(values).all(axis=-1)
    cells: Any
    if rgb:
        shades = np.clip(np.nan_to_num(values, nan=0, posinf=0, neginf=0) / scale.limit / 2 + 0.5, 0, 1)
        cells = np.concatenate((shades, (is_tile & ~lost)[..., None]), axis=-1)
    else:
        cells = np.ma.masked_array(values[..., 0], ~is_tile | lost)
    mesh = ax.pcolormesh(
        layout.x, layout.y, cells, cmap=scale.map.with_extremes(bad="none"), norm=scale.norm, rasterized=True
    )
    _mark_lost(ax, layout, lost)
    ax.set_xlim(0, layout.width)
    ax.set_ylim(layout.height, 0)
    ax.set_aspect("equal")
    ax.spines[:].set_visible(False)
    ax.set_xticks([])
    _name(ax, found, layout)
    style.label(ax, title=title + _lost_words(found))
    return [mesh]


def _mark_lost(ax: Axes, layout: Tiling, lost: NDArray[np.bool_]) -> None:
    places = [
        Rectangle((layout.x[x], layout.y[y]), layout.x[x + 1] - layout.x[x], layout.y[y + 1] - layout.y[y])
        for y, x in np.argwhere(lost)
    ]
    if places:
        ax.add_collection(PatchCollection(places, facecolor=LOST[False][0], edgecolor="black", linewidth=0.6, zorder=3))


def _name(ax: Axes, found: Filters, layout: Tiling) -> None:
    """Numbers above the filters, or of each line's first; and what the rows of a line are."""
    _, _, high, wide = found.tiles.shape
    a_line, planes = layout.a_line, layout.planes
    cells = 1 + planes * (high + 1)
    if layout.numbered:
        for number, name in enumerate(found.filter_names):
            line, column = divmod(number, a_line)
            x = layout.x[column * (wide + 1) : column * (wide + 1) + wide + 1].mean()
            text = ax.text(float(x), layout.y[line * cells + 1], name, ha="center", va="bottom", fontsize=7)
            style.plain([text])
    places = [(line, plane) for line in range(layout.lines) for plane in range(planes)]
    rows = [line * cells + 1 + plane * (high + 1) for line, plane in places]
    middles = [(layout.y[row] + layout.y[row + high]) / 2 for row in rows]
    if not layout.numbered:
        firsts = [line * a_line for line in range(layout.lines)]
        step = max(1, -(-len(firsts) // 25))
        ax.set_yticks(middles[:: planes * step], [found.filter_names[first] for first in firsts[::step]])
        ax.set_ylabel("first filter of the line")
    elif planes > 1 and len(rows) <= 24:
        ax.set_yticks(middles, [found.plane_names[plane] for _, plane in places])
    else:
        ax.set_yticks([])
    ax.tick_params(length=0)


def _slot_words(found: Filters) -> str:
    count, planes, high, wide = found.tiles.shape
    size = f"{high} x {wide}" if len(found.shape) > 3 else f"{wide}"
    slices = found.shape[0] if len(found.shape) == 5 else 1
    seen = planes // slices
    channels = f"{seen:,} {'channel' if seen == 1 else 'channels'}" + (f" in {slices:,} slices" if slices > 1 else "")
    return f"{style.short(found.slot, 60)}: {count:,} filters of {size}, {channels} each"


def _lost_words(found: Filters) -> str:
    counts = [(found.nan_count, "NaN"), (found.inf_count, "infinite")]
    words = ", ".join(f"{count:,} {name}" for count, name in counts if count)
    return f"\n{words} ({LOST[False][1]})" if words else ""


def _title(picks: Picks, found: list[Filters], scale: Scale) -> str:
    shapes = {one.shape for one in found}
    slot = (
        _slot_words(found[0]) if len(shapes) == 1 else f"{style.short(found[0].slot, 60)}: kernels of different shapes"
    )
    words = f"{slot}; {models_words(picks)}, one colour scale" if picks.of > 1 else slot
    if scale.words == "rgb":
        words += f"\nchannels 0, 1, 2 as red, green, blue: a {picks.quantity.one} of 0 is half bright, "
        words += f"{scale.limit:.3g} full, {-scale.limit:.3g} dark"
        words += f" ({scale.beyond:,} of {scale.of:,} beyond)" if scale.beyond else ""
    return words
