"""What the command line prints: safe text, tables in four formats, and numbers."""

from __future__ import annotations

import contextlib
import csv
import datetime
import decimal
import io
import itertools
import json
import math
import os
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from wexport.files.atomic import atomic_write
from wexport.terminal.text import counted, figure, safe

if TYPE_CHECKING:
    from rich.console import Console

GAP = 3
"""Characters between two columns."""
FOLD_WIDTH = 36
"""Words longer than this are folded where there is not room for them."""
NARROW_WIDTH = 12
"""The same where columns would have to be left out that decide."""
SENTENCE_WIDTH = 26
"""Sentences are not folded narrower."""
INDENT = "    "
UPRIGHT_ROWS = 3
"""So many rows are shown with a line a column where the columns do not fit side by side."""
SHOWN_ITEMS = 6
"""Longer lists are shown by their first items and their length."""
CELL_CHARACTERS = 240


def stdout() -> Console:
    """Where results go. Without a terminal, lines are as long as they need to be."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Where everything else goes."""
    return _console(sys.stderr)


def _console(stream: Any) -> Console:
    from rich.console import Console

    # Rich itself takes the width from COLUMNS where there is no terminal.
    free = stream.isatty() or "COLUMNS" in os.environ
    # In a notebook's kernel it would show what it is to write.
    return Console(
        file=stream, width=None if free else 160, highlight=False, markup=False, emoji=False, force_jupyter=False
    )


@contextlib.contextmanager
def redirected(out: str | None) -> Iterator[None]:
    """Send what is printed to a file, which appears complete or not at all; to standard output if it is None."""
    if out is None:
        yield
        return
    with atomic_write(out) as raw:
        file = io.TextIOWrapper(raw, encoding="utf-8", newline="")
        try:
            with contextlib.redirect_stdout(file):
                yield
        finally:
            file.detach()  # it would close what is not in its place yet


def show(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    form: str = "table",
    *,
    title: str = "",
    last: Sequence[str] = (),
    below: Sequence[str] = (),
) -> None:
    """Print a table to standard output; JSON is a list of objects, CSV has a header.

    last: columns that a narrow terminal goes without, the first of them first; then words are folded more narrowly.
    below: texts that are worth a line of their own, under their row, where the columns still do not fit.
    """
    if form == "table":
        _show_table(columns, rows, title, last, below)
    else:
        show_rows(columns, [rows], form)


def show_rows(columns: Sequence[str], pieces: Iterable[Sequence[Sequence[Any]]], form: str) -> None:
    """Print rows, piece by piece, as JSON (a list of objects), CSV (with a header) or Markdown."""
    if form == "json":
        first = True
        for row in itertools.chain.from_iterable(pieces):
            record = json.dumps(dict(zip(columns, map(plain, row), strict=True)), indent=2)
            print("[" if first else ",", "  " + record.replace("\n", "\n  "), sep="\n", end="")
            first = False
        print("[]" if first else "\n]")
    elif form == "csv":
        # To a terminal, nothing that would move its cursor; to a file, the values as they are.
        text = safe if sys.stdout.isatty() else str
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(map(text, columns))
        for rows in pieces:
            writer.writerows([[_field(cell, text) for cell in row] for row in rows])
    else:
        print("| " + " | ".join(_markdown(name) for name in columns) + " |")
        print("|" + "---|" * len(columns))
        for row in itertools.chain.from_iterable(pieces):
            print("| " + " | ".join(_markdown(_field(cell, str)) for cell in row) + " |")


def plain(value: Any) -> Any:
    """A value as JSON has it: NaN and infinities are null, times are texts, and maps are objects."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, decimal.Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "nanoseconds"):  # an interval
        months, days, nanoseconds = tuple(value)
        return f"P{months}M{days}DT{nanoseconds / 1e9:.9g}S"
    if isinstance(value, (list, tuple)):
        return {str(key): plain(each) for key, each in value} if _is_map(value) else [plain(each) for each in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)


def _is_map(value: Sequence[Any]) -> bool:
    """Arrow gives maps as lists of pairs, and nothing else as pairs."""
    return len(value) > 0 and all(isinstance(each, tuple) and len(each) == 2 for each in value)


def _field(value: Any, text: Callable[[object], str]) -> Any:
    """A value as CSV has it: nothing for NULL, nested ones as JSON."""
    if value is None or (isinstance(value, (int, float)) and not isinstance(value, bool)):
        return value
    found = plain(value)
    return text(found) if isinstance(found, str) else json.dumps(found)


def _markdown(value: Any) -> str:
    return safe("" if value is None else value).replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")


def _show_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[Any]],
    title: str,
    last: Sequence[str] = (),
    below: Sequence[str] = (),
) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    console = stdout()
    cells = [[cell_text(cell) for cell in row] for row in rows]
    needs = [_need(name, [row[place] for row in cells], name in below) for place, name in enumerate(columns)]
    if last or below:
        kept = _without(columns, needs, last, console.width)
        if below and _width_of([needs[place] for place in kept]) > console.width:
            _show_stacked(columns, cells, [*kept], below)
            _tell_left_out([name for place, name in enumerate(columns) if place not in kept])
            return
        if last and _width_of([needs[place] for place in kept]) > console.width:
            needs = [min(need, NARROW_WIDTH) for need in needs]
        # What is kept is a table of its own, whose middle is left out where even that does not fit.
        shown = [
            None if place is None else kept[place] for place in _that_fit([needs[each] for each in kept], console.width)
        ]
    else:
        shown = _that_fit(needs, console.width)
    if len(shown) < len(columns) and 1 <= len(rows) <= UPRIGHT_ROWS and not last:
        # Few rows of many columns are read more easily downwards.
        names = (
            ["column", *(f"row {number}" for number in range(1, len(rows) + 1))] if len(rows) > 1 else ["column", ""]
        )
        upright = [[name, *(row[place] for row in cells)] for place, name in enumerate(columns)]
        _show_table(names, upright, title)
        return
    table = Table(box=box.SIMPLE_HEAD, title=title or None, title_justify="left", pad_edge=False)
    # Rich would share out the room itself, but cuts the last column off where it finds no way.
    places = [place for place in shown if place is not None]
    wishes = [max(len(text) for text in (columns[place], *(row[place] for row in cells))) for place in places]
    room = console.width - GAP * len(shown) - (len(shown) > len(places))
    widths = dict(zip(places, _widths([needs[place] for place in places], wishes, room), strict=True))
    for place in shown:
        if place is None:
            table.add_column("\N{HORIZONTAL ELLIPSIS}")
            continue
        numbers = any(isinstance(row[place], (int, float)) and not isinstance(row[place], bool) for row in rows)
        table.add_column(
            Text(safe(columns[place])),
            justify="right" if numbers else "left",
            overflow="fold",
            width=min(widths[place], console.width),
        )
    for row in cells:
        table.add_row(*(Text("" if place is None else row[place]) for place in shown))
    console.print(table)
    _tell_left_out([name for place, name in enumerate(columns) if place not in shown])


def _tell_left_out(names: Sequence[str]) -> None:
    from rich.text import Text

    if names:
        words = f"{counted(len(names), 'more column')} do{'es' if len(names) == 1 else ''} not fit"
        stdout().print(Text(f"{words} (--format json or csv has them): {safe(', '.join(names))}"))


def _show_stacked(
    columns: Sequence[str], cells: Sequence[Sequence[str]], kept: Sequence[int], below: Sequence[str]
) -> None:
    """Rows of short columns, each with its long texts in lines under it."""
    heads = [place for place in kept if columns[place] not in below and any(row[place] for row in cells)]
    texts = [place for place in kept if columns[place] in below]
    width = stdout().width
    widths = [max(len(row[place]) for row in cells) for place in heads]
    for row in cells:
        head = "  ".join(f"{row[place]:{room}}" for place, room in zip(heads, widths, strict=True)).rstrip()
        if len(head) > width:  # names are longer than the terminal is wide
            head = "  ".join(row[place] for place in heads if row[place])
        print(textwrap.fill(head, width, subsequent_indent=INDENT, break_on_hyphens=False))
        for place in texts:
            if row[place]:
                label = f"{columns[place]}: "
                print(textwrap.fill(label + row[place], width, initial_indent=INDENT, subsequent_indent=INDENT * 2))
    print()


def _without(columns: Sequence[str], needs: Sequence[int], last: Sequence[str], width: int) -> list[int]:
    """The places of the columns that are left once as many of `last` have gone as must."""
    kept = list(range(len(columns)))
    for name in last:
        if _width_of([needs[place] for place in kept]) <= width:
            break
        kept = [place for place in kept if columns[place] != name]
    return kept


def _width_of(needs: Sequence[int]) -> int:
    return sum(needs) + GAP * len(needs)


def _need(name: str, cells: Sequence[str], sentences: bool = False) -> int:
    """The least width of a column that can be read: texts are folded between words, and long ones within them."""
    longest = max((len(word) for cell in (*cells, name) for word in cell.split(" ")), default=1)
    whole = max((len(cell) for cell in (*cells, name)), default=1)
    return max(1, min(longest, FOLD_WIDTH), min(whole, SENTENCE_WIDTH) if sentences else 1)


def _that_fit(needs: Sequence[int], width: int) -> list[int | None]:
    """The places of the columns that fit beside each other; None stands where some are left out, in the middle."""
    if sum(needs) + GAP * len(needs) <= width:
        return list(range(len(needs)))
    left, right, room = 0, 0, width - GAP - 1  # how many at either end, and the room that is left
    while left + right < len(needs):
        # What is read first stands at both ends of the table, and at the left of a query's answer.
        at_right = (left + right) % 3 == 2
        room -= needs[-1 - right if at_right else left] + GAP
        if room < 0 and left:
            break
        left, right = (left, right + 1) if at_right else (left + 1, right)
    return [*range(left), None, *range(len(needs) - right, len(needs))]


def _widths(needs: Sequence[int], wishes: Sequence[int], room: int) -> list[int]:
    """How wide columns are: as they need to be, and what room is left goes to those who lack least first."""
    widths = list(needs)
    left = room - sum(needs)
    order = sorted(range(len(needs)), key=lambda place: wishes[place] - needs[place])
    for number, place in enumerate(order):
        more = max(0, min(wishes[place] - needs[place], left // (len(order) - number)))
        widths[place] += more
        left -= more
    return widths


def cell_text(value: Any) -> str:
    """A value as a cell: large counts grouped by thousands, figures to four digits, None empty; long ones cut short."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return figure(value)
    if isinstance(value, decimal.Decimal) or hasattr(value, "nanoseconds"):
        return cell_text(plain(value))
    if isinstance(value, list) and _is_map(value):
        return cell_text(plain(value))
    if isinstance(value, dict):
        return _cut("{" + ", ".join(f"{safe(name)}: {cell_text(each)}" for name, each in value.items()) + "}")
    if isinstance(value, (list, tuple)):
        shown = [cell_text(each) for each in (value if len(value) <= SHOWN_ITEMS else value[: SHOWN_ITEMS // 2])]
        rest = [f"\N{HORIZONTAL ELLIPSIS} {len(value):,} in all"] if len(value) > len(shown) else []
        return _cut("[" + ", ".join([*shown, *rest]) + "]")
    return _cut(safe(plain(value)))


def _cut(text: str) -> str:
    if len(text) <= CELL_CHARACTERS:
        return text
    return f"{text[: CELL_CHARACTERS - 30]}\N{HORIZONTAL ELLIPSIS} ({len(text):,} characters)"
