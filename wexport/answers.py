"""Answers to queries as text, JSON, CSV, Markdown or Parquet; the library as a list and a page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from wexport import library, terminal
from wexport.errors import UsageError
from wexport.library import Query


def show(answer: pa.Table, form: str, out: str | None = None, rows: int = 0) -> None:
    """Print an answer, or write it to `out`. rows: how many the table format shows; 0 for all."""
    if form == "parquet":
        _write_parquet(answer, out)
        return
    shown = answer.slice(0, rows) if form == "table" and rows else answer
    cells = list(zip(*(column.to_pylist() for column in shown.columns), strict=True))
    with terminal.redirected(out):
        terminal.show(answer.column_names, cells, form)
        if shown.num_rows < answer.num_rows:
            print(f"... and {answer.num_rows - shown.num_rows:,} more rows (--rows 0 shows all)")


def _write_parquet(answer: pa.Table, out: str | None) -> None:
    if out is None and sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal", hint="add --out FILE, or pipe it")
    pq.write_table(answer, sys.stdout.buffer if out is None else Path(out))


def list_queries(form: str) -> None:
    """Print the library: a line a query."""
    rows: list[list[Any]] = [
        [query.name, query.question, ", ".join(parameter.name for parameter in query.parameters)]
        for query in library.load().values()
    ]
    terminal.show(["query", "question", "parameters"], rows, form)


def describe(query: Query) -> None:
    """Print a query's page: its parameters, columns, how to read it, what it does not prove."""
    print(f"{query.name}: {query.question}\n")
    if query.parameters:
        terminal.show(
            ["parameter", "type", "default", "meaning"],
            [[each.name, each.type, each.default, each.doc] for each in query.parameters],
        )
    terminal.show(["column", "unit", "meaning"], [[each.name, each.unit, each.doc] for each in query.columns])
    print(f"How to read it: {query.reading}\n")
    print(f"What it does not prove: {query.limits}")
