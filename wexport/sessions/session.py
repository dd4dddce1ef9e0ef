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
from typing import TYPE_CHECKING, Any, NamedTuple

from wexport.errors import QueryError, UsageError, WexportError
from wexport.model.kinds import checked
from wexport.processes.child import Child, find

if TYPE_CHECKING:
    import pyarrow as pa

    from wexport.sessions.connection import Connection, PathLike

SECONDS = 300.0
"""What a query may take."""
MEMORY_BYTES = 4 << 30
"""What a session may take."""
ANSWER_BYTES = 1 << 30
"""What a whole answer may take in the caller's memory."""
BATCH_BYTES = 32 << 20
"""What is sent at a time, unless a row is larger."""
ROW_BYTES = 256 << 20
"""What a row may take."""
START_SECONDS = 60.0
_MORE_MEMORY = "ask for less, or give it more with --memory"


class Session:
    """A locked session over one table, in a process of its own, which starts at once and is waited for when it is
    first asked, or entered.

    table, files, kinds: as for `connect`. timeout: seconds for each query. memory: bytes, for the session. answer:
    bytes that the answer of `ask` may take here.
    A context manager. Entering and asking raise TableError or UsageError as `connect` does. A query that fails, takes
    too long or crashes costs no other but those whose batches were under way. For one thread at a time.
    """

    def __init__(
        self,
        table: PathLike,
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
        self.kinds = checked(kinds)
        """What it is asked of instead of weights; empty for weights."""
        self._setup = {
            "table": os.fspath(table),
            "files": {name: os.fspath(path) for name, path in (files or {}).items()},
            "memory": memory,
            "kinds": self.kinds,
        }
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

    def ask(self, text: str, parameters: Mapping[str, Any] | None = None, form: str | None = None) -> pa.Table:
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
                        f"the answer is larger than {_mebibytes(self._answer)}",
                        hint="ask for fewer rows or columns, let SQL sum it up, or write it to a file with --out",
                    )
                found.append(batch)
            return pa.Table.from_batches(found, batches.schema)

    def batches(self, text: str, parameters: Mapping[str, Any] | None = None, form: str | None = None) -> Batches:
        """The answer to a query in batches, worked out as they are fetched; several may be under way at a time.

        form: "module:function", what answers instead of DuckDB alone, in the session's process and within its bounds:
        called with the connection, the text, the parameters and the bytes it may take, it gives an Arrow reader.
        Raises QueryError if the query is refused, fails, or takes more time or memory than it may.
        """
        return Batches(self, next(self._numbers), self._seconds, text, dict(parameters or {}), form)

    def _begin(self) -> Child:
        return Child(
            {
                "function": "wexport.sessions.session:answer",
                "prepare": "wexport.sessions.session:prepare",
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
        said: Any = None
        while True:
            kind, value = self._hear(child, end - time.monotonic(), what)
            if kind == "done":
                break
            if kind == "memory":
                said = _Failure(QueryError, f"{what} {value}", _MORE_MEMORY, spent=True)
                break
            if kind != "item":
                raise QueryError(f"{what} failed: {value}")
            said = value
        if isinstance(said, _Failure):
            if said.spent:
                self.close()
            raise said.kind(said.message, hint=said.hint)
        return said

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
                hint=f"it may have needed more than {_mebibytes(self._memory)}: {_MORE_MEMORY}",
            ) from None
        except BaseException:  # Ctrl-C in the middle of an answer: what comes next would not be understood
            self.close()
            raise
        finally:
            timer.cancel()
        return kind, pickle.loads(data)


@contextlib.contextmanager
def opened(table: PathLike | Session, **limits: Any) -> Iterator[Session]:
    """A session over a table; one that is open already is used, and stays open. limits: as for `Session`."""
    if isinstance(table, Session):
        yield table
        return
    with Session(table, **limits) as session:
        yield session


class Batches(Iterator["pa.RecordBatch"]):
    """The answer to a query, batch by batch; `Session.batches` makes it.

    schema: the answer's Arrow schema.
    """

    schema: pa.Schema

    def __init__(
        self, session: Session, number: int, seconds: float, text: str, parameters: dict[str, Any], form: str | None
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


def _mebibytes(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"


# -- the child's side --------------------------------------------------------------------------------------------------


class _Failure(NamedTuple):
    """An error on its way to the parent."""

    kind: type[WexportError]
    message: str
    hint: str
    spent: bool
    """Whether memory ran out: the heap may be full and scattered, and the next question goes to a new child."""


PRELOAD = ("wexport.sessions.connection", "pyarrow")
"""What a child needs and a parent may not; see `forkserver.fork`."""

_opened: Connection | WexportError
_allowed: int
_answers: dict[int, tuple[pa.Schema, Iterator[pa.RecordBatch]]] = {}


def prepare(setup: dict[str, Any]) -> None:
    """Called once in the child."""
    global _opened, _allowed  # a child process is single-threaded and lives for one session
    from wexport.processes.landlock import forbid_writing

    forbid_writing()  # a second wall behind the gate; before DuckDB starts its threads
    from wexport.sessions import connection

    _allowed = setup["memory"] // 4  # beside what DuckDB may take
    try:
        _opened = connection.connect(
            setup["table"], setup["files"], memory=setup["memory"] - _allowed, kinds=setup["kinds"]
        )
    except WexportError as error:
        _opened = error  # told when the parent asks whether it is open


def answer(task: tuple[Any, ...]) -> Iterator[bytes | _Failure]:
    """What is said to a task: an Arrow stream with a batch, or none at the beginning and the end; or an error."""
    what, *details = task
    try:
        if isinstance(_opened, WexportError):
            raise _opened
        if what == "ask":
            number, text, parameters, form = details
            work = find(form) if form else None
            batches = work(_opened, text, parameters, _allowed) if work else _opened.batches(text, parameters)
            _answers[number] = batches.schema, (piece for batch in batches for piece in _pieces(batch))
            yield _stream(batches.schema, None)
        elif what == "more":
            schema, pieces = _answers[details[0]]
            piece = next(pieces, None)
            if piece is None:
                del _answers[details[0]]
            yield _stream(schema, piece)
        elif what == "drop":
            _answers.pop(details[0], None)
    except WexportError as error:
        if details:
            _answers.pop(details[0], None)
        from wexport.sessions.statements import MORE_MEMORY

        yield _Failure(type(error), str(error), error.hint, spent=error.hint == MORE_MEMORY)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch cut to a size that both sides can hold."""
    if batch.nbytes <= BATCH_BYTES or (batch.num_rows == 1 and batch.nbytes <= ROW_BYTES):
        if batch.num_rows:
            yield batch
    elif batch.num_rows == 1:
        raise QueryError(
            f"a row of the answer takes {_mebibytes(batch.nbytes)}, more than {_mebibytes(ROW_BYTES)}",
            hint="make lists and texts shorter",
        )
    else:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half))
        yield from _pieces(batch.slice(half))


def _stream(schema: pa.Schema, batch: pa.RecordBatch | None) -> bytes:
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        if batch is not None:
            writer.write_batch(batch)
    data: bytes = sink.getvalue().to_pybytes()
    return data
