"""A table as lines of text, for a Python shell."""

from __future__ import annotations

import contextlib
import io
from typing import TYPE_CHECKING

from wexport.answers.values import rows_of
from wexport.terminal import tables
from wexport.terminal.text import counted

if TYPE_CHECKING:
    import pyarrow as pa

SHOWN_ROWS = 20


def lines(table: pa.Table) -> str:
    """The first rows, and how many there are."""
    if not table.num_columns:
        return "no columns"
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        tables.show(table.column_names, rows_of(table.slice(0, SHOWN_ROWS)))
    shown = f", the first {SHOWN_ROWS} of them shown" if table.num_rows > SHOWN_ROWS else ""
    return f"{text.getvalue().rstrip()}\n{counted(table.num_rows, 'row')}{shown}"
