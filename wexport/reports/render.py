"""The page as one HTML file that needs nothing else."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from wexport.files.outputs import MARK
from wexport.library import Query
from wexport.reports.elements import Layer, Picture, Table
from wexport.reports.overview import Overview
from wexport.version import __version__

TITLES = {
    "changes": "What changed",
    "models": "Models",
    "findings": "Findings",
    "architectures": "Architectures",
    "closeness": "Closeness",
    "rank": "Ranking",
    "drift": "Drift",
    "running": "Outputs and gradients",
    "layers": "Layers",
}
"""The sections, by what they are called in links."""

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence of the summary, and where it leads. place: what stands there, if it is not a section."""

    text: str
    link: str = ""
    place: str = ""

    @property
    def see(self) -> str:
        """The words of the link."""
        return f"See {self.place or TITLES[self.link.removeprefix('#')]}"


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page. anchor: one of TITLES. queries: those of the library that are behind all of it."""

    anchor: str
    words: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    layers: list[Layer] = field(default_factory=list)
    queries: tuple[Query, ...] = ()

    @property
    def title(self) -> str:
        """Its heading."""
        return TITLES[self.anchor]


@dataclass(frozen=True, slots=True)
class Page:
    """The whole report. summary: headings with their sentences."""

    title: str
    subtitle: str
    summary: list[tuple[str, list[Sentence]]]
    sections: list[Section]
    overview: Overview


def render(page: Page) -> str:
    """The HTML. Text is escaped; style and script are the only ones that the page's own policy lets the browser use."""
    style = (_HERE / "report.css").read_text("utf-8")
    script = (_HERE / "report.js").read_text("utf-8")
    return _template().render(
        page=page,
        version=__version__,
        mark=MARK,
        style=Markup(style),
        script=Markup(script),
        style_hash=_hash(style),
        script_hash=_hash(script),
    )


@lru_cache(maxsize=1)
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html.j2")


def _hash(text: str) -> str:
    """What a content security policy calls a text by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
