"""wexport compact: the parts of a table joined into one file."""

from __future__ import annotations

from pathlib import Path

import click

from wexport.commands.common import overwrite_option


@click.command()
@click.argument("table")
@click.option("--out", "-o", required=True, metavar="FILE", help="The one file, such as weights.parquet, or its URI.")
@overwrite_option
def compact(table: str, out: str, overwrite: bool) -> None:
    """Join the parts of a table into one file.

    TABLE is a folder of parts, a quoted pattern, or a URI of these. The parts stay as they are.
    """
    from wexport.ingestion.compaction import compact as run
    from wexport.terminal.text import safe, size

    written = run(table, out, overwrite=overwrite)
    there = f", {size(written.stat().st_size)}" if isinstance(written, Path) else ""
    print(f"wrote {safe(written)}{there}")
