"""The statistics of a tensor that plots can draw: every numeric column of the table, and rms."""

from __future__ import annotations

import difflib

from wexport.errors import UsageError
from wexport.plot.quantities import WEIGHT, Quantity
from wexport.table.schema import NUMBERS


def number(statistic: str) -> str:
    """SQL for a statistic, as DOUBLE. Raises UsageError for a name that is none: no other gets into SQL."""
    if statistic not in NUMBERS:
        near = difflib.get_close_matches(statistic, NUMBERS, 1)
        hint = (
            f"did you mean {near[0]}?" if near else "such as std, abs_max, kurtosis, zero_fraction; see wexport schema"
        )
        raise UsageError(f"there is no statistic {statistic!r}", hint=hint)
    return f"({NUMBERS[statistic][0]})::DOUBLE"


def axis(statistic: str, quantity: Quantity = WEIGHT) -> str:
    """What an axis of that statistic is called, with its unit. quantity: of what it is one, named unless weights."""
    unit = quantity.unit_of(NUMBERS[statistic][1])
    name = statistic if quantity == WEIGHT else f"{statistic} of the {quantity.many}"
    return f"{name} [{unit}]" if unit else name
