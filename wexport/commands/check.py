"""wexport check: what is wrong with the models of a table."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from wexport.commands.common import EXIT_SOME_FAILED, SHOWN_ROWS, Bytes, overwrite_option, pairs, say

if TYPE_CHECKING:
    from wexport.findings.checking import Finding


@click.command()
@click.argument("table", required=False, default="weights.parquet")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "info", "never"]),
    default="error",
    show_default=True,
    help="The exit code is 1 if there is a finding of this severity or worse.",
)
@click.option("--param", "-p", "parameters", multiple=True, metavar="NAME=VALUE", help="A threshold of the queries.")
@click.option("--rules", multiple=True, metavar="FILE.sql|FOLDER", help="Rules and thresholds of your own.")
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
    parameters: tuple[str, ...],
    rules: tuple[str, ...],
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
    `SET VARIABLE name = value;` set thresholds.

    The exit code is 0 if nothing as severe as --fail-on was found, 1 if something was, 2 for wrong usage, 3 if the
    table cannot be read.
    """
    from wexport.findings import checking
    from wexport.terminal import tables

    if out is not None:
        from wexport.files import outputs

        kind = outputs.FINDINGS if form == "junit" else outputs.TEXT
        outputs.claim(out, kind, inputs=[*outputs.table_inputs(table), *_files(rules)], overwrite=overwrite)
    found = checking.check(table, pairs("--param", parameters), rules=rules, **limits)
    with tables.redirected(out):
        if form == "junit":
            from wexport.findings import junit

            own = dict.fromkeys(each.query for each in found if each.query not in checking.QUERIES)
            print(junit.report(found, [*checking.QUERIES, *own], fail_on), end="")
        elif form == "table":
            _print_table(found, rows)
        else:
            names = [field.name for field in fields(checking.Finding)]
            tables.show(names, [list(asdict(each).values()) for each in found], form)
    counts = [f"{sum(each.severity == level for each in found)} {level}" for level in checking.SEVERITIES]
    say(f"findings: {', '.join(counts)}")
    sys.exit(EXIT_SOME_FAILED if checking.reaches(found, fail_on) else 0)


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
        )
    if len(shown) < len(grouped):
        print(f"... and {len(grouped) - len(shown):,} more (--rows 0 shows all)")
