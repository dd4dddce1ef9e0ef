"""The spectral statistics, as Markdown."""

from __future__ import annotations

from wexport.stats.spectral import STATISTICS


def table() -> str:
    """Every one with its unit and what it is."""
    rows = [f"| `{each.name}` | {each.unit} | {each.doc.replace('|', chr(92) + '|')} |" for each in STATISTICS]
    return "\n".join(["| in `extra` | unit | what it is |", "|---|---|---|", *rows])
