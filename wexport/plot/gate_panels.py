"""Histograms of the gates of a recurrent layer: a row a kernel or bias, a column a gate and direction."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, StepPatch
from matplotlib.ticker import MaxNLocator

from wexport.errors import UsageError
from wexport.model.gates import KINDS, LETTERS
from wexport.model.roles import GATED
from wexport.plot import limits, style
from wexport.plot.bins import Bins, Floats, counts_in, edges_for, reach
from wexport.plot.data import ORDER, Table, fetch, listed, quoted, unless_any_fits
from wexport.plot.kinds import plots
from wexport.plot.overlays import BAND, labels, overlay
from wexport.plot.quantities import WEIGHT, Quantity, quantity_of
from wexport.sessions.session import Session, opened
from wexport.terminal.text import counted

BARS = 40
GATE_WORDS = {gate.letter: gate.name for kind in KINDS for gate in kind.gates}
_DIRECTIONS = (None, "forward", "backward")

# A layer's slot is that of its tensors without the role, and without the direction of a bidirectional layer.
_RECURRENT = rf"""
WITH of_layers AS (
    SELECT *, CASE WHEN direction IS NULL THEN layer_of_slot(slot)
        ELSE regexp_replace(layer_of_slot(slot), '/(forward|backward)(/|$)', '\2') END AS layer_slot
    FROM weights
    WHERE role IN {GATED} AND asked_for(model, getvariable('model'))
)
"""
_LAYERS = f"""{_RECURRENT}
SELECT layer_slot, model
FROM of_layers
WHERE asked_for(layer_slot, getvariable('layer'))
GROUP BY layer_slot, model, run, step
HAVING bool_or(role = 'recurrent_kernel')
ORDER BY {ORDER}, min(tensor_index), layer_slot
"""
_TENSORS = f"""{_RECURRENT}
SELECT
    model, kind, role, layer_class, direction, gate, value_count, nan_count, inf_count, histogram,
    list_transform(gates, lambda figures: {{
        'gate': figures.gate, 'value_count': figures.value_count, 'nan_count': figures.nan_count,
        'inf_count': figures.inf_count, 'histogram': figures.histogram}}) AS gates
FROM of_layers
WHERE layer_slot = getvariable('layer') AND value_count > 0
ORDER BY {ORDER}, tensor_index
"""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of panels. direction: None in a layer of one direction. gate: None where there are none, or they are not
    known.
    """

    direction: str | None
    gate: str | None


@dataclass(frozen=True, slots=True)
class Histogram:
    """The values of one gate in one tensor of one model."""

    bins: Bins
    value_count: int
    nan_count: int
    inf_count: int

    @classmethod
    def of(cls, figures: Mapping[str, Any]) -> Histogram:
        """From a row of the table, or from one of its `gates`."""
        counts = (figures[name] for name in ("value_count", "nan_count", "inf_count"))
        return cls(Bins.of(figures["histogram"]), *counts)


@dataclass(frozen=True, slots=True)
class Gates:
    """One layer in several models. classes: what the files say that it is; None where one does not tell.

    panels: by role and column, the histograms of the models that have them. quantity: what they are of.
    """

    layer: str
    classes: set[str | None]
    models: list[str]
    roles: list[str]
    columns: list[Column]
    panels: dict[tuple[str, Column], dict[str, Histogram]]
    quantity: Quantity = WEIGHT


@plots
def gates(table: Table, layer: str = "*", *, ax: Axes, model: str = "*", bars: int = BARS) -> list[StepPatch]:
    """Histograms of the gates of a recurrent layer, over one or several models, in panels inside the axes.

    A row each for kernel, recurrent kernel and bias, a column for each gate, of each direction if there are two; a
    layer without gates has one column. The panels of a row have the same limits.

    layer: a slot without its role, such as "lstm" or "bidirectional"; needed where the models have several.
    bars: about how many; none is finer than what the table holds.
    Raises UsageError if there is no such recurrent layer, or several fit.
    """
    return draw(load(table, layer, model), ax, bars=bars)


def whole(
    table: Table, layer: str = "*", *, model: str = "*", bars: int = BARS, size: tuple[float, float] | None = None
) -> Figure:
    """The same as a figure of its own, of a size that suits the panels."""
    data = load(table, layer, model)
    with style.settings():
        width = max(6.0, 1.2 + 2.1 * len(data.columns)) + (2.0 if len(data.models) > 1 else 0.0)
        made = style.Picture(figsize=size or (min(width, 18.0), 1.2 + 1.9 * len(data.roles)))
        draw(data, made.subplots(), bars=bars)
    return made


def load(table: Table, layer: str = "*", model: str = "*") -> Gates:
    """The gates of a recurrent layer. Raises UsageError if there is none, or several layers fit."""
    asked = {"layer": layer, "model": model}
    with opened(table) as session:
        layers = _layers(session, layer, model)
        if len(layers) > 1:
            raise UsageError(f"{len(layers):,} recurrent layers fit", hint=f"choose one by layer: {listed(layers)}")
        rows = fetch(session, _TENSORS, {**asked, "layer": layers[0]}, "its tensors are empty")
    panels: dict[tuple[str, Column], dict[str, Histogram]] = {}
    for row in rows:
        for part in row["gates"] or [row]:
            if part["histogram"] is not None:
                place = row["role"], Column(row["direction"], part["gate"])
                panels.setdefault(place, {})[row["model"]] = Histogram.of(part)
    columns = sorted({column for _, column in panels}, key=_column_order)
    roles = [role for role in GATED if any(role == known for known, _ in panels)]
    classes = {row["layer_class"] for row in rows}
    models = list(dict.fromkeys(row["model"] for row in rows))
    return Gates(layers[0], classes, models, roles, columns, panels, quantity_of(rows))


def _layers(session: Session, layer: str, model: str) -> list[str]:
    """The recurrent layers that fit. Raises UsageError, naming those that there are, if none does."""
    for pattern in (layer, "*"):
        found: list[str] = session.ask(_LAYERS, {"layer": pattern, "model": model}).column("layer_slot").to_pylist()
        if found and pattern == layer:
            return list(dict.fromkeys(found))
    if models := unless_any_fits(session, model):
        raise UsageError(f"no model fits {quoted(model)}", hint=models)
    where = "here" if model == "*" else f"in {model}"
    if found:
        hint = f"recurrent layers {where} are {listed(list(dict.fromkeys(found)))}"
    else:
        hint = f"nothing {where} has a recurrent kernel, and so gates; `wexport plot histogram` draws any slot"
    raise UsageError("there is no recurrent layer" + ("" if layer == "*" else f" {layer!r}"), hint=hint)


def layer_of(slot: str, direction: str | None) -> str:
    """What `gates` calls the layer of a slot."""
    layer = slot.rpartition("/")[0]
    return re.sub("/(?:forward|backward)(/|$)", r"\1", layer) if direction else layer


def _column_order(column: Column) -> tuple[int, int, str]:
    gate = column.gate or ""
    return _DIRECTIONS.index(column.direction), LETTERS.index(gate) if gate in LETTERS else len(LETTERS), gate


# -- drawing ---------------------------------------------------------------------------------------------------------


def draw(data: Gates, ax: Axes, *, bars: int = BARS) -> list[StepPatch]:
    """Draw the panels into axes, whose own frame is hidden.

    Returns the outlines, panel by panel along the rows and in a panel by model; where there are too many models to
    tell apart, the last of a panel is the range of the others. Each artist's `axes` is its panel.
    """
    standing = [data.models[place] for place in style.standing_out(len(data.models))]
    artists: list[StepPatch] = []
    with style.settings():
        ax.set_axis_off()
        for number, role in enumerate(data.roles):
            panels = [_panel(data, ax, number, place) for place in range(len(data.columns))]
            artists += _draw_row(data, role, panels, standing, bars)
            _label_row(data, number, panels)
        if len(data.models) > 1:
            _legend(data, ax, standing)
        style.label(ax, title=_title(data))
    return artists


def _panel(data: Gates, ax: Axes, row: int, column: int) -> Axes:
    """Axes inside the axes: panels of a row stand close, as only the first has numbers at its side."""
    across, down = len(data.columns), len(data.roles)
    gap = 0.015 if across < 6 else 0.01
    width = (1 - gap * (across - 1)) / across
    top = 0.16 / down  # the gates' names
    pitch = (1 - top) / down
    height = pitch * (0.76 if down > 1 else 1.0)
    bottom = 1 - top - row * pitch - height if down > 1 else 0.0
    return ax.inset_axes((column * (width + gap), bottom, width, height))


def _draw_row(data: Gates, role: str, panels: list[Axes], standing: list[str], bars: int) -> list[StepPatch]:
    found = [data.panels.get((role, column), {}) for column in data.columns]
    far = _far(found)
    low, high = reach([one.bins for models in found for name, one in models.items() if name not in far])
    edges = edges_for([one.bins.within(low, high) for models in found for one in models.values()], bars)
    densities = [{name: _density(one.bins, low, high, edges) for name, one in models.items()} for models in found]
    limit, highest = _limit([density for models in densities for density in models.values()])
    artists = []
    for panel, models, density in zip(panels, found, densities, strict=True):
        artists += _lines(panel, edges, density, standing)
        panel.set_xlim(edges[0], edges[-1])
        panel.set_ylim(0, limit)
        panel.xaxis.set_major_locator(MaxNLocator(4 if len(panels) < 6 else 3, prune="both"))
        beyond = sum(int(one.bins.count.sum() - one.bins.within(low, high).count.sum()) for one in models.values())
        _note(panel, models, density, limit if highest > limit else np.inf, beyond, len(data.models))
    return artists


def _far(panels: Sequence[dict[str, Histogram]]) -> set[str]:
    """The models that would flatten all others in a row."""
    found: set[str] = set()
    for models in panels:
        names = list(models)
        found |= {names[place] for place in limits.reach_of([one.bins for one in models.values()])[2]}
    return found


def _density(bins: Bins, low: float, high: float, edges: Floats) -> Floats:
    counts = counts_in(bins.within(low, high), edges)
    density: Floats = counts / (max(1, int(bins.count.sum())) * np.diff(edges))
    return density


def _limit(densities: Sequence[Floats]) -> tuple[float, float]:
    """Where the panels of a row end, and the highest bar: one bar a histogram may be cut, if it is far above others."""
    if not densities:
        return 1.0, 1.0
    values = np.sort(np.concatenate(densities))[::-1]
    highest, rest = float(values[0]), float(values[min(len(densities), values.size - 1)])
    if highest <= 0:
        return 1.0, highest
    return (1.3 * rest if 0 < 4 * rest < highest else 1.12 * highest), highest


def _lines(panel: Axes, edges: Floats, densities: dict[str, Floats], standing: list[str]) -> list[StepPatch]:
    if len(standing) == 1:
        return [
            panel.stairs(densities[name], edges, fill=True, color=style.COLOURS[0], alpha=0.85) for name in densities
        ]
    return overlay(panel, edges, densities, standing, width=1.2)


def _note(
    panel: Axes, models: dict[str, Histogram], densities: dict[str, Floats], limit: float, beyond: int, of: int
) -> None:
    """What the bars do not show: values that are not finite or far away, and how high a bar is that is cut off."""
    words = []
    for name, counts in (
        ("NaN", [one.nan_count for one in models.values()]),
        ("infinite", [one.inf_count for one in models.values()]),
    ):
        if sum(counts):
            among = f" in {sum(map(bool, counts)):,} of {of:,} models" if of > 1 else ""
            words.append(f"{sum(counts):,} {name}{among}")
    highest = max((float(density.max()) for density in densities.values()), default=0.0)
    if highest > limit:
        words.append(f"up to {highest:.3g} ▲")
    if beyond:
        words.append(f"{counted(beyond, 'value')} beyond")
    if not models:
        words = ["none"]
    elif len(models) < of:
        words.append(f"{len(models):,} of {of:,} models")
    if words:
        lost = any(one.nan_count or one.inf_count for one in models.values())
        look: dict[str, Any] = {"ha": "right", "va": "top", "fontsize": 7, "zorder": 5}
        colour = style.COLOURS[1] if lost else "#444444"
        style.plain([panel.text(0.98, 0.97, "\n".join(words), transform=panel.transAxes, color=colour, **look)])


def _label_row(data: Gates, number: int, panels: list[Axes]) -> None:
    for panel, column in zip(panels, data.columns, strict=True):
        if number == 0:
            gate = f"{style.short(column.gate, 12)}: {GATE_WORDS[column.gate]}" if column.gate in GATE_WORDS else ""
            words = gate or (style.short(column.gate, 12) if column.gate else "all values")
            title = f"{column.direction} {words}" if column.direction else words
            style.plain([panel.set_title(title, loc="left", fontsize=8, pad=3)])
        if panel is not panels[0]:
            panel.tick_params(labelleft=False)
    last = number == len(data.roles) - 1
    style.label(panels[0], y=f"{data.roles[number].replace('_', ' ')}\ndensity", x=data.quantity.axis if last else "")


def _legend(data: Gates, ax: Axes, standing: list[str]) -> None:
    handles: list[Any] = [Line2D([], [], **style.look(place), linewidth=1.4) for place in range(len(standing))]
    if len(standing) < len(data.models):
        handles.append(Patch(**BAND))
    words = labels(standing, len(data.models))
    made = ax.legend(handles, words, loc="upper left", bbox_to_anchor=(1.005, 1.0), borderaxespad=0)
    style.plain(made.get_texts())


def _title(data: Gates) -> str:
    models = f"{len(data.models):,} models" if len(data.models) > 1 else style.short(data.models[0], 60)
    without = all(column.gate is None for column in data.columns)
    of = "values" if without else "a gate's values"
    simple = data.classes <= {"SimpleRNN", "SimpleRNNCell"}
    gates = "" if not without else ", without gates" if simple else "; the files do not tell its gates"
    return (
        f"{style.short(data.layer, 60)}: {models}{gates}; density is the share of {of} per unit of {data.quantity.one}"
    )
