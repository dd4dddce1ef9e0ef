"""What is looked at, fetched from a table: models, the tensors of one, and one tensor with its gates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wexport.queries import asking
from wexport.sessions.session import Session

_TENSORS = """
SELECT
    slot, coalesce(layer, '') AS layer, coalesce(layer_class, '') AS layer_class, role, direction, gate,
    shape_text(shape) AS shape, dtype, value_count, std, zero_fraction, nan_count + inf_count AS broken
FROM weights WHERE model = getvariable('model') ORDER BY tensor_index, slot
"""
_TENSOR = """
SELECT model, slot, shape_text(shape) AS shape, dtype, value_count, {figures}, histogram, gates,
    shape_text(canonical_shape) AS canonical_shape, sample.value AS sample
FROM weights WHERE model = getvariable('model') AND slot = getvariable('slot') LIMIT 1
"""
FIGURES = ("mean", "std", "l2_norm", "min", "max", "zero_fraction", "near_zero_fraction", "kurtosis")
"""The statistics that are shown of a tensor."""
COUNTS = ("value_count", "nan_count", "inf_count", "unit_count", "zero_unit_count")


@dataclass
class Held:
    """An open session, and what was fetched of it already."""

    session: Session

    def __post_init__(self) -> None:
        self._tensors: dict[str, list[dict[str, Any]]] = {}
        self._tensor: dict[tuple[str, str], dict[str, Any] | None] = {}

    def models(self) -> list[dict[str, Any]]:
        """A row a model, as the query `models` answers."""
        rows: list[dict[str, Any]] = asking.ask(self.session, "models").to_pylist()
        return rows

    def tensors(self, model: str) -> list[dict[str, Any]]:
        """A row a tensor of a model, in its own order."""
        if model not in self._tensors:
            self._tensors[model] = self.session.ask(_TENSORS, {"model": model}).to_pylist()
        return self._tensors[model]

    def tensor(self, model: str, slot: str) -> Mapping[str, Any] | None:
        """One tensor with its histogram and gates; None where the model has none of that slot."""
        key = (model, slot)
        if key not in self._tensor:
            sql = _TENSOR.format(figures=", ".join(dict.fromkeys((*FIGURES, *COUNTS[1:]))))
            rows = self.session.ask(sql, {"model": model, "slot": slot}).to_pylist()
            self._tensor[key] = rows[0] if rows else None
        return self._tensor[key]
