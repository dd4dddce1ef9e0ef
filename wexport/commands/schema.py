"""wexport schema: the columns of the table."""

from __future__ import annotations

import click


@click.command()
@click.option("--format", "form", type=click.Choice(["table", "json", "csv", "markdown"]), default="table")
def schema(form: str) -> None:
    """Show the table's columns, with units and meaning."""
    from wexport.table.schema import COLUMNS
    from wexport.terminal import tables

    tables.show(
        ["column", "type", "unit", "meaning"],
        [[column.name, _type_name(str(column.type)), column.unit, column.doc] for column in COLUMNS],
        form,
    )


def _type_name(text: str) -> str:
    return text.replace("element: ", "").replace("item: ", "")
