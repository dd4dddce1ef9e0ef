"""Which of the views and macros a statement needs, so that a session makes those alone.

DuckDB binds each view and macro when it is made. All of them take a tenth of a second and more, as long as most
questions take to answer; most questions need a handful.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache

import duckdb

from wexport.sessions.statements import without_comments
from wexport.sessions.views import views

_BEGIN = re.compile(r"^(?=CREATE OR REPLACE (VIEW|MACRO) (\w+))", re.MULTILINE)
_WORD = re.compile(r"[a-z_]\w*")
_LISTING = re.compile(
    r"\b(?:show|describe|duckdb_\w+|pg_\w+|pragma_\w+|sqlite_\w+|information_schema)\b|(?:^|\()\s*desc\b"
)
"""What a statement holds that lists what there is: SHOW TABLES, DESCRIBE alone, FROM duckdb_views()."""


@dataclass(frozen=True, slots=True)
class Definition:
    """A view or macro. sql: the statement that makes it. needs: the definitions before it whose names it holds."""

    name: str
    is_view: bool
    sql: str
    needs: frozenset[str]


@lru_cache(maxsize=1)
def definitions() -> Mapping[str, Definition]:
    """All views and macros by name, each behind those that it needs."""
    text = views()
    begins = list(_BEGIN.finditer(text))
    ends = [begin.start() for begin in begins[1:]] + [len(text)]
    found: dict[str, Definition] = {}
    for begin, end in zip(begins, ends, strict=True):
        sql, name = without_comments(text[begin.start() : end]), begin[2]
        found[name] = Definition(name, begin[1] == "VIEW", sql, frozenset(_words(sql.lower()) & found.keys()))
    return found


def needed(text: str) -> list[Definition]:
    """The definitions whose names a statement holds, and all that they need, in order; all, if it lists what there is.

    Raises QueryError for a text that is no SQL.
    """
    known, code = definitions(), without_comments(text).lower()
    if _LISTING.search(code):
        return list(known.values())
    wanted = _words(code) & known.keys()
    for each in reversed(list(known.values())):
        if each.name in wanted:
            wanted |= each.needs
    return [each for each in known.values() if each.name in wanted]


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text))


class Definer:
    """Makes views and macros in a database once each. duck: a connection of its own right to the database."""

    def __init__(self, duck: duckdb.DuckDBPyConnection) -> None:
        self._duck = duck
        self._made: set[str] = set()
        self._lock = threading.Lock()

    def make(self, wanted: Iterable[Definition]) -> bool:
        """Make those that are not there yet; whether there were any."""
        with self._lock:
            lacking = [each for each in wanted if each.name not in self._made]
            for each in lacking:
                self._duck.execute(each.sql)
                self._made.add(each.name)
        return bool(lacking)

    def make_all(self) -> bool:
        """Make all that are not there yet; whether there were any."""
        return self.make(definitions().values())
