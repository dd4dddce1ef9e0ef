"""Answers to queries as text, JSON, CSV, Markdown or Parquet; the library as a list and a page."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from wexport import library
from wexport.answers.values import rows_of
from wexport.errors import UsageError
from wexport.files.atomic import atomic_write
from wexport.files.outputs import ANSWER_KEY, MARK
from wexport.library import Query
from wexport.terminal import tables, text

if TYPE_CHECKING:
    from wexport.queries.asking import Rows

COUNTED_ROWS = 1_000_000
"""How many rows beyond those shown are counted before it is only said that there are more."""
MOST_ROWS = 100_000
"""How many rows the table format shows at most: it holds them all to make columns as wide as they need to be."""
PAGE_WIDTH = 100


LAST: Mapping[str, Sequence[str]] = {
    "models": ("bytes", "trainable", "dtype", "framework", "zero_fraction", "tensors", "layers"),
    "rank": ("metric", "parameters", "zero_units", "defects"),
}
"""Columns of queries that a narrow terminal goes without, the first of them first."""


def show(answer: Rows, form: str, out: str | None = None, rows: int = 0, *, last: Sequence[str] = ()) -> None:
    """Print an answer, or write it to `out`, while it comes.

    rows: how many the table format shows; 0 for all. last: columns that a narrow terminal goes without.
    """
    if form == "parquet":
        _write_parquet(answer, out)
    elif form == "table":
        shown, more = _first(answer, rows)
        with tables.redirected(out):
            _show_table(answer.schema.names, shown, more, last)
    else:
        with tables.redirected(out):
            tables.show_rows(answer.schema.names, map(rows_of, answer), form)


def _first(answer: Rows, rows: int) -> tuple[list[tuple[Any, ...]], int]:
    """The rows to show, and how many more there are, at most one more than are counted."""
    shown: list[tuple[Any, ...]] = []
    more = 0
    for batch in answer:
        wanted = max((rows or MOST_ROWS) - len(shown), 0)
        shown += rows_of(batch.slice(0, wanted))
        more += max(batch.num_rows - wanted, 0)
        if more > COUNTED_ROWS:
            break
    return shown, more


def _show_table(names: list[str], shown: list[tuple[Any, ...]], more: int, last: Sequence[str]) -> None:
    if not shown:
        print(f"no rows (columns: {text.safe(', '.join(names))})")
        return
    tables.show(names, shown, last=last)
    if more:
        count = f"more than {COUNTED_ROWS:,}" if more > COUNTED_ROWS else f"{more:,}"
        way = "--rows 0 shows all" if len(shown) < MOST_ROWS else "--format csv has all"
        print(f"... and {count} more row{'s' if more > 1 else ''} ({way})")


def _write_parquet(answer: Rows, out: str | None) -> None:
    if out is not None:
        with atomic_write(out) as file:
            _write_batches(answer, file)
    elif sys.stdout.isatty():
        raise UsageError("Parquet is not for a terminal", hint="add --out FILE, or pipe it")
    else:
        _write_batches(answer, sys.stdout.buffer)


def _write_batches(answer: Rows, file: IO[bytes]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    # Figures are rarely equal: to look for equal ones takes most of the time.
    words = [field.name for field in answer.schema if str(field.type) == "string"]
    schema = answer.schema.with_metadata({**(answer.schema.metadata or {}), ANSWER_KEY: MARK})
    try:
        opened = pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=words)
    except pa.ArrowNotImplementedError as error:
        kind = str(error).rpartition(": ")[2]
        raise UsageError(
            f"Parquet has no {kind}, which the answer holds", hint="cast it, as in x::VARCHAR, or use --format csv"
        ) from None
    with opened as writer:
        for batch in answer:
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))


def list_queries(form: str, others: Iterable[Query] = ()) -> None:
    """Print the library, and queries of plugins: a line a query, by what they are about."""
    queries = [*library.load().values(), *others]
    if form != "table":
        if form == "parquet":
            raise UsageError("the list of queries is not written as Parquet", hint="--format json")
        tables.show(
            ["query", "group", "question", "parameters"],
            [[query.name, query.group, query.question, [each.name for each in query.parameters]] for query in queries],
            form,
        )
        return
    group, width = "", max(len(query.name) for query in queries)
    for query in queries:
        if query.group != group:
            group = query.group
            print(f"{group}")
        print(f"  {query.name:{width}}  {query.question}")
    print("\nwexport query NAME TABLE asks one; wexport query NAME --about tells how to read its answer")
    print('wexport query "SELECT ..." TABLE asks anything else of weights, tensors, gates, units, histogram, sample')


def describe(query: Query) -> None:
    """Print a query's page: its parameters, columns, how to read it, what it does not prove."""
    print(f"{query.name}: {query.question}\n")
    if query.parameters:
        tables.show(
            ["parameter", "type", "default", "meaning"],
            [[each.name, each.type, each.default, each.doc] for each in query.parameters],
        )
    tables.show(["column", "unit", "meaning"], [[each.name, each.unit, each.doc] for each in query.columns])
    width = min(PAGE_WIDTH, tables.stdout().width)
    print(textwrap.fill(f"How to read it: {query.reading}", width), end="\n\n")
    print(textwrap.fill(f"What it does not prove: {query.limits}", width))
