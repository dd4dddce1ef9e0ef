"""What the hooks of one plugin give, checked before any of it is used."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pluggy

from wexport import hookspecs, library
from wexport.errors import PluginError, UsageError
from wexport.library import Query
from wexport.model.extensions import Statistic
from wexport.model.tensors import Reader
from wexport.version import __version__

_NAME = re.compile(r"[a-z][a-z0-9_]*")
HOOKS = tuple(name for name in vars(hookspecs) if name.startswith("wexport_"))


def manager() -> pluggy.PluginManager:
    """What all plugins of a run are registered with; it knows their order."""
    made = pluggy.PluginManager(hookspecs.PROJECT)
    made.add_hookspecs(hookspecs)
    return made


class Hooks:
    """The hooks of one plugin. They are called one by one, so that what one does wrong stays its own."""

    def __init__(self, plugins: pluggy.PluginManager, module: object, name: str) -> None:
        """Register a plugin. Raises PluginError if it needs a newer wexport, or has a hook that is none."""
        _check_api(module)
        _tell_misspelled(module)
        try:
            plugins.register(module, name=name)
            plugins.check_pending()
            self._implementations = {
                hook: [each for each in getattr(plugins.hook, hook).get_hookimpls() if each.plugin is module]
                for hook in HOOKS
            }
            _refuse_wrappers(self._implementations)
        except (pluggy.PluginValidationError, PluginError, ValueError) as error:
            if plugins.get_plugin(name) is module:
                plugins.unregister(module)
            if isinstance(error, pluggy.PluginValidationError):
                raise PluginError(_said_by_pluggy(error)) from None
            raise

    @property
    def names(self) -> tuple[str, ...]:
        """Those that it has."""
        return tuple(hook for hook in HOOKS if self._implementations[hook])

    def call(self, hook: str, **given: Any) -> list[Any]:
        """What it answers, but for None."""
        answers = [
            each.function(*(given[name] for name in each.argnames)) for each in reversed(self._implementations[hook])
        ]
        return [answer for answer in answers if answer is not None]

    def caller(self, hook: str) -> Callable[..., list[Any]] | None:
        """A hook to be called later, or None if it has it not."""
        return partial(self.call, hook) if self._implementations[hook] else None


def order(plugins: pluggy.PluginManager, hook: str) -> list[str]:
    """The names of the plugins that have a hook, in pluggy's order: `tryfirst`, then the last that was loaded."""
    return [each.plugin_name for each in reversed(getattr(plugins.hook, hook).get_hookimpls())]


def _refuse_wrappers(implementations: Mapping[str, Sequence[pluggy.HookImpl]]) -> None:
    for hook, found in implementations.items():
        if any(each.hookwrapper or each.wrapper for each in found):
            raise PluginError(
                f"{hook} is a wrapper around the hooks of other plugins, and wexport calls each by itself"
            )


def _check_api(module: object) -> None:
    needed = getattr(module, "WEXPORT_API", 1)
    if type(needed) is not int:
        raise PluginError(f"its WEXPORT_API is {needed!r}, and not a whole number")
    if needed > hookspecs.API:
        raise PluginError(
            f"needs hook API {needed}, and wexport {__version__} has {hookspecs.API}: pip install --upgrade wexport"
        )


def _tell_misspelled(module: object) -> None:
    """Functions named like a hook that are none, or are one and not marked, would be ignored in silence."""
    for name, value in vars(module).items():
        if not name.startswith("wexport_") or not callable(value):
            continue
        if name not in HOOKS:
            known = ", ".join(HOOKS)
            raise PluginError(
                f"{name} is not a hook of wexport {__version__}: it is misspelled, or newer; there are: {known}"
            )
        if not hasattr(value, f"{hookspecs.PROJECT}_impl"):
            raise PluginError(f"{name} is not marked with @wexport.hookimpl")


def _said_by_pluggy(error: pluggy.PluginValidationError) -> str:
    """An argument that the hook has not, in words that tell what to do; else pluggy's own."""
    found = re.search(r"hook '(\w+)'.*Argument\(s\) \{(.*)\} are declared in the hookimpl", str(error), re.DOTALL)
    if found is None:
        return " ".join(str(error).split())
    return f"{found[1]} has no argument {found[2]} in wexport {__version__}: it is misspelled, or newer"


def readers_of(hooks: Hooks) -> tuple[Reader, ...]:
    """Its readers; raises PluginError for what is none."""
    return tuple(_all_of(hooks.call("wexport_readers"), Reader, "wexport_readers", "wexport.Reader"))


def statistics_of(hooks: Hooks) -> tuple[Statistic, ...]:
    """Its statistics; raises PluginError for what is none, or is none that a table could hold."""
    found = tuple(_all_of(hooks.call("wexport_statistics"), Statistic, "wexport_statistics", "wexport.Statistic"))
    for statistic in found:
        if not (isinstance(statistic.name, str) and _NAME.fullmatch(statistic.name)):
            raise PluginError(f"the name of its statistic {statistic.name!r} is not in snake case")
        if not callable(statistic.of):
            raise PluginError(f"its statistic {statistic.name!r} has an `of` that cannot be called")
        if not 0 < statistic.max_values < math.inf:
            raise PluginError(f"its statistic {statistic.name!r} has max_values {statistic.max_values!r}")
    return found


def queries_of(hooks: Hooks, plugin: str) -> tuple[Query, ...]:
    """Its queries, in a group of its name.

    Raises PluginError for one whose head comment is not as it should be, or that has the name of one of wexport's.
    """
    found: list[Query] = []
    try:
        for items in hooks.call("wexport_queries"):
            for item in items:
                found.extend(_queries_in(item))
    except UsageError as error:
        raise PluginError(str(error)) from None
    for query in found:
        if query.name in library.load():
            raise PluginError(f"its query {query.name!r} has the name of one that wexport ships")
    return tuple(replace(query, group=plugin) for query in found)


def _queries_in(item: object) -> Iterator[Query]:
    if isinstance(item, Path):
        paths = sorted(item.glob("*.sql"))
        if not paths:
            raise PluginError(f"wexport_queries returned {item}, which is not a folder with .sql files")
        for path in paths:
            yield library.parse(path.read_text("utf-8"), path.stem)
    elif isinstance(item, str):
        yield library.parse(item.lstrip("\n"))
    else:
        raise PluginError(f"wexport_queries returned {type(item).__name__} where a pathlib.Path or a str is due")


def _all_of(answers: Sequence[Any], kind: type, hook: str, due: str) -> Iterator[Any]:
    for answer in answers:
        if isinstance(answer, (str, bytes, kind)):
            raise PluginError(f"{hook} returned {type(answer).__name__} where a list is due")
        for item in answer:
            if not isinstance(item, kind):
                raise PluginError(f"{hook} returned {type(item).__name__} where a {due} is due")
            yield item


def first_taken(names: Sequence[str], taken: dict[str, str]) -> tuple[str, str] | None:
    """The first of `names` that another plugin, or this one, has already: (name, plugin)."""
    seen: set[str] = set()
    for name in names:
        if name in taken or name in seen:
            return name, taken.get(name, "its own")
        seen.add(name)
    return None
