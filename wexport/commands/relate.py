"""wexport relate: which models are the same function, related, or strangers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from wexport.commands.common import (
    EXIT_SOME_FAILED,
    MACHINE_FORMS,
    SHOWN_ROWS,
    overwrite_option,
    say,
    show_records,
    tell_failed,
    tell_more,
    weights_options,
)
from wexport.commands.progress import progress
from wexport.errors import UsageError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from wexport.relating.averaging import Averages
    from wexport.relating.family import FamilyTree
    from wexport.relating.results import Kinship


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--format", "form", type=click.Choice(["table", "json", "csv", "markdown"]), default="table", show_default=True
)
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=SHOWN_ROWS,
    show_default=True,
    help="Rows that the table format shows; 0 for all.",
)
@click.option(
    "--averages",
    is_flag=True,
    help="Tell instead which models are averages of others; PATHS may then be one table.",
)
@click.option(
    "--change",
    is_flag=True,
    help="Tell instead how the second of two models differs from the first, tensor by tensor and gate by gate.",
)
@click.option("--tree", is_flag=True, help="Show families: which model came from which, or stands nearest.")
@click.option(
    "--plot",
    "picture",
    metavar="FILE",
    help="Draw it as well: the pairs, the families of --tree, or the ranks of --change; .png, .svg or .pdf.",
)
@overwrite_option
@weights_options
def relate(
    paths: tuple[str, ...], form: str, rows: int, averages: bool, change: bool, tree: bool, picture: str | None,
    overwrite: bool, **options: Any,
) -> None:  # fmt: skip
    """Tell which models are the same function, related, or strangers.

    PATHS are model files or folders, and every pair is compared; or one table of `wexport ingest`, which tells most
    strangers by itself, so that only the files of the other pairs are opened. Hidden units are put into one order
    first, as far as the files tell how layers feed one another; each similarity stands beside what shuffled values
    give.

    The exit code is 0, or 1 if a file could not be read and the others were, 2 for wrong usage, 3 if fewer than two
    models could be read.
    """
    if averages + change + tree > 1:
        raise UsageError("--averages, --change and --tree ask different things", hint="give one of them")
    if picture is not None:
        from wexport.plot.figures import place

        if averages:
            raise UsageError("--averages has no picture", hint="leave --plot out")
        place(picture, overwrite=overwrite)
    if averages:
        _averages(paths, form, rows, options)
    if change:
        _change(paths, form, rows, picture, overwrite, options)
    from wexport.analysis.relations import WORDS
    from wexport.relating.relate import relate as run
    from wexport.relating.results import Kinship

    with progress("relating") as shown:
        found = run(paths, progress=shown, **options)
    tell_failed(found.failed)
    if tree:
        families = found.tree()
        if picture is not None:
            from wexport.plot.family_trees import family_tree

            _save(family_tree(families), picture, overwrite)
        _print_tree(families, form, rows)
        sys.exit(EXIT_SOME_FAILED if found.failed else 0)
    pairs = sorted(
        found.pairs, key=lambda pair: (WORDS.index(pair.relation), -(pair.aligned_similarity or pair.similarity or 0))
    )
    if picture is not None:
        from wexport.plot import kinships

        _save(kinships.pairs(pairs), picture, overwrite)
    if form in MACHINE_FORMS:
        show_records(Kinship, pairs, form)
    else:
        _print(pairs, form, rows)
        if form == "table" and found.compared > len(pairs):
            left = f"{found.compared - len(pairs):,} of {found.compared:,} pairs"
            print(f"{left} are no rows: the table tells that they are strangers, or a file could not be read")
    sys.exit(EXIT_SOME_FAILED if found.failed else 0)


def _print_tree(tree: FamilyTree, form: str, rows: int) -> None:
    from wexport.relating.family import Member
    from wexport.terminal import tables
    from wexport.terminal.text import safe

    if form != "table":
        if form in MACHINE_FORMS:
            show_records(Member, tree.members, form)
            return
        rows = 0
    shown = list(tree.lines())[: rows or None]
    cells = [
        [
            before + safe(each.model),
            each.relation,
            None if each.distance is None else f"{each.distance:.3f}",
        ]
        for before, each in shown
    ]
    tables.show(["model", "relation", "distance"], cells, form, last=["distance"])
    if form == "table":
        tell_more(len(shown), len(tree.members), "models")
        print("▶: evidence tells that the one above came first; ──: nearness alone, either may have come first")
        print("distance: 1 less the similarity to the one above, units aligned where they can be")


def _averages(paths: tuple[str, ...], form: str, rows: int, options: dict[str, Any]) -> None:
    from wexport.analysis.averages import Average
    from wexport.relating.averaging import averages as run

    told = run(paths, **options)
    tell_failed(told.failed)
    if form in MACHINE_FORMS:
        show_records(Average, told.found, form)
    else:
        _print_averages(told, form, rows)
    sys.exit(EXIT_SOME_FAILED if told.failed else 0)


def _save(made: Figure, picture: str, overwrite: bool) -> None:
    from wexport.plot.figures import save

    save(made, picture, overwrite=overwrite)
    say(f"wrote {picture}")


def _change(
    paths: tuple[str, ...], form: str, rows: int, picture: str | None, overwrite: bool, options: dict[str, Any]
) -> None:
    from wexport.relating.changes import Movement
    from wexport.relating.changes import change as run
    from wexport.terminal import tables

    told = run(paths, **options)
    if picture is not None:
        from wexport.plot import kinships

        _save(kinships.change(told), picture, overwrite)
    if form in MACHINE_FORMS:
        show_records(Movement, told.rows, form)
        sys.exit(0)
    shown = told.rows[:rows] if rows and form == "table" else told.rows
    columns = ["slot", "gate", "length", "changed", "stable rank", "rank", "by chance", "of", "spikes", "intruders"]
    cells = [
        [
            each.slot,
            each.gate,
            None if each.relative_length is None else f"{each.relative_length:.3g}",
            f"{100 * each.changed:.3g} %",
            *(None if x is None else f"{x:.1f}" for x in (each.stable_rank, each.effective_rank, each.chance_rank)),
            each.full_rank,
            each.spikes,
            each.intruders,
        ]
        for each in shown
    ]
    tables.show(columns, cells, form, last=["intruders", "stable rank", "of"])
    if form == "table":
        tell_more(len(shown), len(told.rows), "rows")
        print("length: of the difference, by the first model's; rank: effective rank of the difference")
        print(
            f"{told.moved:,} units were put into the first model's order" if told.aligned else "compared place by place"
        )
    sys.exit(0)


def _print_averages(told: Averages, form: str, rows: int) -> None:
    from wexport.terminal import tables

    if not told.found and form == "table":
        print(f"none of {told.compared:,} models is an average of others of its architecture")
        return
    shown = told.found[:rows] if rows and form == "table" else told.found
    columns = ["model", "average of", "residual", "unexplained", "by chance", "rank", "values"]
    cells = [
        [
            each.model,
            " + ".join(f"{share:.6g} {part}" for part, share in zip(each.parts, each.coefficients, strict=True))
            or each.reason,
            *(f"{figure:.2g}" for figure in (each.residual, each.unexplained, each.chance)),
            each.rank,
            each.values,
        ]
        for each in shown
    ]
    tables.show(columns, cells, form, last=["values", "rank", "residual"])
    if form == "table":
        tell_more(len(shown), len(told.found), "models")
        print("residual: length of what is left over, by the model's; unexplained: by the distance to the nearest part")


def _print(pairs: list[Kinship], form: str, rows: int) -> None:
    from wexport.analysis.relations import MEANINGS
    from wexport.terminal import tables
    from wexport.terminal.text import safe

    shown = pairs[:rows] if rows and form == "table" else pairs
    columns = ["a", "b", "relation", "similarity", "aligned", "by chance", "p (trained apart)"]
    tables.show(columns, [_row(pair) for pair in shown], form, last=columns[-1:])
    tell_more(len(shown), len(pairs), "pairs")
    for word in dict.fromkeys(pair.relation for pair in shown):
        print(f"{word}: {MEANINGS[word]}")
    if len(shown) == 1:
        for line in shown[0].evidence:
            print(safe(line))
        if shown[0].confidence:
            print(f"confidence: {shown[0].confidence}")
        if shown[0].earlier:
            print(safe(f"came first: {shown[0].earlier}"))
        if shown[0].differs:
            more = f", and {len(shown[0].differs) - 5} more" if len(shown[0].differs) > 5 else ""
            print(safe(f"differ: {', '.join(shown[0].differs[:5])}{more}"))


def _row(pair: Kinship) -> list[Any]:
    figures = [pair.similarity, pair.aligned_similarity, pair.null_similarity]
    p = None if pair.p_value is None else f"{pair.p_value:.2g}"
    return [pair.model_a, pair.model_b, pair.relation, *(None if x is None else f"{x:.3f}" for x in figures), p]
