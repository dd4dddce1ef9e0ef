"""How plots look: colours that colour-blind readers can tell apart, names that fit, and text that is only text."""

from __future__ import annotations

import contextlib
import contextvars
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from wexport.errors import UsageError
from wexport.terminal.text import safe

# Okabe and Ito (2008), without yellow, which is too pale for lines on white; black comes last.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
OTHERS = "#9aa0a6"
BEYOND = "#a3161c"
"""What goes beyond the axis."""
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)))
MARKERS = "os^"
SHOWN = 8
"""How many models stand out in a plot that overlays them; of the others, the range is grey, and they are counted."""
NAME_LENGTH = 36

SEQUENTIAL, DIVERGING = "viridis", "RdBu_r"

DPI = 150


class Picture(Figure):
    """A figure that a notebook shows, whether or not pyplot was imported there."""

    def _repr_png_(self) -> bytes:
        file = io.BytesIO()
        self.savefig(file, format="png", dpi=self.dpi)
        return file.getvalue()


_DARK: Any = {
    "figure.facecolor": "#16181b",
    "savefig.facecolor": "#16181b",
    "axes.facecolor": "#16181b",
    **dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor"), "#e8eaed"
    ),
}
_IS_DARK: contextvars.ContextVar[bool] = contextvars.ContextVar("dark", default=False)
_SETTINGS: Any = {
    "text.parse_math": False,  # a layer called $x$ is not a formula
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 9,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "legend.handlelength": 2.6,  # dashes are told from a line
    "figure.constrained_layout.use": True,
    "savefig.dpi": DPI,
    "svg.hashsalt": "wexport",  # the same table gives the same file
    "svg.fonttype": "none",  # text stays text: smaller, and it can be searched and read aloud
    "path.simplify": True,
}


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Matplotlib's settings for our figures; the caller's are as before afterwards."""
    with mpl.rc_context({**_SETTINGS, **(_DARK if _IS_DARK.get() else {})}):
        yield


@contextlib.contextmanager
def dark() -> Iterator[None]:
    """Figures that are drawn meanwhile are light on dark."""
    before = _IS_DARK.set(True)
    try:
        yield
    finally:
        _IS_DARK.reset(before)


def look(place: int) -> dict[str, Any]:
    """Colour and dashes of the model at a place, from 0: no two of the first 21 are alike."""
    colour = COLOURS[place % len(COLOURS)]
    if _IS_DARK.get() and colour == "#000000":
        colour = "#ffffff"
    return {"color": colour, "linestyle": DASHES[place // len(COLOURS) % len(DASHES)]}


def beyond() -> str:
    """The colour of what goes beyond the axis."""
    return "#ff9a94" if _IS_DARK.get() else BEYOND


def marker(place: int) -> dict[str, Any]:
    """The points of the line of the model at a place."""
    return {"marker": MARKERS[place // len(COLOURS) % len(MARKERS)], "markersize": 3}


def standing_out(models: int, shown: int = SHOWN) -> list[int]:
    """Which of this many models are drawn by themselves: all, or `shown` evenly spread from the first to the last.

    One model more is shown too: one other is no "others".
    """
    if models <= shown + 1:
        return list(range(models))
    return [round(place * (models - 1) / max(1, shown - 1)) for place in range(shown)]


def choice(name: str, value: str, known: Sequence[str]) -> None:
    """Raises UsageError if an option has none of the known values."""
    if value not in known:
        raise UsageError(f"{name} {value!r} is not known", hint=f"choose {' or '.join(known)}")


def short(name: str, length: int = NAME_LENGTH) -> str:
    """A name that fits, cut in the middle, where names that differ at either end stay apart."""
    name = safe(name)
    if len(name) <= length:
        return name
    head = (length - 1) // 2
    return f"{name[:head]}…{name[len(name) - (length - 1 - head) :]}"


def short_all(names: Sequence[str], length: int = NAME_LENGTH) -> list[str]:
    """Names that fit, still all different: a folder that all share is left out, and equal ones get their number."""
    prefix = _common_folder(names)
    found = [short(name[len(prefix) :], length) for name in names]
    return [f"{name} ({place + 1})" if found.count(name) > 1 else name for place, name in enumerate(found)]


def _common_folder(names: Sequence[str]) -> str:
    if len(names) < 2:
        return ""
    first, last = min(names), max(names)
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return first[: first.rfind("/", 0, same) + 1]


def plain(texts: Iterable[Text]) -> None:
    """Keep texts from being read as formulas, also on axes that were made under other settings."""
    for text in texts:
        text.set_parse_math(False)


def label(ax: Axes, *, title: str = "", x: str = "", y: str = "") -> None:
    """Title and axis labels, as plain text."""
    if title:
        ax.set_title(title, loc="left", wrap=True)
    if x:
        ax.set_xlabel(x)
    if y:
        ax.set_ylabel(y)
    plain([ax.title, ax._left_title, ax.xaxis.label, ax.yaxis.label])  # type: ignore[attr-defined]


def legend(ax: Axes, **options: Any) -> None:
    """A legend of what was labelled, if anything was, as plain text."""
    handles, labels = ax.get_legend_handles_labels()
    if handles:
        made = ax.legend(handles, labels, **options)
        plain(made.get_texts())


def logarithmic(ax: Axes, *, nonpositive: Literal["mask", "clip"] = "mask") -> None:
    """A logarithmic y axis whose labels are plain numbers, and enough of them: matplotlib writes powers as formulas."""
    ax.set_yscale("log", nonpositive=nonpositive)
    low, high = ax.get_ylim()
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    if high < 4 * low:
        ax.yaxis.set_major_locator(MaxNLocator(6))
        ax.yaxis.set_minor_locator(NullLocator())
    elif high < 100 * low:
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
    ax.yaxis.set_major_formatter(plain)
    ax.yaxis.set_minor_formatter(plain if high < 100 * low else NullFormatter())
