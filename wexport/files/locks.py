"""One writer at a time: a lock that says who holds it, and goes with its holder, however that ends."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from wexport.errors import TableError
from wexport.files.atomic import LOCK_SUFFIX, fcntl, real


class Lock:
    """The lock on a table, or on a folder that a run writes into: a file beside it, which is gone afterwards."""

    def __init__(self, target: Path) -> None:
        """Take it. Raises TableError, naming the holder, if another has it. Where the system or the folder knows no
        locks, nothing is locked.
        """
        self._path = real(target).with_name(f".{_shortened(target.name)}{LOCK_SUFFIX}")
        self._descriptor = _taken(self._path, target)

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)  # before it is given back: it is ours alone
            os.close(self._descriptor)
            self._descriptor = None


@contextlib.contextmanager
def locked(target: Path) -> Iterator[None]:
    """Hold the `Lock` on a table that is written."""
    lock = Lock(target)
    try:
        yield
    finally:
        lock.release()


def _shortened(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:200])


def _taken(path: Path, target: Path) -> int | None:
    if fcntl is None:
        return None
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except OSError:
            return None  # writing will fail as well, and say why
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            with os.fdopen(descriptor, "rb") as file:
                holder = file.read(300).decode("utf-8", "replace")
            raise TableError(
                f"{target}: is being written by {holder or 'another process'}",
                hint="wait until it has ended, or name another --out",
            ) from None
        except OSError:
            os.close(descriptor)
            return None
        with contextlib.suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        os.close(descriptor)  # its holder has just removed it
    os.truncate(descriptor, 0)
    since = time.strftime("%H:%M:%S")
    os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()} since {since}".encode())
    return descriptor
