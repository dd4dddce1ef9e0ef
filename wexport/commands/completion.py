"""What a shell may complete: names of queries, and the models and slots of the table that is named on the line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
MOST_FILES = 50
"""So many parts of a table are looked into: who waits for a key to answer does not wait long."""


def queries(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the library's queries, with what each answers."""
    from wexport import library

    return [
        CompletionItem(name, help=query.question)
        for name, query in library.load().items()
        if name.startswith(incomplete)
    ]


def of_table(column: str) -> Completer:
    """A completer of what a column of the table holds; it offers nothing where there is no table to read."""

    def completer(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from wexport.errors import WexportError
        from wexport.files import outputs
        from wexport.table import stored

        # An option that waits for its value ends the parsing, and what stood before it is left over.
        words = [*(each for each in ctx.args if not each.startswith("-")), ctx.params.get("table") or "weights.parquet"]
        parts = next((named for each in words if (named := outputs.table_inputs(each))), [])
        prefix = "!" if incomplete.startswith("!") else ""  # which excludes
        found: set[str] = set()
        try:
            for path in parts[:MOST_FILES]:
                found |= {*stored.read_columns(Path(path), [column])[column].unique().to_pylist()} - {None}
        except (WexportError, OSError, KeyError, ValueError):
            return []
        names = (f"{prefix}{name}" for name in sorted(found))
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]

    return completer
