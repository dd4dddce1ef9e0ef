"""A session in a process of its own: bounded in time and memory, streamed, and alive after what goes wrong."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import wexport
from tests.tables import write_table
from wexport import library
from wexport.errors import QueryError, TableError, UsageError
from wexport.library import Parameter, Query
from wexport.queries import asking
from wexport.sessions.session import Session

ROWS = [
    {"model": name, "layer": "dense", "layer_class": "Dense", "role": "kernel", "values": [[1, 2], [3, number]]}
    for number, name in enumerate("abc")
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("session") / "weights.parquet", ROWS)


@pytest.fixture(scope="module")
def session(table: Path) -> Iterator[Session]:
    with Session(table, memory=512 << 20, answer=64 << 20) as session:
        yield session


@pytest.fixture(scope="module")
def hasty(table: Path) -> Iterator[Session]:
    with Session(table, timeout=1.0, memory=1 << 30) as session:
        yield session


def child_of(session: Session) -> int:
    session.ask("SELECT 1")
    found = psutil.Process().children()
    assert found
    return int(session.connect()._process.pid)


def test_an_answer_comes_whole_or_in_batches(session: Session) -> None:
    whole = session.ask("FROM range(30_000) AS r(i) ORDER BY i")
    assert whole["i"].to_pylist() == list(range(30_000))
    batches = session.batches("FROM range(30_000) AS r(i) ORDER BY i")
    assert batches.schema.names == ["i"]
    parts = list(batches)
    assert len(parts) > 1
    assert [value for part in parts for value in part.column(0).to_pylist()] == list(range(30_000))


def test_an_answer_without_rows_has_columns(session: Session) -> None:
    assert session.ask("SELECT model, mean FROM weights WHERE false").schema.names == ["model", "mean"]
    assert list(session.batches("SELECT 1 WHERE false")) == []


def test_answers_may_be_under_way_together(session: Session) -> None:
    one = session.batches("FROM range(20_000) AS r(i)")
    other = session.batches("SELECT getvariable('p') || i AS i FROM range(20_000) AS r(i)", {"p": "x"})
    first = next(one)
    assert next(other).column(0)[0].as_py() == "x0"
    assert session.ask("SELECT getvariable('p') AS p").to_pylist() == [{"p": None}]
    assert first.num_rows + sum(batch.num_rows for batch in one) == 20_000
    other.close()
    assert list(other) == []


def test_an_answer_larger_than_memory_can_be_streamed(session: Session) -> None:
    """600 MB through a session that may take 512 MiB, 32 MiB at a time."""
    size = largest = 0
    for batch in session.batches("SELECT range(1_000) AS numbers FROM range(75_000)"):
        size += batch.nbytes
        largest = max(largest, batch.nbytes)
    assert size > 600_000_000
    assert largest <= 32 << 20


def test_an_answer_that_is_too_large_is_refused_whole(session: Session) -> None:
    with pytest.raises(QueryError, match="larger than 64 MiB") as caught:
        session.ask("FROM range(100_000_000)")
    assert "--out" in caught.value.hint
    assert session.ask("SELECT 1 AS a").to_pylist() == [{"a": 1}]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT sum(a.range + b.range) FROM range(100_000) AS a, range(1_000_000_000) AS b",
        "SELECT sum(range) FROM range(1_000_000_000_000_000_000)",
        "WITH RECURSIVE a AS (SELECT 1 AS i UNION ALL SELECT -i FROM a) SELECT max(i) FROM a",
    ],
)
def test_a_query_without_end_is_ended(hasty: Session, statement: str) -> None:
    with pytest.raises(QueryError, match="longer than 1 s") as caught:
        hasty.ask(statement)
    assert "--timeout" in caught.value.hint
    assert hasty.ask("SELECT 1 AS a").to_pylist() == [{"a": 1}]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT len(list(repeat('x', 1_000) || i)) FROM range(50_000_000) AS t(i)",
        "SELECT count(*) FROM (SELECT DISTINCT hash(i) || repeat('x', 100) FROM range(100_000_000) AS t(i))",
    ],
)
def test_a_query_that_takes_too_much_memory_is_ended(session: Session, statement: str) -> None:
    with pytest.raises(QueryError) as caught:
        session.ask(statement)
    assert "--memory" in caught.value.hint
    assert session.ask("SELECT 1 AS a").to_pylist() == [{"a": 1}]


def test_a_row_that_is_too_large_is_told(table: Path) -> None:
    with Session(table) as session, pytest.raises(QueryError, match="a row of the answer takes"):
        session.ask("SELECT repeat('x', 300_000_000) AS long")


def test_a_query_that_fails_on_its_way_says_why(session: Session) -> None:
    with pytest.raises(QueryError, match=r"^no luck$"):
        list(
            session.batches("SELECT CASE WHEN i > 100_000 THEN error('no luck') ELSE i END FROM range(200_000) AS t(i)")
        )


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_process_that_dies_is_replaced(table: Path) -> None:
    with Session(table) as session:
        batches = session.batches("FROM range(1_000_000)")
        next(batches)
        os.kill(child_of(session), signal.SIGSEGV)
        with pytest.raises(QueryError, match="SIGSEGV"):
            session.ask("SELECT 1")
        assert session.ask("SELECT 1 AS a").to_pylist() == [{"a": 1}]
        with pytest.raises(QueryError, match="began anew"):
            list(batches)


def test_closing_ends_the_process(table: Path) -> None:
    with Session(table) as session:
        process = psutil.Process(child_of(session))
    assert not process.is_running()


def can_forbid_writing() -> bool:
    code = "from wexport.processes.landlock import forbid_writing; print(forbid_writing())"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return found.stdout.strip() == "True"


def test_a_read_only_process_reads_and_cannot_write(tmp_path: Path) -> None:
    if not can_forbid_writing():
        pytest.skip("this system has no Landlock")
    (tmp_path / "old").write_text("as it was")
    code = f"""
import os, socket, threading
from wexport.processes.landlock import forbid_writing
forbid_writing()
os.chdir({str(tmp_path)!r})
assert open("old").read() == "as it was"
tries = [
    lambda: open("old", "w"),
    lambda: open("old", "r+"),
    lambda: open("new", "w"),
    lambda: os.truncate("old", 0),
    lambda: os.rename("old", "new"),
    lambda: os.remove("old"),
    lambda: os.mkdir("folder"),
    lambda: os.symlink("old", "link"),
]
def run():
    for number, attempt in enumerate(tries):
        try:
            attempt()
        except OSError:
            print("refused")
run()
thread = threading.Thread(target=run)
thread.start()
thread.join()
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["refused"] * 16
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "as it was"


def test_a_session_is_such_a_process(session: Session) -> None:
    if not can_forbid_writing():
        pytest.skip("this system has no Landlock")
    for thread in Path(f"/proc/{child_of(session)}/task").iterdir():
        assert "NoNewPrivs:\t1" in (thread / "status").read_text()


@pytest.mark.parametrize(("table", "error"), [("none.parquet", TableError), ("[x", TableError)])
def test_a_table_that_is_not_there_is_told_on_entering(tmp_path: Path, table: str, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"no such table|matches no file"), Session(tmp_path / table):
        pass


def test_errors_keep_their_class_and_hint(session: Session) -> None:
    with pytest.raises(UsageError, match="name of a parameter"):
        session.ask("SELECT 1", {"a b": 1})
    with pytest.raises(QueryError, match="only one statement") as caught:
        session.ask("COPY weights TO 'x'")
    assert caught.value.hint


@pytest.mark.parametrize("limit", [{"seconds": 0}, {"seconds": float("nan")}, {"memory": 0}])
def test_limits_must_make_sense(table: Path, limit: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        Session(table, **limit)  # type: ignore[arg-type]


# -- questions by name -------------------------------------------------------------------------------------------------


def test_a_named_query_and_sql_are_answered_alike(session: Session, table: Path) -> None:
    named = asking.ask(session, "models", {"model": "a"})
    assert named["model"].to_pylist() == ["a"]
    assert wexport.query("models", table, {"model": "a"}).equals(named)
    sql = "SELECT model FROM weights WHERE tensor_index < getvariable('n') AND model = getvariable('m')"
    assert asking.ask(session, sql, {"n": "1", "m": "b"}).to_pylist() == [{"model": "b"}]
    assert [batch.num_rows for batch in asking.stream(session, sql, {"n": "1", "m": "b"})] == [1]


def test_a_python_form_gets_all_parameters_typed(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PYTHON_FORMS", {"models": "tests.sessions.test_session:form"})
    assert asking.ask(session, "models").to_pylist() == [{"given": "model='*'", "rows": 3}]
    streamed = asking.stream(session, "models", {"model": "a"})
    assert [batch.to_pylist() for batch in streamed] == [[{"given": "model='a'", "rows": 3}]]


def form(session: Session, parameters: dict[str, object]) -> object:
    """A Python form for the test above."""
    given = ", ".join(f"{name}={value!r}" for name, value in parameters.items())
    return session.ask("SELECT getvariable('given') AS given, count(*) AS rows FROM weights", {"given": given})


@pytest.mark.parametrize("name", asking.PYTHON_FORMS)
def test_python_forms_are_of_queries_that_are(name: str) -> None:
    if name not in library.load():
        pytest.skip("not in the library yet")
    assert callable(asking._python_form(library.get(name)))
    for parameter in library.get(name).parameters:
        found = asking.default(parameter)
        assert found is None or asking.typed(library.get(name), {parameter.name: found}) == {parameter.name: found}


@pytest.mark.parametrize(
    ("default", "value"),
    [
        *[("'*'", "*"), ("''", ""), ("'it''s'", "it's"), ("NULL", None), ("1e-3", 0.001), ("5", 5), ("true", True)],
        *[("['a','b c']", ["a", "b c"]), ("[]", []), ("NULL::VARCHAR", None), ("[1, 2]", [1, 2])],
    ],
)
def test_defaults_of_a_page_are_values(default: str, value: object) -> None:
    assert asking.default(Parameter("p", "VARCHAR", default, "")) == value


@pytest.mark.parametrize(
    ("kind", "given", "value"),
    [
        ("BIGINT", "12", 12),
        ("BIGINT", 12.0, 12),
        ("DOUBLE", "1e-3", 0.001),
        ("DOUBLE", 1, 1.0),
        ("BOOLEAN", "Yes", True),
        ("BOOLEAN", False, False),
        ("VARCHAR", "01", "01"),
        ("VARCHAR[]", "a, b", ["a", "b"]),
        ("VARCHAR[]", ("a",), ["a"]),
        ("BIGINT", None, None),
    ],
)
def test_parameters_become_their_type(kind: str, given: object, value: object) -> None:
    assert asking.typed(query_of(kind), {"p": given}) == {"p": value}


@pytest.mark.parametrize(
    ("kind", "given"),
    [("BIGINT", "1.5"), ("BIGINT", 1.5), ("BIGINT", "9" * 30), ("DOUBLE", "x"), ("BOOLEAN", "2"), ("BIGINT", "")],
)
def test_parameters_of_another_type_are_told(kind: str, given: object) -> None:
    with pytest.raises(UsageError, match=f"parameter p of query q is {kind}") as caught:
        asking.typed(query_of(kind), {"p": given})
    assert "--about" in caught.value.hint


def query_of(kind: str) -> Query:
    return Query("q", "?", (Parameter("p", kind, "NULL", ""),), (), "", "", "")
