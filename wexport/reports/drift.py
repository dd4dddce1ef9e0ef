"""How far the tensors of each slot moved: from checkpoint to checkpoint, or from a reference model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from wexport import library
from wexport.plot import style
from wexport.reports.elements import Cell, Heading, Picture
from wexport.reports.pictures import fixed, picture
from wexport.terminal import tables, text
from wexport.terminal.text import counted

FIGURES = ("relative_l2", "cosine")
Known = tuple[Mapping[str, Any], Mapping[str, Any]]
"""A model's row, and what `drift` says of it."""
FAR = 50
"""Where the farthest move is this many times the median, the axis is logarithmic."""


@dataclass(frozen=True, slots=True)
class Moves:
    """Answers of the query `drift`, by slot and model. reference: empty where checkpoints are followed along their run.

    whole: whether they are of all models of the table, so that points may be joined by lines.
    """

    reference: str = ""
    whole: bool = True
    of: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)

    @classmethod
    def among(
        cls, answer: pa.Table, reference: str, slots: Sequence[str], models: Sequence[str], *, whole: bool
    ) -> Moves:
        """What the answer says of some slots and models."""
        wanted = pc.and_(
            pc.is_in(answer["slot"], value_set=pa.array(slots, pa.string())),
            pc.is_in(answer["model"], value_set=pa.array(models, pa.string())),
        )
        found: dict[str, dict[str, dict[str, Any]]] = {}
        for row in answer.select(["model", "slot", "relative_l2_se", *FIGURES]).filter(wanted).to_pylist():
            if row["relative_l2"] is not None:
                found.setdefault(row["slot"], {})[row["model"]] = row
        return cls(reference, whole, found)

    @property
    def since(self) -> str:
        """What the models are compared with, in words."""
        return text.safe(self.reference) if self.reference else "the checkpoint before"


def headings() -> list[Heading]:
    """Of the columns that `cells` fills."""
    known = {column.name: column for column in library.get("drift").columns}
    return [Heading(name, known[name].unit, known[name].doc, number=True) for name in FIGURES]


def cells(moves: Moves, slot: str, model: str) -> list[Cell]:
    """How far a tensor moved; empty where it was compared with nothing."""
    row = moves.of.get(slot, {}).get(model, {})
    return [Cell(tables.cell_text(row.get(name)), number=True) for name in FIGURES]


def drawn(moves: Moves, slot: str, rows: Sequence[Mapping[str, Any]]) -> Picture:
    """A picture of how far a slot moved. rows: `model`, `run` and `step` of the models in which it did, in order."""
    known = [(row, moves.of[slot][row["model"]]) for row in rows]
    several = not moves.reference and len({row["run"] for row in rows}) > 1
    height = 1.1 + 0.19 * len(known) if moves.reference else 2.5
    with fixed(height, left=0.32 if moves.reference else 0.09, right=0.8 if several else 0.98) as ax:
        (_from_reference if moves.reference else _along_runs)(moves, known, ax)
        style.label(
            ax, title=f"{style.short(slot, 60)}: how far from {style.short(moves.since, 60)}{_scope(moves, rows)}"
        )
    far = [move["relative_l2"] for _, move in known]
    range_ = f"relative L2 from {text.figure(min(far))} to {text.figure(max(far))}"
    return picture(
        ax.figure, f"How far {text.safe(slot)} is from {moves.since}: {range_}, in {counted(len(far), 'model')}"
    )


def _scope(moves: Moves, rows: Sequence[Mapping[str, Any]]) -> str:
    runs = {row["run"] for row in rows}
    if moves.reference or len(runs) > 1:
        return f"\n{counted(len(rows), 'model')}"
    return f"\n{len(rows):,} checkpoints of {style.short(runs.pop(), 40)}"


def _along_runs(moves: Moves, known: Sequence[Known], ax: Axes) -> None:
    runs = list(dict.fromkeys(row["run"] for row, _ in known))
    shown = [runs[place] for place in style.standing_out(len(runs))]
    for number, (run, name) in enumerate(zip(shown, style.short_all(shown, 24), strict=True)):
        points = [
            (row["step"], move["relative_l2"], move["relative_l2_se"]) for row, move in known if row["run"] == run
        ]
        step, moved, error = (np.array([point[side] or 0 for point in points], float) for side in range(3))
        look = {**style.look(number), **({} if moves.whole else {"linestyle": "none"})}
        bars: dict[str, Any] = {"yerr": error, "elinewidth": 0.7} if error.any() else {}
        ax.errorbar(step, moved, **bars, **look, **style.marker(number), linewidth=1.3, label=name)
    if len(runs) > 1:
        style.legend(ax, loc="upper left", bbox_to_anchor=(1.01, 1))
    figures = np.array([move["relative_l2"] for row, move in known if row["run"] in shown])
    if figures.min() > 0 and figures.max() > FAR * np.median(figures):
        style.logarithmic(ax)
    else:
        ax.set_ylim(0, 1.08 * figures.max() or 1.0)
        ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    others = f"; {len(runs) - len(shown):,} runs more" if len(runs) > len(shown) else ""
    style.label(ax, x=f"step, as the checkpoints' names say{others}", y="relative L2 [fraction]")


def _from_reference(moves: Moves, known: Sequence[Known], ax: Axes) -> None:
    moved, error = (
        np.array([move[name] or 0 for _, move in known], float) for name in ("relative_l2", "relative_l2_se")
    )
    place = np.arange(len(known))
    bars: dict[str, Any] = {"xerr": error, "elinewidth": 0.7} if error.any() else {}
    ax.errorbar(moved, place, **bars, linestyle="none", marker="o", markersize=4, color=style.COLOURS[0])
    ax.set_yticks(place, style.short_all([row["model"] for row, _ in known]), parse_math=False)
    ax.set_ylim(len(known) - 0.5, -0.5)
    ax.set_xlim(0, 1.08 * moved.max() or 1.0)
    ax.grid(axis="y", color="#e4e6e8", linewidth=0.7)
    ax.set_axisbelow(True)
    style.label(ax, x="relative L2 [fraction]")
