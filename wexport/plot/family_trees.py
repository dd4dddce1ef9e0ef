"""Families of models as a tree: which came from which, or stands nearest."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Annotation

from wexport.plot import style
from wexport.relating.family import FamilyTree

STEP = 0.3
"""How far a child stands to the right of its parent."""


def draw(tree: FamilyTree, ax: Axes) -> list[Annotation]:
    """Draw onto axes: a model a row, a line from what stands above, an arrow where that came first.

    Returns the lines, in the order of the members that have a parent.
    """
    places: dict[str, tuple[float, int]] = {}
    lines: list[Annotation] = []
    names = style.short_all([each.model for each in tree.members])
    for row, (each, name) in enumerate(zip(tree.members, names, strict=True)):
        x, y = STEP * each.depth, -row
        places[each.model] = x, y
        ax.plot([x], [y], "o", color=style.COLOURS[0], markersize=4)
        label = name if each.relation is None else f"{name}   {each.relation.replace('_', ' ')}, {each.distance:.3f}"
        ax.text(x + 0.08, y, label, va="center", fontsize="small")
        if each.parent is not None:
            look = {
                "arrowstyle": "-|>" if each.directed else "-",
                "linestyle": "-" if each.directed else "--",
                "color": style.COLOURS[0] if each.directed else style.OTHERS,
                "connectionstyle": "angle,angleA=-90,angleB=180,rad=0",
                "shrinkA": 2,
                "shrinkB": 2,
            }
            lines.append(ax.annotate("", (x, y), places[each.parent], arrowprops=look))
    deepest = max((each.depth for each in tree.members), default=0)
    ax.set_xlim(-0.2, STEP * deepest + 3)
    ax.set_ylim(-len(tree.members) + 0.3, 0.7)
    ax.set_axis_off()
    style.plain(ax.texts)
    style.label(ax, title="Families: relation and distance (1 less similarity) to the model above")
    return lines


def family_tree(tree: FamilyTree, *, size: tuple[float, float] | None = None) -> Figure:
    """The same as a figure of its own, of a size that suits the number of models."""
    deepest = max((each.depth for each in tree.members), default=0)
    with style.settings():
        made = style.Picture(figsize=size or (6.0 + 0.5 * deepest, 1.0 + 0.26 * len(tree.members)))
        ax = made.subplots()
        draw(tree, ax)
        if any(each.parent and not each.directed for each in tree.members):
            ax.text(0, 0, "dashed: nearness alone, either may have come first", transform=ax.transAxes, va="top",
                    fontsize="small")  # fmt: skip
    return made
