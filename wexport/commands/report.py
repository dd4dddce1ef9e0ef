"""wexport report: one page that tells it all."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from wexport.commands.common import Bytes, pairs


@click.command()
@click.argument("table", required=False, default="weights.parquet")
@click.option("--out", "-o", default="report.html", show_default=True, metavar="FILE", help="The page.")
@click.option(
    "--metrics", "-m", multiple=True, metavar="FILE", help="How the models do: CSV, JSON or Parquet; several."
)
@click.option(
    "--by", multiple=True, metavar="NAME=VALUE", help="A parameter of the query rank, e.g. metric=val_accuracy."
)
@click.option(
    "--reference", default="", metavar="MODEL", help="Tell drift from this model, not from checkpoint to checkpoint."
)
@click.option(
    "--timeout", "seconds", type=float, default=300.0, show_default=True, help="Seconds that each question may take."
)
@click.option("--memory", type=Bytes(), default="4GiB", show_default=True, metavar="SIZE", help="For the questions.")
def report(table: str, out: str, by: tuple[str, ...], **options: Any) -> None:
    """Write one HTML page about the models of a table: summary, findings, closeness, ranking, layers.

    The page needs no network and no other file. TABLE is weights.parquet by default.
    """
    from wexport.reporting import report as run
    from wexport.terminal import safe, size

    progress, close = _progress() if sys.stderr.isatty() else (None, lambda: None)
    try:
        written = run(table, out, by=pairs("--by", by), progress=progress, **options)
    finally:
        close()
    print(f"wrote {safe(written)}, {size(written.stat().st_size)}")


def _progress() -> tuple[Callable[[int, int], None], Callable[[], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from wexport.terminal import stderr

    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=stderr(), transient=True
    )
    task = bar.add_task("asking", total=None)
    bar.start()

    def drawn(done: int, total: int) -> None:
        bar.update(task, completed=done, total=total, description="drawing layers")

    return drawn, bar.stop
