"""wexport inspect: one file in the terminal."""

from __future__ import annotations

from typing import Any

import click

from wexport.commands.common import reading_options, say


@click.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="All figures as JSON.")
@reading_options
def inspect(path: str, as_json: bool, **options: Any) -> None:
    """Show what is in one model file: layers, shapes, figures, histograms."""
    from wexport.commands.listing import as_text, to_json
    from wexport.ingestion.inspection import inspect as run

    inspection = run(path, **options)
    if as_json:
        print(to_json(inspection))
    else:
        as_text(inspection)
    for note in inspection.result.notes:
        say(f"note: {note}")
