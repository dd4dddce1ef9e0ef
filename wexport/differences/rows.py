"""A comparison as rows: a tensor, or a pair, in a line, for programs and for tables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wexport.differences.results import TensorDiff

if TYPE_CHECKING:
    import pyarrow as pa

_SIDE_COLUMNS = ("name", "tensor", "slot", "layer", "role", "kind", "shape", "canonical_shape", "dtype")
_FIGURES = ("max_abs_difference", "relative_l2", "cosine", "cosine_distance")
COLUMNS = [
    *("status", "matched_by", "confidence"),
    *(f"{name}_{which}" for name in _SIDE_COLUMNS for which in "ab"),
    *("value_count", "changed_count", "changed_fraction", *_FIGURES[:3]),
    *("cosine_distance", "nonfinite_count", "detail"),
]
"""The columns of a row, in order."""


def flat(each: TensorDiff) -> dict[str, Any]:
    """A row; None where the file has no such tensor, and where no values were compared."""
    row: dict[str, Any] = {"status": each.status, "matched_by": each.method, "confidence": each.confidence}
    for name in _SIDE_COLUMNS:
        for which, side in (("a", each.a), ("b", each.b)):
            row[f"{name}_{which}"] = None if side is None else getattr(side, name)
    figures = each.figures()
    changed, total = figures["changed_count"], each.side.value_count
    figures["changed_fraction"] = None if changed is None or not total else changed / total
    row["value_count"] = total
    row |= {name: figures[name] for name in COLUMNS if name in figures}
    return {**row, "detail": each.detail or None}


def to_arrow(tensors: Iterable[TensorDiff]) -> pa.Table:
    """The rows as a table; shapes are lists."""
    import pyarrow as pa

    def kind(name: str) -> pa.DataType:
        if name.startswith(("shape_", "canonical_shape_")):
            return pa.list_(pa.int64())
        if name in ("confidence", "changed_fraction", *_FIGURES):
            return pa.float64()
        return pa.int64() if name.endswith("_count") else pa.string()

    rows = [flat(each) for each in tensors]
    return pa.table({name: pa.array([row[name] for row in rows], kind(name)) for name in COLUMNS})
