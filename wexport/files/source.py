"""A file that a reader looks at."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from wexport.errors import ReadError
from wexport.files.slices import FileSlice

HEAD_BYTES = 4096
"""How much of a file's beginning `Source.head` shows."""


T = TypeVar("T")


@dataclass
class Source:
    """A file as readers see it: its first bytes to recognise it by, a safe way to open it, and what it shares.

    A source is opened by one process for one file; what readers leave with `closing` or `shared` is closed with it.
    """

    path: Path
    optimizer: bool = False
    """Whether optimizer state is wanted."""
    external_data: bool = False
    """Whether values may be read that the file says stand in others beside it, see `wexport.files.external`."""
    part: str | None = None
    """Which of several models in the file is wanted, by the name before its tensors' names; None for all there is."""
    _exit: ExitStack = field(default_factory=ExitStack, repr=False)
    _shared: dict[str, Any] = field(default_factory=dict, repr=False)

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exc: object) -> None:
        self._shared.clear()
        self._exit.close()

    @cached_property
    def file(self) -> BinaryIO:
        """The file, open for reading; regular files only, so that a named pipe cannot hang the reader."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        except OSError as error:
            raise ReadError(
                f"{self.path}: cannot be opened: {error.strerror}", hint="check the path and its permissions"
            ) from None
        file = os.fdopen(descriptor, "rb", buffering=0)
        self._exit.callback(file.close)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ReadError(f"{self.path}: is not a regular file", hint="name a file, not a pipe, device or socket")
        return file

    @cached_property
    def size(self) -> int:
        """Bytes on disk."""
        return os.fstat(self.file.fileno()).st_size

    @cached_property
    def head(self) -> bytes:
        """The first bytes, at most `HEAD_BYTES`."""
        return self.read_at(0, HEAD_BYTES)

    def read_at(self, offset: int, count: int) -> bytes:
        """Up to `count` bytes from `offset`; fewer only at the end of the file.

        Raises ReadError for a negative number: both are often what a file says, and a damaged one may say anything.
        """
        if offset < 0 or count < 0:
            raise ReadError(
                f"{self.path}: refers to {count} bytes at {offset}",
                hint="the file is damaged; copy or save it again",
            )
        there = self.size - offset
        if there <= 0:
            return b""
        self.file.seek(offset)
        return self.file.read(min(count, there))  # `read` would first make room for all that was asked for

    def within(self, stretch: FileSlice) -> Source:
        """A part of this file, such as an archive in an archive, as a source of its own; errors name the whole file."""
        found = Source(self.path, self.optimizer, self.external_data)
        found.__dict__.update(file=stretch, size=stretch.size)
        self._exit.callback(found.__exit__, None, None, None)
        return found

    def closing(self, resource: T) -> T:
        """Have `resource.close()` called when the file is done with."""
        self._exit.callback(resource.close)  # type: ignore[attr-defined]  # duck-typed, like contextlib.closing
        return resource

    def shared(self, key: str, make: Callable[[Source], T]) -> T:
        """`make(self)`, made once however many readers ask for it under `key`."""
        if key not in self._shared:
            self._shared[key] = make(self)
        value: T = self._shared[key]
        return value
