"""wexport browse: a table looked through in the terminal."""

from __future__ import annotations

import sys

import click

from wexport.commands.common import Bytes
from wexport.errors import UsageError, WexportError


@click.command()
@click.argument("table", required=False, default="weights.parquet")
@click.option("--timeout", type=float, default=300.0, show_default=True, help="Seconds that each question may take.")
@click.option("--memory", type=Bytes(), default="4GiB", show_default=True, metavar="SIZE", help="For the questions.")
def browse(table: str, timeout: float, memory: int) -> None:
    """Look through a table: models, tensors, gates; two models side by side.

    Arrows move, Tab goes to the next pane, space marks a model (two that are marked stand side by side), / finds a
    slot, Escape shows all again, q ends. TABLE is weights.parquet by default. Needs `pip install 'wexport[browse]'`.
    """
    try:
        from wexport.browsing.app import Browser
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        raise WexportError(
            "to browse a table needs Textual, which is not installed", hint="pip install 'wexport[browse]'"
        ) from None
    from wexport.browsing.held import Held
    from wexport.queries import asking

    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("browse needs a terminal", hint="`wexport query models` prints what there is")
    with asking.session(table, timeout=timeout, memory=memory) as session:
        Browser(Held(session), table).run()
