"""A Jupyter notebook that asks a table the library's questions and draws it: where own work begins."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wexport import library
from wexport.errors import UsageError
from wexport.files import outputs
from wexport.files.atomic import atomic_write
from wexport.library import Query
from wexport.plot import KINDS, figure
from wexport.queries import asking
from wexport.sessions.connection import PathLike
from wexport.sessions.session import MEMORY_BYTES, SECONDS, Session
from wexport.terminal.text import safe
from wexport.version import __version__

_QUESTIONS = {
    "similarity": "Which models are alike, and which groups do they form?",
    "histogram": "How are the values of one slot spread in each model?",
    "profile": "How does a statistic change with depth, and which model is out of line where?",
    "rank": "How do the models stand by a metric, and does a statistic of the weights go with it?",
}
"""What some plots answer; the others are told by the first line of their docstring."""
_KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def notebook(
    table: PathLike = asking.TABLE,
    out: PathLike = "weights.ipynb",
    *,
    metrics: PathLike | Sequence[PathLike] = (),
    timeout: float = SECONDS,
    memory: int = MEMORY_BYTES,
    overwrite: bool = False,
) -> Path:
    """Write a Jupyter notebook (nbformat 4.5) about the models of a table: each cell is a question or a plot, and runs.

    table: a file, folder or pattern. out: the notebook; the table is named in it as seen from its folder. metrics:
    files of metrics, for the questions that need them. timeout, memory: seconds and bytes that each query may take
    while it is looked for what can be drawn. overwrite: replace what stands at `out`.

    Raises UsageError if it cannot be written, TableError if there is no such table.
    """
    files = [metrics] if isinstance(metrics, (str, os.PathLike)) else list(metrics)
    read = [*outputs.table_inputs(table), *files]
    target = outputs.claim(out, outputs.NOTEBOOK, inputs=read, overwrite=overwrite)
    drawn = _drawable(table, files, timeout, memory)
    folder = target.absolute().parent
    cells = list(_cells(_seen(table, folder), [_seen(each, folder) for each in files], drawn))
    for number, cell in enumerate(cells):
        cell["id"] = f"cell-{number}"
    whole = {
        "metadata": {"wexport": {"version": __version__}, "kernelspec": _KERNEL, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
        "cells": cells,
    }
    with atomic_write(target) as file:
        file.write(json.dumps(whole, indent=1).encode() + b"\n")
    return target


def _seen(path: PathLike, folder: Path) -> str:
    """A path as seen from the notebook's folder, which is where Jupyter runs it."""
    text = os.path.abspath(path)  # noqa: PTH100  # resolve() would follow links
    try:
        near = os.path.relpath(text, folder)
    except ValueError:  # another drive
        return text
    return near if near.count("..") < 4 else text


def _drawable(table: PathLike, metrics: Sequence[PathLike], timeout: float, memory: int) -> dict[str, str]:
    """The kinds of plot, and why each cannot be drawn of this table; empty for those that can."""
    found: dict[str, str] = {}
    with Session(table, timeout=timeout, memory=memory) as session:
        for kind in KINDS:
            if kind == "rank":
                found[kind] = "" if metrics else "a ranking needs metrics"
                continue
            try:
                figure(kind, session).clear()
                found[kind] = ""
            except UsageError as error:
                found[kind] = str(error)
    return found


def _cells(table: str, metrics: Sequence[str], drawn: dict[str, str]) -> Iterator[dict[str, Any]]:
    yield _text(
        f"# Models of {_markdown(Path(table).name)}",
        "Each cell is a question to the table, or a plot; change them as you like. Results are tables:",
        "`.to_pandas()`, `.to_polars()` and `.to_arrow()` give them to other tools.",
    )
    given = f"\nMETRICS = {list(metrics)!r}" if metrics else ""
    yield _code(f"import wexport\n\nTABLE = {table!r}{given}\ntable = wexport.connect(TABLE)")
    yield _text("## What is wrong", "`wexport check --about` says what each finding means.")
    yield _code("wexport.check(table)")
    group = ""
    left: list[str] = []
    for query in library.load().values():
        if query.name in asking.OF_METRICS and not metrics:
            left.append(f"{query.name}: it reads metrics")
            continue
        if query.group != group:
            group = query.group
            yield _text(f"## {group.capitalize()}")
        yield from _question(query)
    yield _text("## Plots")
    for kind, why in drawn.items():
        if why:
            left.append(f"{kind}: {why}")
            continue
        yield _text(f"### {kind}", _asked(kind))
        yield _code(f"wexport.plot.{kind}(table{', metrics=METRICS' if kind == 'rank' else ''})")
    if left:
        yield _text("## Left out", *(f"- {_markdown(each)}" for each in left))


def _question(query: Query) -> Iterator[dict[str, Any]]:
    parameters = [
        f"- `{each.name}` ({each.type}, `{each.default}`): {_markdown(each.doc)}" for each in query.parameters
    ]
    yield _text(
        f"### {query.name}: {_markdown(query.question)}",
        f"{_markdown(query.reading)}\n",
        f"*What it does not prove.* {_markdown(query.limits)}\n",
        *(["Parameters:\n", *parameters] if parameters else []),
    )
    yield _code(f'wexport.query("{query.name}", table{", metrics=METRICS" if query.name in asking.OF_METRICS else ""})')


def _asked(kind: str) -> str:
    from wexport import plot

    first = (getattr(plot, kind).__doc__ or "").partition("\n")[0]
    return _QUESTIONS.get(kind, first)


def _text(*lines: str) -> dict[str, Any]:
    return {"cell_type": "markdown", "metadata": {}, "source": "\n".join(lines)}


def _code(text: str) -> dict[str, Any]:
    return {"cell_type": "code", "execution_count": None, "metadata": {}, "outputs": [], "source": text}


def _markdown(text: str) -> str:
    """Text that Markdown leaves as it is, also where it is a name from a file."""
    shown = safe(text).replace("\\", "\\\\").replace("<", "&lt;")
    return "".join(f"\\{each}" if each in "*_`[]|$" else each for each in shown)
