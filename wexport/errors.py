"""Every exception wexport raises on purpose.

    WexportError                 base; carries a hint: the way out
    ├── UsageError               the call itself is wrong (exit 2); a ValueError
    │   └── MissingFileError     a file that the call names is not there; a FileNotFoundError
    ├── OutputError              a file cannot be written, such as on a full disk; an OSError
    ├── ReadError                a model file cannot be read
    │   ├── MissingModelError    it is not there; a FileNotFoundError
    │   ├── UnknownFormatError   no reader recognises the file, or more than one claims it
    │   ├── HostileFileError     the file declares or links to what is refused for safety
    │   └── BudgetError          reading took more time or memory than the file was allowed
    ├── PluginError              a plugin cannot be loaded, or broke its contract
    ├── TableError               the table cannot be written, read or added to
    │   └── MissingTableError    it is not there; a FileNotFoundError
    └── QueryError               a query is refused, or fails

A message names the file and the value; `hint` says what to do about it. Those that Python has a word for are that too:
`except FileNotFoundError` and `except ValueError` catch them. A command that ends with any but a UsageError exits with
3, if nothing of its work could be done.
"""

from __future__ import annotations

import errno
import os


class WexportError(Exception):
    """Base of all errors a user may see.

    hint: what the user can do about it; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(WexportError, ValueError):
    """The call itself is wrong: an option that does not fit, a name that does not exist."""


class MissingFileError(UsageError, FileNotFoundError):
    """A file or folder that the call names is not there."""


class OutputError(WexportError, OSError):
    """A file cannot be written, through no fault of the call: the disk is full, or fails."""


class ReadError(WexportError):
    """A model file cannot be read."""


class MissingModelError(ReadError, FileNotFoundError):
    """A model file is not there."""


class UnknownFormatError(ReadError):
    """No reader recognises the file, or several claim it with equal confidence."""


class HostileFileError(ReadError):
    """The file declares, links to or repeats something that is refused for safety."""


class BudgetError(ReadError):
    """Reading the file took more time, memory or decoded bytes than it was allowed."""


class PluginError(WexportError):
    """A plugin cannot be loaded, or what it returned breaks the contract."""


class TableError(WexportError):
    """The table cannot be written, read or added to."""


class MissingTableError(TableError, FileNotFoundError):
    """There is no such table."""


class QueryError(WexportError):
    """A query is refused because it may do more than read, or it fails, or takes too much time or memory."""


_WRONG_PLACE = frozenset(
    {
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.ENAMETOOLONG,
        errno.EINVAL,
    }
)
"""What the system says of a place that can never be written to: another one has to be named."""


def unwritable(out: str | os.PathLike[str], error: OSError) -> UsageError | OutputError:
    """What to raise where `out` cannot be written: a UsageError for the wrong place, else an OutputError."""
    kind = UsageError if error.errno in _WRONG_PLACE else OutputError
    hint = "make room, or name another place" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "name another place"
    return kind(f"{os.fspath(out)}: cannot be written: {error.strerror}", hint=hint)
