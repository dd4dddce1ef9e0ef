"""The compiled form of the one pass; its source is in compiled_source/. See `wexport.stats.compiled`."""

from typing import Any

def take(
    type: int,
    block: Any,
    start: int,
    values_of_bytes: Any,
    table: Any,
    kept: Any,
    units: Any,
    inputs: Any,
    grid: Any,
    /,
) -> tuple[int, int, int, int, int, float, float, float, float, float, float, float] | None: ...
def ordered(values: Any, itemsize: int, lower: Any, upper: Any, count: Any, /) -> tuple[int, int]: ...
