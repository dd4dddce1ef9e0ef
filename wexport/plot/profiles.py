"""A figure of the weights by depth, models as lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from wexport.errors import UsageError
from wexport.plot import columns, limits, style
from wexport.plot.data import ORDER, Table, there_is
from wexport.plot.kinds import plots
from wexport.plot.quantities import WEIGHT, Quantity, quantity_of
from wexport.sessions.session import opened
from wexport.terminal.text import counted

Floats = NDArray[np.float64]
Place = tuple[str, str, str]
"""Kind, slot and shape: what must be equal for figures of two models to be set against each other."""

_SQL = f"""
SELECT
    model, kind, slot, role, dtype, shape_text(canonical_shape) AS shape, {{number}} AS figure,
    (SELECT count(DISTINCT model) FROM weights WHERE asked_for(model, getvariable('model'))) AS asked
FROM weights
WHERE asked_for(model, getvariable('model')) AND asked_for(slot, getvariable('slot'))
    AND asked_for(role, getvariable('role'))
ORDER BY {ORDER}, tensor_index, slot
"""
_ROLES = """
SELECT role, count(*) AS n FROM weights
WHERE asked_for(model, getvariable('model')) AND asked_for(slot, getvariable('slot'))
GROUP BY role ORDER BY n DESC, role
"""


@dataclass(frozen=True, slots=True)
class Profiles:
    """A figure at the places of all models together.

    figures: (models, places), NaN where a model has no such tensor or its figure is undefined. undefined: how many
    are. asked: models that were asked for, also those without any such tensor. quantity: what it is a figure of.
    """

    statistic: str
    role: str
    models: list[str]
    places: list[Place]
    figures: Floats
    undefined: int
    asked: int
    dtypes: list[str]
    quantity: Quantity = WEIGHT


@plots
def profile(
    table: Table,
    statistic: str = "std",
    *,
    ax: Axes,
    model: str = "*",
    slot: str = "*",
    role: str = "kernel",
    scale: str = "linear",
) -> list[Artist]:
    """A figure of the weights by depth: slots in layer order, a line a model.

    statistic: any numeric column, or rms. role: the role of the weights, or a pattern; a line through kernels and
    biases would go up and down for no reason but this. scale: "linear" or "log".
    Raises UsageError if there is nothing to draw.
    """
    return draw(load(table, statistic, model=model, slot=slot, role=role), ax, scale=scale)


def whole(
    table: Table,
    statistic: str = "std",
    *,
    size: tuple[float, float] | None = None,
    model: str = "*",
    slot: str = "*",
    role: str = "kernel",
    scale: str = "linear",
) -> Figure:
    """A whole figure, the wider the deeper the models. Options as of `profile`."""
    data = load(table, statistic, model=model, slot=slot, role=role)
    with style.settings():
        long = min(28, max(len(slot) for _, slot, _ in data.places))
        width, height = min(16.0, max(9.0, 4 + 0.22 * len(data.places))), 4.4 + 0.05 * long
        figure = style.Picture(figsize=size or (width, height))
        draw(data, figure.subplots(), scale=scale)
    return figure


def load(table: Table, statistic: str = "std", *, model: str = "*", slot: str = "*", role: str = "kernel") -> Profiles:
    """The figures of every model, one above the other by slot and shape. Raises UsageError if there are none."""
    number = columns.number(statistic)
    parameters = {"model": model, "slot": slot, "role": role}
    with opened(table) as session:
        rows = session.ask(_SQL.format(number=number), parameters).to_pylist()
        if not rows:
            roles = session.ask(_ROLES, parameters).column("role").to_pylist()
            raise UsageError(
                f"nothing of role {role!r}" + ("" if model == slot == "*" else " in these models and slots"),
                hint=f"roles are: {', '.join(roles)}; '*' is all" if roles else there_is(session, parameters),
            )
    sequences: dict[str, dict[Place, float | None]] = {}
    for row in rows:
        sequences.setdefault(row["model"], {})[row["kind"], row["slot"], row["shape"]] = row["figure"]
    places = in_order(dict.fromkeys(tuple(sequence) for sequence in sequences.values()))
    figures = np.full((len(sequences), len(places)), np.nan)
    at = {place: number for number, place in enumerate(places)}
    for line, sequence in enumerate(sequences.values()):
        for place, figure in sequence.items():
            if figure is not None:
                figures[line, at[place]] = figure
    undefined = len(rows) - int(np.isfinite(figures).sum())
    dtypes = sorted({row["dtype"] for row in rows if row["dtype"]})
    asked, models = rows[0]["asked"], list(sequences)
    return Profiles(statistic, role, models, places, figures, undefined, asked, dtypes, quantity_of(rows))


def in_order(sequences: Iterable[Sequence[Place]]) -> list[Place]:
    """One order for several: each sequence's new places follow the one that they follow there.

    The first sequence keeps its order; so does any other whose common places are in the same order.
    """
    found: list[Place] = []
    for sequence in sequences:
        known = set(found)
        after = 0
        for place in sequence:
            if place in known:
                after = found.index(place) + 1
            else:
                found.insert(after, place)
                after += 1
    return found


def draw(data: Profiles, ax: Axes, *, scale: str = "linear") -> list[Artist]:
    """Draw onto axes: a line a model, broken where it has no such tensor.

    Returns the lines in the order of the models; where there are many, those that stand out, and then all others as
    one line with breaks.
    """
    style.choice("scale", scale, ("linear", "log"))
    figures, hidden = data.figures, 0
    if scale == "log":
        hidden = int((figures <= 0).sum())
        figures = np.where(figures > 0, figures, np.nan)
        if not np.isfinite(figures).any():
            raise UsageError(f"no {data.statistic} is above 0", hint="choose scale linear")
    x = np.arange(len(data.places))
    lines = limits.standing_out(list(figures))
    names = style.short_all([data.models[place] for place in lines])
    with style.settings():
        artists: list[Artist] = []
        for number, (place, name) in enumerate(zip(lines, names, strict=True)):
            artists += ax.plot(
                x, figures[place], **style.look(number), **style.marker(number), label=name, linewidth=1.3, zorder=3
            )
        others = [figures[place] for place in sorted(set(range(len(data.models))) - set(lines))]
        if others:
            artists.append(grey(ax, [(x, line) for line in others], f"{len(others):,} others, nearer to the median"))
        if scale == "log":
            style.logarithmic(ax)
        else:
            limits.cut(ax, [x] * len(figures), list(figures), data.models)
        ax.set_xlim(-0.5, len(data.places) - 0.5)
        one_role = _ticks(data, ax)
        what = f"layers that have {'an' if one_role[0] in 'aeiou' else 'a'} {one_role}" if one_role else "slots"
        style.label(
            ax,
            title=_title(data, hidden),
            x=f"{what}, in order of depth",
            y=columns.axis(data.statistic, data.quantity),
        )
        if len(data.models) > 1:
            style.legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1))
    return artists


def grey(ax: Axes, lines: Sequence[tuple[NDArray[np.generic], Floats]], label: str) -> Line2D:
    """Lines behind those that stand out, as one, with breaks between them; points without neighbours are dots.

    lines: x and y of each.
    """
    gap = np.array([np.nan])
    x = np.concatenate([part for line in lines for part in (line[0].astype(np.float64), gap)])
    y = np.concatenate([part for line in lines for part in (line[1], gap)])
    known = np.concatenate([[False], np.isfinite(y), [False]])
    alone = np.flatnonzero(known[1:-1] & ~known[:-2] & ~known[2:])
    look: dict[str, Any] = {"color": style.OTHERS, "linewidth": 0.7, "alpha": 0.6, "zorder": 2}
    (found,) = ax.plot(
        x, y, **look, marker="o", markersize=2, markevery=alone, label=label, rasterized=len(lines) > 100
    )
    return found


def _ticks(data: Profiles, ax: Axes) -> str:
    """Name the places; some of them where there are many. Returns the role, if it is left out since all share it."""
    slots = [slot for _, slot, _ in data.places]
    roles = {slot.rpartition("/")[2] for slot in slots}
    shared = next(iter(roles)) if len(roles) == 1 and all("/" in slot for slot in slots) else ""
    names = [slot.removesuffix(f"/{shared}") if shared else slot for slot in slots]
    twice = {slot for slot in slots if slots.count(slot) > 1} if len(slots) <= 2000 else set()
    width = ax.get_window_extent().width / ax.figure.dpi  # in inches
    step = -(-len(slots) // max(1, int(width / 0.17)))
    shown = range(0, len(slots), step)
    labels = style.short_all([names[place] for place in shown], 28)
    for number, place in enumerate(shown):
        if slots[place] in twice:
            labels[number] = f"{labels[number].rpartition(' (')[0] or labels[number]} {data.places[place][2]}"
    ax.set_xticks(list(shown), labels, parse_math=False)
    characters = max(map(len, labels))
    if characters * len(labels) * 0.065 > 0.9 * width:
        steep = len(labels) * 0.3 > width
        for text in ax.get_xticklabels():
            text.set(rotation=90 if steep else 35, ha="center" if steep else "right", rotation_mode="anchor")
            if steep:
                text.set(ha="right", va="center")
    return shared


def _title(data: Profiles, hidden: int) -> str:
    slots = counted(len(data.places), "slot")
    role = "" if data.role == "*" else f" of role {style.short(data.role)}"
    models = counted(len(data.models), "model") if len(data.models) > 1 else style.short(data.models[0], 60)
    notes = []
    if data.asked > len(data.models):
        notes.append(f"{counted(data.asked - len(data.models), 'model')} without any of these")
    if len({np.isfinite(line).tobytes() for line in data.figures}) > 1:
        notes.append("gaps: no such slot, shape or figure")
    if data.undefined:
        notes.append(f"{data.undefined:,} figures undefined")
    if hidden:
        notes.append(f"{hidden:,} figures of 0 or less not shown")
    if len(data.dtypes) > 1:
        notes.append(f"stored as {', '.join(data.dtypes)}")
    return f"{data.statistic} of {slots}{role}: {models}" + (f"\n{'; '.join(notes)}" if notes else "")
