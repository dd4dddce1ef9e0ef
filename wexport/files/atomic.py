"""Files that appear complete or not at all, in place of what stood there.

A file in the making stands beside its target under a name that begins with a dot and ends with `.wexport.partial`, and
is locked while its writer lives; so what a killed writer left can be told from what is being written.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from wexport.errors import unwritable

try:
    import fcntl as fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

SUFFIX, LOCK_SUFFIX = ".wexport.partial", ".wexport.lock"
_LEFT_OVER = re.compile(r"\..*(\.[a-z0-9_]{8}\.wexport\.partial|\.wexport\.lock)", re.DOTALL)
_NAME_BYTES = 100
"""Of the target's name, in that of its file in the making: a name may have 255 bytes."""


class Partial:
    """A file in the making: `file` is open for writing, `path` is where it stands until `put_in_place`."""

    def __init__(self, target: Path) -> None:
        """Raises OSError if none can be made beside the target."""
        self.target = real(target)
        while True:
            self.path, self.file = _temporary_file(self.target)
            if _locked(self.file) and _is_at(self.file, self.path):
                break
            self.file.close()  # a sweeper was quicker, and removed it

    def put_in_place(self, *, durable: bool = False) -> None:
        """Give it the name of its target, and the mode and owner of what stood there. durable: it is on disk before."""
        self.file.flush()
        if durable:
            os.fsync(self.file.fileno())
        _dress(self.path, self.target)
        if fcntl is None:  # Windows, where a file that is open keeps its name
            self.file.close()
        self.path.replace(self.target)
        self.file.close()

    def discard(self) -> None:
        """Remove it, if it was not put in place."""
        with contextlib.suppress(OSError):
            self.file.close()
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_write(out: str | os.PathLike[str], *, durable: bool = False) -> Iterator[IO[bytes]]:
    """A file to write; a pipe or device is written to as it is, and a link leads to the file that is replaced.

    durable: it is on disk before it is in its place. Raises UsageError for a place that cannot be written to,
    OutputError for a full disk; what stood there is then as it was, as after anything that is raised while it is
    written.
    """
    target = Path(out)
    try:
        if is_stream(target):
            with target.open("wb") as file:
                yield file
            return
        partial = Partial(target)
        try:
            yield partial.file
            partial.put_in_place(durable=durable)
        finally:
            partial.discard()
    except OSError as error:
        if error.errno is None:  # an Arrow error that is told as one of the system
            raise
        raise unwritable(out, error) from None


def real(target: Path) -> Path:
    """The file that a path leads to, which is replaced rather than a link to it."""
    return Path(os.path.realpath(target)) if target.is_symlink() else target


def is_stream(path: Path) -> bool:
    """Whether something stands there that is neither a file nor a folder: a pipe, a device, a socket."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def sweep(folder: Path) -> None:
    """Remove the files in the making in a folder whose writers are gone, and the locks of those."""
    with contextlib.suppress(OSError):
        for name in os.listdir(folder):  # noqa: PTH208  a folder may hold many thousands
            if _LEFT_OVER.fullmatch(name):
                with contextlib.suppress(OSError):
                    _remove_if_left(folder / name)


def _remove_if_left(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(descriptor, "wb") as file:
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
            return
    path.unlink()  # Windows: refused while another has it open


def _temporary_file(target: Path) -> tuple[Path, IO[bytes]]:
    begins = os.fsdecode(os.fsencode(target.name)[:_NAME_BYTES])
    handle, name = tempfile.mkstemp(prefix=f".{begins}.", suffix=SUFFIX, dir=target.parent)
    return Path(name), os.fdopen(handle, "wb")


def _locked(file: IO[bytes]) -> bool:
    """Whether it is ours now; where a file system knows no locks, nobody sweeps either."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False


def _dress(temporary: Path, target: Path) -> None:
    """Give a file the mode and owner of what it replaces; else it is as readable as any new file."""
    try:
        before = target.stat()
    except OSError:
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        return
    mode = before.st_mode & 0o777
    if hasattr(os, "chown") and not _given_to(temporary, before):
        mode &= ~0o070 | (mode & 0o007) << 3  # another group may no more than everybody
    temporary.chmod(mode)


def _given_to(temporary: Path, before: os.stat_result) -> bool:
    """Give a file to the owner and group of another, as far as we may; whether its group is right now."""
    for owner in (before.st_uid, -1):
        with contextlib.suppress(OSError):
            os.chown(temporary, owner, before.st_gid)
            return True
    return False
