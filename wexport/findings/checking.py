"""What is wrong with the models of a table: the findings of several queries in one list."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wexport import library
from wexport.compatibility import renamed
from wexport.errors import QueryError, UsageError
from wexport.findings import rules
from wexport.findings.causes import MODEL_CAUSES, folded
from wexport.findings.finding import Finding, Findings
from wexport.library.findings import FINDINGS, QUERIES, SEVERITIES
from wexport.queries import asking
from wexport.queries.fitting import refuse_unknown_names
from wexport.sessions.session import MEMORY_BYTES, SECONDS, Session, opened

if TYPE_CHECKING:
    import pyarrow as pa

    from wexport.sessions.connection import PathLike
    from wexport.sessions.session import TableLike

_NEEDED = ("severity", "finding", "model")
_KNOWN = (*_NEEDED, "verdict", "slot", "layer", "seen", "threshold", "advice")


@dataclass(frozen=True, slots=True)
class Group:
    """The same finding at the same place, in one model or several. models: how many; example: the first of them."""

    models: int
    example: Finding


@renamed(seconds="timeout")
def check(
    table: TableLike = asking.TABLE,
    parameters: Mapping[str, Any] | None = None,
    *,
    rules: Iterable[PathLike] = (),
    files: Mapping[str, PathLike] | None = None,
    baseline: PathLike | None = None,
    every: bool = False,
    timeout: float = SECONDS,
    memory: int = MEMORY_BYTES,
) -> Findings:
    """All findings of the library's queries and of your own rules, the worst first, and then those that explain most.

    table: a file that `ingest` wrote, a folder of parts, or a pattern; or what `connect` gives.
    parameters: thresholds and other parameters, by name, for each query that has one of that name.
    rules: SQL files, or folders of them. A file is one SELECT with the columns severity, finding and model, and if it
        likes slot or layer, seen, threshold and advice; or lines `SET VARIABLE name = constant;`, which set parameters;
        or both. `parameters` win over them.
    files: of yours, by the name that rules know them by, as for `connect`: metrics of the models, for instance.
    baseline: an older table. What was found in it, as severely, in the model of the same name and at the same place, is
        left out.
    every: also findings that follow from others of the same model; otherwise the cause says how many they are.
    timeout, memory: seconds and bytes that each query may take.

    Raises UsageError for unknown parameters, names that fit no model or slot, and rules that cannot be used, QueryError
    if a query fails, TableError if there is no such table.
    """
    own = _read_rules(rules)
    given = {name: value for rule in own for name, value in rule.settings.items()} | dict(parameters or {})
    asked = [(library.get(name), _of_query(name, given)) for name in QUERIES]
    _refuse_unknown(given, own)
    if files and isinstance(table, Session):
        raise UsageError("an open session has its files already", hint="give them where it is opened")
    with opened(table, timeout=timeout, memory=memory, files=files) as session:
        refuse_unknown_names(session, {name for _, wanted in asked for name in wanted}, given)
        found = _asked(session, asked, own, given)
    rows = [str(rule.path) for rule in own]
    if not every:
        found = folded(found, rows)
    if baseline is not None:
        with opened(baseline, timeout=timeout, memory=memory, files=files) as session:
            before = _asked(session, asked, own, given)
        found = newly_found(found, before)
    order = {name: place for place, name in enumerate((*QUERIES, *rows))}
    return Findings(sorted(
        found,
        key=lambda each: (
            SEVERITIES.index(each.severity), each.finding not in MODEL_CAUSES, -each.explains, order[each.query],
            each.finding, each.model, each.place or "", each.seen
        ),
    ))  # fmt: skip


def _asked(
    session: Session,
    asked: Sequence[tuple[library.Query, dict[str, Any]]],
    own: Sequence[rules.Rule],
    given: Mapping[str, Any],
) -> list[Finding]:
    """What the library's queries and the user's own rules find."""
    found: list[Finding] = []
    if session.kinds:
        raise UsageError(f"a session over {' and '.join(session.kinds)} rows cannot be checked", hint="open another")
    for query, wanted in asked:
        statement = query.sql.rstrip().removesuffix(";")
        found_by = asking.INNER_FORMS.get(query.name)
        answer = session.ask(f"SELECT * FROM (\n{statement}\n) WHERE severity IS NOT NULL", wanted, found_by)
        found += _findings(answer, query.name)
    for rule in own:
        if rule.sql is not None:
            answer = _answer(session, rule, given)
            _refuse_columns(answer.column_names, str(rule.path))
            found += _findings(answer, str(rule.path))
    return found


def newly_found(found: Iterable[Finding], before: Iterable[Finding]) -> list[Finding]:
    """What was not found before, or not as severely."""
    worst: dict[tuple[str, ...], int] = {}
    for each in before:
        level = SEVERITIES.index(each.severity)
        worst[_place(each)] = min(level, worst.get(_place(each), level))
    return [each for each in found if SEVERITIES.index(each.severity) < worst.get(_place(each), len(SEVERITIES))]


def _place(each: Finding) -> tuple[str, ...]:
    return each.query, each.finding, each.model, each.place or ""


def _refuse_columns(names: Iterable[str], rule: str) -> None:
    for name in names:
        if name not in _KNOWN:
            raise UsageError(f"{rule}: its answer has a column {name!r}, which no finding has", hint=_hint(name))


def _hint(name: str) -> str:
    near = difflib.get_close_matches(name, _KNOWN, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(_KNOWN)}"


def groups(findings: Iterable[Finding]) -> list[Group]:
    """Findings that differ in the model only, as one; the worst first, and then those in the most models."""
    found: dict[tuple[str, ...], list[Finding]] = {}
    for each in findings:
        found.setdefault((each.severity, each.query, each.finding, each.place or ""), []).append(each)
    grouped = [Group(len({each.model for each in same}), same[0]) for same in found.values()]
    return sorted(grouped, key=lambda group: (SEVERITIES.index(group.example.severity), -group.models))


def reaches(findings: Iterable[Finding], level: str) -> bool:
    """Whether any finding is as severe as `level`, or more; the level "never" is not reached."""
    return level != "never" and any(SEVERITIES.index(each.severity) <= SEVERITIES.index(level) for each in findings)


def _read_rules(paths: Iterable[PathLike]) -> list[rules.Rule]:
    return rules.read(map(str, paths))


def _of_query(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the parameters that the query has."""
    query = library.get(name)
    mine = {parameter.name for parameter in query.parameters}
    return asking.typed(query, {key: value for key, value in given.items() if key in mine})


def _refuse_unknown(given: Mapping[str, Any], own: Sequence[rules.Rule]) -> None:
    known = {parameter.name for name in QUERIES for parameter in library.get(name).parameters}
    read = {name for rule in own for name in re.findall(r"getvariable\('(\w+)'\)", rule.sql or "")}
    for name in given:
        if name not in known | read:
            raise UsageError(f"no check has a parameter {name!r}", hint=f"there are: {', '.join(sorted(known | read))}")


def _answer(session: Session, rule: rules.Rule, given: Mapping[str, Any]) -> pa.Table:
    assert rule.sql is not None
    try:
        return session.ask(rule.sql, {name: _constant(value) for name, value in given.items()})
    except QueryError as error:
        raise QueryError(f"{rule.path}: {error}", hint=error.hint) from None


def _constant(value: Any) -> Any:
    """A text that is a number or a truth value, as such: nothing tells what type a rule's own parameter has."""
    if not isinstance(value, str):
        return value
    if value.lower() in ("true", "false"):
        return value.lower() == "true"
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            pass
    return value


def _findings(answer: pa.Table, query: str) -> list[Finding]:
    columns = dict(zip(answer.column_names, answer.columns, strict=True))
    if "verdict" in columns:
        columns.setdefault("finding", columns["verdict"])
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise UsageError(
            f"{query}: its answer has no column {missing[0]}",
            hint="a rule needs severity, finding and model; it may have slot or layer, seen, threshold and advice",
        )
    wanted = [name for name in (*_NEEDED, "slot", "layer", "seen", "threshold", "advice") if name in columns]
    found = []
    for values in zip(*(columns[name].to_pylist() for name in wanted), strict=True):
        row = dict(zip(wanted, values, strict=True))
        if row["severity"] is None:
            continue
        if row["severity"] not in SEVERITIES:
            raise UsageError(
                f"{query}: {row['severity']!r} is not a severity",
                hint=f"there are {', '.join(SEVERITIES)}, and NULL for none",
            )
        place = row.get("slot") if row.get("slot") is not None else row.get("layer")
        kind = FINDINGS.get((query, row["finding"]))
        found.append(
            Finding(
                row["severity"],
                str(row["finding"]),
                str(row["model"]),
                _text(place),
                _text(row.get("seen")) or "",
                _text(row.get("threshold")),
                _text(row.get("advice")) or (kind.advice if kind else None),
                query,
            )
        )
    return found


def _text(value: Any) -> str | None:
    return None if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
