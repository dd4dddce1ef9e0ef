"""Files that appear complete or not at all, in place of what stood there."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wexport.errors import unwritable


@contextlib.contextmanager
def atomic_write(out: str | os.PathLike[str], *, durable: bool = False) -> Iterator[IO[bytes]]:
    """A file to write; a pipe or device is written to as it is. durable: it is on disk before it is in its place.

    Raises UsageError for a place that cannot be written to, OutputError for a full disk; what stood there is then as it
    was, as after anything that is raised while it is written.
    """
    target = Path(out)
    try:
        if target.exists() and not target.is_file():
            with target.open("wb") as file:
                yield file
            return
        handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".partial", dir=target.parent)
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            put_in_place(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        if error.errno is None:  # an Arrow error that is told as one of the system
            raise
        raise unwritable(out, error) from None


def put_in_place(temporary: Path, target: Path) -> None:
    """Give a file that `mkstemp` made its name; it is as readable as any new file, which mkstemp's are not."""
    umask = os.umask(0)
    os.umask(umask)
    temporary.chmod(0o666 & ~umask)
    temporary.replace(target)
