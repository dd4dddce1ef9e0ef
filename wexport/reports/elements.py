"""What the page is made of. Everything here is text and numbers; the template escapes it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from wexport import library
from wexport.library import Query
from wexport.terminal.tables import cell_text
from wexport.terminal.text import safe


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell: what it shows, what it is sorted by (None: its text), whether it is a number, where it leads."""

    text: str
    value: float | None = None
    number: bool = False
    link: str = ""
    style: str = ""


@dataclass(frozen=True, slots=True)
class Heading:
    """A column's name, unit and meaning."""

    name: str
    unit: str = ""
    doc: str = ""
    number: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be sorted and filtered.

    left_out, hidden: rows and columns that are not shown. command: what prints all of it.
    queries: those of the library that are behind it.
    sql: what gives it, where no query of the library does.
    """

    name: str
    caption: str
    headings: list[Heading]
    rows: list[list[Cell]]
    left_out: int = 0
    queries: tuple[Query, ...] = ()
    command: str = ""
    sql: str = ""
    hidden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as a data URI, and what it shows in words."""

    source: str
    alt: str


@dataclass(frozen=True, slots=True)
class Layer:
    """A slot's own part of the page. facts: name and value. badges: severity and text of each finding.

    words: what is not drawn, and what does.
    """

    anchor: str
    slot: str
    facts: list[tuple[str, str]]
    badges: list[tuple[str, str]] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


def table_of(
    name: str,
    answer: pa.Table,
    *,
    caption: str,
    rows: int,
    query: str | None = None,
    command: str = "",
    hidden: Sequence[str] = (),
    links: Mapping[str, Mapping[Any, str]] | None = None,
) -> Table:
    """An answer as a table of at most `rows` rows, without columns in which there is nothing.

    query: name of the library's query that gave it, for the columns' meaning and the SQL. hidden: columns left out.
    links: for a column, where each of its values leads.
    """
    known = library.get(query) if query else None
    docs = {column.name: column for column in known.columns} if known else {}
    empty = {each for each in answer.column_names if answer.num_rows and answer[each].null_count == answer.num_rows}
    names = [each for each in answer.column_names if each not in hidden and each not in empty]
    shown = answer.select(names).slice(0, rows)
    columns = [column.to_pylist() for column in shown.columns]
    numbers = [_numeric(field_.type) for field_ in shown.schema]
    return Table(
        name,
        caption,
        [
            Heading(each, docs[each].unit if each in docs else "", docs[each].doc if each in docs else "", number)
            for each, number in zip(names, numbers, strict=True)
        ],
        [
            [
                _cell(value, number, (links or {}).get(each, {}), severity=each == "severity")
                for each, value, number in zip(names, row, numbers, strict=True)
            ]
            for row in zip(*columns, strict=True)
        ],
        max(0, answer.num_rows - rows),
        (known,) if known else (),
        command,
        hidden=tuple(each for each in hidden if each in answer.column_names),
    )


def _numeric(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _cell(value: Any, number: bool, links: Mapping[Any, str], *, severity: bool) -> Cell:
    link = links.get(value, "") if isinstance(value, str) else ""
    if isinstance(value, (list, dict)):
        return Cell(safe(json.dumps(value, default=str))[:200])
    style = f"severity {value}" if severity and value in ("error", "warning", "info") else ""
    text = cell_text(value)
    return Cell(text, float(value) if number and value is not None else None, number, link, style)
