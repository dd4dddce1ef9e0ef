"""wexport prove: which units are dead for every input."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from wexport.commands.common import EXIT_SOME_FAILED, MACHINE_FORMS, say, show_records, tell_failed, weights_options

if TYPE_CHECKING:
    from wexport.relating.proofs import Proofs

SHOWN_UNITS = 8


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--range",
    "range_",
    nargs=2,
    type=float,
    default=None,
    metavar="LOW HIGH",
    help="What the values of the inputs lie between, after all preprocessing; without it, they may be anything.",
)
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "markdown"]), default="table", show_default=True
)
@weights_options
def prove(paths: tuple[str, ...], range_: tuple[float, float] | None, form: str, **options: Any) -> None:
    """Prove which units behind a ReLU are dead for every input.

    PATHS are model files or folders. Bounds of every unit are carried through the model's graph from the range of its
    inputs. What is proved holds for every input; what is suspected is told apart.

    The exit code is 0, or 1 if a file could not be read and others were, 2 for wrong usage, 3 if none could be read.
    """
    from wexport.relating.proofs import Proof
    from wexport.relating.proofs import prove as run

    low, high = range_ or (None, None)
    found = run(paths, low=low, high=high, **options)
    tell_failed(found.failed)
    for name in found.untold:
        say(f"note: {name}: the file does not tell the graph of layers, so that nothing is proved")
    if form in MACHINE_FORMS:
        show_records(Proof, found.layers, form)
    else:
        _print(found, form)
    sys.exit(EXIT_SOME_FAILED if found.failed else 0)


def _print(found: Proofs, form: str) -> None:
    from wexport.terminal import tables

    columns = ["model", "layer", "units", "proved dead", "by weights alone", "suspected", "which are proved"]
    rows = [
        [each.model, each.layer, each.units, each.dead, each.by_weights, each.suspected, _listed(each.proved)]
        for each in found.layers
    ]
    if not rows and form == "table":
        print("no units behind a ReLU")
        return
    tables.show(columns, rows, form, last=columns[-1:])
    if form == "table":
        bounded = f"from {found.low:g} to {found.high:g}" if found.low > float("-inf") else "whatever they are"
        print(
            f"proved dead: 0 for every input {bounded}; suspected, no proof: off for inputs of the layer of usual size"
        )


def _listed(units: tuple[int, ...]) -> str:
    more = f", and {len(units) - SHOWN_UNITS} more" if len(units) > SHOWN_UNITS else ""
    return ", ".join(map(str, units[:SHOWN_UNITS])) + more
