"""The child's side of a session: it opens the table, and answers each question batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from wexport.errors import QueryError, WexportError
from wexport.processes.child import Work

if TYPE_CHECKING:
    import pyarrow as pa

    from wexport.sessions.connection import Connection

BATCH_BYTES = 32 << 20
"""What is sent at a time, unless a row is larger."""
ROW_BYTES = 256 << 20
"""What a row may take."""


Form: TypeAlias = "Callable[[Connection, str, Mapping[str, Any], int], pa.RecordBatchReader]"
"""Called with a connection, the text of a query, its parameters and the bytes that it may take."""


class Failure(NamedTuple):
    """An error on its way to the parent."""

    kind: type[WexportError]
    message: str
    hint: str
    spent: bool
    """Whether memory ran out: the heap may be full and scattered, and the next question goes to a new child."""


PRELOAD = ("wexport.table.without_pandas", "wexport.sessions.connection")
"""What a child needs and a parent may not; see `forkserver.fork`."""
SHARED = ("wexport.table.without_pandas",)
"""What both need."""


def worker(setup: dict[str, Any]) -> tuple[None, Work]:
    """What the child does, once its table is open or known to be none."""
    from wexport.processes.landlock import forbid_writing

    forbid_writing()  # a second wall behind the gate; before DuckDB starts its threads
    from wexport.sessions import connection

    allowed = setup["memory"] // 4  # beside what DuckDB may take
    opened: Connection | WexportError
    try:
        opened = connection.connect(
            setup["table"], setup["files"], memory=setup["memory"] - allowed, kinds=setup["kinds"]
        )
    except WexportError as error:
        opened = error  # told when the parent asks whether it is open
    return None, _Answers(opened, allowed).answer


class _Answers:
    """The answers that are under way, by their numbers. allowed: bytes that a form may take."""

    def __init__(self, opened: Connection | WexportError, allowed: int) -> None:
        self._opened, self._allowed = opened, allowed
        self._under_way: dict[int, tuple[pa.Schema, Iterator[pa.RecordBatch]]] = {}

    def answer(self, task: tuple[Any, ...]) -> Iterator[bytes | Failure]:
        """What is said to a task: an Arrow stream with a batch, or none at the beginning and the end; or an error."""
        what, *details = task
        try:
            if isinstance(self._opened, WexportError):
                raise self._opened
            if what == "ask":
                number, text, parameters, form = details
                batches = (
                    form(self._opened, text, parameters, self._allowed)
                    if form
                    else self._opened.batches(text, parameters)
                )
                self._under_way[number] = batches.schema, (piece for batch in batches for piece in _pieces(batch))
                yield _stream(batches.schema, None)
            elif what == "more":
                schema, pieces = self._under_way[details[0]]
                piece = next(pieces, None)
                if piece is None:
                    del self._under_way[details[0]]
                yield _stream(schema, piece)
            elif what == "drop":
                self._under_way.pop(details[0], None)
        except WexportError as error:
            if details:
                self._under_way.pop(details[0], None)
            from wexport.sessions.statements import OutOfMemoryError

            spent = isinstance(error, OutOfMemoryError)
            yield Failure(QueryError if spent else type(error), str(error), error.hint, spent)


def _pieces(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """A batch cut to a size that both sides can hold."""
    if batch.nbytes <= BATCH_BYTES or (batch.num_rows == 1 and batch.nbytes <= ROW_BYTES):
        if batch.num_rows:
            yield batch
    elif batch.num_rows == 1:
        raise QueryError(
            f"a row of the answer takes {mebibytes(batch.nbytes)}, more than {mebibytes(ROW_BYTES)}",
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


def mebibytes(count: int) -> str:
    return f"{count / (1 << 20):,.0f} MiB"
