"""Figures as pictures that stand in the page itself."""

from __future__ import annotations

import contextlib
import io
import re
import urllib.parse
from collections.abc import Iterator

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.transforms import blended_transform_factory

from wexport.plot import style
from wexport.reports.elements import Picture

_LONG = re.compile(r"-?\d+\.\d{2,}")
_COMMENTS = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<\?xml.*?\?>|<!DOCTYPE.*?>", re.DOTALL)
_FONTS = re.compile(r"font-family: 'DejaVu Sans'[^;\"]*")
_TAGS = re.compile(r"<[^>]*>")
_UPRIGHT = re.compile(r' transform="rotate\(-?0 [^)]*\)"')
_PATH = re.compile(r'(?<= d=")[^"]*')
_STEP = re.compile(r"([A-Za-z])([^A-Za-z]*)")
_PLAIN_NAMES = re.compile(r' id="(?:figure|axes|patch|line2d|text|xtick|ytick|legend|matplotlib\.axis)_\d+"')


@contextlib.contextmanager
def fixed(height: float, *, left: float = 0.09, right: float = 0.98, top: float = 0.5) -> Iterator[Axes]:
    """Axes of a figure eight inches wide, with fixed margins: to look for room takes as long as to draw, and these are
    many.

    height: in inches. left, right: as shares of the width. top: inches for the title, of up to two lines.
    """
    with style.settings(), mpl.rc_context({"axes.titley": 1.0}):
        made = Figure(figsize=(8, height), constrained_layout=False)
        made.subplots_adjust(left=left, right=right, bottom=0.5 / height, top=1 - top / height)
        ax = made.subplots()
        # In the middle of its axis, at a fixed place in the figure.
        along = blended_transform_factory(ax.transAxes, made.transFigure)
        up = blended_transform_factory(made.transFigure, ax.transAxes)
        ax.xaxis.set_label_coords(0.5, 0.2 / height, transform=along)
        ax.yaxis.set_label_coords(0.042, 0.5, transform=up)
        yield ax


def picture(figure: Figure | SubFigure, alt: str) -> Picture:
    """A figure as SVG in a data URI.

    As an image, an SVG runs no script and loads nothing, whatever the names in it are. Coordinates are rounded to a
    tenth of a point, lines along an axis have one number, and what only tells who drew it and how is left out: that
    takes off two thirds.
    """
    assert isinstance(figure, Figure)
    buffer = io.StringIO()
    with style.settings():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = _COMMENTS.sub("", buffer.getvalue())
    text = _FONTS.sub("font-family: sans-serif", _PLAIN_NAMES.sub("", text))
    text = _TAGS.sub(lambda tag: _tidied(tag[0]), text)  # the words between stay as they are
    text = re.sub(r"\s+", " ", text).replace("> <", "><")
    return Picture("data:image/svg+xml," + urllib.parse.quote(text, safe=" =:/;,.'()-+*!@[]{}|^~`?&$"), alt)


def _tidied(tag: str) -> str:
    return _PATH.sub(_shortened, _LONG.sub(_rounded, _UPRIGHT.sub("", tag)))


def _shortened(path: re.Match[str]) -> str:
    """A path whose lines along an axis are H and V, and lines of no length are left out."""
    here: tuple[str, ...] = ()
    steps = []
    for command, numbers in _STEP.findall(path[0]):
        there = tuple(numbers.split())
        if command == "L" and len(here) == 2:
            if there == here:
                continue
            one = f"V{there[1]}" if there[0] == here[0] else f"H{there[0]}" if there[1] == here[1] else ""
            steps.append(one or f"L{' '.join(there)}")
        else:
            steps.append(command + " ".join(there))
        here = there[-2:]
    return "".join(steps)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".removesuffix(".0")
