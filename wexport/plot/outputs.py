"""One output of a layer, or a gradient by it, as plots of outputs fetch it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from wexport.errors import UsageError
from wexport.plot.data import Table, fetch
from wexport.plot.matrices import Floats, whole_values
from wexport.session import opened

_ROWS = """
SELECT model, slot, kind, role, layer_class, canonical_shape, unit_axes, value_count, sample, grid
FROM tensors
WHERE kind IN ('activation', 'gradient') AND role IN ('output', 'input')
    AND list_contains(coalesce(getvariable('kinds'), ['activation']), kind)
    AND asked_for(slot, getvariable('slot')) AND asked_for(model, getvariable('model'))
ORDER BY run NULLS FIRST, step NULLS FIRST, model, tensor_index
LIMIT 2
"""


@dataclass(frozen=True, slots=True)
class Output:
    """An output. inputs: on how many inputs. shape: of the output for one input, units last.

    values: (inputs, *shape), where the table holds all; else None. bands: (bands along all axes but the last, bands of
    units), the root mean square over inputs; None where there is none.
    """

    model: str
    slot: str
    kind: str
    inputs: int
    shape: tuple[int, ...]
    values: Floats | None
    bands: Floats | None

    @property
    def what(self) -> str:
        """What the values are, with their unit."""
        return "output" if self.kind == "activation" else "gradient [loss/output]"

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
    """The output of one layer in one model. Raises UsageError if none fits, or several do."""
    with opened(table) as session:
        rows = fetch(session, _ROWS, {"slot": slot, "model": model}, f"no model has an output {slot!r}")
    if len(rows) > 1:
        both = [f"{row['slot']} of {row['model']}" for row in rows]
        raise UsageError(f"several outputs fit: {both[0]}, {both[1]}, ...", hint="name one slot and one model")
    return _output(rows[0])


def _output(row: Mapping[str, Any]) -> Output:
    inputs, *shape = row["canonical_shape"]
    grid = row["grid"]
    bands = None if grid is None else np.asarray(grid["rms"], np.float64).reshape(grid["rows"], grid["cols"])
    return Output(row["model"], row["slot"], row["kind"], inputs, tuple(shape), whole_values(row), bands)
