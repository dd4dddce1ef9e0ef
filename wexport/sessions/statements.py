"""SQL from outside: which statements may run, how values are written into one, and DuckDB's errors as ours."""

from __future__ import annotations

import itertools
import numbers
import re
from typing import Any

import duckdb

from wexport.errors import QueryError, UsageError

_READING = frozenset(
    (
        *("SELECT", "FROM", "WITH", "VALUES", "TABLE", "(", "EXPLAIN"),
        *("PIVOT", "PIVOT_WIDER", "UNPIVOT", "PIVOT_LONGER", "DESCRIBE", "DESC", "SHOW", "SUMMARIZE"),
    )
)
"""What a statement that reads can begin with."""
_KINDS = (["SELECT"], ["EXPLAIN"], ["MULTI"], ["CREATE", "SELECT"])
"""What DuckDB sees in such a text. A PIVOT over values it has to look up first is CREATE and SELECT in 1.x, MULTI in
2.x; that the CREATE is the PIVOT's own follows from the first word and from there being one statement alone."""
_RUNNING = ("query", "json_execute_serialized_sql")
"""Functions that run what they are given."""
_COMMENT = duckdb.token_type.comment
_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]*")
_HINTS = (
    ("Cannot access file", "a session reads its table, and files given with --with NAME=FILE, nothing else"),
    ("Cannot access directory", "a session reads its table, and files given with --with NAME=FILE, nothing else"),
    ("operations are disabled by configuration", "a session reads its table and nothing else"),
    ("configuration has been locked", "settings stay as they are; parameters are given with --param NAME=VALUE"),
    ("not found in FROM clause", "`wexport schema` lists the columns"),
    ("Unrecognized configuration", "settings stay as they are; parameters are given with --param NAME=VALUE"),
)
MORE_MEMORY = "ask for less, or give it more with --memory"
_NOISE = re.compile(r"\n+\s*(?:Stack Trace:|Candidate functions:|Use \"SET |This error signals).*", re.S)


def reading_statement(duck: duckdb.DuckDBPyConnection, text: str) -> str:
    """The text, if it is just one statement that reads.

    duck: the locked connection that will run it: some statements read files as soon as they are parsed.
    Raises QueryError if it is anything else.
    """
    text = text.removeprefix("\ufeff")  # as editors on Windows begin files
    words = _only_statement(text)
    first = _word(words[0])
    if first not in _READING:
        raise _refused(first)
    _refuse_hidden(words)
    if first == "EXPLAIN":
        # What is explained must itself read: EXPLAIN ANALYZE runs it.
        explained = words[2:] if len(words) > 1 and _word(words[1]) == "ANALYZE" else words[1:]
        reading_statement(duck, "".join(explained))
    try:
        kinds = [statement.type.name for statement in duck.extract_statements(text)]
    except duckdb.Error as error:
        raise as_query_error(error) from None
    if kinds not in _KINDS or (kinds == ["EXPLAIN"]) != (first == "EXPLAIN"):
        raise _refused(" and ".join(kinds))
    return text


def without_comments(text: str) -> str:
    """The text without its comments. Raises QueryError if it is no SQL."""
    encoded, places = _places(text)
    ends = [*(place for place, _ in places[1:]), len(encoded)]
    code = (encoded[place:end] for (place, kind), end in zip(places, ends, strict=True) if kind != _COMMENT)
    return b"".join(code).decode(errors="replace")


def _places(text: str) -> tuple[bytes, list[tuple[int, duckdb.token_type]]]:
    """The text as bytes, and where in them each token and comment begins."""
    if "\0" in text:
        raise QueryError("the query holds a NUL character")
    try:
        return text.encode(), duckdb.tokenize(text)
    except UnicodeEncodeError:
        raise QueryError("the query is not valid Unicode text") from None
    except duckdb.Error as error:
        raise as_query_error(error) from None


def _only_statement(text: str) -> list[str]:
    """The tokens of the one statement in a text, each with the space and comments that follow it."""
    encoded, places = _places(text)
    starts = [place for place, kind in places if kind != _COMMENT]
    tokens = [encoded[start:end].decode(errors="replace") for start, end in itertools.pairwise([*starts, len(encoded)])]
    while tokens and tokens[-1].startswith(";"):
        tokens.pop()
    if not tokens:
        raise _refused("empty")
    if any(token.startswith(";") for token in tokens):
        raise _refused("more than one")
    return tokens


def _refuse_hidden(tokens: list[str]) -> None:
    """Refuse what can hide another statement in one that reads.

    DuckDB 2 takes `WITH a AS (COPY ... TO ...) SELECT ...` for a SELECT, and a text or serialised statement that a
    function runs is seen by no one before.
    """
    for token, after in zip(tokens, [*tokens[1:], ""], strict=True):
        if _word(token) == "COPY":
            raise QueryError("COPY is not allowed anywhere in a query", hint='a column of that name is written "copy"')
        name = (token[1:].partition('"')[0] if token.startswith('"') else _word(token)).lower()
        if name in _RUNNING and after.startswith("("):
            raise QueryError(f"{name}() is not allowed: it runs another statement", hint="write that statement itself")


def _word(token: str) -> str:
    """The word that a token is, in capitals."""
    found = re.match(r"\(|\w+", token)
    return found[0].upper() if found else token.strip()


def _refused(what: str) -> QueryError:
    return QueryError(
        f"only one statement that reads is allowed, and this is {what[:80]}",
        hint="write one SELECT, FROM, WITH, PIVOT, DESCRIBE, SUMMARIZE or EXPLAIN",
    )


class OutOfMemoryError(QueryError):
    """A query has spent its memory; the process that answered it may be full and scattered."""


def as_query_error(error: Exception) -> QueryError:
    """DuckDB's error as ours: what it says and what it proposes, without its internals."""
    if "Out of Memory Error" in str(error):
        return OutOfMemoryError("the query needs more memory than it may take", hint=MORE_MEMORY)
    text = _NOISE.sub("", str(error).strip())
    text = re.sub(r"\n{2,}", "\n", text)
    text = re.sub(r"^[A-Z][A-Za-z ]* Error: ", "", text)
    hint = next((hint for sign, hint in _HINTS if sign in str(error)), "")
    if missing := re.search(r"Table with name (\w+) does not exist", text):
        hint = f"there are: weights, tensors, gates, units, histogram, sample; your own: --with {missing[1]}=FILE.csv"
    if "INTERNAL Error" in str(error) or "FATAL Error" in str(error):
        text, hint = text.splitlines()[0], "DuckDB has a fault here: write the query in another way"
    return QueryError(text, hint=hint)


def first_line(error: Exception) -> str:
    """The first line of what an error says."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def name_of(text: str, what: str, hint: str) -> str:
    """The text, if SQL takes it for a name without quotes. Raises UsageError."""
    if not _NAME.fullmatch(text):
        raise UsageError(f"{text!r} cannot be the name of a {what}", hint=hint)
    return text


def literal(value: Any) -> str:
    """A value as SQL writes it. Raises UsageError for one that SQL cannot take."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"'{value!r}'::DOUBLE"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, numbers.Number) and hasattr(value, "item"):
        return literal(value.item())  # a NumPy number
    text = str(value)
    if "\0" in text:  # a name in a file may hold one
        return f"({' || chr(0) || '.join(map(literal, text.split(chr(0))))})"
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise UsageError(f"{text!r} cannot be written in SQL")
    return "'" + text.replace("'", "''") + "'"
