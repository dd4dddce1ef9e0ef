"""Figures as pictures that stand in the page itself."""

from __future__ import annotations

import io
import re
import urllib.parse

from matplotlib.figure import Figure

from wexport.page.parts import Picture
from wexport.plot import style

_LONG = re.compile(r"-?\d+\.\d{2,}")
_COMMENTS = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<\?xml.*?\?>|<!DOCTYPE.*?>", re.DOTALL)
_FONTS = re.compile(r"font-family: 'DejaVu Sans'[^;\"]*")
_TAGS = re.compile(r"<[^>]*>")
_PLAIN_NAMES = re.compile(r' id="(?:figure|axes|patch|line2d|text|xtick|ytick|legend|matplotlib\.axis)_\d+"')


def picture(figure: Figure, alt: str) -> Picture:
    """A figure as SVG in a data URI.

    As an image, an SVG runs no script and loads nothing, whatever the names in it are. Coordinates are rounded to a
    tenth of a point, and what only tells who drew it and how is left out: that takes off more than half.
    """
    buffer = io.StringIO()
    with style.settings():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = _COMMENTS.sub("", buffer.getvalue())
    text = _FONTS.sub("font-family: sans-serif", _PLAIN_NAMES.sub("", text))
    text = _TAGS.sub(lambda tag: _LONG.sub(_rounded, tag[0]), text)  # numbers in the words stay as they are
    text = re.sub(r"\s+", " ", text).replace("> <", "><")
    return Picture("data:image/svg+xml," + urllib.parse.quote(text, safe=" =:/;,.'()-+*!@[]{}|^~`?&$"), alt)


def _rounded(number: re.Match[str]) -> str:
    return f"{float(number[0]):.1f}".removesuffix(".0")
