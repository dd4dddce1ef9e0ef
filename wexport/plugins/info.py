"""What is known of a plugin once it was loaded, or could not be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from wexport.library import Query
from wexport.model.extensions import Statistic
from wexport.model.tensors import Reader
from wexport.plugins.messages import PluginSummary


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """A plugin as `wexport plugins` shows it.

    state: "ok" or "broken". reason: why it is broken. origin: "shipped", the distribution, or the file.
    hooks: those that it has. meaning: its hook for tensors.
    """

    name: str
    version: str
    origin: str
    state: str = "ok"
    reason: str = ""
    hooks: tuple[str, ...] = ()
    readers: tuple[Reader, ...] = ()
    statistics: tuple[Statistic, ...] = ()
    queries: tuple[Query, ...] = ()
    meaning: Callable[..., Any] | None = None
    describe: Callable[..., Any] | None = None
    """Its hook for objects in memory, where it has one."""

    @property
    def key(self) -> str:
        """What tells it from all others: two may have one name."""
        return f"{self.origin}:{self.name}"

    def summary(self) -> PluginSummary:
        """What can be told of it to another process, which has not loaded it."""
        return PluginSummary(
            name=self.name,
            version=self.version,
            origin=self.origin,
            state=self.state,
            reason=self.reason,
            hooks=self.hooks,
            readers=tuple((each.name, each.reads, tuple(each.suffixes)) for each in self.readers),
            statistics=tuple((each.name, each.unit, each.doc) for each in self.statistics),
            queries=self.queries,
        )

    @property
    def timed(self) -> bool:
        """Whether its calls are limited in time: the shipped readers are known to return."""
        return self.origin != "shipped"
