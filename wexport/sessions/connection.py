"""DuckDB over one table, able to read that table and nothing else."""

from __future__ import annotations

import contextlib
import itertools
import os
import weakref
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import duckdb
import pyarrow as pa

from wexport.errors import MissingFileError, UsageError
from wexport.files import cached
from wexport.model.kinds import checked
from wexport.sessions.definitions import Definer, definitions, needed
from wexport.sessions.soundness import Soundness
from wexport.sessions.statements import (
    as_query_error,
    first_line,
    literal,
    name_of,
    reading_statement,
    without_comments,
)
from wexport.sessions.table_files import as_pattern, check_files, table_files

PathLike = str | os.PathLike[str]

_READ = {
    ".csv": "read_csv_auto",
    ".tsv": "read_csv_auto",
    ".json": "read_json_auto",
    ".jsonl": "read_json_auto",
    ".ndjson": "read_json_auto",
    ".parquet": "read_parquet",
}
_SMALL_BYTES = 16 << 20
"""Files that together are smaller are scanned in less time than it takes to look for the best way to scan them."""
_ESSENTIAL = frozenset(
    {
        "build_side_probe_side",
        "cte_inlining",
        "deliminator",
        "expression_rewriter",
        "filter_pullup",
        "filter_pushdown",
        "join_order",
        "limit_pushdown",
        "materialized_cte",
        "row_group_pruner",
        "top_n",
        "unnest_rewriter",
        "unused_columns",
    }
)
"""Of DuckDB's optimizers those without which a query may take far longer on small tables too."""
_TABLE_VARIABLE, _KINDS_VARIABLE = "weights_parquet", "kinds"
"""Variables by which the views know the table's files, and what is asked for weights; no parameter may change them."""


class Closeable(Protocol):
    """What is closed with a connection."""

    def close(self) -> None: ...


class Connection:
    """A DuckDB session that reads one table, and files named with it; it writes nothing and loads nothing.

    Its views: `weights`, `tensors`, `gates`, `units`, `histogram`, `sample`; `queries/views/` makes each when a
    statement first needs it. One statement at a time, and only one that reads: SELECT, FROM, WITH, VALUES, PIVOT,
    DESCRIBE, SUMMARIZE, EXPLAIN. A context manager. It stands for its table wherever a path does: `query`, `check`,
    `compare`, `similarity`, `report` and plots then ask the same files and kinds, in a process with bounds of its own,
    which stays until this is closed.

    table: where the table is, as an absolute path or pattern. files: those named with it. kinds: as for `connect`.
    """

    def __init__(
        self,
        duck: duckdb.DuckDBPyConnection,
        parts: Sequence[str],
        kinds: Sequence[str] = (),
        *,
        table: str,
        files: Mapping[str, str],
        soundness: Soundness,
    ) -> None:
        self.table = table
        self.files = dict(files)
        self.kinds = list(kinds)
        self.sessions: dict[Hashable, Closeable] = {}
        """Processes that have been asked in its stead, by their bounds; `sessions.session.opened` starts them."""
        self._duck = duck
        self._definer = Definer(duck)
        self._parts = list(parts)
        self._soundness = soundness
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        weakref.finalize(self, _close_all, self.sessions)  # also where nobody closes it

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the session; answers that were not fetched are gone."""
        _close_all(self.sessions)
        for cursor in self._cursors:
            cursor.close()
        self._duck.close()

    def sql(self, text: str, parameters: Mapping[str, Any] | None = None) -> duckdb.DuckDBPyRelation:
        """The answer to a query, as DuckDB gives it: `.df()`, `.pl()`, `.to_arrow_table()`, `.fetchall()`, `.show()`.

        parameters: variables that the query reads by `getvariable('name')`, for this query alone.
        Raises QueryError if the statement may do anything but read, or is wrong; what goes wrong when the answer is
        fetched is DuckDB's own error.
        """
        cursor = self._cursor(parameters)
        # A relation goes on by methods that take more SQL, which nobody here sees.
        self._definer.make_all()
        # It must outlive the answer, which is worked out, from the variables too, when it is fetched.
        self._cursors.append(cursor)
        return self._relation(cursor, text)

    def ask(self, text: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The whole answer to a query, worked out on all cores. Raises QueryError as `sql` does."""
        with contextlib.closing(self._cursor(parameters)) as cursor:
            try:
                return self._relation(cursor, text).to_arrow_table()
            except duckdb.Error as error:
                raise as_query_error(error) from None

    def batches(
        self,
        text: str,
        parameters: Mapping[str, Any] | None = None,
        *,
        rows: int = 1 << 13,
        tables: Mapping[str, pa.Table] | None = None,
    ) -> pa.RecordBatchReader:
        """The answer to a query in batches of about `rows` rows, worked out as they are fetched.

        tables: more that the query may read, by name. Raises QueryError as `sql` does, now or when a batch is fetched.
        """
        cursor = self._cursor(parameters)
        for name, table in (tables or {}).items():
            cursor.register(name, table)
        relation = self._relation(cursor, text)
        try:
            # The second name is that of DuckDB 1.3.
            stream = relation.to_arrow_reader if "to_arrow_reader" in dir(relation) else relation.fetch_arrow_reader
            reader = stream(rows)
        except duckdb.Error as error:
            raise as_query_error(error) from None
        names = _different(reader.schema.names)
        schema = pa.schema([field.with_name(name) for field, name in zip(reader.schema, names, strict=True)])
        return pa.RecordBatchReader.from_batches(schema, _fetched(reader, names, cursor))

    def _cursor(self, parameters: Mapping[str, Any] | None) -> duckdb.DuckDBPyConnection:
        """A connection to the same database with variables of its own."""
        cursor = self._duck.cursor()
        cursor.execute(f"SET VARIABLE {_TABLE_VARIABLE} = {literal(self._parts)}")
        if self.kinds:
            cursor.execute(f"SET VARIABLE {_KINDS_VARIABLE} = {literal(self.kinds)}")
        for name, value in (parameters or {}).items():
            if name_of(name, "parameter", "use letters, digits and _").lower() in (_TABLE_VARIABLE, _KINDS_VARIABLE):
                raise UsageError(f"{name} is not a parameter", hint="name the table itself, or the kind with --kinds")
            try:
                cursor.execute(f'SET VARIABLE "{name}" = {literal(value)}')
            except duckdb.Error as error:
                raise UsageError(f"parameter {name}: {value!r} cannot be used: {first_line(error)}") from None
        return cursor

    def _relation(self, cursor: duckdb.DuckDBPyConnection, text: str) -> duckdb.DuckDBPyRelation:
        """What answers a statement that reads, once the columns that it names are known to make sense."""
        statement = reading_statement(cursor, text)
        wanted = needed(statement)
        self._soundness.check_named(" ".join([without_comments(statement), *(each.sql for each in wanted)]))
        self._definer.make(wanted)
        try:
            return cursor.sql(statement)
        except duckdb.Error as error:
            first = error
        try:
            # A name that the statement does not show, put together from texts, may be all that was lacking. If not, the
            # error proposes names that are like the one asked for, of all that there are.
            if self._definer.make_all():
                return cursor.sql(statement)
        except duckdb.Error as error:
            first = error
        raise as_query_error(first) from None


def _close_all(sessions: dict[Hashable, Closeable]) -> None:
    while sessions:
        sessions.popitem()[1].close()


def _different(names: Sequence[str]) -> list[str]:
    """Names of columns, none of them twice: an answer may be read by name."""
    found: dict[str, None] = {}
    for name in names:
        tries = (f"{name}_{number}" for number in itertools.count(1))
        found[name if name not in found else next(each for each in tries if each not in found)] = None
    return list(found)


def _fetched(
    reader: pa.RecordBatchReader, names: Sequence[str], cursor: duckdb.DuckDBPyConnection
) -> Iterator[pa.RecordBatch]:
    try:
        for batch in reader:
            yield batch.rename_columns(names)
    except (duckdb.Error, OSError, pa.ArrowException) as error:  # OSError: as Arrow streams tell errors
        raise as_query_error(error) from None
    finally:
        cursor.close()


def connect(
    table: PathLike,
    files: Mapping[str, PathLike] | None = None,
    *,
    memory: int | None = None,
    threads: int | None = None,
    kinds: Sequence[str] = (),
) -> Connection:
    """Open a table for queries.

    table: a file that `ingest` wrote, a folder of parts, a pattern, or a URI of these, which is fetched once.
    files: your own CSV, TSV, JSON, JSON lines or Parquet files, by the name that the queries call them.
    memory: bytes that DuckDB may take; most of its work, not all, keeps to it.
    threads: as many as there are cores by default.
    kinds: what the view `weights` shows, of `KINDS`: ["activation"] or ["gradient"] of models that were
        run; by default weights.

    Raises TableError if there is no such table, if a file of it is damaged or makes no sense, or if two hold the same
    model; asking raises it where a column that a query is the first to name makes no sense. Raises UsageError
    for names, files or kinds that make no sense.
    """
    wanted = checked(kinds)
    table = cached.local(table)
    parts = table_files(table)
    named = {name: Path(path) for name, path in (files or {}).items()}
    # A setting of each cursor by itself otherwise, and on in new ones.
    config: dict[str, Any] = {"python_enable_replacements": "false"}
    if threads is not None:
        config["threads"] = str(threads)
    duck = duckdb.connect(":memory:", config=config)
    try:
        _lock_files(duck, parts, named, memory)
        # A file's end, which lists all its parts, is read once, and not again by each view and query.
        duck.execute("SET parquet_metadata_cache = true")
        check_files(duck, parts)
        said = {os.path.realpath(path): str(path) for path in parts}
        soundness = Soundness(duck, _patterns(parts), said)
        soundness.check_keys()
        _add_files(duck, parts, named)
        if sum(path.stat().st_size for path in [*parts, *named.values()]) < _SMALL_BYTES:
            _optimize_less(duck)
        duck.execute("SET lock_configuration = true")
    except BaseException:
        duck.close()
        raise
    where = {name: os.path.abspath(path) for name, path in named.items()}  # noqa: PTH100  # resolve() would follow links
    there = os.path.abspath(table)  # noqa: PTH100
    return Connection(duck, _patterns(parts), wanted, table=there, files=where, soundness=soundness)


def _lock_files(
    duck: duckdb.DuckDBPyConnection, parts: Sequence[Path], named: Mapping[str, Path], memory: int | None
) -> None:
    """Let it read these files and no others, and write and load nothing."""
    allowed = {spelling: None for path in [*parts, *named.values()] for spelling in _spellings(path)}
    settings: dict[str, Any] = {
        "allowed_paths": list(allowed),
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "enable_external_access": False,
    }
    if memory is not None:
        settings["memory_limit"] = f"{max(memory >> 20, 1)}MiB"
    for name, value in settings.items():
        duck.execute(f"SET {name} = {literal(value)}")


def _optimize_less(duck: duckdb.DuckDBPyConnection) -> None:
    """Have queries planned in about half the time, by the essential optimizers alone."""
    known = duck.execute("SELECT name FROM duckdb_optimizers()").fetchall()
    others = ",".join(name for (name,) in known if name not in _ESSENTIAL)
    duck.execute(f"SET disabled_optimizers = {literal(others)}")


def _spellings(path: Path) -> list[str]:
    """The ways in which somebody may write a path: as given, absolute, and as it really is; as it is, as a pattern."""
    real = os.path.realpath(path)
    return [str(path), f"./{path}", str(Path.cwd() / path), real, as_pattern(real)]


def _patterns(parts: Sequence[Path]) -> list[str]:
    return [as_pattern(os.path.realpath(path)) for path in parts]


def _add_files(duck: duckdb.DuckDBPyConnection, parts: Sequence[Path], named: Mapping[str, Path]) -> None:
    """Tell the views where the table is, and make views of the files that were named with it."""
    duck.execute(f"SET VARIABLE {_TABLE_VARIABLE} = {literal(_patterns(parts))}")
    taken = {each.name for each in definitions().values() if each.is_view}
    for name, path in named.items():
        name_of(name, "table", "--with NAME=FILE; letters, digits and _")
        if name.lower() in taken:
            raise UsageError(f"{name!r} is the name of a view already", hint="choose another name for your file")
        taken.add(name.lower())
        _add_file(duck, name, path)


def _add_file(duck: duckdb.DuckDBPyConnection, name: str, path: Path) -> None:
    if not path.is_file():
        raise MissingFileError(f"{path}: there is no such file", hint=f"--with {name}=FILE.csv")
    reader = _READ.get(path.suffix.lower())
    if reader is None:
        raise UsageError(
            f"{path}: the suffix {path.suffix!r} is not known" if path.suffix else f"{path}: has no suffix",
            hint=f"known: {', '.join(_READ)}",
        )
    options = ", strict_mode = false" if reader == "read_csv_auto" and _mixes_line_ends(path) else ""
    try:
        duck.execute(f'CREATE VIEW "{name}" AS FROM {reader}({literal(as_pattern(os.path.realpath(path)))}{options})')
        duck.execute(f'FROM "{name}" LIMIT 1').fetchall()
    except duckdb.Error as error:
        raise UsageError(f"{path}: cannot be read: {first_line(error)}", hint="is it what its suffix says?") from None


def _mixes_line_ends(path: Path) -> bool:
    """Whether lines end in both ways, as where two systems have written; DuckDB takes that for no dialect at all."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    both = head.count(b"\r\n")
    return 0 < both < head.count(b"\n")
