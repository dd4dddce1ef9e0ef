"""The command line: parse, call, print. Each command is one call of the Python interface.

Only what every command needs is imported here, so that `wexport --help` is quick.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from wexport.errors import UsageError, WexportError
from wexport.version import __version__

if TYPE_CHECKING:
    from wexport.ingestion import IngestResult
    from wexport.reading import ModelResult

EXIT_SOME_FAILED, EXIT_USAGE, EXIT_NOTHING_DONE, EXIT_INTERRUPTED = 1, 2, 3, 130
SHOWN_MODELS = 40
"""How many models the summary lists before it says how many more there are."""

SHOWN_ROWS = 40
"""How many rows of an answer a table shows before it says how many more there are."""


class _Bytes(click.ParamType[int]):
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """4GiB, 500 MiB, 2G or a number of bytes."""
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", str(value), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size such as 500MiB or 4GiB", param, ctx)
        return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


F = TypeVar("F", bound=Callable[..., Any])


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="wexport")
def cli() -> None:
    """Turn saved models into one table of figures, and compare them.

    Start with: wexport ingest *.h5 --out weights.parquet
    """


def main() -> NoReturn:
    """Entry point: no traceback reaches the user, and Ctrl-C leaves nothing behind."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        _say("stopped before the end")
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(EXIT_USAGE)
    except WexportError as error:
        _say(f"error: {error}")
        if error.hint:
            _say(f"  {error.hint}")
        sys.exit(EXIT_USAGE if isinstance(error, UsageError) else EXIT_NOTHING_DONE)
    except BrokenPipeError:
        # The reader of our output is gone (`| head`); keep Python from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        _say("stopped before the end")
        sys.exit(EXIT_INTERRUPTED)
    sys.exit(0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    from wexport.terminal import safe

    print("\n".join(safe(line) for line in text.split("\n")), file=sys.stderr)


def _reading_options(command: F) -> F:
    """Options of every command that reads model files."""
    for option in (
        click.option("--optimizer", is_flag=True, help="Optimizer state too."),
        click.option("--reader", metavar="NAME", help="Use this reader, whatever the content says."),
        click.option("--plugin", "plugins", multiple=True, metavar="FILE.py", help="Load a reader from a Python file."),
        click.option(
            "--timeout", type=float, metavar="SECONDS", help="For each file; 30 and one more per 10 MB by default."
        ),
    ):
        command = option(command)
    return command


def _asking_options(command: F) -> F:
    """Options of every command that asks a table."""
    for option in (
        click.option(
            "--format", "form", type=click.Choice(["table", "json", "csv", "markdown", "parquet"]), default="table"
        ),
        click.option("--out", "-o", metavar="FILE", help="Write the answer here instead of to standard output."),
        click.option(
            "--rows",
            type=click.IntRange(min=0),
            default=SHOWN_ROWS,
            show_default=True,
            help="Rows that the table format shows; 0 for all.",
        ),
        click.option(
            "--timeout",
            "seconds",
            type=float,
            default=300.0,
            show_default=True,
            metavar="SECONDS",
            help="What a query may take.",
        ),
        click.option(
            "--memory", type=_Bytes(), default="4GiB", show_default=True, metavar="SIZE", help="What a query may take."
        ),
    ):
        command = option(command)
    return command


@cli.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--out",
    "-o",
    required=True,
    metavar="TABLE",
    help="weights.parquet, or a folder (dir/) for one part per model.",
)
@click.option("--append", is_flag=True, help="Add to the table; models read from the same file before are replaced.")
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
@_reading_options
def ingest(paths: tuple[str, ...], out: str, quiet: bool, **options: Any) -> None:
    """Read model files into one table.

    PATHS are files, folders, quoted patterns, or - for a list on standard input.
    """
    from wexport.ingestion import ingest as run

    progress, close = _progress() if not quiet and sys.stderr.isatty() else (None, lambda: None)
    try:
        result = run(_listed(paths), out, progress=progress, **options)
    finally:
        close()
    if not quiet:
        _summary(result)
    _report_problems(result, quiet)
    if result.with_status("failed"):
        done = result.with_status("ok", "partial", "empty", "unchanged")
        sys.exit(EXIT_SOME_FAILED if done else EXIT_NOTHING_DONE)


def _listed(paths: Sequence[str]) -> list[str]:
    """The arguments, with `-` replaced by the lines of standard input."""
    found: list[str] = []
    for path in paths:
        found.extend(line.rstrip("\r\n") for line in sys.stdin if line.strip()) if path == "-" else found.append(path)
    return found


def _progress() -> tuple[Callable[[ModelResult, int, int], None], Callable[[], None]]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from wexport.terminal import safe, stderr

    bar = Progress(
        TextColumn("reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[model]}", markup=False),
        console=stderr(),
        transient=True,
    )
    task = bar.add_task("", total=None, model="")
    bar.start()

    def ended(result: ModelResult, done: int, total: int) -> None:
        bar.update(task, completed=done, total=total, model=safe(result.model)[-50:])

    return ended, bar.stop


def _summary(result: IngestResult) -> None:
    from wexport import terminal

    models = [model for model in result.models if model.status != "skipped"]
    shown = sorted(models, key=lambda model: model.status != "failed")[:SHOWN_MODELS]
    terminal.show(
        ["model", "format", "tensors", "parameters", "size", "status"],
        [
            [
                model.model,
                model.format,
                model.tensors or None,
                model.parameters or None,
                terminal.size(model.source_bytes) if model.source_bytes else "",
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
        print(f"{result.rows:,} rows in {terminal.safe(result.out)}")
    elif not result.with_status("unchanged"):
        print(f"{terminal.safe(result.out)} was not written")


def _report_problems(result: IngestResult, quiet: bool) -> None:
    """What failed and why, what is missing from what was read, and what held no numbers."""
    for model in result.models:
        if model.status == "failed":
            _say(f"failed: {model.reason}")
            if model.hint:
                _say(f"  {model.hint}")
        for note in model.notes:
            _say(f"note: {model.source}: {note}")
        if model.status == "partial":
            first = model.problems[0]
            detail = f": {first.detail}" if first.detail else ""
            more = f" (and {len(model.problems) - 1:,} more)" if len(model.problems) > 1 else ""
            _say(f"warning: {model.source}: {first.name}: {first.what}{detail}{more}")
        if not quiet and model.left_out:
            what = ", ".join(
                f"{len(names):,} {sort} ({names[0]}{', ...' if len(names) > 1 else ''})"
                for sort, names in model.left_out.items()
            )
            _say(f"left out, no numbers: {model.source}: {what}")


@cli.command()
@click.argument("path")
@click.option("--json", "as_json", is_flag=True, help="All figures as JSON.")
@_reading_options
def inspect(path: str, as_json: bool, **options: Any) -> None:
    """Show what is in one model file: layers, shapes, figures, histograms."""
    from wexport.inspection import inspect as run
    from wexport.listing import as_text, to_json

    inspection = run(path, **options)
    if as_json:
        print(to_json(inspection))
    else:
        as_text(inspection)


@cli.command()
@click.argument("question", required=False)
@click.argument("table", required=False)
@click.option("--param", "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A parameter of the query.")
@click.option("--with", "files", multiple=True, metavar="NAME=FILE", help="Your own CSV, JSON or Parquet file.")
@click.option("--about", is_flag=True, help="What the query's parameters and columns are, and how to read it.")
@click.option("--sql", "show_sql", is_flag=True, help="The query's SQL, which also runs in the duckdb CLI.")
@_asking_options
def query(
    question: str | None,
    table: str | None,
    parameters: tuple[str, ...],
    files: tuple[str, ...],
    about: bool,
    show_sql: bool,
    form: str,
    out: str | None,
    rows: int,
    **limits: Any,
) -> None:
    """Ask a table a question.

    QUESTION is a query of the library (without one, they are listed), or any SQL that reads.
    TABLE is weights.parquet by default.
    """
    from wexport import answers, querying

    if question is None:
        answers.list_queries(form)
        return
    named = querying.named_query(question)
    if named and about:
        answers.describe(named)
    elif named and show_sql:
        print(named.sql, end="")
    else:
        found = querying.query(
            question, table or querying.TABLE, _pairs("--param", parameters), files=_pairs("--with", files), **limits
        )
        answers.show(found, form, out, rows)


def _pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE arguments as a mapping."""
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise UsageError(f"{option} {name}: is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


@cli.command()
@click.option("--format", "form", type=click.Choice(["table", "json", "csv", "markdown"]), default="table")
def schema(form: str) -> None:
    """Show the table's columns, with units and meaning."""
    from wexport import terminal
    from wexport.schema import COLUMNS

    terminal.show(
        ["column", "type", "unit", "meaning"],
        [[column.name, _type_name(str(column.type)), column.unit, column.doc] for column in COLUMNS],
        form,
    )


def _type_name(text: str) -> str:
    return text.replace("element: ", "").replace("item: ", "")


@cli.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--plugin", "files", multiple=True, metavar="FILE.py", help="Load a reader from a Python file.")
def plugins(as_json: bool, files: tuple[str, ...]) -> None:
    """List the plugins, what each reads, and what is wrong with those that do not load."""
    from wexport import plugins as host
    from wexport import terminal

    infos = host.load(files).infos
    if as_json:
        terminal.show(
            ["name", "version", "origin", "state", "reason", "readers"],
            [
                [
                    info.name,
                    info.version,
                    info.origin,
                    info.state,
                    info.reason,
                    [
                        {"name": reader.name, "reads": reader.reads, "suffixes": list(reader.suffixes)}
                        for reader in info.readers
                    ],
                ]
                for info in infos
            ],
            "json",
        )
        return
    rows = [
        [
            reader.name if reader else "",
            reader.reads if reader else info.reason,
            info.name,
            info.version,
            info.origin,
            info.state,
        ]
        for info in infos
        for reader in (info.readers or (None,))
    ]
    terminal.show(["reader", "reads", "plugin", "version", "origin", "state"], rows)


@cli.command()
@click.argument("folder", type=click.Path(path_type=Path))
def demo(folder: Path) -> None:
    """Write the example models into FOLDER, to have something to try."""
    from wexport.demo import write

    names = write(folder)
    print(f"wrote {len(names)} files into {folder}")
    print(f"try: wexport ingest {folder} --out weights.parquet")
