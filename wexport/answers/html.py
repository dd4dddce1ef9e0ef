"""Tables as HTML for notebooks: safe whatever models and layers are called, light and dark, a page at the most."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any

from wexport.answers.tabular import Part
from wexport.answers.values import rows_of
from wexport.terminal import tables
from wexport.terminal.text import counted, safe

SHOWN_ROWS = 50
"""A notebook keeps what it shows: of longer tables it keeps the first rows."""
_COLOURED = ("severity", "status")
_COLOURS = {"error": "#d03b3b", "failed": "#d03b3b", "warning": "#b7791f", "partial": "#b7791f"}
"""Words in the columns above that stand out; they read on light and on dark."""
_STYLE = """
.wexport {font-size: 13px; line-height: 1.45}
.wexport h4 {margin: .9em 0 .3em; font-size: 14px}
.wexport p {margin: .2em 0}
.wexport div {max-height: 34em; overflow: auto}
.wexport table {border-collapse: collapse; margin: .3em 0; font-variant-numeric: tabular-nums}
.wexport th, .wexport td {padding: .2em .7em; text-align: left; vertical-align: top; border: 0;
  border-bottom: 1px solid rgba(128, 128, 128, .25); max-width: 32em; overflow-wrap: break-word}
.wexport th {border-bottom-color: rgba(128, 128, 128, .6); white-space: nowrap}
.wexport .n {text-align: right; white-space: nowrap}
.wexport small {opacity: .7}
"""


def page(parts: Iterable[Part]) -> str:
    """Tables one below the other, with what is told above each."""
    return f'<style>{_STYLE}</style><div class="wexport">{"".join(map(_part, parts))}</div>'


def _part(part: Part) -> str:
    title = f"<h4>{_text(part.title)}</h4>" if part.title else ""
    return title + "".join(f"<p>{_text(each)}</p>" for each in part.told) + _table(part)


def _table(part: Part) -> str:
    whole = part.table
    names = [name for name in whole.column_names if name not in part.left_out]
    places = [whole.column_names.index(name) for name in names]
    shown = whole.select(places).slice(0, SHOWN_ROWS)
    rows = rows_of(shown)
    if not rows:
        return "<p><small>no rows</small></p>"
    numbers = [any(_is_number(row[place]) for row in rows) for place in range(len(names))]
    head = "".join(f"<th{_right(number)}>{_text(name)}</th>" for name, number in zip(names, numbers, strict=True))
    body = "".join(
        f"<tr>{''.join(_cell(name, cell, number) for name, cell, number in zip(names, row, numbers, strict=True))}</tr>"
        for row in rows
    )
    count = counted(whole.num_rows, "row")
    told = f"the first {SHOWN_ROWS} of {count}" if whole.num_rows > SHOWN_ROWS else count
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div>{table}</div><p><small>{told}</small></p>"


def _cell(name: str, value: Any, number: bool) -> str:
    text = html.escape(tables.cell_text(value))
    colour = _COLOURS.get(value) if name in _COLOURED and isinstance(value, str) else None
    return f'<td style="color: {colour}">{text}</td>' if colour else f"<td{_right(number)}>{text}</td>"


def _right(number: bool) -> str:
    return ' class="n"' if number else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(text: str) -> str:
    return html.escape(safe(text))
