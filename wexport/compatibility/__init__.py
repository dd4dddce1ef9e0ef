"""What callers may go on saying for one version after it has got another name."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

RENAMED_OPTIONS = {"--rtol": "--relative-tolerance", "--kind": "--kinds"}
"""Options of commands by their names of before."""


def renamed(**keywords: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """A function that takes keywords by their old names too, each with a DeprecationWarning.

    keywords: the new name of each old one. The type is that of the new names alone.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> T:
            for old, new in keywords.items():
                if old in kwargs:
                    if new in kwargs:
                        raise TypeError(f"{function.__name__}() got {new} twice, once as {old}, its name of before")
                    message = (
                        f"{function.__name__}: {old} is called {new} now, and this name goes with the next version"
                    )
                    warnings.warn(message, DeprecationWarning, stacklevel=2)
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return called

    return decorate


def with_new_options(arguments: Sequence[str], tell: Callable[[str], None]) -> list[str]:
    """The arguments of a command, options by their names of now. tell: called for each that had its name of before."""
    found: list[str] = []
    for place, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[place:]]
        name, equals, value = argument.partition("=")
        if name in RENAMED_OPTIONS:
            tell(f"{name} is called {RENAMED_OPTIONS[name]} now, and this name goes with the next version")
            argument = RENAMED_OPTIONS[name] + equals + value
        found.append(argument)
    return found
