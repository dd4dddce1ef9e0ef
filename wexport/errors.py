"""Every exception wexport raises on purpose.

    WexportError                 base; carries a hint: the way out
    ├── UsageError               the call itself is wrong (exit 2)
    ├── ReadError                a model file cannot be read
    │   ├── UnknownFormatError   no reader recognises the file, or more than one claims it
    │   ├── HostileFileError     the file declares or links to what is refused for safety
    │   └── BudgetError          reading took more time or memory than the file was allowed
    ├── PluginError              a plugin cannot be loaded, or broke its contract
    ├── TableError               the table cannot be written, read or added to
    └── QueryError               a query is refused, or fails

A message names the file and the value; `hint` says what to do about it.
"""

from __future__ import annotations


class WexportError(Exception):
    """Base of all errors a user may see.

    hint: what the user can do about it; may be empty.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(WexportError):
    """The call itself is wrong: an option that does not fit, a name that does not exist."""


class ReadError(WexportError):
    """A model file cannot be read."""


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


class QueryError(WexportError):
    """A query is refused because it may do more than read, or it fails, or takes too much time or memory."""
