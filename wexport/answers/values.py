"""Arrow's values as Python has them, also those that Python has no value for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

_ENDS = {(1 << bits) - 1: "infinity" for bits in (31, 63)} | {1 - (1 << bits): "-infinity" for bits in (31, 63)}
"""What DuckDB writes infinite dates and timestamps as."""


def rows_of(table: pa.Table | pa.RecordBatch) -> list[tuple[Any, ...]]:
    """A table by rows; columns may have the same name."""
    return list(zip(*map(_values, table.columns), strict=True))


def _values(column: Any) -> list[Any]:
    try:
        values: list[Any] = column.to_pylist()
    except (OverflowError, ValueError):  # times that Python has no value for, such as infinity
        values = [_as_python(each) for each in column]
    if str(column.type).startswith("map<"):  # pyarrow makes mappings of them itself from version 20
        values = [None if pairs is None else dict(pairs) for pairs in values]
    return values


def _as_python(scalar: pa.Scalar) -> Any:
    """A value for Python; in words where Python has none for such a time."""
    try:
        return scalar.as_py()
    except (OverflowError, ValueError):
        kind = str(scalar.type)
        if kind.startswith("struct<"):
            return {field.name: _as_python(scalar[number]) for number, field in enumerate(scalar.type)}
        if kind.startswith(("list<", "fixed_size_list<", "large_list<")):
            return [_as_python(each) for each in scalar.values]
        number = getattr(scalar, "value", None)
        return _ENDS.get(number, f"{number} ({kind})") if isinstance(number, int) else str(scalar)
