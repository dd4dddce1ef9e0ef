"""Histograms of several models over each other: some as lines, and the range of all others as a band behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch

from wexport.plot import style
from wexport.plot.bins import Floats

BAND: dict[str, Any] = {"color": style.OTHERS, "alpha": 0.45, "linewidth": 0}
"""How the range of the others looks, in the plot and in a legend."""


def overlay(
    ax: Axes, edges: Floats, densities: Mapping[str, Floats], standing: Sequence[str], *, width: float
) -> list[StepPatch]:
    """Draw densities between the same edges, by model; they need not all be of models that stand out, nor have all.

    standing: models that have a line of their own, in the order of the colours. width: of the lines, in points.
    Returns the lines in that order, and last the range of all others, where there are any.
    """
    artists = [
        ax.stairs(densities[name], edges, **style.look(number), linewidth=width, zorder=3)
        for number, name in enumerate(standing)
        if name in densities
    ]
    others = [density for name, density in densities.items() if name not in standing]
    if others:
        low, high = np.min(others, axis=0), np.max(others, axis=0)
        artists.append(ax.stairs(high, edges, baseline=low, fill=True, zorder=2, **BAND))
    return artists


def labels(standing: Sequence[str], models: int) -> list[str]:
    """What a legend calls the lines of the models that stand out and, of this many models, the range of the others."""
    names = style.short_all(standing)
    others = models - len(standing)
    return [*names, f"{others:,} others, their range"] if others else names
