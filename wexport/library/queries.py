"""The queries that come with wexport: SQL files whose head comment is their documentation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from wexport.errors import UsageError

SECTIONS = ("Parameters", "Columns", "How to read it", "What it does not prove")
GROUPS: Mapping[str, tuple[str, ...]] = {
    "what is there": ("models", "architectures", "layers", "tensors", "histogram"),
    "is it well": (
        "health",
        "dead_units",
        "normalisation",
        "recurrence",
        "stability",
        "siblings",
        "untrained",
        "freeze",
        "sparsity",
        "gates",
        "penalties",
    ),
    "what does it do": ("outputs", "gradients"),
    "who is like whom": ("drift", "similarity", "duplicates", "clusters"),
    "which to keep": ("rank", "predictors"),
}
"""The queries in the order in which they are listed."""
VIEWS = "views"
"""The folder of the views and macros that the queries read; they are not queries."""

_TITLE = re.compile(r"-- (?P<name>[a-z][a-z0-9_]*): (?P<question>.+)")
_PARAMETER = re.compile(
    r"(?P<name>\w+) +(?P<type>[A-Z]+(?:\[\])?) = (?P<default>'[^']*'|\[[^\]]*\]|\S+) +(?P<doc>\S.*)"
)
_COLUMN = re.compile(r"(?P<name>\w+|\*)(?: \[(?P<unit>[^\]]+)\])? {2,}(?P<doc>\S.*)")


@dataclass(frozen=True, slots=True)
class Parameter:
    """A variable that a query reads. type: of SQL. default: as SQL writes it."""

    name: str
    type: str
    default: str
    doc: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a query's answer; the name "*" stands for columns that depend on the table."""

    name: str
    unit: str
    doc: str


@dataclass(frozen=True, slots=True)
class Query:
    """One question. sql: the whole file, which runs as it stands. group: what it is about, or the plugin it is of."""

    name: str
    question: str
    parameters: tuple[Parameter, ...]
    columns: tuple[Column, ...]
    reading: str
    limits: str
    sql: str
    group: str = ""

    def parameter(self, name: str) -> Parameter:
        """The parameter of that name. Raises UsageError if there is none."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        known = ", ".join(parameter.name for parameter in self.parameters) or "none"
        raise UsageError(f"query {self.name} has no parameter {name!r}", hint=f"its parameters: {known}")


def folder() -> Path:
    """Where the SQL files are: inside the package, or beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "_queries"
    return inside if inside.is_dir() else package.parent / "queries"


@lru_cache(maxsize=1)
def load() -> Mapping[str, Query]:
    """All queries by name, in the order of `GROUPS`."""
    order = [name for names in GROUPS.values() for name in names]
    paths = sorted(
        folder().glob("*.sql"),
        key=lambda path: (order.index(path.stem) if path.stem in order else len(order), path.stem),
    )
    found = [parse(path.read_text("utf-8"), path.stem) for path in paths]
    return {query.name: replace(query, group=_group(query.name)) for query in found}


def _group(name: str) -> str:
    """What a query is about; "other" if `GROUPS` does not name it."""
    return next((group for group, names in GROUPS.items() if name in names), "other")


def view_parts() -> list[str]:
    """The SQL of views and macros in queries/views/, part by part in the order of their names.

    What derives from declarations in Python belongs behind the first part: see `sessions.views`.
    """
    return [path.read_text("utf-8") for path in sorted((folder() / VIEWS).glob("*.sql"))]


def get(name: str, others: Mapping[str, Query] | None = None) -> Query:
    """The query of that name, of the library or of `others`. Raises UsageError if there is none."""
    import difflib

    queries = {**(others or {}), **load()}
    if name in queries:
        return queries[name]
    near = difflib.get_close_matches(name.lower(), queries, 3, 0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else "`wexport query` lists them; SQL has more words"
    raise UsageError(f"there is no query {name!r}", hint=hint)


def parse(text: str, name: str | None = None) -> Query:
    """A query from the text of its file. name: that of the file, which the first line has to repeat.

    Raises UsageError, naming the line, if the head comment is not as it should be.
    """
    lines = text.splitlines()
    title = _TITLE.fullmatch(lines[0]) if lines else None
    if title is None or name not in (None, title["name"]):
        what = f"{name}.sql" if name else f"a query that begins {lines[0][:60]!r}" if lines else "an empty query"
        raise UsageError(f"{what}: the first line is not `-- {name or 'name'}: <question>`")
    name = title["name"]
    sections: dict[str, list[str]] = {}
    here: list[str] | None = None
    for line in lines[1:]:
        if not line.startswith("--"):
            break
        content = line[2:].rstrip()
        if content.strip() in SECTIONS and content == f" {content.strip()}":
            here = sections.setdefault(content.strip(), [])
        elif content and here is not None:
            here.append(content.removeprefix("   "))
    missing = [section for section in SECTIONS if section not in sections and section != "Parameters"]
    if missing:
        raise UsageError(f"{name}.sql: the head comment has no section {missing[0]!r}")
    return Query(
        name,
        title["question"],
        tuple(Parameter(**match) for match in _entries(name, _PARAMETER, sections.get("Parameters", []))),
        tuple(
            Column(match["name"], match["unit"] or "", match["doc"])
            for match in _entries(name, _COLUMN, sections["Columns"])
        ),
        " ".join(line.strip() for line in sections["How to read it"]),
        " ".join(line.strip() for line in sections["What it does not prove"]),
        text,
    )


def _entries(name: str, pattern: re.Pattern[str], lines: list[str]) -> list[dict[str, str]]:
    """The entries of a section; a line that is indented further goes on with the one before."""
    joined: list[str] = []
    for line in lines:
        if line.startswith(" ") and joined:
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    found = []
    for line in joined:
        match = pattern.fullmatch(line)
        if match is None:
            raise UsageError(f"{name}.sql: {line!r} is not an entry of a head comment")
        found.append(match.groupdict())
    return found
