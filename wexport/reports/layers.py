"""The page's part for each slot: its histograms, its gates, how far it moved, its figures in each model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wexport.findings.finding import Finding
from wexport.plot.data import ORDER
from wexport.plot.gate_panels import layer_of
from wexport.reports.drawings import gates_of, histogram_of
from wexport.reports.drift import Moves, cells, headings
from wexport.reports.drift import drawn as draw_moves
from wexport.reports.elements import Cell, Heading, Layer, Picture, Table
from wexport.sessions.session import Session
from wexport.table.schema import COLUMNS, REPORTED
from wexport.terminal import tables, text
from wexport.terminal.text import counted

MOST_LAYERS, MOST_MODELS = 100, 20
ROOM = 500_000
"""Characters that the pictures of gates and of moves may take in all; histograms always have a place."""
NOT_DRAWN = "Not drawn, to keep the page small"
_UNITS = {column.name: column.unit for column in COLUMNS}

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
SELECT
    model, run, step, slot, role, direction, layer_class, {", ".join(REPORTED)},
    value_count, nan_count + inf_count AS missing, histogram,
    list_transform(gates, lambda figures: {{
        'gate': figures.gate, 'value_count': figures.value_count, 'nan_count': figures.nan_count,
        'inf_count': figures.inf_count, 'histogram': figures.histogram}}) AS gates
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
    session: Session,
    chosen: Chosen,
    models: Sequence[str],
    badges: Mapping[str, list[tuple[str, str]]],
    moves: Moves,
    name: str,
) -> Iterator[tuple[int, Layer]]:
    """The part of each chosen slot with its place, made one at a time: those with findings first, while there is room.

    models: those to show. badges: findings by slot. name: of the table, for commands.
    """
    names = [row["slot"] for row in chosen.slots]
    answer = session.ask(_ROWS, {"slots": names, "models": list(models)}).to_pylist()
    of_slot: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for row in answer:
        of_slot[row["slot"]].append(row)
    anchors = chosen.anchors()
    room = ROOM
    for place in sorted(range(len(names)), key=lambda place: (names[place] not in badges, place)):
        about, slot = chosen.slots[place], names[place]
        rows = of_slot[slot]
        pictures = [histogram_of(slot, rows)] if rows else []
        words = []
        for draw, command in _more(slot, rows, moves, name):
            if room > 0:
                pictures.append(draw())
                room -= len(pictures[-1].source)
            else:
                words.append(f"{NOT_DRAWN}: {command}")
        yield (
            place,
            Layer(
                anchors[slot],
                text.safe(slot),
                list(_facts(about)),
                badges.get(slot, []),
                pictures,
                words,
                [_figures(anchors[slot], about, rows, moves)] if rows else [],
            ),
        )


def _facts(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if about["layer_class"]:
        yield "class", text.safe(about["layer_class"])
    if about["role"] != "unknown":
        yield "role", about["role"]
    shape = "x".join(map(str, about["shape"])) or "scalar"
    yield "shape", shape if about["shapes"] == 1 else f"{shape} and {about['shapes'] - 1} more"
    yield "in", counted(about["models"], "model")


def _more(
    slot: str, rows: Sequence[Mapping[str, Any]], moves: Moves, name: str
) -> Iterator[tuple[Callable[[], Picture], str]]:
    """What else there is to draw of a slot, and the command that tells it elsewhere."""
    gated = [row for row in rows if row["gates"]]
    if gated:
        layer = text.safe(layer_of(slot, gated[0]["direction"]))
        yield lambda: gates_of(slot, gated), f"gates, wexport plot gates {name} --layer '{layer}' --out gates.png"
    moved = [row for row in rows if row["model"] in moves.of.get(slot, {})]
    if moved:
        command = f"wexport query drift {name} --param slot='{text.safe(slot)}'"
        reference = f" --param reference='{text.safe(moves.reference)}'" if moves.reference else ""
        yield lambda: draw_moves(moves, slot, moved), f"drift, {command}{reference}"


def _figures(anchor: str, about: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], moves: Moves) -> Table:
    slot, moved = about["slot"], about["slot"] in moves.of
    more = f"; relative_l2 and cosine with {moves.since}" if moved else ""
    return Table(
        anchor,
        f"Statistics of {text.safe(slot)}, a row a model{more}",
        [Heading("model"), *(Heading(name, _UNITS[name], number=True) for name in REPORTED), *(headings() * moved)],
        [
            [
                Cell(text.safe(row["model"])),
                *(Cell(tables.cell_text(row[name]), number=True) for name in REPORTED),
                *(cells(moves, slot, row["model"]) * moved),
            ]
            for row in rows
        ],
        about["models"] - len(rows),
        command=f"wexport query tensors --param slot='{text.safe(slot)}'",
        sql=_sql(slot),
    )


def _sql(slot: str) -> str:
    """What gives the figures of a slot, for all models. Empty for a name that could not be copied as it is."""
    if text.safe(slot) != slot:
        return ""
    quoted = slot.replace("'", "''")
    return f"SELECT model, {', '.join(REPORTED)} FROM weights WHERE slot = '{quoted}' ORDER BY {ORDER}"
