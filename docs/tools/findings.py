"""The page of findings, from their declarations."""

from __future__ import annotations

from docs.tools.markdown import plain, table
from wexport.findings.meanings import MEANINGS


def page() -> str:
    """Each finding by name, with what it means."""
    rows = [[f"`{name}`", plain(meaning)] for name, meaning in MEANINGS.items()]
    return "\n".join(["# Findings", "", *table(["finding", "what it means"], rows), ""])
