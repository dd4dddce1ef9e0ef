"""The similarity of models as a matrix, in the order of a tree that stands beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator

from wexport.analysis.similarity import MIN_COVERAGE, measure
from wexport.errors import UsageError
from wexport.plot import dendrograms, style
from wexport.plot.data import Table, quoted, unless_any_fits
from wexport.plot.dendrograms import Floats, Merge
from wexport.plot.kinds import plots
from wexport.sessions.session import opened

NAMED, VALUED = 50, 12
"""Up to this many models each has its name, and each cell its value."""
BRANCHES = 12
"""Of more models, this many branches of the tree are named."""


@dataclass(frozen=True, slots=True)
class Similarities:
    """matrix: similarity of each two models, the mean of the cosines of their matched tensors, weighted by size; NaN
    where they cannot be compared.

    coverage: the share of the parameters that it rests on. standard_error: of what comes from samples.
    """

    models: list[str]
    matrix: Floats
    coverage: Floats
    standard_error: Floats


@plots
def similarity(table: Table, *, ax: Axes, model: str = "*", low: float = 0.0) -> list[QuadMesh | LineCollection]:
    """The matrix of all models' similarities, ordered by a tree of average linkage, and that tree.

    The colour scale does not depend on the models, so that two figures compare: it ends at 1 and begins at `low`,
    from -1 up. model: which models, a name or a pattern.
    Raises UsageError if there are not two models.
    """
    return draw(load(table, model), ax, low=low)


def whole(table: Table, *, model: str = "*", low: float = 0.0, size: tuple[float, float] | None = None) -> Figure:
    """The same as a figure of its own, of a size that suits the number of models."""
    data = load(table, model)
    count = len(data.models)
    side = 4.0 + (0.42 * count if count <= VALUED else 0.12 * count + 1.0 if count <= NAMED else 5.5)
    with style.settings():
        made = style.Picture(figsize=size or (side + 2.0, side))
        draw(data, made.subplots(), low=low)
    return made


def load(table: Table, model: str = "*") -> Similarities:
    """The similarities of the models of a table, as the query `similarity` has them."""
    with opened(table) as session:
        found = measure(session, model, MIN_COVERAGE)
        if len(found.models) < 2:
            there = f"there is only {found.models[0]}" if found.models else f"no model fits {quoted(model)}"
            raise UsageError(f"{there}, and a comparison needs two", hint=unless_any_fits(session, ""))
    return Similarities(found.models, found.matrix, found.coverage, found.standard_error)


def draw(data: Similarities, ax: Axes, *, low: float = 0.0) -> list[QuadMesh | LineCollection]:
    """Draw onto axes: the matrix, the tree at its right, and a colour bar. Pairs that cannot be compared are hatched.

    Returns the matrix and the tree.
    """
    if not -1 <= low < 1:
        raise UsageError(f"low {low} is not a beginning of a scale that ends at 1", hint="give -1 or more, below 1")
    count = len(data.models)
    merges = dendrograms.average_linkage(1 - data.matrix)
    order = dendrograms.leaves(merges, count)
    cells = data.matrix[np.ix_(order, order)]
    with style.settings():
        edges = np.arange(count + 1) - 0.5
        look: dict[str, Any] = {"facecolor": "#e4e4e4", "edgecolor": "#9a9a9a", "hatch": "////", "linewidth": 0}
        ax.add_patch(Rectangle((-0.5, -0.5), count, count, **look, zorder=0))
        colours = mpl.colormaps[style.DIVERGING if low == -1 else style.SEQUENTIAL].with_extremes(bad="none")
        mesh = ax.pcolormesh(
            edges, edges, np.ma.masked_invalid(cells), cmap=colours, norm=Normalize(low, 1), rasterized=True
        )
        ax.set_xlim(-0.5, count - 0.5)
        ax.set_ylim(count - 0.5, -0.5)
        ax.set_aspect("equal")
        ax.spines[:].set_visible(False)
        tree = _tree(ax, merges, count)
        _colour_bar(ax, mesh, cells, low)
        if count <= VALUED:
            _write(ax, cells, mesh)
        _name(ax, data.models, order, merges)
        style.label(ax, title=_title(data))
    return [mesh, tree]


def _tree(ax: Axes, merges: list[Merge], count: int) -> LineCollection:
    side = ax.inset_axes((1.01, 0, 0.2, 1))
    tree = dendrograms.draw(merges, count, side)
    side.set_ylim(count - 0.5, -0.5)
    side.set_yticks([])
    side.spines["left"].set_visible(False)
    side.xaxis.set_major_locator(MaxNLocator(3))
    side.tick_params(axis="x", labelsize=7)
    style.label(side, x="1 - similarity")
    return tree


def _colour_bar(ax: Axes, mesh: QuadMesh, cells: Floats, low: float) -> None:
    below = int((cells[np.triu_indices(len(cells), 1)] < low).sum())
    figure = ax.figure
    assert figure is not None
    bar = figure.colorbar(mesh, ax=ax, extend="min" if below else "neither", shrink=0.6, pad=0.02, aspect=25)
    beyond = f"; {below:,} pairs below {low:g}" if below else ""
    bar.set_label(f"mean cosine of matched tensors, weighted by size{beyond}", fontsize=8)


def _write(ax: Axes, cells: Floats, mesh: QuadMesh) -> None:
    """Each cell's value, in white on dark and black on light."""
    for (row, column), value in np.ndenumerate(cells):
        if np.isfinite(value):
            red, green, blue, _ = mesh.to_rgba(np.array([value]))[0]
            colour = "white" if 0.3 * red + 0.59 * green + 0.11 * blue < 0.5 else "black"
            words = ax.text(column, row, _digits(float(value)), ha="center", va="center", fontsize=7, color=colour)
            style.plain([words])


def _digits(value: float) -> str:
    """Two digits, or more where they would make 1 of what is not."""
    if value == 1:
        return "1"
    if abs(value) < 0.995:
        return f"{value:.2f}".replace("-0.00", "0.00")
    return f"{value:.3f}" if abs(value) < 0.9995 else ">.999" if value > 0 else "<-.999"


def _name(ax: Axes, models: list[str], order: list[int], merges: list[Merge]) -> None:
    """Each model's name or, of many, the first name of each of the tree's main branches and how many follow."""
    if len(models) <= NAMED:
        names = style.short_all([models[place] for place in order], 30)
        size = 8 if len(models) <= 30 else 6.5
        ax.set_yticks(range(len(models)), names, parse_math=False, fontsize=size)
        ax.set_xticks(range(len(models)), names, parse_math=False, fontsize=size, rotation=90)
        ax.tick_params(length=0)
        return
    groups = dendrograms.branches(merges, len(models), BRANCHES)
    names = style.short_all([models[group[0]] for group in groups], 30)
    starts = np.cumsum([0, *(len(group) for group in groups)])
    labels = [
        f"{name} and {len(group) - 1:,} more" if len(group) > 1 else name
        for name, group in zip(names, groups, strict=True)
    ]
    middles = (starts[:-1] + starts[1:] - 1) / 2
    # Branches too small to have a line of text for themselves go without.
    kept: list[int] = []
    for place in sorted(range(len(groups)), key=lambda place: -len(groups[place])):
        if all(abs(middles[place] - middles[other]) > len(models) / 45 for other in kept):
            kept.append(place)
    kept.sort()
    ax.set_yticks(middles[kept], [labels[place] for place in kept], parse_math=False)
    ax.set_xticks(starts[1:-1] - 0.5, [""] * (len(groups) - 1))
    ax.set_xlabel(f"{len(models):,} models in the order of the tree; the largest of its branches are named")


def _title(data: Similarities) -> str:
    pairs = np.triu_indices(len(data.models), 1)
    lost = int((~np.isfinite(data.matrix[pairs])).sum())
    words = f"Similarity of {len(data.models):,} models"
    if lost:
        words += f"; {lost:,} of {pairs[0].size:,} pairs cannot be compared (hatched)"
    share = data.coverage[pairs][np.isfinite(data.matrix[pairs])]
    if share.size and share.min() < 1:
        # Never rounded up to all of them.
        least, most = (int(100 * end) for end in (share.min(), share.max()))
        words += f"\nwhere compared, over {least} {f'to {most} ' if most > least else ''}% of the parameters"
    error = data.standard_error[pairs]
    if error[np.isfinite(error)].max(initial=0) > 0:
        words += f"\nfrom samples, with a standard error of at most {np.nanmax(error):.2g}"
    return words
