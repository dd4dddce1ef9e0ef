"""Names of models and slots that a question asks for and the table does not have: an error, not an empty answer."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wexport.errors import UsageError
from wexport.sessions.session import Session
from wexport.terminal.text import safe

LISTED = 4
_SEPARATOR = "\x1f"
_FITS = """
SELECT
    bool_or(asked_for(model, getvariable('model'))) AS model,
    bool_or(asked_for(model, getvariable('model')) AND asked_for(slot, getvariable('slot'))) AS slot
FROM (SELECT DISTINCT model, slot FROM tensors)
"""
_NAMES = {
    "model": "SELECT DISTINCT model AS name FROM tensors ORDER BY model",
    "slot": "SELECT DISTINCT slot AS name FROM tensors WHERE asked_for(model, getvariable('model')) ORDER BY slot",
}


def refuse_unknown_names(session: Session, parameters: Iterable[str], given: Mapping[str, Any]) -> None:
    """Raises UsageError if `model` or `slot` fit nothing, with the nearest names; a table without rows is left alone.

    parameters: names of what the question takes; others are its own affair.
    """
    asked = {name: str(given[name]) for name in ("model", "slot") if name in parameters and given.get(name, "*") != "*"}
    if not asked:
        return
    wanted = {"model": "*", "slot": "*"} | asked
    (fits,) = session.ask(_FITS, wanted).to_pylist()
    for name in asked:
        if fits[name] is False:
            names = [row["name"] for row in session.ask(_NAMES[name], wanted).to_pylist()]
            parts = ", ".join(map(repr, asked[name].split(_SEPARATOR)))
            raise UsageError(f"there is no {name} {parts}", hint=f"{name}s are {_listed(names, asked[name])}")


def _listed(names: Sequence[str], wanted: str) -> str:
    """Those that are most like what was wanted, or the first, and how many more there are."""
    near = [
        name
        for part in wanted.lower().split(_SEPARATOR)
        for name in (
            *(name for name in names if part.strip("*?!") and part.strip("*?!") in name.lower()),
            *difflib.get_close_matches(part, names, LISTED, 0.5),
        )
    ]
    shown = list(dict.fromkeys(near))[:LISTED] or names[:LISTED]
    more = len(names) - len(shown)
    return ", ".join(safe(name) for name in shown) + (f" and {more:,} more" if more else "")
