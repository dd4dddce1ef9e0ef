"""What the parent and its children say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wexport.model.tensors import Skipped


@dataclass(frozen=True, slots=True)
class FileTask:
    """A file, or one of several shares of its tensors.

    named: the user named it, so it must be readable. part: which of several models in it, see `Source.part`.
    """

    path: Path
    named: bool = True
    share: int = 0
    shares: int = 1
    part: str | None = None


@dataclass(frozen=True, slots=True)
class FileOpened:
    """What the file turned out to be."""

    reader: str
    format: str
    tensor_count: int
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]
    aliases: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RowBatch:
    """`count` rows of one model by column, so that the parent need not touch each; with them what could not be read,
    and faults of plugins. size: about how many bytes they take.
    """

    count: int
    columns: dict[str, list[Any]]
    problems: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    size: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """The file cannot be read. foreign: it is not a model, and nobody said that it was."""

    reason: str
    hint: str = ""
    foreign: bool = False
