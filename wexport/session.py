"""A DuckDB session in a child process, bounded in time and memory from outside.

DuckDB's own limits do not bound every function; a child that takes too long or too much is killed.
"""

from __future__ import annotations

import os
import pickle
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from wexport import connection
from wexport.children import Child
from wexport.connection import Connection, PathLike
from wexport.errors import QueryError, TableError, UsageError, WexportError

SECONDS = 300.0
"""What a query may take."""
MEMORY_BYTES = 4 << 30
"""What a session may take."""
START_SECONDS = 60.0

_ERRORS = {error.__name__: error for error in (QueryError, TableError, UsageError)}


class Session:
    """A locked session over one table, in a process of its own.

    table, files: as for `connect`. seconds: for each query. memory: bytes, for the session.
    A context manager.
    """

    def __init__(
        self,
        table: PathLike,
        files: Mapping[str, PathLike] | None = None,
        *,
        seconds: float = SECONDS,
        memory: int = MEMORY_BYTES,
    ) -> None:
        self._seconds, self._memory = seconds, memory
        self._child = Child(
            {
                "function": "wexport.session:answer",
                "prepare": "wexport.session:prepare",
                "setup": {
                    "table": os.fspath(table),
                    "files": {name: os.fspath(path) for name, path in (files or {}).items()},
                    "memory": memory,
                },
                "memory": memory,
            }
        )
        self._timed_out = False
        with _Deadline(self, START_SECONDS):
            self._receive()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._child.finish()

    def ask(self, text: str, parameters: Mapping[str, Any] | None = None) -> pa.Table:
        """The whole answer to a query.

        Raises QueryError if the query is refused, fails, or takes more than it may.
        """
        with _Deadline(self, self._seconds):
            self._child.send((text, dict(parameters or {})))
            batches: list[pa.RecordBatch] = []
            schema: pa.Schema | None = None
            while True:
                kind, value = self._receive()
                if kind == "done":
                    assert schema is not None
                    return pa.Table.from_batches(batches, schema)
                if kind != "item":
                    raise QueryError(f"the query failed: {value}")
                if isinstance(value, bytes):
                    with pa.ipc.open_stream(value) as reader:
                        schema = reader.schema
                        batches.extend(reader)
                else:
                    name, message, hint = value
                    self._receive()  # the end of the task: the next query begins afresh
                    raise _ERRORS.get(name, WexportError)(message, hint=hint)

    def _receive(self) -> tuple[str, Any]:
        try:
            kind, data = self._child.receive()
        except EOFError:
            if self._timed_out:
                raise QueryError(
                    f"the query took longer than {self._seconds:g} s", hint="ask for less, or give it longer"
                ) from None
            raise QueryError(
                f"the query's process ended: {self._child.death()}",
                hint=f"it may have needed more than the {self._memory >> 20} MiB that it may take",
            ) from None
        return kind, pickle.loads(data)

    def kill(self) -> None:
        """End the process at once, because its time is over."""
        self._timed_out = True
        self._child.kill()


class _Deadline:
    """Kills a session that is not through in time."""

    def __init__(self, session: Session, seconds: float) -> None:
        self._timer = threading.Timer(seconds, session.kill)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *exc: object) -> None:
        self._timer.cancel()


# -- the child's side --------------------------------------------------------------------------------------------------

_opened: Connection | WexportError


def prepare(setup: dict[str, Any]) -> None:
    """Called once in the child."""
    global _opened  # a child process is single-threaded and lives for one session
    try:
        _opened = connection.connect(setup["table"], setup["files"], memory=setup["memory"] // 4 * 3)
    except WexportError as error:
        _opened = error  # told when the first query comes


def answer(task: tuple[str, dict[str, Any]]) -> Iterator[bytes | tuple[str, str, str]]:
    """The answer as Arrow streams, or an error as (class, message, hint)."""
    import duckdb

    text, parameters = task
    try:
        if isinstance(_opened, WexportError):
            raise _opened
        relation = _opened.sql(text, parameters)
        try:
            table = relation.to_arrow_table()
        except duckdb.Error as error:
            raise connection.as_query_error(error) from None
    except WexportError as error:
        yield type(error).__name__, str(error), error.hint
        return
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=1 << 16)
    yield sink.getvalue().to_pybytes()
