"""wexport report: one page that tells it all."""

from __future__ import annotations

from typing import Any

import click

from wexport.commands.common import Bytes, overwrite_option, pairs
from wexport.commands.progress import progress


@click.command()
@click.argument("table", required=False, default="weights.parquet")
@click.option("--out", "-o", default="report.html", show_default=True, metavar="FILE", help="The page.")
@overwrite_option
@click.option(
    "--metrics", "-m", multiple=True, metavar="FILE", help="How the models do: CSV, JSON or Parquet; several."
)
@click.option(
    "--by", multiple=True, metavar="NAME=VALUE", help="A parameter of the query rank, e.g. metric=val_accuracy."
)
@click.option(
    "--reference", default="", metavar="MODEL", help="Tell drift from this model, not from checkpoint to checkpoint."
)
@click.option("--compare", metavar="TABLE", help="Say what changed since an earlier table.")
@click.option("--timeout", type=float, default=300.0, show_default=True, help="Seconds that each question may take.")
@click.option("--memory", type=Bytes(), default="4GiB", show_default=True, metavar="SIZE", help="For the questions.")
def report(table: str, out: str, by: tuple[str, ...], **options: Any) -> None:
    """Write one HTML page about the models of a table: summary, findings, closeness, ranking, layers.

    The page needs no network and no other file. TABLE is weights.parquet by default.
    """
    from wexport.reports.report import report as run
    from wexport.terminal.text import safe, size

    with progress("drawing layers") as drawn:
        written = run(table, out, by=pairs("--by", by), progress=drawn, **options)
    print(f"wrote {safe(written)}, {size(written.stat().st_size)}")
