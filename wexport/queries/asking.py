"""Questions to a table: a query of the library by its name, or any SQL that reads."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from wexport import library
from wexport.answers.tabular import Answer
from wexport.compatibility import renamed
from wexport.errors import PluginError, UsageError
from wexport.library import Parameter, Query
from wexport.queries.fitting import refuse_unknown_names
from wexport.sessions.answering import Form
from wexport.sessions.session import MEMORY_BYTES, SECONDS, Session, opened

if TYPE_CHECKING:
    import pyarrow as pa

    from wexport.sessions.connection import Connection, PathLike
    from wexport.sessions.session import TableLike

TABLE = "weights.parquet"


def _similarity(session: Session, parameters: Mapping[str, Any]) -> pa.Table:
    from wexport.analysis.similarity import similar_pairs

    return similar_pairs(session, parameters)


def _clusters(session: Session, parameters: Mapping[str, Any]) -> pa.Table:
    from wexport.analysis.clusters import model_groups

    return model_groups(session, parameters)


def _predictors(session: Session, parameters: Mapping[str, Any]) -> pa.Table:
    from wexport.analysis.predictors import predictors

    return predictors(session, parameters)


def _drift(connection: Connection, text: str, parameters: Mapping[str, Any], memory: int) -> pa.RecordBatchReader:
    from wexport.analysis.drift import drift

    return drift(connection, text, parameters, memory)


def _freeze(connection: Connection, text: str, parameters: Mapping[str, Any], memory: int) -> pa.RecordBatchReader:
    from wexport.analysis.pairing import freeze

    return freeze(connection, text, parameters, memory)


PYTHON_FORMS: Mapping[str, Callable[[Session, Mapping[str, Any]], pa.Table]] = {
    "similarity": _similarity,
    "clusters": _clusters,
    "predictors": _predictors,
}
"""Queries with a second form in Python, for what SQL takes too long for: called with a session and all of the query's
parameters, typed. It answers with the columns of the SQL form, which stays what `--sql` shows. Imported when called."""
INNER_FORMS: Mapping[str, Form] = {"drift": _drift, "freeze": _freeze}
"""The same, worked out where the table is read, since what it reads is far more than what it answers; see
`Session.batches` for how it is called."""

ONE_KIND = frozenset(
    {"health", "freeze", "penalties", "stability", "untrained", "outputs", "gradients"}
    | {"dead_units", "normalisation", "recurrence", "siblings"}
)
"""Queries that are of one kind by themselves, weights or what they are called after: they can be asked of no other."""

OF_METRICS = frozenset({"rank", "predictors"})
"""Queries that read the user's metrics, and can say nothing without."""

_INTEGER = re.compile(r"[+-]?[0-9]+")
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
_CONSTANTS = {"NULL": None, "true": True, "false": False}


class Rows(Protocol):
    """The rows of an answer, batch by batch."""

    @property
    def schema(self) -> pa.Schema: ...

    def __iter__(self) -> Iterator[pa.RecordBatch]: ...


@renamed(seconds="timeout")
def query(
    question: str,
    table: TableLike = TABLE,
    parameters: Mapping[str, Any] | None = None,
    *,
    metrics: PathLike | Sequence[PathLike] = (),
    files: Mapping[str, PathLike] | None = None,
    plugins: Sequence[str] = (),
    kinds: Sequence[str] = (),
    timeout: float = SECONDS,
    memory: int = MEMORY_BYTES,
) -> Answer:
    """Ask a table a question.

    question: the name of a query in the library or of a plugin, or SQL that reads.
    table: a file that `ingest` wrote, a folder of parts, or a pattern; or what `connect` gives.
    parameters: of the query.
    metrics: files of metrics, which the queries `rank`, `predictors` and others read.
    files: your own CSV, TSV, JSON, JSON lines or Parquet files, by the name that the SQL calls them.
    plugins: paths of Python files with queries.
    kinds: ["activation"] or ["gradient"] asks of the outputs or gradients of models that were run, not of weights.
        Those of `ONE_KIND` are refused: what they find is said of one kind alone.
    timeout, memory: seconds and bytes that the query may take.

    Raises UsageError for an unknown name or parameter, QueryError if the SQL is refused or fails, TableError if there
    is no such table.
    """
    named = named_query(question, plugins)  # before a process is started
    with contextlib.ExitStack() as stack:
        if metrics:
            from wexport.queries.metrics import gathered

            if isinstance(table, Session):
                raise UsageError("an open session cannot take metrics", hint="give the table's path")
            files = stack.enter_context(gathered(table, metrics, files, timeout=timeout, memory=memory))
        bounds: dict[str, Any] = {"timeout": timeout, "memory": memory}
        session = stack.enter_context(opened(table, files, kinds=kinds, **bounds))
        return Answer(ask(session, named or question, parameters))


def session(table: PathLike | Connection, files: Mapping[str, PathLike] | None = None, **limits: Any) -> Session:
    """A session, with what its answers will need loaded while its process starts."""
    started = Session(table, files, **limits)
    import pyarrow  # noqa: F401

    return started


def ask(session: Session, question: str | Query, parameters: Mapping[str, Any] | None = None) -> pa.Table:
    """The answer to a question, as `query` gives it, in a session that is open."""
    sql, named, given = _prepared(session, question, parameters)
    if named and named.name in PYTHON_FORMS:
        return PYTHON_FORMS[named.name](session, given)
    return session.ask(sql, given, INNER_FORMS.get(named.name) if named else None)


def stream(session: Session, question: str | Query, parameters: Mapping[str, Any] | None = None) -> Rows:
    """The answer to a question batch by batch, so that it need not fit in memory."""
    sql, named, given = _prepared(session, question, parameters)
    if named and named.name in PYTHON_FORMS:
        answer: Rows = PYTHON_FORMS[named.name](session, given).to_reader()
        return answer
    return session.batches(sql, given, INNER_FORMS.get(named.name) if named else None)


def _prepared(
    session: Session, question: str | Query, parameters: Mapping[str, Any] | None
) -> tuple[str, Query | None, dict[str, Any]]:
    """The SQL of a question, the query it is, and its parameters, typed."""
    named = named_query(question) if isinstance(question, str) else question
    given = dict(parameters or {})
    if named is None:
        return str(question), None, {name: _guessed(value) for name, value in given.items()}
    if named.name in ONE_KIND and session.kinds:
        raise UsageError(
            f"{named.name} is not asked of {' and '.join(session.kinds)} rows",
            hint="leave --kinds out; outputs and gradients have queries of these names",
        )
    if named.name in OF_METRICS and "metrics" not in session.files:
        raise UsageError(
            f"the query {named.name} reads how your models do, and no metrics are given",
            hint="--metrics FILE, in Python metrics=FILE: CSV, JSON or Parquet, with columns model and, say, val_loss",
        )
    given = typed(named, given)
    refuse_unknown_names(session, [parameter.name for parameter in named.parameters], given)
    if named.name in PYTHON_FORMS:
        given = {**{parameter.name: default(parameter) for parameter in named.parameters}, **given}
    return named.sql, named, given


def plugin_queries(files: Sequence[str] = ()) -> dict[str, Query]:
    """The queries of plugins by name: those of the installed ones, and of Python files named by path.

    They are asked in a process of their own; where there are none, none is started. Raises PluginError for a file that
    is no plugin.
    """
    from wexport.plugins.catalog import any_installed, installed_plugins

    if not files and not any_installed():
        return {}
    found = installed_plugins(files)
    for plugin in found:
        if plugin.state != "ok" and plugin.from_file:
            raise PluginError(f"plugin {plugin.name} is broken: {plugin.reason}", hint="`wexport plugins` lists them")
    return {query.name: query for plugin in found for query in plugin.queries}


def named_query(question: str, plugins: Sequence[str] = ()) -> Query | None:
    """The query of that name, or None where the text is SQL. plugins: paths of Python files with queries.

    Raises UsageError for a word that is neither.
    """
    text = question.strip()
    if re.fullmatch(r"[\w-]+", text):
        return library.get(text, None if text in library.load() else plugin_queries(plugins))
    if not re.search(r"[\s('\"]", text) and (Path(text).suffix or "/" in text or "*" in text):
        raise UsageError(
            f"{text}: looks like a table, and the question comes first",
            hint=f"wexport query models {text}; `wexport query` lists what can be asked",
        )
    return None


def typed(named: Query, given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters as the query's types; texts are converted. Raises UsageError for one that does not fit."""
    return {name: _typed(named, name, value) for name, value in given.items()}


def _typed(named: Query, name: str, value: Any) -> Any:
    kind = named.parameter(name).type
    if value is None:
        return None
    found = _converted(kind, value)
    if found is None:
        raise UsageError(
            f"parameter {name} of query {named.name} is {kind}, and {value!r} is not",
            hint=f"wexport query {named.name} --about",
        )
    return found


def _converted(kind: str, value: Any) -> Any:
    """The value as that type of SQL, or None if it is no such value."""
    if kind == "BOOLEAN":
        return value if isinstance(value, bool) else _BOOLEANS.get(str(value).lower())
    if kind == "VARCHAR[]":
        return [item.strip() for item in value.split(",")] if isinstance(value, str) else [str(item) for item in value]
    if kind == "BIGINT":
        text = str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip()
        number = int(text) if _INTEGER.fullmatch(text) else None
        return number if number is not None and -(2**63) <= number < 2**63 else None
    if kind == "DOUBLE":
        try:
            return float(value)
        except (TypeError, ValueError):
            return None
    return str(value)


def default(parameter: Parameter) -> Any:
    """A parameter's default as a Python value."""
    return _value(parameter.default.partition("::")[0] if "'" not in parameter.default else parameter.default)


def _value(text: str) -> Any:
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text.startswith("["):
        return [_value(item.strip()) for item in re.findall(r"'(?:[^']|'')*'|[^\[\],\s]+", text)]
    if text.startswith("'"):
        return text.strip("'").replace("''", "'")
    return int(text) if _INTEGER.fullmatch(text) else float(text)


def _guessed(value: Any) -> Any:
    """A parameter of free SQL, whose type nothing tells: a text that is a plain number becomes one."""
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            number = kind(value)
        except ValueError:
            continue
        if str(number) == value:
            return number
    return value
