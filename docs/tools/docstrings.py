"""Docstrings as the site shows them: lines `name: what it is` and what is indented below them become a list."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<doc>\S.*)")
_LEAD = ("Returns", "Raises", "Yields", "Note")


def as_markdown(docstring: str) -> str:
    """A docstring of this project as Markdown.

    A paragraph in which every line is an entry or goes on with one is a list; indented blocks stay code.
    """
    return "\n\n".join(_paragraph(each) for each in re.split(r"\n[ \t]*\n", docstring))


def _paragraph(text: str) -> str:
    lines = text.split("\n")
    if not _ENTRY.fullmatch(lines[0]) or lines[0].startswith(_LEAD):
        return text
    entries: list[str] = []
    for line in lines:
        match = _ENTRY.fullmatch(line)
        if match and not line.startswith(" "):
            names = ", ".join(f"`{name}`" for name in match["names"].split(", "))
            entries.append(f"- {names}: {match['doc']}")
        else:
            entries[-1] += " " + line.strip()
    return "\n".join(entries)


class Entries(griffe.Extension):
    """Turns each docstring into Markdown as it is collected."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
