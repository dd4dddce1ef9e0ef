"""wexport notebook: where own work with a table begins."""

from __future__ import annotations

from typing import Any

import click

from wexport.commands.common import Bytes, overwrite_option


@click.command()
@click.argument("table", required=False, default="weights.parquet")
@click.option("--out", "-o", default="weights.ipynb", show_default=True, metavar="FILE", help="The notebook.")
@overwrite_option
@click.option(
    "--metrics", "-m", multiple=True, metavar="FILE", help="How the models do: CSV, JSON or Parquet; several."
)
@click.option("--timeout", type=float, default=300.0, show_default=True, help="Seconds that each question may take.")
@click.option("--memory", type=Bytes(), default="4GiB", show_default=True, metavar="SIZE", help="For the questions.")
def notebook(table: str, out: str, **options: Any) -> None:
    """Write a Jupyter notebook that asks and draws a table: every cell runs as it stands.

    Its cells are the library's queries, `check`, and each kind of plot that the table has something for. TABLE is
    weights.parquet by default.
    """
    from wexport.reports.notebook import notebook as run
    from wexport.terminal.text import safe

    written = run(table, out, **options)
    print(f"wrote {safe(written)}; jupyter lab {safe(written)} opens it")
