"""The page's part for each slot: its histograms, its gates, its figures in each model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from wexport import terminal
from wexport.checking import Finding
from wexport.page.parts import Cell, Heading, Layer, Picture, Table
from wexport.page.pictures import picture
from wexport.plot import histograms, style
from wexport.plot.bins import Bins
from wexport.plot.data import ORDER
from wexport.session import Session

MOST_LAYERS, MOST_MODELS = 100, 20
BARS = 40
_FIGURES = ("mean", "std", "abs_max", "l2_norm", "zero_fraction")

_SLOTS = """
SELECT
    slot, any_value(canonical_shape) AS shape, count(DISTINCT canonical_shape) AS shapes, any_value(role) AS role,
    any_value(layer_class) AS layer_class, count(*) AS models, any_value(value_count) AS value_count
FROM weights
GROUP BY slot
ORDER BY count(*) DESC, min(layer_index) NULLS LAST, min(tensor_index), slot
"""

# Outputs and gradients by them are places of their layer too.
_SLOTS_OF_LAYERS = """
SELECT model, layer, slot
FROM (
    SELECT model, layer, slot, tensor_index FROM weights WHERE list_contains(getvariable('layers'), layer)
    UNION ALL
    SELECT model, seen.slot, weights.slot, weights.tensor_index
    FROM tensors AS seen JOIN weights USING (model, layer)
    WHERE seen.kind IN ('activation', 'gradient') AND list_contains(getvariable('layers'), seen.slot)
)
ORDER BY tensor_index, slot
"""

_ROWS = f"""
SELECT model, slot, value_count, nan_count + inf_count AS missing, {", ".join(_FIGURES)}, histogram
FROM weights
WHERE list_contains(getvariable('slots'), slot) AND list_contains(getvariable('models'), model)
ORDER BY slot, {ORDER}
"""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which slots the page shows, in layer order, and how many there are."""

    slots: list[dict[str, Any]]
    total: int

    def anchors(self) -> dict[str, str]:
        """Where each slot stands in the page."""
        return {row["slot"]: f"layer-{place}" for place, row in enumerate(self.slots, 1)}

    def links(self, session: Session, findings: Sequence[Finding]) -> dict[Finding, str]:
        """Where each finding that has a place leads: to its slot, or to the first slot of its layer."""
        anchors = self.anchors()
        places = sorted({each.place for each in findings if each.place and each.place not in anchors})
        rows = session.ask(_SLOTS_OF_LAYERS, {"layers": places}).to_pylist() if places else []
        first = {(row["model"], row["layer"]): row["slot"] for row in reversed(rows) if row["slot"] in anchors}
        found = {
            each: anchors.get(each.place or "") or anchors.get(first.get((each.model, each.place), ""))
            for each in findings
        }
        return {each: f"#{anchor}" for each, anchor in found.items() if anchor}


def choose(session: Session, troubled: Sequence[str]) -> Chosen:
    """The slots to show: those with findings first to be taken, then those that most models share; in layer order."""
    rows: list[dict[str, Any]] = session.ask(_SLOTS).to_pylist()
    first = set(troubled)
    wanted = sorted(range(len(rows)), key=lambda place: (rows[place]["slot"] not in first, place))[:MOST_LAYERS]
    return Chosen([rows[place] for place in sorted(wanted)], len(rows))


def layers(
    session: Session, chosen: Chosen, models: Sequence[str], badges: Mapping[str, list[tuple[str, str]]]
) -> Iterator[Layer]:
    """The part of each chosen slot, made one at a time. models: those to show. badges: findings by slot."""
    names = [row["slot"] for row in chosen.slots]
    answer = session.ask(_ROWS, {"slots": names, "models": list(models)}).to_pylist()
    of_slot: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for row in answer:
        of_slot[row["slot"]].append(row)
    anchors = chosen.anchors()
    for about in chosen.slots:
        rows = of_slot[about["slot"]]
        yield Layer(
            anchors[about["slot"]],
            terminal.safe(about["slot"]),
            list(_facts(about)),
            badges.get(about["slot"], []),
            [_histograms(about, rows)] if rows else [],
            [_figures(anchors[about["slot"]], about, rows)] if rows else [],
        )


def _facts(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if about["layer_class"]:
        yield "class", terminal.safe(about["layer_class"])
    if about["role"] != "unknown":
        yield "role", about["role"]
    shape = "x".join(map(str, about["shape"])) or "scalar"
    yield "shape", shape if about["shapes"] == 1 else f"{shape} and {about['shapes'] - 1} more"
    yield "in", f"{about['models']:,} model{'s' if about['models'] > 1 else ''}"


def _histograms(about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Picture:
    held = [row for row in rows if row["histogram"] is not None]
    data = histograms.Histograms(
        about["slot"],
        [row["model"] for row in held],
        [Bins.of(row["histogram"]) for row in held],
        [row["value_count"] for row in held],
        [row["missing"] for row in held],
    )
    with style.settings():
        # Fixed margins: a layout engine draws everything twice, and there are many of these.
        figure = Figure(figsize=(8, 3.4), constrained_layout=False)
        figure.subplots_adjust(left=0.09, right=0.98, bottom=0.15, top=0.9)
        histograms.draw(data, figure.subplots(), bars=BARS)
    return picture(figure, f"Histograms of {terminal.safe(about['slot'])} in {len(held):,} models")


def _figures(anchor: str, about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> Table:
    left_out = about["models"] - len(rows)
    return Table(
        anchor,
        f"Figures of {terminal.safe(about['slot'])}, a row a model",
        [Heading("model"), *(Heading(name, number=True) for name in _FIGURES)],
        [
            [
                Cell(terminal.safe(row["model"])),
                *(Cell(terminal.cell_text(row[name]), None, number=True) for name in _FIGURES),
            ]
            for row in rows
        ],
        left_out,
        command=f"wexport query tensors --param slot='{terminal.safe(about['slot'])}'",
    )
