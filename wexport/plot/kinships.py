"""Pairs of models by their similarity beside what chance gives, and how one model moved to another over its depth."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from wexport.errors import UsageError
from wexport.plot import style
from wexport.relating.changes import Moved
from wexport.relating.results import Kinship

MOST_PAIRS = 60
"""Of more, the first are drawn, and the title says so."""


def draw_pairs(pairs: Sequence[Kinship], ax: Axes) -> list[Artist]:
    """Draw onto axes, a row a pair: similarity position by position, aligned, and as a band what chance reaches.

    Returns for each pair with one its band, then the aligned points. Pairs without a null have none of both.
    """
    bands: list[Artist] = []
    rows = range(len(pairs))
    for row, pair in zip(rows, pairs, strict=True):
        if pair.null_similarity is not None:
            label = "" if bands else "what chance gives"
            bands += ax.barh(row, pair.null_similarity, 0.7, color=style.OTHERS, alpha=0.4, label=label)
    place = [(each.similarity, row) for row, each in zip(rows, pairs, strict=True) if each.similarity is not None]
    aligned = [
        (each.aligned_similarity, row)
        for row, each in zip(rows, pairs, strict=True)
        if each.aligned_similarity is not None
    ]
    if place:
        ax.plot(*zip(*place, strict=True), "o", fillstyle="none", color=style.COLOURS[0], label="position by position")
    points = ax.plot(*zip(*aligned, strict=True), "o", color=style.COLOURS[1], label="aligned") if aligned else []
    whole = list(dict.fromkeys(name for each in pairs for name in (each.model_a, each.model_b)))
    short = dict(zip(whole, style.short_all(whole), strict=True))
    ticks = [f"{short[each.model_a]}, {short[each.model_b]}: {each.relation.replace('_', ' ')}" for each in pairs]
    ax.set_yticks(list(rows), ticks, fontsize="small")
    style.plain(ax.get_yticklabels())
    ax.set_ylim(len(pairs) - 0.4, -0.6)
    ax.set_xlim(right=1.02)
    ax.axvline(0, color=style.OTHERS, linewidth=0.8)
    style.label(ax, x="mean cosine of the kernels")
    return [*bands, *points]


def pairs(found: Sequence[Kinship], *, size: tuple[float, float] | None = None) -> Figure:
    """The same as a figure of its own, of a size that suits the number of pairs. Raises UsageError if there is none."""
    shown = [each for each in found if each.similarity is not None][:MOST_PAIRS]
    if not shown:
        raise UsageError(
            "no pair can be compared, and there is nothing to draw", hint="name models of one architecture"
        )
    with style.settings():
        made = style.Picture(figsize=size or (10.0, 1.6 + 0.26 * len(shown)))
        ax = made.subplots()
        draw_pairs(shown, ax)
        more = f", {len(shown)} of {len(found):,} pairs" if len(shown) < len(found) else ""
        style.label(ax, title=f"Similarity beside chance{more}")
        style.legend(
            ax, loc="upper center", bbox_to_anchor=(0.4, -0.6 / (0.26 * len(shown) + 0.6)), ncols=3, frameon=False
        )
    return made


def draw_change(moved: Moved, axes: Sequence[Axes]) -> list[Artist]:
    """Draw onto two axes, kernels from the first to the last: how long their differences are, and of what rank.

    Returns the lengths, the effective ranks and those of random matrices, as lines.
    """
    rows = [each for each in moved.rows if each.gate is None and each.effective_rank is not None and each.full_rank]
    if not rows:
        raise UsageError("no kernel changed whose rank can be told", hint="name two models of one architecture")
    above, below = axes
    places = range(len(rows))
    long = [each.relative_length or 0.0 for each in rows]
    lengths = above.plot(places, long, "o-", color=style.COLOURS[0])
    shares = [
        [rank / each.full_rank for each, rank in zip(rows, ranks, strict=True) if rank is not None and each.full_rank]
        for ranks in ([each.effective_rank for each in rows], [each.chance_rank for each in rows])
    ]
    ranks = below.plot(places, shares[0], "o-", color=style.COLOURS[1], label="effective rank of the difference")
    chance = below.plot(places, shares[1], "--", color=style.OTHERS, label="of a random matrix")
    below.set_ylim(0, 1.05)
    above.set_ylim(0, 1.1 * max(long) or 1)
    above.set_xticks([])
    below.set_xticks(
        list(places), style.short_all([each.slot for each in rows]), rotation=60, ha="right", fontsize="small"
    )
    style.plain(below.get_xticklabels())
    style.label(above, y="relative length")
    style.label(below, y="share of full rank")
    style.legend(below, loc="lower left", frameon=False)
    return [*lengths, *ranks, *chance]


def change(moved: Moved, *, size: tuple[float, float] | None = None) -> Figure:
    """The same as a figure of its own. Raises UsageError where no kernel's change has a rank."""
    with style.settings():
        made = style.Picture(figsize=size or (8.0, 6.0))
        axes = made.subplots(2, 1)
        draw_change(moved, axes)
        names = style.short_all([moved.model_a, moved.model_b])
        how = "units aligned" if moved.aligned else "place by place"
        style.label(axes[0], title=f"From {names[0]} to {names[1]}, {how}")
    return made
