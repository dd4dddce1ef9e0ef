"""The weights of one model against those of another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from wexport.errors import UsageError
from wexport.plot import style
from wexport.plot.data import Table, listed, quoted, unless_any_fits
from wexport.plot.kinds import plots
from wexport.plot.pairs import Pairs, cosine, paired
from wexport.plot.quantities import WEIGHT, Quantity, quantity_of
from wexport.sessions.session import opened
from wexport.terminal.text import counted

DENSE = 4_000
"""Pairs of one slot above which counts in hexagons are drawn, not points."""
RASTERISED = 2_000
"""Points above which an SVG or PDF holds them as a picture."""

SIDE, PAD = 4.6, 0.06
"""Inches: the side of the square in a whole figure, and what is left free around all."""

_MODELS = "SELECT DISTINCT model FROM weights WHERE asked_for(model, getvariable('model')) ORDER BY model"
_SQL = """
SELECT model, slot, kind, role, is_statistic(role) AS statistic, layer_of_slot(slot) AS layer, dtype,
    canonical_shape, value_count, sample.index AS index, sample.value AS value
FROM weights
WHERE model IN (getvariable('a'), getvariable('b')) AND asked_for(slot, getvariable('slot'))
ORDER BY tensor_index, slot
"""


@dataclass(frozen=True, slots=True)
class Scatter:
    """Two models. left_out: why slots are not among the pairs, and how many. quantity: what the pairs are of."""

    a: str
    b: str
    pairs: list[Pairs]
    left_out: dict[str, int]
    quantity: Quantity = WEIGHT


@plots
def scatter(table: Table, a: str = "", b: str = "", *, ax: Axes, slot: str = "*", colour: str = "auto") -> list[Artist]:
    """Model a against model b: a point is one weight, at its value in a and in b.

    a, b: two models; by default the two that are most alike and not equal.
    slot: one slot, or a pattern; slots match by name and equal canonical shape. Of several slots,
    moving statistics are left out. colour: see `draw`. Raises UsageError if nothing matches.
    """
    return draw(load(table, a, b, slot), ax, colour=colour)


def whole(
    table: Table,
    a: str,
    b: str,
    *,
    size: tuple[float, float] | None = None,
    slot: str = "*",
    colour: str = "auto",
) -> Figure:
    """A whole figure. Options as of `scatter`."""
    data = load(table, a, b, slot)
    with style.settings():
        figure = style.Picture(figsize=size or ((6.4, 6) if len(data.pairs) == 1 else (8.6, 5.6)))
        draw(data, figure.subplots(), colour=colour)
        _fit(figure, size)
    return figure


def _fit(figure: Figure, size: tuple[float, float] | None) -> None:
    """Place the square so that all around it has room; without a size asked for, the figure is as large as that takes.

    A layout engine reckons with axes that may be of any shape, and cuts off what stands beside a square.
    """
    (ax,) = figure.axes
    for _ in range(2):  # the title may be broken anew at another width
        figure.draw_without_rendering()
        square, around = ax.get_window_extent(), ax.get_tightbbox()
        title = ax._left_title.get_window_extent()  # type: ignore[attr-defined]
        assert around is not None
        dots = figure.dpi
        left, below = (square.x0 - around.x0) / dots + PAD, (square.y0 - around.y0) / dots + PAD
        right, above = (around.x1 - square.x1) / dots + PAD, (around.y1 - square.y1) / dots + PAD
        right = max(right, (title.x1 - square.x0) / dots + PAD - SIDE)
        width, height = size or (left + SIDE + right, below + SIDE + above)
        side = max(0.5, min(width - left - right, height - below - above))
        figure.set_layout_engine("none")
        figure.set_size_inches(width, height)
        ax.set_position((left / width, below / height, side / width, side / height))


def load(table: Table, a: str, b: str, slot: str = "*") -> Scatter:
    """The pairs of values of two models.

    Raises UsageError if a or b is not one model, or no slot of theirs can be paired.
    """
    with opened(table) as session:
        names = []
        for name in (a, b):
            found = session.ask(_MODELS, {"model": name}).column("model").to_pylist()
            if name in found:
                found = [name]
            if len(found) != 1:
                if not found:
                    raise UsageError(f"there is no model {name!r}", hint=unless_any_fits(session, name))
                raise UsageError(f"{name!r} fits {len(found):,} models", hint=f"choose one: {listed(found)}")
            names.extend(found)
        if names[0] == names[1]:
            raise UsageError(f"both are {names[0]!r}", hint="choose two models: a and b")
        rows = session.ask(_SQL, {"a": names[0], "b": names[1], "slot": slot}).to_pylist()
    if len({row["slot"] for row in rows}) > 1:
        statistics = {row["slot"] for row in rows if row["statistic"]}
        rows = [row for row in rows if not row["statistic"]]
    else:
        statistics = set()
    left, right = ({(row["kind"], row["slot"]): row for row in rows if row["model"] == name} for name in names)
    pairs, left_out = [], {"moving statistics": len(statistics)}
    for key in dict.fromkeys([*left, *right]):
        reason, pair = paired(left.get(key), right.get(key))
        if pair is not None:
            pairs.append(pair)
        else:
            left_out[reason] = left_out.get(reason, 0) + 1
    if not pairs:
        why = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items() if count) or "there is none"
        raise UsageError(
            f"no slot {quoted(slot)} of {style.short(names[0])} can be paired with one of "
            f"{style.short(names[1])}: {why}",
            hint="`wexport query tensors` lists slots and shapes; samples need a table made with --detail full",
        )
    reasons = {reason: count for reason, count in left_out.items() if count}
    return Scatter(names[0], names[1], pairs, reasons, quantity_of(rows))


def draw(data: Scatter, ax: Axes, *, colour: str = "auto") -> list[Artist]:
    """Draw onto axes, with the identity line, on which weights stand that are equal in both; both axes are alike.

    colour: of several slots, "role" or "layer"; "auto" is by role where there are several roles. Names in the legend
    come with the cosine of all their values.

    Returns the clouds, the one of most weights first (of one slot with many pairs, hexagons coloured by the number of
    pairs), then the line.
    """
    style.choice("colour", colour, ("auto", "role", "layer"))
    one = len(data.pairs) == 1
    with style.settings():
        low, high = _limits(data.pairs)
        if one and data.pairs[0].a.size > DENSE:
            artists = [_hexagons(data.pairs[0], ax, (low, high))]
        else:
            artists = _clouds(data.pairs, ax, colour)
        (line,) = ax.plot([low, high], [low, high], color="black", linewidth=0.8, dashes=(4, 2), zorder=1.5)
        ax.set(xlim=(low, high), ylim=(low, high))
        ax.set_aspect("equal", adjustable="box")
        if not one:
            line.set_label("equal in both")
            style.legend(ax, loc="upper left", bbox_to_anchor=(1.02, 1))
            _enlarge(ax)
        names, what = style.short_all([data.a, data.b]), data.quantity.axis
        style.label(ax, title=_title(data), x=f"{what} in {names[0]}", y=f"{what} in {names[1]}")
    return [*artists, line]


def _limits(pairs: Sequence[Pairs]) -> tuple[float, float]:
    low = min(min(float(pair.a.min()), float(pair.b.min())) for pair in pairs)
    high = max(max(float(pair.a.max()), float(pair.b.max())) for pair in pairs)
    margin = 0.04 * (high - low) or 0.1 * abs(high) or 1.0
    return low - margin, high + margin


def _enlarge(ax: Axes) -> None:
    """Points in the legend that can be seen, whatever they are in the cloud."""
    legend = ax.get_legend()
    for handle in legend.legend_handles if legend else []:
        if isinstance(handle, PathCollection):
            handle.set_sizes([30])
            handle.set_alpha(1)


def _hexagons(pair: Pairs, ax: Axes, limits: tuple[float, float]) -> Artist:
    found = ax.hexbin(
        pair.a,
        pair.b,
        gridsize=60,
        bins="log",
        mincnt=1,
        cmap=style.SEQUENTIAL,
        extent=(*limits, *limits),
        linewidths=0,
    )
    bar = ax.inset_axes((1.03, 0.0, 0.04, 1.0))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    ax.figure.colorbar(found, cax=bar, label="pairs of values in a hexagon", format=plain)
    return found


def _clouds(pairs: Sequence[Pairs], ax: Axes, colour: str) -> list[Artist]:
    """Points, a colour a group; small groups are drawn above large ones."""
    count = sum(pair.a.size for pair in pairs)
    artists: list[Artist] = []
    groups = _groups(pairs, colour)
    names = style.short_all([name for name, _ in groups])
    for number, (name, (_, group)) in enumerate(zip(names, groups, strict=True)):
        last = number >= style.SHOWN
        look = style.OTHERS if last else style.COLOURS[number % len(style.COLOURS)]
        marker = "o" if number < len(style.COLOURS) else "s"
        label = (
            None if len(pairs) == 1 else name if last else f"{name}: {counted(len(group), 'slot')}, {_cosine(group)}"
        )
        cloud = ax.scatter(
            np.concatenate([pair.a for pair in group]),
            np.concatenate([pair.b for pair in group]),
            s=12 if count <= 1000 else 5,
            alpha=0.8 if count <= 300 else 0.5 if count <= 10_000 else 0.25,
            color=look,
            marker=marker,
            linewidths=0,
            zorder=2 if last else 2.1 + 0.01 * number,
            rasterized=count > RASTERISED,
            label=label,
        )
        artists.append(cloud)
    return artists


def _groups(pairs: Sequence[Pairs], colour: str) -> list[tuple[str, list[Pairs]]]:
    """Pairs by role or layer, those of most weights first; beyond some, the others as one group."""
    if colour == "auto":
        colour = "role" if len({pair.role for pair in pairs}) > 1 else "layer"
    found: dict[str, list[Pairs]] = {}
    for pair in pairs:
        found.setdefault(pair.role if colour == "role" else pair.layer, []).append(pair)
    ordered = sorted(found.items(), key=lambda item: -sum(pair.value_count for pair in item[1]))
    if len(ordered) <= style.SHOWN:
        return ordered
    rest = ordered[style.SHOWN :]
    merged = [pair for _, group in rest for pair in group]
    what = "other role" if colour == "role" else "other layer"
    return [*ordered[: style.SHOWN], (f"{counted(len(rest), what)}: {counted(len(merged), 'slot')}", merged)]


def _cosine(pairs: Sequence[Pairs]) -> str:
    """The cosine in words."""
    found, error = cosine(pairs)
    if found is None:
        return "no cosine: all zero"
    rounded = f"{found:.3f}"
    text = f"cosine {'> 0.999' if rounded == '1.000' and found < 1 - 1e-12 else rounded}"
    if all(pair.drawn == pair.value_count for pair in pairs):
        return text
    return f"{text} ± {max(error, 0.001):.3f}" if error >= 0.0005 else f"{text} ± < 0.001"


def _title(data: Scatter) -> str:
    drawn, values = sum(pair.drawn for pair in data.pairs), sum(pair.value_count for pair in data.pairs)
    lost = drawn - sum(pair.a.size for pair in data.pairs)
    sampled = drawn < values
    amount = f"sample of {drawn:,} of {values:,} values" if sampled else f"all {values:,} values"
    error = " (± standard error)" if sampled else ""
    if len(data.pairs) == 1:
        text = f"{style.short(data.pairs[0].slot, 50)}: {amount}\n{_cosine(data.pairs)}{error}; dashed: equal in both"
    else:
        text = f"{counted(len(data.pairs), 'slot')} in both: {amount}{error}"
    if lost:
        text += f"\n{lost:,} pairs with NaN or infinity left out"
    if data.left_out:
        text += "\nnot drawn: " + ", ".join(f"{counted(n, 'slot')} {reason}" for reason, n in data.left_out.items())
        text += f" (a: {style.short(data.a, 24)})" if {"in a only", "in b only"} & data.left_out.keys() else ""
    return text
