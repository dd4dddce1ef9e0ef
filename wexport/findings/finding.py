"""One thing that is wrong with a model."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was found.

    severity: error, warning or info. place: the slot or the layer; None for the whole model. seen, threshold: what was
    found, and where the finding begins. advice: what to do. query: the query, or the file of your own, behind it.
    explains: how many other findings follow from it.
    """

    severity: str
    finding: str
    model: str
    place: str | None
    seen: str
    threshold: str | None
    advice: str | None
    query: str
    explains: int = 0
