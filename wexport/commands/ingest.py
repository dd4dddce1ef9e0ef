"""wexport ingest: the main job."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from wexport.commands.common import (
    EXIT_NOTHING_DONE,
    EXIT_SOME_FAILED,
    Bytes,
    listed,
    overwrite_option,
    reading_options,
    say,
)
from wexport.commands.progress import progress

if TYPE_CHECKING:
    from wexport.ingestion.pipeline import IngestResult
    from wexport.ingestion.results import ModelResult

SHOWN_MODELS = 40
"""How many models the summary lists before it says how many more there are."""
SHOWN_RUNS = 6


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
@click.option(
    "--spectral",
    is_flag=True,
    help="Singular values of kernels too: norms, ranks, tails, in the column extra; takes its time.",
)
@click.option("--name", metavar="PATTERN", help="Names models; may use {stem} {name} {parent} {path}.")
@click.option("--root", metavar="FOLDER", help="Models are named by their paths from here; the table remembers it.")
@click.option("--series", metavar="REGEX", help="Reads run and step from names; groups (?P<step>) and (?P<run>).")
@click.option("--shard", metavar="I/N", help="Only this part of the models: 1/8 to 8/8 are all, each once.")
@click.option("--jobs", "-j", type=int, metavar="N", help="Child processes; one per core by default.")
@click.option(
    "--memory",
    type=Bytes(),
    metavar="SIZE",
    help="For each file; by default 112MiB, up to 256MiB more for larger ones.",
)
@click.option("--quiet", "-q", is_flag=True, help="No progress and no summary; failures are still told.")
@reading_options
def ingest(paths: tuple[str, ...], out: str, quiet: bool, **options: Any) -> None:
    """Read model files into one table.

    PATHS are files, folders, quoted patterns, URIs of these (s3://, gs://, az://, https://), or - for a list on
    standard input.
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
    if result.with_status("partial") or any(plugin.from_file for plugin in result.broken):
        sys.exit(EXIT_SOME_FAILED)


@contextlib.contextmanager
def reading(*, quiet: bool = False) -> Iterator[Callable[[ModelResult, int, int], None]]:
    """What `ingest` calls as files end, with a bar for it while it is entered."""
    from wexport.ingestion.reading import prepare

    prepare()  # a bar is a thread
    with progress("reading", quiet=quiet) as shown:
        yield lambda result, done, total: shown(done, total, result.model)


def _summary(result: IngestResult) -> None:
    from wexport.ingestion import series
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
    statuses = ", ".join(f"{count:,} {status}" for status, count in counts.items() if count)
    read = len(result.with_status("ok", "partial", "empty"))
    print(f"{read:,} of {len(models):,} models read in {result.seconds:.1f} s{f' ({statuses})' if statuses else ''}")
    runs = series.describe([(model.run, model.step) for model in models if model.status != "failed"])
    for run in runs[:SHOWN_RUNS]:
        print(f"run {text.safe(run)}")
    if len(runs) > SHOWN_RUNS:
        print(f"... and {len(runs) - SHOWN_RUNS:,} more runs")
    if result.written:
        print(f"{result.rows:,} rows in {text.safe(result.out)}")
    elif not result.with_status("unchanged"):
        print(f"{text.safe(result.out)} was not written")


def report_problems(result: IngestResult, quiet: bool) -> None:
    """What failed and why, what is missing from what was read, what was left out, and what is left from before."""
    from wexport.ingestion.results import RUN_STATES

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
        left_out = {sort: names for sort, names in model.left_out.items() if sort not in RUN_STATES}
        if not quiet and left_out:
            what = ", ".join(
                f"{len(names):,} {sort} ({names[0]}{', ...' if len(names) > 1 else ''})"
                for sort, names in left_out.items()
            )
            say(f"left out: {model.source}: {what}")
    if not quiet:
        _report_states(result.models)


def _report_states(models: Sequence[ModelResult]) -> None:
    """One line for all optimizers' states, and one for what else runs leave beside their models."""
    from wexport.ingestion.results import OPTIMIZER, RUN_STATES
    from wexport.terminal.text import size

    those = [model for model in models if OPTIMIZER in model.left_out]
    if those:
        total = sum(model.left_out_bytes.get(OPTIMIZER, 0) for model in those)
        files = f"{len(those):,} files" if len(those) > 1 else str(those[0].source)
        say(f"left out: optimizer state of {files}{f', {size(total)}' if total else ''} (--optimizer reads it)")
    others = [model for model in models if model.left_out.keys() & (RUN_STATES - {OPTIMIZER})]
    if others:
        what = ", ".join(sorted({sort for model in others for sort in model.left_out if sort in RUN_STATES}))
        files = f"{len(others):,} files, such as {others[0].source}" if len(others) > 1 else str(others[0].source)
        say(f"left out: {what} in {files}")
