"""Whole figures, and writing them."""

from __future__ import annotations

import functools
import importlib
import inspect
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from matplotlib.figure import Figure

from wexport.errors import UsageError
from wexport.files.atomic import atomic_write
from wexport.plot import style
from wexport.plot.data import Table
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

T = TypeVar("T")

SUFFIXES = (".png", ".svg", ".pdf")


def figure(
    kind: str, table: Table, *, size: tuple[float, float] | None = None, kinds: Sequence[str] = (), **options: Any
) -> Figure:
    """A whole figure of a kind. size: width and height in inches. options: as of the kind's function, but `ax`.

    kinds: ["activation"] or ["gradient"] draws outputs or gradients of models that were run; an open session has been
    told already.

    Raises UsageError for an unknown kind or option, or where the table has nothing to draw.
    """
    style.choice("kind", kind, tuple(KINDS))
    module_name, _, name = KINDS[kind].partition(":")
    module = importlib.import_module(module_name)
    if kinds:
        if isinstance(table, Session):
            raise UsageError("an open session is of some kinds already", hint="Session(table, kinds=['gradient'])")
        if "kinds" not in inspect.signature(getattr(module, name)).parameters:
            with Session(table, kinds=kinds) as session:
                return figure(kind, session, size=size, **options)
        options["kinds"] = kinds  # it opens a session of its own
    whole: Callable[..., Figure] | None = getattr(module, "whole", None)
    if whole is not None:
        return _checked(kind, whole, table, size=size, **options)()
    draw: Callable[..., Any] = getattr(module, name)
    with style.settings():
        made = Figure(figsize=size or (8, 4.5))
        _checked(kind, draw, table, ax=made.subplots(), **options)()
    return made


def _checked(kind: str, draw: Callable[..., T], *given: Any, **options: Any) -> Callable[[], T]:
    """The call, ready to be made. Raises UsageError for options that it has not; what it raises itself is its own."""
    try:
        inspect.signature(draw).bind(*given, **options)
    except TypeError as error:
        raise UsageError(f"{kind}: {error}", hint=f"see help(wexport.plot.{kind})") from None
    return functools.partial(draw, *given, **options)


def save(made: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, SVG or PDF, by the suffix; what stood there is replaced only when all is written."""
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"{target}: {suffix or 'no suffix'} is no kind of picture", hint=f"use {', '.join(SUFFIXES)}")
    # Without dates, the same table gives the same file.
    metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}, ".png": {}}[suffix]
    with atomic_write(target) as file, style.settings():
        made.savefig(file, format=suffix[1:], metadata=metadata)
