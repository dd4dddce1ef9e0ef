"""wexport compare: from model files to what people ask first."""

from __future__ import annotations

import dataclasses
import json
import sys
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from wexport.commands.common import EXIT_SOME_FAILED, Bytes, listed, overwrite_option, pairs, reading_options
from wexport.terminal.text import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from wexport.findings.finding import Finding
    from wexport.reports.comparison import Comparison

LINES = {"models": 10, "findings": 6, "rank": 10}
"""How many lines of each block are shown, so that one screen holds them all."""
COLUMNS = {
    "models": ("model", "framework", "layers", "tensors", "parameters", "zero_fraction", "found"),
    "rank": ("place", "model", "value", "behind", "reason"),
}
"""The columns that are shown; the command named with a block shows all."""
LAST = ("framework", "zero_fraction", "tensors", "layers", "behind")
"""Columns that a narrow terminal goes without, the first of them first."""
ROOMY = 24
"""Where a column of sentences would get fewer characters, it is put below its row."""
READ = ("ok", "partial", "empty")
SENTENCES = 100
"""Lines of sentences are no longer, however wide the terminal is."""
NARROWEST = 12
"""No column is cut to fewer characters."""


@click.command()
@click.argument("paths", nargs=-1, required=True)
@click.option(
    "--metrics", "-m", multiple=True, metavar="FILE", help="How the models do: CSV, JSON or Parquet; several."
)
@click.option(
    "--by", multiple=True, metavar="NAME=VALUE", help="A parameter of the query rank, e.g. metric=val_accuracy."
)
@click.option(
    "--out",
    "-o",
    metavar="TABLE",
    help="Where the table is kept; it is used again while the files stay as they are. By default weights.parquet, or, "
    "where that holds models of another folder, a table named after the folder.",
)
@overwrite_option
@click.option("--report", "page", metavar="FILE", help="Write the whole report, one HTML page, as well.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--jobs", "-j", type=int, metavar="N", help="Child processes that read; one per core by default.")
@click.option("--query-timeout", type=float, default=300.0, show_default=True, help="Seconds for each question.")
@click.option("--memory", type=Bytes(), default="4GiB", show_default=True, metavar="SIZE", help="For the questions.")
@reading_options
def compare(
    paths: tuple[str, ...],
    metrics: tuple[str, ...],
    by: tuple[str, ...],
    out: str | None,
    form: str,
    page: str | None,
    overwrite: bool,
    **options: Any,
) -> None:
    """Read models and show what they are, what is wrong with them, which are close, and which does best.

    PATHS are model files, folders, quoted patterns, or - for a list on standard input; or one table.
    """
    from wexport.commands.ingest import reading, report_problems
    from wexport.reports.comparison import compare as run

    given = listed(paths)
    if page is not None:
        from wexport.files import outputs
        from wexport.ingestion import inputs

        read: list[outputs.PathLike] = [
            *([out] if out else []),
            *metrics,
            *(item.path for item in inputs.expand(given)),
        ]
        outputs.claim(page, outputs.PAGE, inputs=read, overwrite=overwrite, option="--report")
    with reading() as ended:
        found = run(
            given, metrics=metrics, by=pairs("--by", by), out=out, progress=ended, overwrite=overwrite, **options
        )
    if found.ingested is not None:
        report_problems(found.ingested, quiet=True)
    if form == "json":
        _print_json(found)
    else:
        _print(found, metrics)
    if page is not None:
        from wexport.reports.report import write
        from wexport.terminal.tables import stderr
        from wexport.terminal.text import safe

        write(found, page, overwrite=overwrite, timeout=options["query_timeout"], memory=options["memory"])
        stderr().print(f"wrote {safe(page)}")
    if found.ingested is not None and found.ingested.with_status("failed", "partial"):
        sys.exit(EXIT_SOME_FAILED)


def _print(found: Comparison, metrics: Sequence[str]) -> None:
    from wexport.reports.closeness import closeness
    from wexport.terminal import tables
    from wexport.terminal.text import safe

    table = safe(found.table)
    parameters = sum(count or 0 for count in found.models["parameters"].to_pylist())
    read = "" if found.ingested is None else f", {counted(len(found.ingested.with_status(*READ)), 'file')} read"
    print(f"{counted(found.models.num_rows, 'model')}, {parameters:,} parameters in {table}{read}")
    _block("Models", "models", found.models, f"wexport query models {table}")
    _findings(found.findings, table)
    if found.models.num_rows > 1:
        print(f"\nWho is like whom: wexport query clusters {table}")
        for sentence in closeness(found.clusters.to_pylist()):
            width = min(tables.stdout().width, SENTENCES)
            print(textwrap.fill(sentence, width, initial_indent="  ", subsequent_indent="    "))
    if found.rank is not None:
        metric = next((name for name in found.rank["metric"].to_pylist() if name), "")
        file = safe(metrics[0]) if len(metrics) == 1 else "FILE"
        _block(f"Order by {safe(metric)}", "rank", found.rank, f"wexport query rank {table} --with metrics={file}")
        if found.rank.num_rows:
            # In full, since it says what the order rests on.
            print(f"  {safe(found.rank['model'][0])}: {safe(found.rank['reason'][0])}")


def _findings(findings: Sequence[Finding], table: str) -> None:
    """The findings, the same in several models on one line; information where there is nothing worse."""
    from wexport.findings.checking import groups

    severities = [each.severity for each in findings]
    counts = ", ".join(
        f"{severities.count(name):,} info" if name == "info" else counted(severities.count(name), name)
        for name in dict.fromkeys(severities)
    )
    worse = [each for each in findings if each.severity != "info"]
    grouped = groups(worse or findings)
    rows = [
        [
            group.example.severity,
            group.example.model if group.models == 1 else f"{group.models:,} models, e.g. {group.example.model}",
            group.example.place,
            group.example.finding,
            group.example.seen,
        ]
        for group in grouped
    ]
    part = f", {LINES['findings']} of {len(rows):,} lines" if len(rows) > LINES["findings"] else ""
    print(f"\nFindings: {counts or 'none'}{part}: wexport check {table}")
    if rows:
        _table(["severity", "model", "place", "finding", "seen"], rows[: LINES["findings"]], below="seen")


def _block(title: str, name: str, answer: pa.Table, more: str) -> None:
    """A heading with the command that shows all, and the first lines of an answer."""
    columns = [column for column in COLUMNS.get(name, answer.column_names) if column in answer.column_names]
    rows = [list(row.values()) for row in answer.select(columns).slice(0, LINES[name]).to_pylist()]
    part = f", {len(rows)} of {answer.num_rows:,} lines" if len(rows) < answer.num_rows else ""
    print(f"\n{title}{part}: {more}")
    if rows:
        _table(columns, rows)


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, below: str = "") -> None:
    """A line a row, without columns of nothing; what does not fit is cut at the end of the widest column.

    below: a column that goes below its row where it would have no room.
    """
    from rich.cells import cell_len

    from wexport.terminal import tables

    width = tables.stdout().width
    texts = [[tables.cell_text(value) for value in row] for row in rows]
    whole = [max(cell_len(name), *(cell_len(row[place]) for row in texts)) for place, name in enumerate(columns)]
    kept = [place for place in range(len(columns)) if any(row[place] for row in texts)]
    for name in LAST:
        if sum(whole[place] + 2 for place in kept) > width:
            kept = [place for place in kept if columns[place] != name]
    under: list[str] = []
    if below and width - sum(whole[place] + 2 for place in kept if columns[place] != below) < ROOMY + 2:
        under = [row[columns.index(below)] for row in texts]
        kept = [place for place in kept if columns[place] != below]
    widths = [whole[place] for place in kept]
    room = width - 2 * len(kept)
    while sum(widths) > room and max(widths) > NARROWEST:
        widest = widths.index(max(widths))
        widths[widest] = max(NARROWEST, widths[widest] - (sum(widths) - room))
    numbers = [any(isinstance(row[place], (int, float)) for row in rows) for place in kept]
    print(_line([columns[place] for place in kept], widths, numbers))
    for number, row in enumerate(texts):
        print(_line([row[place] for place in kept], widths, numbers))
        if under:
            print(_line(["", under[number]], [2, width - 6], [False, False]))


def _line(cells: Sequence[str], widths: Sequence[int], numbers: Sequence[bool]) -> str:
    from rich.cells import cell_len, set_cell_size

    shown = []
    for text, width, number in zip(cells, widths, numbers, strict=True):
        if cell_len(text) > width:
            shown.append(set_cell_size(text, width - 1) + "\N{HORIZONTAL ELLIPSIS}")
        else:
            gap = " " * (width - cell_len(text))
            shown.append(gap + text if number else text + gap)
    return "  " + "  ".join(shown).rstrip()


def _print_json(found: Comparison) -> None:
    from wexport.terminal import tables

    answers = {
        "models": found.models.to_pylist(),
        "findings": [dataclasses.asdict(each) for each in found.findings],
        "clusters": found.clusters.to_pylist(),
        "rank": None if found.rank is None else found.rank.to_pylist(),
    }
    print(json.dumps({"table": str(found.table), **tables.plain(answers)}, indent=1))
