"""wexport plot: pictures from a table."""

from typing import Any

import click

from wexport.commands.common import F


@click.group()
def plot() -> None:
    """Draw a picture from a table, without the model files."""


def _drawing_options(command: F) -> F:
    """Options of every kind of plot."""
    for option in (
        click.option("--out", "-o", required=True, metavar="FILE", help="The picture: .png, .svg or .pdf."),
        click.option("--size", nargs=2, type=float, metavar="W H", help="Width and height in inches."),
        click.option("--model", default="*", show_default=True, help="Which models: a name, or a pattern."),
        click.argument("table", required=False, default="weights.parquet"),
    ):
        command = option(command)
    return command


def _draw(kind: str, table: str, out: str, size: tuple[float, float] | None, **options: Any) -> None:
    from wexport.plot import figure, save

    save(figure(kind, table, size=size, **options), out)


@plot.command()
@_drawing_options
@click.option("--slot", required=True, help="The slot; `wexport query tensors` lists them.")
@click.option("--layout", type=click.Choice(["overlay", "ridge"]), default="overlay", show_default=True)
@click.option("--scale", type=click.Choice(["linear", "log"]), default="linear", show_default=True)
@click.option("--bars", type=click.IntRange(2, 500), default=60, show_default=True)
def histogram(**options: Any) -> None:
    """Histograms of one slot over several models."""
    _draw("histogram", **options)
