"""wexport plot: pictures from a table."""

from collections.abc import Callable
from typing import Any

import click

from wexport.commands import completion
from wexport.commands.common import F, kind_option, overwrite_option, say

_MODELS, _SLOTS = completion.of_table("model"), completion.of_table("slot")


@click.group()
def plot() -> None:
    """Draw a picture from a table, without the model files."""


def _picture_options(command: F) -> F:
    """Options of every kind of plot."""
    for option in (
        click.option("--out", "-o", required=True, metavar="FILE", help="The picture: .png, .svg or .pdf."),
        click.option("--dpi", type=click.FloatRange(30, 1200), help="Dots an inch of a PNG; 150 by default."),
        click.option("--dark", is_flag=True, help="Light on dark."),
        click.option("--size", nargs=2, type=float, metavar="W H", help="Width and height in inches."),
        overwrite_option,
        click.argument("table", required=False, default="weights.parquet"),
        kind_option,
    ):
        command = option(command)
    return command


def _several(name: str, default: str, words: str) -> Callable[[F], F]:
    """An option that takes a name, a pattern, or several."""
    return click.option(
        f"--{name}",
        multiple=True,
        default=(default,) if default else (),
        show_default=default or False,
        shell_complete=None if name == "layer" else completion.of_table(name),
        help=f"{words} !NAME leaves out; several.",
    )


def _drawing_options(command: F) -> F:
    """Options of every kind that draws any number of models."""
    model = _several("model", "*", "Which models: a name, or a pattern.")
    return _picture_options(model(command))


def _draw(
    kind: str,
    table: str,
    out: str,
    size: tuple[float, float] | None,
    overwrite: bool,
    dpi: float | None,
    **options: Any,
) -> None:
    from wexport.files.outputs import table_inputs
    from wexport.plot.figures import figure, place, save

    place(out, [*table_inputs(table), *options.get("metrics", ())], overwrite=overwrite)
    save(figure(kind, table, size=size, notify=say, **options), out, overwrite=overwrite, dpi=dpi)
    say(f"wrote {out}")


@plot.command()
@_drawing_options
@_several("slot", "", "The slot; by default the one that tells most.")
@click.option("--layout", type=click.Choice(["overlay", "ridge"]), default="overlay", show_default=True)
@click.option("--scale", type=click.Choice(["linear", "log"]), default="linear", show_default=True)
@click.option("--bars", type=click.IntRange(2, 500), default=60, show_default=True)
def histogram(**options: Any) -> None:
    """Histograms of one slot over several models."""
    _draw("histogram", **options)


_scale = click.option("--scale", type=click.Choice(["linear", "log"]), default="linear", show_default=True)
_statistic = click.option("--statistic", default="std", show_default=True, help="Any numeric column, or rms.")


@plot.command()
@_picture_options
@click.option(
    "--a", shell_complete=_MODELS, default="", metavar="MODEL", help="The model across; by default two that are alike."
)
@click.option("--b", shell_complete=_MODELS, default="", metavar="MODEL", help="The model upwards.")
@_several("slot", "*", "One slot, or a pattern.")
@click.option("--colour", type=click.Choice(["auto", "role", "layer"]), default="auto", show_default=True)
def scatter(**options: Any) -> None:
    """Do the weights of model A and model B agree, and where do they not?"""
    _draw("scatter", **options)


@plot.command()
@_drawing_options
@_statistic
@_several("slot", "*", "Which slots: a name, or a pattern.")
@click.option("--role", default="kernel", show_default=True, help="The role of the weights; '*' is all.")
@_scale
def profile(**options: Any) -> None:
    """How does a figure of the weights change with depth, and which model is out of line where?"""
    _draw("profile", **options)


@plot.command()
@_drawing_options
@_statistic
@_several("slot", "*", "One slot of several runs, or a pattern for one run.")
@_several("run", "*", "Which runs: a name, or a pattern.")
@click.option("--role", help="Of several slots, which role; kernel by default, '*' is all.")
@_scale
def trajectory(**options: Any) -> None:
    """How does a figure of the weights move from checkpoint to checkpoint?"""
    _draw("trajectory", **options)


@plot.command()
@_drawing_options
@_several("slot", "", "The slot; by default the one that tells most.")
@click.option("--layout", type=click.Choice(["auto", "bars", "sorted"]), default="auto", show_default=True)
@_scale
def units(**options: Any) -> None:
    """Which units of a slot have next to no weight, and how are the norms spread?"""
    _draw("units", **options)


@plot.command()
@_drawing_options
@click.option(
    "--metrics", "-m", multiple=True, metavar="FILE", help="How the models do: CSV, JSON or Parquet; several."
)
@click.option("--statistic", default="l2_norm", show_default=True, help="The figure: any numeric column.")
@click.option(
    "--slot",
    shell_complete=_SLOTS,
    default="(all)",
    show_default=True,
    help="The figure's slot; (all) is the whole model.",
)
@click.option("--metric", default="", help="The metric; by default val_loss, else another of validation data.")
@click.option("--direction", type=click.Choice(["higher", "lower"]), help="Which is better, if its name does not tell.")
@click.option("--run", default="", help="The run that the metrics belong to, where they name no models.")
def rank(direction: str | None, **options: Any) -> None:
    """How do the models stand by a metric, and does a figure of the weights go with it?"""
    _draw("rank", direction=direction or "", **options)


_limit = click.option(
    "--limit", type=float, help="Where the colour scale ends; by default the largest weight, or less."
)


def _shown(default: int) -> Callable[[F], F]:
    return click.option("--shown", type=click.IntRange(1, 50), default=default, show_default=True, help="Most models.")


@plot.command()
@_drawing_options
@_several("slot", "", "The slot, or a pattern for a few, such as 'lstm/*'; by default one is chosen.")
@_limit
@_shown(8)
def heatmap(**options: Any) -> None:
    """Where in a tensor are the large weights, and in which gate?

    Draws all values if the table has them, else the root mean square of blocks.
    """
    _draw("heatmap", **options)


@plot.command()
@_drawing_options
@_several("layer", "*", "The layer: a slot without its role, such as lstm.")
@click.option("--bars", type=click.IntRange(2, 500), default=40, show_default=True)
def gates(**options: Any) -> None:
    """How are the weights of each gate of a recurrent layer spread, by kernel and direction?"""
    _draw("gates", **options)


@plot.command()
@_drawing_options
@_several("slot", "", "The slot of a small convolution, which the table holds whole.")
@click.option("--colour", type=click.Choice(["diverging", "grey", "rgb"]), default="diverging", show_default=True)
@_limit
@_shown(6)
def filters(**options: Any) -> None:
    """What patterns have the filters of a convolution learnt?"""
    _draw("filters", **options)


@plot.command()
@_drawing_options
@click.option("--low", type=float, default=0.0, show_default=True, help="Where the colour scale begins; it ends at 1.")
def similarity(**options: Any) -> None:
    """Which models are alike, and which groups do they form?"""
    _draw("similarity", **options)


_number = click.option(
    "--input",
    "number",
    type=click.IntRange(min=0),
    help="Which of the inputs, from 0, where the table holds single ones.",
)
_output = _several("slot", "", "The output, such as lstm/output.")


@plot.command()
@_drawing_options
@_output
@_number
@click.option("--shown", type=click.IntRange(1, 20), default=8, show_default=True, help="How many lines stand out.")
@_scale
def curves(**options: Any) -> None:
    """What do the units of a layer give, step by step? Needs a model that was run: `wexport activations`."""
    _draw("curves", **options)


@plot.command()
@_drawing_options
@_output
@_number
@_limit
def maps(**options: Any) -> None:
    """What does a layer give for one input: a convolution's channels, or time by unit?"""
    _draw("maps", **options)
