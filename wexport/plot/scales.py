"""One colour scale for all panels of a figure that are compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, Normalize

from wexport.errors import UsageError
from wexport.plot import limits, style
from wexport.plot.matrices import Floats

LOST = {False: ("#f0e442", "yellow"), True: ("#d55e00", "orange")}
"""Colour of cells that are not finite, and its name, on the colours of values and on those of root mean squares."""


@dataclass(frozen=True, slots=True)
class Scale:
    """A colour scale: symmetric about zero for values, from zero for root mean squares.

    limit: its end. beyond, of: how many of the finite cells are beyond it, and how many there are.
    words: what the colours mean. colours: the colour map's name.
    """

    is_rms: bool
    limit: float
    beyond: int = 0
    of: int = 0
    words: str = ""
    colours: str = ""

    @classmethod
    def over(
        cls, cells: Sequence[Floats], limit: float | None, *, is_rms: bool, words: str, colours: str = ""
    ) -> Scale:
        """The scale that all these cells need, or one with the limit that is asked for.

        Raises UsageError for a limit that is not above zero.
        """
        if limit is not None and not (np.isfinite(limit) and limit > 0):
            raise UsageError(f"limit {limit} is not an end of a colour scale", hint="give a number above 0")
        each = [np.abs(array[np.isfinite(array)]) for array in cells]
        sizes = np.concatenate(each)
        # Panels far beyond all others, of a model that diverged, do not set the scale: their cells are beyond it.
        ends = limits.within([found.max(keepdims=True) if found.size else found for found in each])
        near = [found for found in each if ends is None or not found.size or found.max() <= ends[1]]
        end = float(limit or _end(np.concatenate(near)))
        return cls(is_rms, end, int((sizes > end).sum()), sizes.size, words, colours)

    @property
    def norm(self) -> Normalize:
        """From values to places on the scale."""
        return Normalize(0 if self.is_rms else -self.limit, self.limit)

    @property
    def map(self) -> Colormap:
        """The colours; cells that are not finite have one of their own."""
        name = self.colours or (style.SEQUENTIAL if self.is_rms else style.DIVERGING)
        return mpl.colormaps[name].with_extremes(bad=LOST[self.is_rms][0])


def _end(sizes: Floats) -> float:
    """Where a scale ends: at the largest, or where a few are far above the rest, at the 99 % quantile."""
    present = sizes[sizes > 0]
    if not present.size:
        return 1.0
    most, rest = float(present.max()), float(np.quantile(present, 0.99))
    return most if most <= 4 * rest else rest


def colour_bar(axes: Sequence[Axes], scale: Scale) -> None:
    """A colour bar beside some axes; it says what is beyond the scale."""
    extend = "neither" if not scale.beyond else "max" if scale.is_rms else "both"
    figure = axes[0].figure
    assert figure is not None
    bar = figure.colorbar(
        ScalarMappable(scale.norm, scale.map), ax=list(axes), extend=extend, pad=0.02, aspect=30, fraction=0.06
    )
    things = "blocks" if scale.is_rms else "values"
    beyond = f"\n{scale.beyond:,} of {scale.of:,} {things}\nbeyond the scale" if scale.beyond else ""
    bar.set_label(scale.words + beyond, fontsize=8)
    bar.outline.set_visible(False)
