"""Histograms in characters."""

from __future__ import annotations

import math
from collections.abc import Sequence

_BARS = " ▁▂▃▄▅▆▇█"


def heights(
    lower: Sequence[float],
    upper: Sequence[float],
    count: Sequence[int],
    width: int,
    ends: tuple[float, float] | None = None,
) -> list[float]:
    """How many values fall into each of `width` equal steps, from the lowest to the highest edge or between `ends`.

    A stored bin that spans several steps is spread over them evenly; one narrower than a step falls into the step of
    its middle. What lies outside `ends` falls into the outermost steps.
    """
    if not len(count):
        return [0.0] * width
    low, high = ends or (min(lower), max(upper))
    if low == high:
        return [float(sum(count)) if place == width // 2 else 0.0 for place in range(width)]
    if math.isinf(high - low):  # near the largest number of all: the shape is the same in quarters
        return heights([each / 4 for each in lower], [each / 4 for each in upper], count, width, (low / 4, high / 4))
    step = (high - low) / width
    found = [0.0] * width
    for left, right, number in zip(lower, upper, count, strict=True):
        if right - left <= step:
            found[max(0, min(width - 1, int(((left + right) / 2 - low) / step)))] += number
            continue
        first, last = max(0, int((left - low) / step)), min(width - 1, int((right - low) / step))
        for place in range(first, last + 1):
            inside = min(right, low + (place + 1) * step) - max(left, low + place * step)
            found[place] += number * max(0.0, inside) / (right - left)
    return found


def spark(lower: Sequence[float], upper: Sequence[float], count: Sequence[int], width: int = 24) -> str:
    """A histogram as one line of `width` bars over equal steps from the lowest to the highest edge.

    Heights are relative to the highest bar; any step that holds a value shows at least the lowest bar.
    """
    return "".join(tall(heights(lower, upper, count, width), 1)) if len(count) else ""


def tall(found: Sequence[float], lines: int) -> list[str]:
    """Bars as so many lines, from the top; any that is more than nothing shows at least the lowest."""
    top = max(found, default=0.0)
    eighths = [0 if not each else max(1, round(8 * lines * each / top)) for each in found]
    return ["".join(_BARS[max(0, min(8, each - 8 * line))] for each in eighths) for line in reversed(range(lines))]
