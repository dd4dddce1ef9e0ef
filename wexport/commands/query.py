"""wexport query: the library, and any SQL that reads."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from wexport.commands import completion
from wexport.commands.common import asking_options, kind_option, pairs, say
from wexport.errors import MissingTableError, UsageError
from wexport.files import outputs


class _Asking(click.Command):
    """SQL that begins with a comment, as the library's own, is not an option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [f"\n{text}" if re.match(r"--\s", text) else text for text in args])


@click.command(cls=_Asking)
@click.argument("question", required=False, shell_complete=completion.queries)
@click.argument("table", required=False)
@click.argument("more", nargs=-1, metavar="")
@click.option("--param", "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the query.")
@click.option(
    "--metrics", "-m", multiple=True, metavar="FILE", help="How the models do: CSV, JSON or Parquet; several."
)
@click.option(
    "--with", "own", multiple=True, metavar="NAME=FILE", help="Your own CSV, TSV, JSON or Parquet file, as a table."
)
@click.option("--plugin", "plugins", multiple=True, metavar="FILE.py", help="Load queries from a Python file.")
@click.option("--about", is_flag=True, help="What the query's parameters and columns are, and how to read it.")
@click.option("--sql", "show_sql", is_flag=True, help="The query's SQL, which also runs in the duckdb CLI.")
@click.option(
    "--views",
    "show_views",
    is_flag=True,
    help="The SQL of the views and macros that queries read, for the duckdb CLI: duckdb -init views.sql -f QUERY.sql.",
)
@kind_option
@asking_options
def query(
    question: str | None,
    table: str | None,
    more: tuple[str, ...],
    parameters: tuple[str, ...],
    metrics: tuple[str, ...],
    own: tuple[str, ...],
    plugins: tuple[str, ...],
    about: bool,
    show_sql: bool,
    show_views: bool,
    form: str,
    out: str | None,
    rows: int,
    overwrite: bool,
    **limits: Any,
) -> None:
    """Ask a table a question.

    QUESTION is a query of the library (without one, they are listed), or any SQL that reads.
    TABLE is weights.parquet by default; it may be a folder of parts or a quoted pattern.
    """
    from wexport.queries import asking, printing

    if show_views:
        from wexport.sessions.views import views

        print(views(), end="")
        return
    if question is None:
        if about or show_sql or parameters or metrics or own:
            raise UsageError("no query is named", hint="`wexport query` lists them")
        printing.list_queries(form, asking.plugin_queries(plugins).values())
        return
    named = asking.named_query(question, plugins)
    if about or show_sql:
        if named is None:
            raise UsageError("SQL of your own has no page", hint="`wexport query` lists the queries that have one")
        printing.describe(named) if about else print(named.sql, end="")
        return
    if more:
        raise UsageError(f"{more[0]}: one table at a time", hint="quote a pattern: 'parts/*.parquet'")
    if table is None and not Path(asking.TABLE).exists():
        raise MissingTableError(
            f"no table is named, and there is no {asking.TABLE} here",
            hint=f"wexport query {named.name if named else 'SQL'} TABLE; `wexport ingest *.h5 --out {asking.TABLE}` "
            "makes one",
        )
    table = table or asking.TABLE
    given, tables = pairs("--param", parameters), pairs("--with", own)
    if named:
        asking.typed(named, given)  # before a process is started
    if out is not None:
        kind = outputs.PARQUET_ANSWER if form == "parquet" else outputs.TEXT
        read = [*outputs.table_inputs(table), *metrics, *tables.values(), *plugins]
        outputs.claim(out, kind, inputs=read, overwrite=overwrite)
    from wexport.queries.metrics import gathered

    bounds = {name: limits[name] for name in ("timeout", "memory")}
    with gathered(table, metrics, tables, **bounds) as files, asking.session(table, files, **limits) as session:
        last = printing.LAST.get(named.name, ()) if named else ()
        printing.show(asking.stream(session, named or question, given), form, out, rows, last=last)
    if named and form == "table" and out is None:
        say(f"how to read it: wexport query {named.name} --about")
