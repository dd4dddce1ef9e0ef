"""wexport check: what is wrong with the models of a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wexport.commands.common import EXIT_SOME_FAILED, SHOWN_ROWS, Bytes, overwrite_option, pairs, say
from wexport.errors import UsageError

if TYPE_CHECKING:
    from wexport.findings.finding import Finding


@click.command()
@click.argument("table", required=False, default="weights.parquet")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    default="error",
    show_default=True,
    help="The exit code is 1 if there is a finding of this severity or worse.",
)
@click.option("--about", is_flag=True, help="What each finding means, where it begins and what to do.")
@click.option("--param", "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A threshold of the queries.")
@click.option("--rules", multiple=True, metavar="FILE.sql|FOLDER", help="Rules and thresholds of your own.")
@click.option(
    "--with",
    "files",
    multiple=True,
    metavar="NAME=FILE",
    help="Your own CSV, TSV, JSON or Parquet file, for your rules.",
)
@click.option("--baseline", metavar="OLD.parquet", help="An older table: only what was not found in it is told.")
@click.option("--every", is_flag=True, help="Also findings that follow from others of the same model.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "markdown", "junit"]),
    default="table",
    show_default=True,
)
@click.option("--out", "-o", metavar="FILE", help="Write the findings here instead of to standard output.")
@overwrite_option
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=SHOWN_ROWS,
    show_default=True,
    help="Rows that the table format shows, the same finding in several models being one; 0 for every finding.",
)
@click.option("--timeout", type=float, default=300.0, show_default=True, metavar="SECONDS", help="For each query.")
@click.option("--memory", type=Bytes(), default="4GiB", show_default=True, metavar="SIZE", help="What they may take.")
def check(
    table: str,
    fail_on: str,
    about: bool,
    parameters: tuple[str, ...],
    rules: tuple[str, ...],
    files: tuple[str, ...],
    baseline: str | None,
    every: bool,
    form: str,
    out: str | None,
    rows: int,
    overwrite: bool,
    **limits: Any,
) -> None:
    """Look for broken, unstable, frozen and untrained layers.

    TABLE is weights.parquet by default. Each finding names the query behind it: `wexport query health --sql` shows the
    SQL, and `--about` how to read it. A rule of your own is a file with one SELECT that gives the columns severity
    (error, warning, info), finding and model, and if you like slot, seen, threshold and advice; lines
    `SET VARIABLE name = value;` set thresholds. A rule may join files of yours, such as metrics, that are given with
    --with NAME=FILE. What follows from another finding of the same model is told with it; --every tells it by itself.

    The exit code is 0 if nothing as severe as --fail-on was found, 1 if something was, 2 for wrong usage, 3 if the
    table cannot be read.
    """
    from wexport.findings import checking
    from wexport.findings.finding import Finding
    from wexport.library.findings import QUERIES, SEVERITIES
    from wexport.terminal import tables

    if about:
        _print_kinds(form, out, overwrite)
        return
    if out is not None:
        from wexport.files import outputs

        kind = outputs.FINDINGS if form == "junit" else outputs.TEXT
        read = [*outputs.table_inputs(table), *_files(rules), *map(Path, pairs("--with", files).values())]
        if baseline is not None:
            read += outputs.table_inputs(baseline)
        outputs.claim(out, kind, inputs=read, overwrite=overwrite)
    found = checking.check(
        table,
        pairs("--param", parameters),
        rules=rules,
        files=pairs("--with", files),
        baseline=baseline,
        every=every,
        **limits,
    )
    with tables.redirected(out):
        if form == "junit":
            from wexport.findings import junit

            own = dict.fromkeys(each.query for each in found if each.query not in QUERIES)
            print(junit.report(found, [*QUERIES, *own], fail_on), end="")
        elif form == "table":
            _print_table(found, rows)
        else:
            names = [field.name for field in fields(Finding)]
            tables.show(names, [list(asdict(each).values()) for each in found], form)
    counts = [f"{sum(each.severity == level for each in found)} {level}" for level in SEVERITIES]
    say(f"findings: {', '.join(counts)}")
    sys.exit(EXIT_SOME_FAILED if checking.reaches(found, fail_on) else 0)


def _print_kinds(form: str, out: str | None, overwrite: bool) -> None:
    """What can be found at all, as it is declared."""
    from wexport.files import outputs
    from wexport.library.findings import FINDINGS, FindingKind
    from wexport.terminal import tables

    if form == "junit":
        raise UsageError("JUnit holds findings, not what they mean", hint="--format table, json, csv or markdown")
    if out is not None:
        outputs.claim(out, outputs.TEXT, inputs=[], overwrite=overwrite)
    names = [field.name for field in fields(FindingKind)]
    with tables.redirected(out):
        tables.show(names, [list(asdict(each).values()) for each in FINDINGS.values()], form)


def _files(rules: Sequence[str]) -> list[Path]:
    """The files of rules, those in folders too."""
    return [file for each in map(Path, rules) for file in (each.glob("*") if each.is_dir() else [each])]


def _print_table(found: list[Finding], rows: int) -> None:
    from wexport.findings import checking
    from wexport.terminal import tables

    grouped = checking.groups(found) if rows else [checking.Group(1, each) for each in found]
    shown = grouped[:rows] if rows else grouped
    if shown:
        tables.show(
            ["severity", "finding", "model", "slot or layer", "seen", "threshold", "what to do", "query"],
            [
                [
                    group.example.severity,
                    group.example.finding,
                    group.example.model if group.models == 1 else f"{group.models} models, e.g. {group.example.model}",
                    group.example.place,
                    group.example.seen,
                    group.example.threshold,
                    group.example.advice,
                    group.example.query,
                ]
                for group in shown
            ],
            last=("query", "threshold"),
            below=("seen", "what to do"),
        )
    if len(shown) < len(grouped):
        print(f"... and {len(grouped) - len(shown):,} more (--rows 0 shows all)")
