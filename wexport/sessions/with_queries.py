"""A query as its WITH clause names its parts, so that a program can answer a part itself, or ask for one alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from wexport.errors import QueryError

_WORD = re.compile(r"\w+")
_QUOTED = r"""'(?:[^']|'')*'|"(?:[^"]|"")*\""""
_COMMENT = re.compile(rf"({_QUOTED})|--[^\n]*|/\*.*?\*/", re.DOTALL)
"""DuckDB 1.3 does not tell where comments and parentheses are."""
_TOKEN = re.compile(rf"{_QUOTED}|[()]|\bWITH\b", re.IGNORECASE)
"""What texts and quoted names may hold is not seen."""
_BEGIN = re.compile(r"\s*(\w+)\s+AS\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class WithQuery:
    """WITH name AS (...), ... and what is asked of these.

    parts: the text behind each AS, by name, in order. body: the query that follows. before: what stands before the
    WITH, and is closed in the body, where the query is asked by another: SELECT * FROM (.
    """

    parts: Mapping[str, str]
    body: str
    before: str = ""

    @classmethod
    def of(cls, text: str) -> WithQuery:
        """Take a query apart, by its first WITH. Raises QueryError for one that has none, or no name AS behind it."""
        text = _COMMENT.sub(lambda found: found[1] or "", text).strip().rstrip(";")
        tokens = list(_TOKEN.finditer(text))
        first = next((token.start() for token in tokens if token[0].upper() == "WITH"), None)
        if first is None:
            raise QueryError("the query has no WITH")
        parts, place, depth, begin = dict[str, str](), first + 4, 0, 0
        name = ""
        for token in tokens:
            if token.start() < place:
                continue
            if not name:
                found = _BEGIN.match(text, place)
                if found is None:
                    raise QueryError(f"there is no name AS (...) at {text[place : place + 40]!r}")
                name, begin = found[1], found.end()
            depth += {"(": 1, ")": -1}.get(token[0], 0)
            if token[0] == ")" and not depth:
                parts[name], name, place = text[begin : token.end()].strip(), "", token.end()
                if not text[place:].lstrip().startswith(","):
                    return cls(parts, text[place:].strip(), text[:first])
                place = text.index(",", place) + 1
        raise QueryError("the query ends within its WITH clause")

    def __str__(self) -> str:
        """The text of the query, without parts that nothing names."""
        needed, words = dict[str, str](), set(_WORD.findall(self.body))
        for name, text in reversed(list(self.parts.items())):
            if name in words:
                needed[name] = text
                words.update(_WORD.findall(text))
        parts = ", ".join(f"{name} AS {needed[name]}" for name in reversed(list(needed)))
        return f"{self.before}WITH {parts}\n{self.body}"

    def replacing(self, **parts: str) -> WithQuery:
        """The same with other texts for parts that it has, each in parentheses."""
        assert parts.keys() <= self.parts.keys()
        return replace(self, parts={**self.parts, **parts})

    def asking(self, body: str, **more: str) -> WithQuery:
        """Another query of the same parts, and of `more` behind them."""
        return WithQuery({**self.parts, **more}, body)

    def up_to(self, name: str) -> WithQuery:
        """Without the parts behind this one."""
        names = list(self.parts)
        return replace(self, parts={each: self.parts[each] for each in names[: names.index(name) + 1]})
