"""How a statistic is declared: a field of a result, with its doc, its unit and what whole models have of it.

The fields of `results.Distribution` and `results.TensorStatistics` that are made by `statistic` are all there are. What
derives from them: the columns of the table and their order, the fields of its column `gates`, the SQL view `gates`, the
statistics that queries and plots know, and what the report and `wexport schema` say.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Statistic:
    """A number of a tensor.

    unit: "weight" for what is of the values' own unit, "" for a pure number. integer: a count.
    of_model: SQL over the columns of a model's tensors that makes it of the whole model; "" where there is none.
    last: stands at the end of the table, where the eye looks first. reported: the report shows it for each layer.
    """

    name: str
    doc: str
    unit: str
    integer: bool
    of_model: str
    last: bool
    reported: bool


def statistic(doc: str, *, unit: str = "weight", of_model: str = "", last: bool = False, reported: bool = False) -> Any:
    """A field that is a statistic; its type is `int` or `float`, with None where it may be undefined.

    doc: formula, convention and what it is over, as users read it. The others: as in `Statistic`.
    """
    declared = {"doc": doc, "unit": unit, "of_model": of_model, "last": last, "reported": reported}
    return field(metadata={"statistic": declared})


def statistics_of(result: type) -> tuple[Statistic, ...]:
    """The statistics among the fields that a class of results declares itself, without those of its base."""
    own = result.__annotations__
    return tuple(
        Statistic(each.name, integer=str(each.type).startswith("int"), **each.metadata["statistic"])
        for each in fields(result)
        if each.name in own and "statistic" in each.metadata
    )


@dataclass(frozen=True, slots=True)
class Fraction:
    """A count over the number of values; undefined for a tensor without any."""

    name: str
    of: str
    reported: bool = False

    @property
    def doc(self) -> str:
        """As users read it."""
        return f"{self.of} / value_count."

    @property
    def of_model(self) -> str:
        """As in `Statistic`."""
        return f"sum({self.of}) / nullif(sum(value_count), 0)"
