"""Thresholds and rules of the user's own for `check`: SQL files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from wexport.errors import UsageError

_BLANK = re.compile(r"(?:\s+|--[^\n]*(?:\n|$))+")
_SET = re.compile(
    r"SET\s+VARIABLE\s+(?P<name>[A-Za-z_]\w*)\s*=\s*"
    r"(?:'(?P<text>(?:[^']|'')*)'|(?P<bare>[-+]?[0-9.]+(?:e[-+]?[0-9]+)?|true|false))\s*;",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One file. sql: the SELECT behind the settings, or None where there are settings only."""

    name: str
    path: Path
    settings: dict[str, str]
    sql: str | None


def read(paths: Iterable[str | Path]) -> list[Rule]:
    """The rules in files, and in folders those in their .sql files.

    Raises UsageError for a path without any, or a file that is not text.
    """
    found: list[Rule] = []
    for path in map(Path, paths):
        files = sorted(path.glob("*.sql")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise UsageError(f"{path}: there are no rules", hint="--rules FILE.sql, or a folder of .sql files")
        for file in files:
            try:
                found.append(_parsed(file, file.read_text("utf-8")))
            except (OSError, UnicodeDecodeError) as error:
                raise UsageError(f"{file}: cannot be read: {error}") from None
    return found


def _parsed(path: Path, text: str) -> Rule:
    settings: dict[str, str] = {}
    place = _after_blank(text, 0)
    while match := _SET.match(text, place):
        settings[match["name"]] = match["bare"] if match["text"] is None else match["text"].replace("''", "'")
        place = _after_blank(text, match.end())
    rest = text[place:]
    if re.match(r"SET\b", rest, re.IGNORECASE):
        raise UsageError(
            f"{path}: {rest.splitlines()[0]!r} is not understood",
            hint="SET VARIABLE name = a number, 'text', true or false;",
        )
    if not settings and not rest:
        raise UsageError(f"{path}: is empty", hint="a rule is one SELECT, thresholds are SET VARIABLE lines")
    return Rule(path.stem, path, settings, rest or None)


def _after_blank(text: str, place: int) -> int:
    match = _BLANK.match(text, place)
    return match.end() if match else place
