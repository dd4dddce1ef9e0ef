"""Where tiles stand in a picture of many: lines, gaps and room for numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from wexport.plot.matrices import Floats

NUMBERED = 128
"""Up to this many filters have their number above them; of more, each line has the number of its first."""
ASPECT = 1.8
"""Width to height that tiles are laid out for."""
GAP = 0.14
"""Space between tiles, as a share of a tile's longer side."""
LINE_OF_TEXT = 0.045
"""What a line of numbers takes of the height of all."""


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles in lines: a line has a row of tiles for each plane, and the numbers of its filters above.

    a_line: filters of a line. numbered: whether there is room for a number each.
    x, y: edges of the columns and rows of cells, of which one between tiles is the gap, one above a line its text.
    """

    a_line: int
    lines: int
    planes: int
    x: Floats
    y: Floats
    numbered: bool

    @property
    def width(self) -> float:
        return float(self.x[-1])

    @property
    def height(self) -> float:
        return float(self.y[-1])

    @classmethod
    def of(cls, shape: tuple[int, ...], rgb: bool = False) -> Tiling:
        """The layout of (filters, planes, height, width) that is nearest to the wanted width to height.

        rgb: planes are colours of one tile.
        """
        count, planes, high, wide = shape
        planes = 1 if rgb else planes
        gap = GAP * max(high, wide)
        numbered = count <= NUMBERED
        a_line = min(
            range(1, min(count, NUMBERED) + 1),
            key=lambda columns: abs(
                math.log(columns * (wide + gap) / (-(-count // columns) * (planes * (high + gap) + gap)) / ASPECT)
            ),
        )
        lines = -(-count // a_line)
        a_line = -(-count // lines)  # so that the last line is not much shorter than the others
        tiles = lines * planes * (high + gap)
        text = min(1.0, LINE_OF_TEXT / max(0.2, 1 - LINE_OF_TEXT * lines)) * tiles if numbered else gap
        column = [*[1.0] * wide, gap]
        line = [text, *[*[1.0] * high, gap] * planes]
        return cls(a_line, lines, planes, _edges(column * a_line), _edges(line * lines), numbered)


def _edges(widths: list[float]) -> Floats:
    return np.concatenate(([0.0], np.cumsum(widths)))


def canvas(tiles: Floats, layout: Tiling) -> tuple[Floats, NDArray[np.bool_]]:
    """Tiles in their places, (rows, columns, colours), and where the cells are tiles, (rows, columns)."""
    count, seen, high, wide = tiles.shape
    planes = layout.planes
    padded = np.zeros((layout.lines * layout.a_line, seen, high, wide))
    padded[:count] = tiles
    filled = np.zeros(padded.shape, bool)
    filled[:count] = True
    cells = []
    for array in (padded, filled):
        array = array.reshape(layout.lines, layout.a_line, planes, seen // planes, high, wide)
        array = np.pad(array.transpose(0, 2, 4, 1, 5, 3), ((0, 0), (0, 0), (0, 1), (0, 0), (0, 1), (0, 0)))
        array = array.reshape(layout.lines, planes * (high + 1), layout.a_line * (wide + 1), seen // planes)
        array = np.pad(array, ((0, 0), (1, 0), (0, 0), (0, 0)))
        cells.append(array.reshape(len(layout.y) - 1, len(layout.x) - 1, seen // planes))
    return cells[0], cells[1][..., 0].astype(bool)
