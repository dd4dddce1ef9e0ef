"""What several commands share: their options, exit codes, and a way to say things."""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import click

from wexport.errors import UsageError
from wexport.model.kinds import KINDS

EXIT_SOME_FAILED, EXIT_USAGE, EXIT_NOTHING_DONE, EXIT_INTERRUPTED = 1, 2, 3, 130
SHOWN_ROWS = 40
"""How many rows of an answer a table shows before it says how many more there are."""

MACHINE_FORMS = ("json", "csv")
"""Formats for programs: values as they are, and nothing beside them."""

F = TypeVar("F", bound=Callable[..., Any])


def say(text: str) -> None:
    """Print lines to standard error, safe for a terminal."""
    from wexport.terminal.text import safe

    print("\n".join(safe(line) for line in text.split("\n")), file=sys.stderr)


def listed(paths: Sequence[str]) -> list[str]:
    """The arguments, with `-` replaced by the lines of standard input."""
    found: list[str] = []
    for path in paths:
        found.extend(line.rstrip("\r\n") for line in sys.stdin if line.strip()) if path == "-" else found.append(path)
    return found


def pairs(option: str, given: Sequence[str]) -> dict[str, str]:
    """NAME=VALUE arguments as a mapping."""
    pairs = [text.partition("=") for text in given]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise UsageError(f"{option} {name}: is not NAME=VALUE")
    return {name: value for name, _, value in pairs}


class Bytes(click.ParamType):  # type: ignore[type-arg]  # no type is named in square brackets before click 8.4
    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """4GiB, 500 MiB, 2G or a number of bytes."""
        match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", str(value), re.IGNORECASE)
        if match is None:
            self.fail(f"{value!r} is not a size such as 500MiB or 4GiB", param, ctx)
        return int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " "))


def overwrite_option(command: F) -> F:
    """Of every command that writes."""
    return click.option(
        "--overwrite", is_flag=True, help="Replace what stands at the output's place, even if wexport did not write it."
    )(command)


def reading_options(command: F) -> F:
    """Options of every command that reads whatever a model file holds."""
    return weights_options(click.option("--optimizer", is_flag=True, help="Optimizer state too.")(command))


def weights_options(command: F) -> F:
    """Options of every command that reads model files."""
    for option in (
        click.option(
            "--external-data", is_flag=True, help="Values that a model says stand in other files of its folder, too."
        ),
        click.option("--reader", metavar="NAME", help="Use this reader, whatever the content says."),
        click.option("--plugin", "plugins", multiple=True, metavar="FILE.py", help="Load a reader from a Python file."),
        click.option(
            "--timeout", type=float, metavar="SECONDS", help="For each file; by default 30, and more for larger ones."
        ),
    ):
        command = option(command)
    return command


def kind_option(command: F) -> F:
    """What is asked or drawn: by default weights."""
    option = click.option(
        "--kinds",
        "kinds",
        type=click.Choice(KINDS),
        multiple=True,
        help="Of outputs of layers (activation), gradients or optimizer state instead of weights.",
    )
    return option(command)


def asking_options(command: F) -> F:
    """Options of every command that asks a table."""
    for option in (
        click.option(
            "--format", "form", type=click.Choice(["table", "json", "csv", "markdown", "parquet"]), default="table"
        ),
        overwrite_option,
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
            type=float,
            default=300.0,
            show_default=True,
            metavar="SECONDS",
            help="What a query may take.",
        ),
        click.option(
            "--memory", type=Bytes(), default="4GiB", show_default=True, metavar="SIZE", help="What a query may take."
        ),
    ):
        command = option(command)
    return command


def show_records(kind: type[Any], found: Sequence[Any], form: str) -> None:
    """Print results of a dataclass `kind` for a program: all of their fields, as JSON or CSV."""
    from wexport.terminal import tables

    names = [field.name for field in dataclasses.fields(kind)]
    tables.show(names, [[getattr(each, name) for name in names] for each in found], form)


def tell_more(shown: int, found: int, what: str) -> None:
    """Say how many were left out below a table that was cut."""
    if shown < found:
        print(f"... and {found - shown:,} more {what} (--rows 0 shows all)")


def tell_failed(failed: Iterable[tuple[str, str, str]]) -> None:
    """Say which models could not be read: name, reason and way out of each."""
    for name, reason, hint in failed:
        say(f"warning: {name}: {reason}" + (f" ({hint})" if hint else ""))
