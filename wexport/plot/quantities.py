"""What the values are that a plot shows, in words: weights, or what a model that was run gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wexport.errors import UsageError


@dataclass(frozen=True, slots=True)
class Quantity:
    """one, many: what a value and several are called. unit: theirs."""

    one: str
    many: str
    unit: str

    @property
    def axis(self) -> str:
        """What an axis of values is called; a weight and an output are their own unit."""
        return self.one if self.unit in ("", self.one) else f"{self.one} [{self.unit}]"

    def unit_of(self, unit: str) -> str:
        """The unit of a figure that the schema states for weights."""
        return self.unit if unit == WEIGHT.unit else unit


WEIGHT = Quantity("weight", "weights", "weight")
_OUTPUT = Quantity("output", "outputs", "output")
_STATE = Quantity("optimizer value", "optimizer values", "")
_BY = {"output": "output", "input": "input"}
"""What else than weights a loss is differentiated by, by role."""


def quantity_of(rows: Iterable[Mapping[str, Any]]) -> Quantity:
    """What the values of some rows of the table are. rows: with the columns kind and role.

    Raises UsageError for rows of several kinds, whose values have nothing to do with each other.
    """
    rows = list(rows)
    kinds = {"weight" if row["kind"] == "array" else row["kind"] for row in rows}
    if len(kinds) > 1:
        raise UsageError(f"{' and '.join(sorted(kinds))} do not go into one plot", hint="choose one kind")
    kind = next(iter(kinds), "weight")
    if kind == "gradient":
        by = {_BY.get(row["role"], "weight") for row in rows}
        return Quantity("gradient", "gradients", f"loss/{by.pop() if len(by) == 1 else 'value'}")
    return {"activation": _OUTPUT, "optimizer": _STATE}.get(kind, WEIGHT)
