"""Figures as pictures that stand in the page itself."""

from __future__ import annotations

import io
import re
import urllib.parse

from matplotlib.figure import Figure

from wexport.page.parts import Picture
from wexport.plot import style

_LONG = re.compile(r"-?\d+\.\d{3,}")
_COMMENTS = re.compile(r"<!--.*?-->|<metadata>.*?</metadata>|<\?xml.*?\?>|<!DOCTYPE.*?>", re.DOTALL)


def picture(figure: Figure, alt: str) -> Picture:
    """A figure as SVG in a data URI.

    As an image, an SVG runs no script and loads nothing, whatever the names in it are. Coordinates are rounded to a
    hundredth of a point, and what only tells who drew it is left out: that halves the size.
    """
    buffer = io.StringIO()
    with style.settings():
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = _COMMENTS.sub("", buffer.getvalue())
    text = _LONG.sub(lambda match: f"{float(match[0]):.2f}".rstrip("0").rstrip("."), text)
    text = re.sub(r"\s+", " ", text)
    return Picture("data:image/svg+xml," + urllib.parse.quote(text, safe=" =:/;,.'()-+*!@[]{}|^~`?&$"), alt)
