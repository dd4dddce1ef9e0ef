"""What the command line prints: safe text, tables in four formats, numbers, and a histogram in one line."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wexport.errors import UsageError

if TYPE_CHECKING:
    from rich.console import Console

_BARS = " ▁▂▃▄▅▆▇█"
FORMATS = ("table", "json", "csv", "markdown")


def safe(text: object) -> str:
    """Text without control and direction characters, which could move the cursor or hide what stands there."""
    return "".join(
        character
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
        else "\N{REPLACEMENT CHARACTER}"
        for character in str(text)
    )


def stdout() -> Console:
    """Where results go. Without a terminal, lines are as long as they need to be."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Where everything else goes."""
    return _console(sys.stderr)


def _console(stream: Any) -> Console:
    from rich.console import Console

    return Console(file=stream, width=None if stream.isatty() else 160, highlight=False, markup=False, emoji=False)


@contextlib.contextmanager
def redirected(out: str | None) -> Iterator[None]:
    """Send what is printed to a file, written anew; to standard output if it is None."""
    if out is None:
        yield
        return
    try:
        with Path(out).open("w", encoding="utf-8", newline="") as file, contextlib.redirect_stdout(file):
            yield
    except OSError as error:
        raise UsageError(f"{out}: cannot be written: {error.strerror}") from None


def show(columns: Sequence[str], rows: Sequence[Sequence[Any]], form: str = "table", *, title: str = "") -> None:
    """Print a table to standard output; JSON is a list of objects, CSV has a header."""
    if form == "json":
        print(json.dumps([dict(zip(columns, row, strict=True)) for row in rows], indent=2, default=str))
    elif form == "csv":
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        print(buffer.getvalue(), end="")
    elif form == "markdown":
        print("| " + " | ".join(columns) + " |")
        print("|" + "---|" * len(columns))
        for row in rows:
            print("| " + " | ".join(safe("" if cell is None else cell).replace("|", "\\|") for cell in row) + " |")
    else:
        _show_table(columns, rows, title)


def _show_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    for place, name in enumerate(columns):
        numbers = any(isinstance(row[place], (int, float)) for row in rows)
        table.add_column(Text(name), justify="right" if numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell_text(cell)) for cell in row))
    stdout().print(table)


def cell_text(value: Any) -> str:
    """A value as a cell: large counts grouped by thousands, figures to four digits, None empty."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return figure(value)
    return safe(value)


def figure(value: float | None) -> str:
    """A figure to four significant digits; empty when undefined."""
    return "" if value is None else f"{value:.4g}"


def size(count: int) -> str:
    """Bytes in the unit that suits them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    raise AssertionError


def spark(lower: Sequence[float], upper: Sequence[float], count: Sequence[int], width: int = 24) -> str:
    """A histogram as one line of `width` bars over equal steps from the lowest to the highest edge.

    A stored bin that spans several steps is spread over them evenly; one narrower than a step falls into the step of
    its middle. Heights are relative to the highest bar; any step that holds a value shows at least the lowest bar.
    """
    if not len(count):
        return ""
    low, high = min(lower), max(upper)
    if low == high:
        return " " * (width // 2) + _BARS[-1] + " " * (width - width // 2 - 1)
    step = (high - low) / width
    heights = [0.0] * width
    for left, right, number in zip(lower, upper, count, strict=True):
        if right - left <= step:
            heights[min(width - 1, int(((left + right) / 2 - low) / step))] += number
            continue
        first, last = int((left - low) / step), min(width - 1, int((right - low) / step))
        for place in range(first, last + 1):
            inside = min(right, low + (place + 1) * step) - max(left, low + place * step)
            heights[place] += number * max(0.0, inside) / (right - left)
    top = max(heights)
    return "".join(_BARS[0 if not value else max(1, round(8 * value / top))] for value in heights)
