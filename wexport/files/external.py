"""Files that a model says lie beside it: opened by name, inside the model's own folder and nowhere else.

A name comes from the model file, that is, from a stranger. So it may not be absolute or lead upwards, and what it leads
to must be a regular file. Links may only lead to where the model is anyway: into its folder, or into the one that the
model's own file is in, if its name is a link itself. So are the caches of hubs, where all are links into one folder.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath

from wexport.errors import HostileFileError, ReadError
from wexport.files.source import Source

MAX_NAME = 1024


class ExternalFiles:
    """The files beside one model. Closed with its source; one is open at a time, but for those asked for."""

    def __init__(self, source: Source) -> None:
        self._model = source.path
        self._folder = source.path.parent
        self._name = ""
        self._open: Source | None = None
        self._sizes: dict[str, int] = {}
        self._kept: list[Source] = []
        self._wants = source.optimizer, source.external_data
        source.closing(self)

    def size(self, name: str) -> int:
        """Bytes in the file called `name`.

        Raises HostileFileError for a name that leads out of the folder, ReadError for a file that is not there or
        cannot be read.
        """
        if name not in self._sizes:
            self._sizes[name] = self._source(name).size
        return self._sizes[name]

    def read_at(self, name: str, offset: int, count: int) -> bytes:
        """Up to `count` bytes of the file called `name` from `offset`; raises as `size` does."""
        return self._source(name).read_at(offset, count)

    def opened(self, name: str) -> Source:
        """The file called `name`, open for as long as the model is; raises as `size` does."""
        found = self._source(name)
        self._open = None
        self._kept.append(found)
        found.optimizer, found.external_data = self._wants
        return found

    def opening(self, name: str) -> Source:
        """The file called `name`, which the caller closes; raises as `size` does."""
        path = self._inside(name)
        opened = Source(path)
        try:
            # What was looked at must be what is open now: names may be given to other files in between.
            if not os.path.samestat(os.fstat(opened.file.fileno()), path.lstat()):
                raise HostileFileError(f"{self._model}: {name!r} was replaced while it was opened")
        except OSError:
            opened.__exit__(None, None, None)
            raise ReadError(f"{path}: went away while it was opened") from None
        except BaseException:
            opened.__exit__(None, None, None)
            raise
        return opened

    def close(self) -> None:
        self._let_go()
        while self._kept:
            self._kept.pop().__exit__(None, None, None)

    def _let_go(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None

    def _source(self, name: str) -> Source:
        if self._open is None or self._name != name:
            self._let_go()
            self._open, self._name = self.opening(name), name
        return self._open

    def _inside(self, name: str) -> Path:
        """The path of a file in the folder, or where its links lead if that is where the model is, too."""
        parts = PurePosixPath(name.replace("\\", "/")).parts
        windows = PureWindowsPath(name)
        if not parts or "\0" in name or len(name) > MAX_NAME or parts[0] == "/" or windows.drive or ".." in parts:
            raise HostileFileError(
                f"{self._model}: names the file {name[:200]!r}, which does not lie in the model's own folder",
                hint="a model from elsewhere should not ask for such a file",
            )
        path, linked = self._folder, False
        for part in parts:
            path = path / part
            try:
                linked |= stat.S_ISLNK(path.lstat().st_mode)
                mode = path.stat().st_mode
            except (OSError, ValueError):
                raise ReadError(
                    f"{self._model}: the file {name!r}, which holds some of its values, is not there",
                    hint=f"put it beside {self._model.name}",
                ) from None
        if linked:
            path = Path(os.path.realpath(path))
            own = (os.path.realpath(self._folder), os.path.dirname(os.path.realpath(self._model)))  # noqa: PTH120
            if not any(path.is_relative_to(folder) for folder in own):
                raise HostileFileError(
                    f"{self._model}: the file {name!r}, which holds some of its values, is a link that leads out of "
                    "the model's own folder",
                    hint="such links are not followed, as they may lead anywhere; copy the file itself into the folder",
                )
        if not stat.S_ISREG(mode):
            raise HostileFileError(f"{self._model}: {name!r}, which holds some of its values, is not a regular file")
        return path
