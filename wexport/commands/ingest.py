"""wexport ingest: the main job."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from wexport.commands.common import EXIT_NOTHING_DONE, EXIT_SOME_FAILED, listed, overwrite_option, reading_options, say
from wexport.commands.progress import progress

if TYPE_CHECKING:
    from wexport.ingestion.pipeline import IngestResult
    from wexport.ingestion.reading import ModelResult

SHOWN_MODELS = 40
"""How many models the summary lists before it says how many more there are."""


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--out",
    "-o",
    required=True,
    metavar="TABLE",
    help="weights.parquet, or a folder (dir/) for one part per model.",
)
@overwrite_option
@click.option("--append", is_flag=True, help="Add to the table; models read from the same file before are replaced.")
@click.option(
    "--prune", is_flag=True, help="With --append or a folder: remove models whose file is gone, fails or was renamed."
)
@click.option(
    "--detail",
    type=click.Choice(["full", "summary"]),
    default="full",
    show_default=True,
    help="summary leaves out sample, grid and units.",
)
@click.option("--name", metavar="PATTERN", help="Names models; may use {stem} {name} {parent} {path}.")
@click.option("--series", metavar="REGEX", help="Reads run and step from names; groups (?P<step>) and (?P<run>).")
@click.option("--jobs", "-j", type=int, metavar="N", help="Child processes; one per core by default.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no summary; failures are still told.")
@reading_options
def ingest(paths: tuple[str, ...], out: str, quiet: bool, **options: Any) -> None:
    """Read model files into one table.

    PATHS are files, folders, quoted patterns, or - for a list on standard input.
    """
    from wexport.ingestion.pipeline import ingest as run

    with reading(quiet=quiet) as ended:
        result = run(listed(paths), out, progress=ended, **options)
    if not quiet:
        _summary(result)
    report_problems(result, quiet)
    if result.with_status("failed"):
        done = result.with_status("ok", "partial", "empty", "unchanged")
        sys.exit(EXIT_SOME_FAILED if done else EXIT_NOTHING_DONE)
    if any(plugin.from_file for plugin in result.broken):
        sys.exit(EXIT_SOME_FAILED)


@contextlib.contextmanager
def reading(*, quiet: bool = False) -> Iterator[Callable[[ModelResult, int, int], None]]:
    """What `ingest` calls as files end, with a bar for it while it is entered."""
    with progress("reading", quiet=quiet) as shown:
        yield lambda result, done, total: shown(done, total, result.model)


def _summary(result: IngestResult) -> None:
    from wexport.terminal import tables, text

    models = [model for model in result.models if model.status != "skipped"]
    shown = sorted(models, key=lambda model: model.status != "failed")[:SHOWN_MODELS]
    tables.show(
        ["model", "format", "tensors", "parameters", "size", "status"],
        [
            [
                model.model,
                model.format,
                model.tensors or None,
                model.parameters or None,
                text.size(model.source_bytes) if model.source_bytes else "",
                model.status,
            ]
            for model in shown
        ],
    )
    if len(models) > len(shown):
        print(f"... and {len(models) - len(shown):,} more")
    counts = {
        status: len(result.with_status(status)) for status in ("failed", "partial", "empty", "unchanged", "skipped")
    }
    told = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    read = len(result.with_status("ok", "partial", "empty"))
    print(f"{read:,} of {len(models):,} models read in {result.seconds:.1f} s{f' ({told})' if told else ''}")
    if result.written:
        print(f"{result.rows:,} rows in {text.safe(result.out)}")
    elif not result.with_status("unchanged"):
        print(f"{text.safe(result.out)} was not written")


def report_problems(result: IngestResult, quiet: bool) -> None:
    """What failed and why, what is missing from what was read, what held no numbers, and what is left from before."""
    for left in result.left:
        say(f"removed {left.model}: {left.why}" if left.pruned else f"left over: {left.model}: {left.why} (--prune)")
    for plugin in result.broken:
        say(f"plugin {plugin.name} is broken and was left out: {plugin.reason}")
    for model in result.models:
        if model.status == "failed":
            say(f"failed: {model.reason}")
            if model.hint:
                say(f"  {model.hint}")
        for note in model.notes:
            say(f"note: {model.source}: {note}")
        if model.status == "partial":
            first = model.problems[0]
            detail = f": {first.detail}" if first.detail else ""
            more = f" (and {len(model.problems) - 1:,} more)" if len(model.problems) > 1 else ""
            say(f"warning: {model.source}: {first.name}: {first.what}{detail}{more}")
        if not quiet and model.left_out:
            what = ", ".join(
                f"{len(names):,} {sort} ({names[0]}{', ...' if len(names) > 1 else ''})"
                for sort, names in model.left_out.items()
            )
            say(f"left out, no numbers: {model.source}: {what}")
