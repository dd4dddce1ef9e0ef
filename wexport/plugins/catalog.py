"""The plugins there are, as a child process found them: none can harm the process that asks."""

from __future__ import annotations

import importlib.metadata
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from wexport.plugins.messages import LOADING, PluginSummary, Setup
from wexport.processes.child import Work
from wexport.processes.pool import Pool, Retry

STRIKES = 3
"""How many files a plugin may be the death of by merely looking at them, before it is left out for good."""


def installed_plugins(files: Iterable[str | os.PathLike[str]] = ()) -> tuple[PluginSummary, ...]:
    """The shipped readers, the installed plugins, and plugin files named by path, each with what is wrong with it."""
    pool = Pool(
        _listing,
        jobs=1,
        setup=Setup(absolute(files)),
        budget_of=lambda task: (task, 0.0),
        spare=blame_plugins(),
    )
    try:
        found: tuple[PluginSummary, ...] = pool.greeting()
        return found
    finally:
        pool.close()


PRELOAD = ("wexport.plugins.host",)
"""What `_listing` imports; see `forkserver.fork`."""


def _listing(setup: Setup) -> tuple[tuple[PluginSummary, ...], Work]:
    """What a child that loads the plugins tells of them; there is no other task."""
    from wexport.plugins import host

    loaded = host.load(setup.plugins, dict(setup.without))
    return tuple(info.summary() for info in loaded.infos), lambda task: ()


def absolute(files: Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Plugin files as child processes, which may start elsewhere, find them."""
    return tuple(os.path.abspath(file) for file in files)  # noqa: PTH100  # resolve() would follow links


def blame_plugins() -> Callable[[Any, tuple[str, ...], str], Retry | None]:
    """For `pool.Pool`: leaves out a plugin that a child was lost over while loading it, or, when it merely looked at
    a file, for that file; after `STRIKES` files for all.
    """
    strikes: Counter[str] = Counter()

    def spare(setup: Setup, stage: tuple[str, ...], loss: str) -> Retry | None:
        if len(stage) < 2 or not stage[0] or stage[0] in dict(setup.without):
            return None
        plugin, what = stage[:2]
        strikes[plugin] += 1
        stays = what == LOADING or strikes[plugin] >= STRIKES
        return Retry(replace(setup, without=(*setup.without, (plugin, loss))), stays)

    return spare


def provenance(found: Sequence[PluginSummary]) -> dict[str, Any]:
    """What a table remembers of the plugins that shaped it: versions, and the statistics with unit and doc."""
    return {
        each.name: {
            "version": each.version,
            "meaning": "wexport_meaning" in each.hooks,
            "statistics": {name: {"unit": unit, "doc": doc} for name, unit, doc in each.statistics},
        }
        for each in found
        if each.state == "ok" and (each.statistics or "wexport_meaning" in each.hooks)
    }


def provenance_now() -> dict[str, Any]:
    """`provenance` of the installed plugins, quickly where there are none."""
    return provenance(installed_plugins()) if any_installed() else {}


def any_installed() -> bool:
    """Whether any plugin is installed that wexport does not ship, told without loading one."""
    return bool(importlib.metadata.entry_points(group="wexport"))
