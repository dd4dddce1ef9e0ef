"""Whole figures, and writing them."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.figure import Figure

from wexport.errors import UsageError
from wexport.files import outputs
from wexport.files.atomic import atomic_write
from wexport.plot import choices, style
from wexport.plot.data import Table, known, pattern
from wexport.sessions.session import Session

KINDS = {
    "histogram": "wexport.plot.histograms:histogram",
    "heatmap": "wexport.plot.heatmaps:heatmap",
    "gates": "wexport.plot.gate_panels:gates",
    "filters": "wexport.plot.filter_tiles:filters",
    "similarity": "wexport.plot.similarities:similarity",
    "scatter": "wexport.plot.scatters:scatter",
    "profile": "wexport.plot.profiles:profile",
    "trajectory": "wexport.plot.trajectories:trajectory",
    "units": "wexport.plot.unit_norms:units",
    "rank": "wexport.plot.rankings:rank",
    "curves": "wexport.plot.output_curves:curves",
    "maps": "wexport.plot.output_maps:maps",
}
"""The function that draws each kind. One whose module has a function `whole` draws several panels by that."""

PATTERNS = frozenset({"model", "slot", "run", "layer"})
"""Options that take a name, a pattern, or several of these; those that begin with ! leave out."""
T = TypeVar("T")

SUFFIXES = (".png", ".svg", ".pdf")


def figure(
    kind: str,
    table: Table,
    *,
    size: tuple[float, float] | None = None,
    kinds: Sequence[str] = (),
    notify: Callable[[str], None] | None = None,
    dark: bool = False,
    **options: Any,
) -> Figure:
    """A whole figure of a kind. size: width and height in inches. options: as of the kind's function, but `ax`.

    What is left open, such as the slot, is chosen from the table; `notify` is called with what was chosen and why.
    dark: light on dark.

    kinds: ["activation"] or ["gradient"] draws outputs or gradients of models that were run; an open session has been
    told already.

    Raises UsageError for an unknown kind or option, or where the table has nothing to draw.
    """
    style.choice("kind", kind, tuple(KINDS))
    module_name, _, name = KINDS[kind].partition(":")
    module = importlib.import_module(module_name)
    for asked in PATTERNS & options.keys():
        options[asked] = pattern(options[asked])
    known(table, options.get("model", "*"))
    if kinds:
        if isinstance(table, Session):
            raise UsageError("an open session is of some kinds already", hint="Session(table, kinds=['gradient'])")
        if "kinds" not in inspect.signature(getattr(module, name)).parameters:
            with Session(table, kinds=kinds) as session:
                return figure(kind, session, size=size, notify=notify, dark=dark, **options)
        options["kinds"] = kinds  # it opens a session of its own
    if dark:
        with style.dark():
            return figure(kind, table, size=size, notify=notify, **options)
    choice = choices.complete(kind, table, options)
    options = choice.options
    if choice.words and notify is not None:
        notify(choice.words)
    whole: Callable[..., Figure] | None = getattr(module, "whole", None)
    if whole is not None:
        return _checked(kind, whole, table, size=size, **options)()
    draw: Callable[..., Any] = getattr(module, name)
    with style.settings():
        made = style.Picture(figsize=size or (8, 4.5))
        _checked(kind, draw, table, ax=made.subplots(), **options)()
    return made


def _checked(kind: str, draw: Callable[..., T], *given: Any, **options: Any) -> Callable[[], T]:
    """The call, ready to be made. Raises UsageError for options that it has not; what it raises itself is its own."""
    try:
        inspect.signature(draw).bind(*given, **options)
    except TypeError as error:
        raise UsageError(f"{kind}: {error}", hint=f"see help(wexport.plot.{kind})") from None
    return functools.partial(draw, *given, **options)


def place(
    path: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = (), *, overwrite: bool = False
) -> Path:
    """Where a picture may be written. Raises UsageError if that is not a kind of picture, or may not be replaced."""
    target = Path(path)
    if os.fspath(path) and target.suffix.lower() not in SUFFIXES:
        what = target.suffix or "no suffix"
        raise UsageError(f"{target}: {what} is not a kind of picture", hint=f"use {', '.join(SUFFIXES)}")
    return outputs.claim(path, outputs.PICTURE, inputs=inputs, overwrite=overwrite)


def _words(made: Figure) -> str:
    """What a figure shows, for those who cannot see it: its titles."""
    found = [made.get_suptitle(), *(ax._left_title.get_text() or ax.get_title() for ax in made.axes)]  # type: ignore[attr-defined]
    return "; ".join(dict.fromkeys(text.replace("\n", "; ") for text in found if text)) or "figure"


def save(made: Figure, path: str | os.PathLike[str], *, overwrite: bool = False, dpi: float | None = None) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix; what stood there is replaced only when all is written.

    overwrite: replace a file that is not a picture of wexport's, too. dpi: dots an inch of a PNG; 150 by default.
    Raises UsageError if it cannot be written.
    """
    target = place(path, overwrite=overwrite)
    suffix = target.suffix.lower()
    # Without dates, the same table gives the same file.
    metadata = {
        ".svg": {"Creator": outputs.MARK, "Date": None, "Title": _words(made)},
        ".pdf": {"Creator": outputs.MARK, "CreationDate": None},
        ".png": {"Software": outputs.MARK},
    }[suffix]
    with atomic_write(target) as file, style.settings():
        made.savefig(file, format=suffix[1:], metadata=metadata, dpi=dpi or style.DPI)
