"""The figures of a tensor that plots can draw: every numeric column of the table, and rms."""

from __future__ import annotations

import difflib

import pyarrow as pa

from wexport.errors import UsageError
from wexport.plot.quantities import WEIGHT, Quantity
from wexport.table.schema import COLUMNS

_UNITS = {
    column.name: column.unit
    for column in COLUMNS
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
}
_UNITS["rms"] = "weight"
_RMS = "l2_norm / sqrt(nullif(value_count - nan_count - inf_count, 0))"


def number(statistic: str) -> str:
    """SQL for a figure, as DOUBLE. Raises UsageError for a name that is no numeric column: no other gets into SQL."""
    if statistic not in _UNITS:
        near = difflib.get_close_matches(statistic, _UNITS, 1)
        hint = (
            f"did you mean {near[0]}?" if near else "such as std, abs_max, kurtosis, zero_fraction; see wexport schema"
        )
        raise UsageError(f"there is no statistic {statistic!r}", hint=hint)
    return f"({_RMS if statistic == 'rms' else statistic})::DOUBLE"


def axis(statistic: str, quantity: Quantity = WEIGHT) -> str:
    """What an axis of that figure is called, with its unit. quantity: what it is a figure of, named unless weights."""
    unit = quantity.unit_of(_UNITS[statistic])
    name = statistic if quantity == WEIGHT else f"{statistic} of the {quantity.many}"
    return f"{name} [{unit}]" if unit else name
