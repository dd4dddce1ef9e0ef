"""One thing that is wrong with a model, and what was found in a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wexport.answers.tabular import Part, Tabular, table_of

if TYPE_CHECKING:
    import pyarrow as pa


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


class Findings(list[Finding], Tabular):
    """What was found in a table: a list, the worst first, which is a table too, a row a finding."""

    __slots__ = ()

    def to_arrow(self) -> pa.Table:
        """A row a finding, with the fields of `Finding` as columns."""
        return table_of(Finding, self)

    def _parts(self) -> Iterable[Part]:
        counts = Counter(each.severity for each in self)
        told = ", ".join(f"{count:,} {severity}" for severity, count in counts.items())
        return [Part(self.to_arrow(), told=[f"Findings: {told or 'none'}"], left_out=["explains"])]
