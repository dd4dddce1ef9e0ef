"""wexport query: the library, and any SQL that reads."""

from __future__ import annotations

from typing import Any

import click

from wexport.commands.common import asking_options, pairs


@click.command()
@click.argument("question", required=False)
@click.argument("table", required=False)
@click.option("--param", "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the query.")
@click.option("--with", "files", multiple=True, metavar="NAME=FILE", help="Your own CSV, JSON or Parquet file.")
@click.option("--about", is_flag=True, help="What the query's parameters and columns are, and how to read it.")
@click.option("--sql", "show_sql", is_flag=True, help="The query's SQL, which also runs in the duckdb CLI.")
@asking_options
def query(
    question: str | None,
    table: str | None,
    parameters: tuple[str, ...],
    files: tuple[str, ...],
    about: bool,
    show_sql: bool,
    form: str,
    out: str | None,
    rows: int,
    **limits: Any,
) -> None:
    """Ask a table a question.

    QUESTION is a query of the library (without one, they are listed), or any SQL that reads.
    TABLE is weights.parquet by default.
    """
    from wexport import answers, querying

    if question is None:
        answers.list_queries(form)
        return
    named = querying.named_query(question)
    if named and about:
        answers.describe(named)
    elif named and show_sql:
        print(named.sql, end="")
    else:
        found = querying.query(
            question, table or querying.TABLE, pairs("--param", parameters), files=pairs("--with", files), **limits
        )
        answers.show(found, form, out, rows)
