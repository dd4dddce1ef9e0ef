"""The relations of two models, as Markdown."""

from __future__ import annotations

from wexport.analysis.relations import RELATIONS


def table() -> str:
    """Every relation in its order: what it says, what it rests on, what chance gives of that, and who finds it."""
    rows = [
        f"| `{each.word}` | {each.means} | {each.evidence} | {each.null} | {', '.join(sorted(each.by))} |"
        for each in RELATIONS
    ]
    return "\n".join(["| relation | says | rests on | by chance | found from |", "|---|---|---|---|---|", *rows])
