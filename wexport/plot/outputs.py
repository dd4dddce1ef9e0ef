"""One output of a layer, or a gradient by it, as plots of outputs fetch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wexport.errors import UsageError
from wexport.plot.data import ORDER, Table, listed, quoted
from wexport.plot.matrices import Floats, whole_values
from wexport.plot.quantities import Quantity, quantity_of
from wexport.sessions.session import Session, opened

# What plots draw by default are weights, of which there are no outputs: then these are of kind activation.
_OF_LAYERS = """
FROM tensors
WHERE kind IN ('activation', 'gradient') AND role IN ('output', 'input')
    AND list_contains(coalesce(getvariable('kinds'), ['activation']), kind)
"""
_ROWS = f"""
SELECT model, slot, kind, role, canonical_shape, value_count, sample, grid
{_OF_LAYERS} AND asked_for(slot, getvariable('slot')) AND asked_for(model, getvariable('model'))
ORDER BY {ORDER}, tensor_index
LIMIT 2
"""
_THERE = f"""
SELECT slot, model, min(tensor_index) AS place
{_OF_LAYERS} GROUP BY slot, model, run, step ORDER BY {ORDER}, place, slot
"""


@dataclass(frozen=True, slots=True)
class Output:
    """An output. quantity: what its values are. inputs: on how many inputs. shape: of the output for one, units last.

    values: (inputs, *shape), where the table holds all; else None. bands: (bands along all axes but the last, bands of
    units), the root mean square over inputs; None where there is none.
    """

    model: str
    slot: str
    quantity: Quantity
    inputs: int
    shape: tuple[int, ...]
    values: Floats | None
    bands: Floats | None

    def chosen(self, number: int) -> Floats:
        """The output for one input. Raises UsageError if the table does not hold it, or there is no such input."""
        if self.values is None:
            raise UsageError(
                f"{self.slot} of {self.model}: the table holds no single outputs of {self.inputs:,} inputs",
                hint="outputs are kept whole up to 65,536 values: run the model on one input or a few",
            )
        if not 0 <= number < self.inputs:
            raise UsageError(f"there is no input {number}", hint=f"they count from 0 to {self.inputs - 1}")
        found: Floats = self.values[number]
        return found


def load(table: Table, slot: str, model: str) -> Output:
    """The output of one layer in one model. Raises UsageError if none fits, several do, or it cannot be drawn."""
    with opened(table) as session:
        rows = session.ask(_ROWS, {"slot": slot, "model": model}).to_pylist()
        if not rows:
            raise UsageError(f"no model has an output {quoted(slot)}", hint=_way_out(session, slot, model))
    if len(rows) > 1:
        both = [f"{row['slot']} of {row['model']}" for row in rows]
        raise UsageError(f"several outputs fit: {both[0]}, {both[1]}, ...", hint="name one slot and one model")
    found = _output(rows[0])
    if not rows[0]["value_count"]:
        raise UsageError(f"{found.slot} of {found.model} has no values", hint="run the model on some inputs")
    if found.values is None and found.bands is None:
        raise UsageError(
            f"{found.slot} of {found.model}: the table holds neither its values nor their grid",
            hint="make it with --detail full",
        )
    return found


def _way_out(session: Session, slot: str, model: str) -> str:
    rows = session.ask(_THERE).to_pylist()
    if not rows:
        return "the table has none: `wexport activations`, of the plugin wexport-keras, runs models and adds them"
    slots = list(dict.fromkeys(row["slot"] for row in rows))
    models = list(dict.fromkeys(row["model"] for row in rows))
    return f"there are {listed(slots, slot)}" + ("" if model == "*" else f", in {listed(models, model)}")


def _output(row: Mapping[str, Any]) -> Output:
    inputs, *shape = row["canonical_shape"]
    grid = row["grid"]
    bands = None if grid is None else np.asarray(grid["rms"], np.float64).reshape(grid["rows"], grid["cols"])
    return Output(row["model"], row["slot"], quantity_of([row]), inputs, tuple(shape), whole_values(row), bands)


def axes_words(data: Output) -> str:
    """What an output has for one input, as words."""
    return f"it is {' x '.join(f'{length:,}' for length in data.shape) or 'one value'} for an input"


def drawn_by(data: Output) -> str:
    """Which plots an output has, by its axes, as a hint."""
    kind = {1: "curves", 2: "curves or maps", 3: "maps"}.get(len(data.shape), "histogram, with --kinds,")
    return f"wexport plot {kind} draws it"
