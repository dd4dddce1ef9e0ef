"""How far a command is, on standard error, where that is a terminal."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Protocol


class Shown(Protocol):
    """Called as things end: how many have, of how many, and what the last or the next is called."""

    def __call__(self, done: int, total: int, name: str = "") -> None: ...


@contextlib.contextmanager
def progress(what: str, *, quiet: bool = False) -> Iterator[Shown]:
    """A bar while it is entered, which is gone afterwards. what: is being done."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total, name="": None
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from wexport.terminal.tables import stderr
    from wexport.terminal.text import safe

    with Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[name]}", markup=False),
        console=stderr(),
        transient=True,
    ) as bar:
        task = bar.add_task("", total=None, name="")

        def shown(done: int, total: int, name: str = "") -> None:
            bar.update(task, completed=done, total=total, name=safe(name)[-50:])

        yield shown
