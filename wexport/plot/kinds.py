"""What every kind of plot does: make its own figure where no axes are given, and choose what was left open."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any


def plots(function: Callable[..., Any]) -> Callable[..., Any]:
    """A kind of plot, by its name: with `ax`, draws onto these axes and returns the artists; without, returns a figure.

    What the table alone decides, such as a slot that is not named, is chosen as `choices.complete` says.
    """
    own = inspect.signature(function)

    @functools.wraps(function)
    def drawn(table: Any, *given: Any, ax: Any = None, **options: Any) -> Any:
        if ax is None:
            from wexport.plot.figures import figure

            size = {"size": options.pop("size")} if "size" in options else {}
            named = own.bind_partial(table, *given, **options).arguments
            named.pop(next(iter(own.parameters)))
            return figure(function.__name__, table, **named, **size)
        from wexport.plot.choices import complete
        from wexport.plot.data import pattern
        from wexport.plot.figures import PATTERNS

        named = own.bind_partial(table, *given, ax=ax, **options).arguments
        named.pop(next(iter(own.parameters)))
        for asked in PATTERNS & named.keys():
            named[asked] = pattern(named[asked])
        return function(table, **complete(function.__name__, table, named).options)

    parameters = [
        each.replace(default=None, annotation=f"{each.annotation} | None") if name == "ax" else each
        for name, each in own.parameters.items()
    ]
    drawn.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    return drawn
