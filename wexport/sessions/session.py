"""A DuckDB session in a child process, bounded in time and memory from outside.

DuckDB's own limits do not bound every function; a child that takes too long or too much is killed, and a new one
answers the next question. An answer comes in batches, each sent when it is asked for, so that it has to fit neither
in the child's memory nor in the parent's.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickle
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from wexport.errors import QueryError, UsageError, WexportError
from wexport.files import cached, uris
from wexport.model.kinds import checked
from wexport.processes.child import Child
from wexport.sessions.answering import Failure, Form, mebibytes, worker

if TYPE_CHECKING:
    import pyarrow as pa

    from wexport.sessions.connection import Connection, PathLike

    TableLike: TypeAlias = PathLike | Connection | "Session"

SECONDS = 300.0
"""What a query may take."""
MEMORY_BYTES = 4 << 30
"""What a session may take."""
ANSWER_BYTES = 1 << 30
"""What a whole answer may take in the caller's memory."""
START_SECONDS = 60.0
_MORE_MEMORY = "ask for less, or give it more with --memory"


class Session:
    """A locked session over one table, in a process of its own, which starts at once and is waited for when it is
    first asked, or entered.

    table: a path, or what `connect` gives. files, kinds: as for `connect`. timeout: seconds for each query.
    memory: bytes, for the session. answer: bytes that the answer of `ask` may take here.
    A context manager. Entering and asking raise TableError or UsageError as `connect` does. A query that fails, takes
    too long or crashes costs no other but those whose batches were under way. For one thread at a time.
    """

    def __init__(
        self,
        table: PathLike | Connection,
        files: Mapping[str, PathLike] | None = None,
        *,
        timeout: float = SECONDS,
        memory: int = MEMORY_BYTES,
        answer: int = ANSWER_BYTES,
        kinds: Sequence[str] = (),
    ) -> None:
        if not timeout > 0 or not memory > 0:
            raise UsageError("a query needs some time and memory", hint="--timeout 300 --memory 4GiB are the defaults")
        self._seconds, self._memory, self._answer = timeout, memory, answer
        self._setup = {**_described(table, files, kinds), "memory": memory}
        self.kinds: list[str] = self._setup["kinds"]
        """What it is asked of instead of weights; empty for weights."""
        self.files = frozenset(self._setup["files"] or ())
        """The names of the files of yours that it can be asked of."""
        self._numbers = itertools.count()
        self._ready = False
        self._child: Child | None = self._begin()

    def __enter__(self) -> Session:
        self.connect()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._child is not None:
            self._child.finish()
        self._child, self._ready = None, False

    def ask(self, text: str, parameters: Mapping[str, Any] | None = None, form: Form | None = None) -> pa.Table:
        """The whole answer to a query; `form` as for `batches`.

        Raises QueryError if the query is refused, fails, or takes more time or memory than it may.
        """
        import pyarrow as pa

        found, size = [], 0
        with contextlib.closing(self.batches(text, parameters, form)) as batches:
            for batch in batches:
                size += batch.nbytes
                if size > self._answer:
                    raise QueryError(
                        f"the answer is larger than {mebibytes(self._answer)}",
                        hint="ask for fewer rows or columns, let SQL sum it up, or write it to a file with --out",
                    )
                found.append(batch)
            return pa.Table.from_batches(found, batches.schema)

    def batches(self, text: str, parameters: Mapping[str, Any] | None = None, form: Form | None = None) -> Batches:
        """The answer to a query in batches, worked out as they are fetched; several may be under way at a time.

        form: what answers instead of DuckDB alone, in the session's process and within its bounds; a function of a
        module, as it goes there by its name.
        Raises QueryError if the query is refused, fails, or takes more time or memory than it may.
        """
        return Batches(self, next(self._numbers), self._seconds, text, dict(parameters or {}), form)

    def _begin(self) -> Child:
        return Child(
            {
                "worker": worker,
                "setup": self._setup,
                "memory": self._memory,
                "work": "a query",
            },
            many_threads=True,
        )

    def connect(self) -> Child:
        """The child, when it is ready to be asked. Raises TableError or UsageError if the table cannot be opened."""
        if self._child is None:
            self._child = self._begin()
        if not self._ready:
            self._hear(self._child, START_SECONDS, "opening the table")
            self._ready = True
            try:
                self.talk(("open",), START_SECONDS, "opening the table")
            except WexportError:
                self.close()
                raise
        return self._child

    def talk(self, task: tuple[Any, ...], seconds: float, what: str = "the query") -> Any:
        """What the child answers to a task."""
        child = self.connect()
        with contextlib.suppress(OSError):  # a child that is gone is told of when it does not answer
            child.send(task)
        end = time.monotonic() + seconds
        outcome: Any = None
        while True:
            kind, value = self._hear(child, end - time.monotonic(), what)
            if kind == "done":
                break
            if kind == "memory":
                outcome = Failure(QueryError, f"{what} {value}", _MORE_MEMORY, spent=True)
                break
            if kind != "item":
                raise QueryError(f"{what} failed: {value}")
            outcome = value
        if isinstance(outcome, Failure):
            if outcome.spent:
                self.close()
            raise outcome.kind(outcome.message, hint=outcome.hint)
        return outcome

    def _hear(self, child: Child, seconds: float, what: str) -> tuple[str, Any]:
        """What the child says next, if it does so in time; else it is killed."""
        late = threading.Event()

        def end() -> None:
            late.set()
            child.kill()

        timer = threading.Timer(max(seconds, 0.001), end)
        timer.daemon = True
        timer.start()
        try:
            kind, data = child.receive()
        except (EOFError, OSError):
            how = child.exit_reason()
            self.close()
            if late.is_set():
                allowed = self._seconds if what == "the query" else START_SECONDS
                hint = "ask for less, or give it longer with --timeout"
                raise QueryError(f"{what} took longer than {allowed:g} s", hint=hint) from None
            raise QueryError(
                f"{what} failed: {how}",
                hint=f"it may have needed more than {mebibytes(self._memory)}: {_MORE_MEMORY}",
            ) from None
        except BaseException:  # Ctrl-C in the middle of an answer: what comes next would not be understood
            self.close()
            raise
        finally:
            timer.cancel()
        return kind, pickle.loads(data)


def _described(
    table: PathLike | Connection, files: Mapping[str, PathLike] | None, kinds: Sequence[str]
) -> dict[str, Any]:
    """The table, files and kinds of a session; where the table is a connection, its own, and the files beside them."""
    named = {name: os.fspath(path) for name, path in (files or {}).items()}
    if isinstance(table, (str, os.PathLike)):
        return {"table": cached.local(table), "files": named, "kinds": checked(kinds)}
    connection = _connection(table)
    if kinds and checked(kinds) != connection.kinds:
        raise UsageError("a connection is of some kinds already", hint="wexport.connect(path, kinds=['gradient'])")
    return {"table": connection.table, "files": {**connection.files, **named}, "kinds": connection.kinds}


def _connection(table: object) -> Connection:
    from wexport.sessions.connection import Connection

    if not isinstance(table, Connection):
        raise UsageError(
            f"something of type {type(table).__name__} is not a table",
            hint="give a path, or what wexport.connect gives",
        )
    return table


def path_of(table: PathLike | Connection) -> Path | str:
    """The path or URI of a table that is asked for its weights. Raises UsageError for a connection over other kinds."""
    if isinstance(table, (str, os.PathLike)):
        return str(table) if uris.is_remote(table) else Path(table)
    connection = _connection(table)
    if connection.kinds:
        raise UsageError(
            f"a connection over {' and '.join(connection.kinds)} rows has no weights", hint="give the table's path"
        )
    return Path(connection.table)


@contextlib.contextmanager
def opened(
    table: TableLike, files: Mapping[str, PathLike] | None = None, *, kinds: Sequence[str] = (), **limits: Any
) -> Iterator[Session]:
    """A session over a table. limits: as for `Session`.

    A session that is open already is used, and stays open; so does the one that is made for a connection, until that
    is closed.
    """
    if isinstance(table, Session):
        if files or kinds:
            raise UsageError("an open session has its files and kinds already", hint="give them to Session(table, ...)")
        yield table
    elif files or kinds or isinstance(table, (str, os.PathLike)):
        with Session(table, files, kinds=kinds, **limits) as session:
            yield session
    else:
        sessions, bounds = _connection(table).sessions, tuple(sorted(limits.items()))
        if bounds not in sessions:
            sessions[bounds] = Session(table, **limits)
        kept = sessions[bounds]
        assert isinstance(kept, Session)
        yield kept


class Batches(Iterator["pa.RecordBatch"]):
    """The answer to a query, batch by batch; `Session.batches` makes it.

    schema: the answer's Arrow schema.
    """

    schema: pa.Schema

    def __init__(
        self, session: Session, number: int, seconds: float, text: str, parameters: dict[str, Any], form: Form | None
    ) -> None:
        self._session, self._number, self._left = session, number, seconds
        self._child: Child | None = session.connect()
        self.schema = self._fetch(("ask", number, text, parameters, form))[0]

    def __next__(self) -> pa.RecordBatch:
        """The next batch. Raises QueryError."""
        if self._child is None:
            raise StopIteration
        if self._child is not self._session.connect():
            self._child = None
            raise QueryError("the session began anew before all of this answer was fetched", hint="ask again")
        batches = self._fetch(("more", self._number))[1]
        if not batches:
            self._child = None
            raise StopIteration
        return batches[0]

    def close(self) -> None:
        """Ask for no more."""
        if self._child is not None and self._child is self._session._child:
            self._session.talk(("drop", self._number), self._left)
        self._child = None

    def _fetch(self, task: tuple[Any, ...]) -> tuple[pa.Schema, list[pa.RecordBatch]]:
        """The schema, and a batch or none, in answer to a task; only the child's time counts."""
        import pyarrow as pa

        begun = time.monotonic()
        try:
            data = self._session.talk(task, self._left)
        except BaseException:
            self._child = None
            raise
        self._left -= time.monotonic() - begun
        with pa.ipc.open_stream(data) as reader:
            return reader.schema, list(reader)
