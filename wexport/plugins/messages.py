"""What a parent and the children that load plugins say to each other."""

from __future__ import annotations

from dataclasses import dataclass

from wexport.library import Query

LOADING = "it was loaded"
"""What a child says that it does to a plugin until that is there, for a parent that finds it dead."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What all children of one run share.

    plugins: paths given with --plugin. reader: the one forced with --reader. optimizer: whether its state is wanted.
    detail: "full" or "summary". spectral: whether spectral statistics are wanted. without: plugins that are left out,
    each with the reason. external_data: whether values in files beside the model's may be read.
    """

    plugins: tuple[str, ...] = ()
    reader: str | None = None
    optimizer: bool = False
    detail: str = "full"
    without: tuple[tuple[str, str], ...] = ()
    external_data: bool = False
    spectral: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginSummary:
    """A plugin as another process tells of it; the fields are those of `plugins.PluginInfo`.

    readers: (name, what it reads, suffixes) each. statistics: (name, unit, doc) each.
    """

    name: str
    version: str
    origin: str
    state: str
    reason: str
    hooks: tuple[str, ...]
    readers: tuple[tuple[str, str, tuple[str, ...]], ...]
    statistics: tuple[tuple[str, str, str], ...]
    queries: tuple[Query, ...]

    @property
    def from_file(self) -> bool:
        """Whether the user named it by its path, and so counts on it."""
        return self.origin.endswith(".py")
