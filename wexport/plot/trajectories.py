"""A figure of the weights by training step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from wexport.errors import UsageError
from wexport.plot import columns, limits, style
from wexport.plot.data import Table, listed, there_is
from wexport.plot.kinds import plots
from wexport.plot.profiles import grey
from wexport.plot.quantities import WEIGHT, Quantity, quantity_of
from wexport.sessions.session import opened
from wexport.terminal.text import counted

Floats = NDArray[np.float64]

_SQL = """
SELECT
    model, run, step, kind, slot, role, shape_text(canonical_shape) AS shape, {number} AS figure,
    min(tensor_index) OVER (PARTITION BY run, kind, slot) AS place
FROM weights
WHERE asked_for(model, getvariable('model')) AND asked_for(slot, getvariable('slot'))
    AND (asked_for(role, getvariable('role')))
    AND (getvariable('run') = '*' OR asked_for(run, getvariable('run')))
ORDER BY run, place, slot, shape, step, model
"""
_RUNS = "SELECT DISTINCT run FROM weights WHERE run IS NOT NULL ORDER BY run"


@dataclass(frozen=True, slots=True)
class Line:
    """One slot of one run. step ascends; figure is NaN where undefined."""

    run: str
    slot: str
    shape: str
    step: NDArray[np.int64]
    figure: Floats


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Lines over the steps. without_step: models that are left out, since the table does not know their run and step.

    same_step: checkpoints that share run and step with another. quantity: what it is a figure of.
    """

    statistic: str
    lines: list[Line]
    checkpoints: int
    without_step: int
    same_step: int
    quantity: Quantity = WEIGHT


@plots
def trajectory(
    table: Table,
    statistic: str = "std",
    *,
    ax: Axes,
    slot: str = "*",
    model: str = "*",
    run: str = "*",
    role: str | None = None,
    scale: str = "linear",
) -> list[Artist]:
    """A figure of the weights by step: of one slot, a line a run; of several slots of one run, a line a slot.

    statistic: any numeric column, or rms. role: of several slots, which role; "kernel" unless said. scale: "linear" or
    "log". Raises UsageError if no model has a run and a step, or there are several runs and several slots.
    """
    return draw(load(table, statistic, slot=slot, model=model, run=run, role=role), ax, scale=scale)


def whole(
    table: Table,
    statistic: str = "std",
    *,
    size: tuple[float, float] | None = None,
    slot: str = "*",
    model: str = "*",
    run: str = "*",
    role: str | None = None,
    scale: str = "linear",
) -> Figure:
    """A whole figure. Options as of `trajectory`."""
    data = load(table, statistic, slot=slot, model=model, run=run, role=role)
    with style.settings():
        figure = style.Picture(figsize=size or (9, 4.5))
        draw(data, figure.subplots(), scale=scale)
    return figure


def load(
    table: Table,
    statistic: str = "std",
    *,
    slot: str = "*",
    model: str = "*",
    run: str = "*",
    role: str | None = None,
) -> Trajectories:
    """The lines, by run, then in layer order. Raises UsageError as `trajectory` does."""
    number = columns.number(statistic)
    if role is None:
        role = "kernel" if any(sign in slot for sign in "*?[") else "*"
    parameters = {"slot": slot, "model": model, "run": run, "role": role}
    with opened(table) as session:
        rows = session.ask(_SQL.format(number=number), parameters).to_pylist()
        if not rows:
            asked = ", ".join(f"{name} {value!r}" for name, value in parameters.items() if value != "*")
            runs = session.ask(_RUNS).column("run").to_pylist() if run != "*" else []
            hint = f"runs are {listed(runs, run)}" if runs else there_is(session, parameters)
            raise UsageError(f"nothing has {asked}", hint=hint)
    placed = [row for row in rows if row["run"] is not None and row["step"] is not None]
    if not placed:
        raise UsageError(
            "no model here is a checkpoint: the table has no run and step of them",
            hint="they are read from names such as weights.03.h5 or epoch_3.h5; for other names, "
            "ingest with --series '(?P<run>.*)_(?P<step>[0-9]+)'",
        )
    found: dict[tuple[str, str, str, str], list[tuple[int, float | None]]] = {}
    for row in placed:
        key = (row["run"], row["kind"], row["slot"], row["shape"])
        found.setdefault(key, []).append((row["step"], row["figure"]))
    runs, slots = {key[0] for key in found}, {key[2] for key in found}
    if len(runs) > 1 and len(slots) > 1:
        raise UsageError(
            f"{len(runs):,} runs and {len(slots):,} slots are too much for one plot",
            hint=f"choose one slot, such as {style.short(min(slots), 80)!r}, or one run, such as {min(runs)!r}",
        )
    lines = [
        Line(key[0], key[2], key[3], np.array([step for step, _ in points]), np.array(_figures(points)))
        for key, points in found.items()
    ]
    checkpoints = {row["model"]: (row["run"], row["step"]) for row in placed}
    return Trajectories(
        statistic,
        lines,
        len(checkpoints),
        len({row["model"] for row in rows} - checkpoints.keys()),
        len(checkpoints) - len(set(checkpoints.values())),
        quantity_of(placed),
    )


def _middle(figure: Floats) -> float:
    known = figure[np.isfinite(figure)]
    return float(np.mean(known)) if known.size else np.nan


def _figures(points: list[tuple[int, float | None]]) -> list[float]:
    return [np.nan if figure is None else figure for _, figure in points]


def draw(data: Trajectories, ax: Axes, *, scale: str = "linear") -> list[Artist]:
    """Draw onto axes: each line through its checkpoints, broken where the figure is undefined.

    Returns the lines; where there are many, those that stand out, and then all others as one line with breaks.
    """
    style.choice("scale", scale, ("linear", "log"))
    figures = [line.figure for line in data.lines]
    hidden = 0
    if scale == "log":
        hidden = sum(int((figure <= 0).sum()) for figure in figures)
        figures = [np.where(figure > 0, figure, np.nan) for figure in figures]
        if not any(np.isfinite(figure).any() for figure in figures):
            raise UsageError(f"no {data.statistic} is above 0", hint="choose scale linear")
    shown = limits.standing_out([np.array([_middle(figure)]) for figure in figures])
    names = _names(data, shown)
    with style.settings():
        artists: list[Artist] = []
        for number, (place, name) in enumerate(zip(shown, names, strict=True)):
            steps = data.lines[place].step
            marker = style.marker(number) if steps.size <= 60 else {}
            artists += ax.plot(
                steps, figures[place], **style.look(number), **marker, label=name, linewidth=1.3, zorder=3
            )
        others = sorted(set(range(len(data.lines))) - set(shown))
        if others:
            segments = [(data.lines[place].step, figures[place]) for place in others]
            artists.append(grey(ax, segments, f"{len(others):,} others, nearer to the median"))
        if scale == "log":
            style.logarithmic(ax)
        else:
            limits.cut(ax, [line.step for line in data.lines], figures, _names(data, list(range(len(data.lines)))))
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        y = columns.axis(data.statistic, data.quantity)
        style.label(ax, title=_title(data, hidden), x="step, as the checkpoints' names say", y=y)
        if len(data.lines) > 1:
            style.legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1))
    return artists


def _names(data: Trajectories, shown: list[int]) -> list[str]:
    """What tells the lines apart: run or slot, and the shape where it differs."""
    runs, slots, shapes = ({getattr(line, name) for line in data.lines} for name in ("run", "slot", "shape"))
    lines = [data.lines[place] for place in shown]
    names = style.short_all([line.slot if len(slots) > 1 else line.run for line in lines])
    if len(data.lines) > max(len(runs), len(slots)) and len(shapes) > 1:
        names = [f"{style.short(line.slot if len(slots) > 1 else line.run)} {line.shape}" for line in lines]
    return names


def _title(data: Trajectories, hidden: int) -> str:
    runs, slots = ({getattr(line, name) for line in data.lines} for name in ("run", "slot"))
    slot = style.short(min(slots), 60) if len(slots) == 1 else f"{len(slots):,} slots"
    run = style.short(min(runs), 60) if len(runs) == 1 else f"{len(runs):,} runs"
    notes = []
    if data.without_step:
        notes.append(f"{data.without_step:,} left out: no checkpoint of a run")
    if data.same_step:
        notes.append(f"{data.same_step:,} more than one at a step: all are drawn")
    undefined = sum(int(np.isnan(line.figure).sum()) for line in data.lines)
    if undefined:
        notes.append(f"{undefined:,} figures undefined")
    if hidden:
        notes.append(f"{hidden:,} figures of 0 or less not shown")
    checkpoints = counted(data.checkpoints, "checkpoint")
    head = f"{data.statistic} of {slot}: {checkpoints} of {run}"
    return head + (f"\n{'; '.join(notes)}" if notes else "")
