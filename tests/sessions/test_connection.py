"""A session reads its table, and nothing else: hostile statements, parameters, files and tables."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wexport
from tests import hostile_sql
from tests.tables import METADATA, write_table
from wexport.errors import QueryError, TableError, UsageError
from wexport.sessions.connection import Connection
from wexport.table.schema import SCHEMA_VERSION, arrow_schema

pandas: Any = None
with contextlib.suppress(ImportError):  # nobody has to have it
    import pandas

SECRET = "canary-5d1f"
ROWS = [
    {"model": "a", "layer": "dense", "layer_class": "Dense", "role": "kernel", "values": [[1, 2], [3, 4]]},
    {"model": "b", "layer": "dense", "layer_class": "Dense", "role": "kernel", "values": [[1, 2], [3, 5]]},
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a table, a file given with it, and secrets; it is the current one."""
    folder = tmp_path_factory.mktemp("place")
    write_table(folder / "weights.parquet", ROWS)
    (folder / "labels.csv").write_text("model,fold\na,1\nb,2\n")
    (folder / "secret.txt").write_text(SECRET)
    (folder / "secret.csv").write_text(f"secret\n{SECRET}\n")
    (folder / "secret.json").write_text(json.dumps([{"secret": SECRET}]))
    pq.write_table(
        pa.table({"secret": [SECRET]}).replace_schema_metadata({"secret": SECRET}), folder / "secret.parquet"
    )
    (folder / "link.txt").symlink_to(folder / "secret.txt")
    (folder / "dump").mkdir()
    (folder / "dump" / "schema.sql").write_text(f"CREATE TABLE {SECRET} ();")
    (folder / "dump" / "load.sql").write_text(f"SELECT '{SECRET}';")
    with duckdb.connect(folder / "other.duckdb") as other:
        other.execute(f"CREATE TABLE a AS SELECT '{SECRET}' AS secret")
    before = Path.cwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def session(place: Path) -> Iterator[Connection]:
    with wexport.connect("weights.parquet", {"labels": "labels.csv"}) as connection:
        yield connection


def filled(statement: str, place: Path) -> str:
    return statement.format(
        secret=place / "secret.txt",
        csv=place / "secret.csv",
        json=place / "secret.json",
        parquet=place / "secret.parquet",
        link=place / "link.txt",
        table=place / "weights.parquet",
        labels=place / "labels.csv",
        new=place / "new",
        folder=place,
        name=place.name,
    )


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder, and a digest of what it holds."""
    found = {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}
    assert len(found) >= 8
    return found


def outcome(session: Connection, statement: str) -> str:
    """What comes back: rows as text, or the refusal."""
    canary_frame = pandas.DataFrame({"secret": [SECRET]}) if pandas else None
    canary_arrow = pa.table({"secret": [SECRET]})
    canary_relation = duckdb.connect().sql(f"SELECT '{SECRET}' AS secret")
    try:
        return "rows: " + str(session.sql(statement).fetchall())
    except (QueryError, duckdb.Error) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        del canary_frame, canary_arrow, canary_relation


@pytest.mark.parametrize("statement", hostile_sql.statements(hostile_sql.WRITING + hostile_sql.LOADING))
def test_a_statement_that_writes_or_loads_is_refused(place: Path, session: Connection, statement: str) -> None:
    before = tree(place)
    said = outcome(session, filled(statement, place))
    assert said.startswith("QueryError"), said
    assert SECRET not in said
    assert tree(place) == before


@pytest.mark.parametrize("statement", hostile_sql.statements(hostile_sql.READING + hostile_sql.HARMLESS))
def test_no_statement_reads_another_file(
    place: Path, session: Connection, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WEXPORT_CANARY", SECRET)
    before = tree(place)
    said = outcome(session, filled(statement, place))
    assert SECRET not in said, said
    assert "secret.csv" not in said or not said.startswith("rows"), said
    assert tree(place) == before


def test_the_session_is_as_it_was_after_all_that(session: Connection) -> None:
    """Runs after the statements above, on the same session."""
    assert session.sql("SELECT model, fold FROM weights JOIN labels USING (model) ORDER BY 1").fetchall() == [
        ("a", 1),
        ("b", 2),
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT model FROM weights ORDER BY model",
        "  \n-- comment\n/* ; */ SELECT model FROM weights ORDER BY model ; -- the end;\n;",
        "\ufeffFROM weights SELECT model ORDER BY model",
        "(SELECT model FROM weights ORDER BY model)",
        "WITH a AS (SELECT model FROM weights) TABLE a ORDER BY model",
        "VALUES ('a'), ('b')",
        "SELECT model AS \"copy\" FROM 'weights.parquet' ORDER BY 1",
        "SELECT model FROM './weights.parquet' ORDER BY 1",
        "SELECT model FROM read_parquet('{table}') ORDER BY 1",
        "SELECT model FROM '{table}' WHERE 'COPY; query(1)' <> '' ORDER BY 1",
        "SELECT model FROM 'labels.csv' ORDER BY 1",
    ],
)
def test_reading_statements_are_answered(place: Path, session: Connection, statement: str) -> None:
    assert session.sql(filled(statement, place)).fetchall() == [("a",), ("b",)]


@pytest.mark.parametrize(
    "statement",
    [
        "PIVOT weights ON model USING sum(l1_norm) GROUP BY slot",
        "FROM (PIVOT weights ON model USING sum(l1_norm) GROUP BY slot)",
        "WITH a AS (FROM weights) PIVOT a ON model USING sum(l1_norm) GROUP BY slot",
        "WITH a AS (PIVOT weights ON model USING sum(l1_norm) GROUP BY slot) SELECT * FROM a JOIN a AS b USING (slot)",
        "PIVOT weights ON model IN ('a', 'b') USING sum(l1_norm) GROUP BY slot",
    ],
)
def test_pivots_are_answered(session: Connection, statement: str) -> None:
    assert session.sql(statement).fetchall()[0][:3] == ("dense/kernel", 10.0, 11.0)
    assert session.batches(statement).read_all().to_pylist()[0]["b"] == 11.0


@pytest.mark.parametrize(
    "statement", ["EXPLAIN SELECT 1", "EXPLAIN ANALYZE FROM weights", "DESCRIBE weights", "SHOW TABLES"]
)
def test_statements_about_statements_are_answered(session: Connection, statement: str) -> None:
    assert session.sql(statement).fetchall()


@pytest.mark.parametrize(
    "value",
    [
        "'; COPY weights TO 'x' --",
        "it's",
        "",
        "a\\",
        '"',
        "$$",
        "ü",
        -1,
        1.5,
        float("inf"),
        True,
        None,
        ["a'", "b"],
        [],
    ],
)
def test_a_parameter_is_a_value_whatever_it_holds(session: Connection, value: Any) -> None:
    [[found]] = session.sql("SELECT getvariable('p')", {"p": value}).fetchall()
    assert found == value


def test_a_parameter_is_for_its_query_alone(session: Connection) -> None:
    one = session.sql("SELECT getvariable('p')", {"p": 1})
    other = session.sql("SELECT getvariable('p')", {"p": 2})
    none = session.sql("SELECT getvariable('p')")
    assert [one.fetchall(), other.fetchall(), none.fetchall()] == [[(1,)], [(2,)], [(None,)]]


@pytest.mark.parametrize("name", ["weights_parquet", "Weights_Parquet", "a b", "a; SELECT 1", "", 'a"', "1a"])
def test_no_parameter_has_such_a_name(session: Connection, name: str) -> None:
    with pytest.raises(UsageError):
        session.sql("FROM tensors", {name: ["secret.parquet"]})


def test_mistakes_are_told_without_noise_and_with_what_may_be_meant(session: Connection) -> None:
    with pytest.raises(QueryError, match='"modle" not found') as caught:
        session.sql("SELECT modle FROM weights")
    assert '"model"' in str(caught.value)
    assert "wexport schema" in caught.value.hint
    with pytest.raises(QueryError, match="metrics does not exist") as caught:
        session.sql("FROM metrics")
    assert "--with metrics=FILE" in caught.value.hint
    with pytest.raises(QueryError) as caught:
        session.sql("SELECT sum(model) FROM weights")
    assert "Candidate" not in str(caught.value)


def test_batches_name_no_column_twice_and_come_also_without_rows(session: Connection) -> None:
    names = session.batches("SELECT 1 AS a, 2 AS a, 3 AS a_1, 4 AS a").schema.names
    assert len(set(names)) == 4
    assert names[0] == "a"
    empty = session.batches("SELECT model FROM weights WHERE false")
    assert (empty.schema.names, empty.read_all().num_rows) == (["model"], 0)


# -- tables ------------------------------------------------------------------------------------------------------------


def models(table: Any, **named: Any) -> list[str]:
    with wexport.connect(table, **named) as session:
        return [row[0] for row in session.sql("SELECT DISTINCT model FROM tensors ORDER BY 1").fetchall()]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for row in ROWS:
        write_table(tmp_path / "parts" / f"{row['model']}.parquet", [row])
    return tmp_path / "parts"


def test_a_folder_a_pattern_and_odd_names_are_tables(parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models(parts) == models(f"{parts}/*.parquet") == models(parts.parent / "*" / "[ab].parquet") == ["a", "b"]
    monkeypatch.chdir(parts.parent)
    assert models("parts") == ["a", "b"]
    odd = parts / 'it\'s [a] 100% *?;"x" ü.parquet'
    (parts / "a.parquet").rename(odd)
    assert models(odd) == ["a"]
    assert models(parts) == ["a", "b"]
    (parts / "link.parquet").symlink_to(odd)
    assert models(parts) == ["a", "b"], "one file by two names is read once"


def test_a_table_without_rows_is_a_table(tmp_path: Path) -> None:
    assert models(write_table(tmp_path / "weights.parquet", [])) == []


def test_the_same_model_in_two_files_is_told(parts: Path) -> None:
    write_table(parts / "c.parquet", [ROWS[0]])
    with pytest.raises(TableError, match=r"model 'a' .*a\.parquet and .*c\.parquet") as caught:
        wexport.connect(parts)
    assert "--name" in caught.value.hint


def damaged(parts: Path, what: str) -> None:
    path = parts / "b.parquet"
    data = path.read_bytes()
    table = pq.read_table(path)
    if what == "empty":
        path.write_bytes(b"")
    elif what == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif what == "text":
        path.write_text("model,slot\n")
    elif what == "footer":
        path.write_bytes(data[:-2000] + b"\xff" * 1992 + data[-8:])
    elif what == "stranger":
        pq.write_table(pa.table({"model": ["b"]}), path)
    elif what == "no columns":
        pq.write_table(table.drop_columns(["mean", "sample"]), path)
    elif what == "newer":
        metadata = {**METADATA, "schema_version": SCHEMA_VERSION + 1, "wexport_version": "9.0"}
        pq.write_table(table.cast(arrow_schema(metadata)), path)
    elif what == "no version":
        pq.write_table(table.replace_schema_metadata({"wexport": "[]"}), path)
    elif what == "folder":
        path.unlink()
        path.mkdir()


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("empty", "is empty"),
        ("cut", "is cut off"),
        ("text", "not a Parquet file"),
        ("footer", "not a Parquet file"),
        ("stranger", "did not write"),
        ("no columns", "lacks the column '(mean|sample)'"),
        ("newer", "wexport 9.0 with version"),
        ("no version", "cannot be read"),
        ("folder", "not a regular file"),
    ],
)
def test_a_bad_file_is_named_with_its_fault(parts: Path, what: str, said: str) -> None:
    damaged(parts, what)
    with pytest.raises(TableError, match=f"b\\.parquet: .*{said}") as caught:
        wexport.connect(parts)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("table", "said"),
    [("none.parquet", "no such table"), ("*.none", "matches no file"), ("empty", "holds no .parquet files")],
)
def test_no_table_is_told(tmp_path: Path, table: str, said: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(TableError, match=said) as caught:
        wexport.connect(tmp_path / table)
    assert "wexport ingest" in caught.value.hint


# -- files given with it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.csv", "model,fold\na,1\n"),
        ("f.tsv", "model\tfold\na\t1\n"),
        ("f.json", '[{"model": "a", "fold": 1}]'),
        ("f.jsonl", '{"model": "a", "fold": 1}\n'),
        ("it's [1] *.csv", "model,fold\na,1\n"),
    ],
)
def test_files_of_the_user_are_tables(place: Path, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    with wexport.connect("weights.parquet", {"mine": tmp_path / name}) as session:
        assert session.sql("SELECT model, fold FROM mine JOIN weights USING (model)").fetchall() == [("a", 1)]


@pytest.mark.parametrize(
    ("name", "file", "said"),
    [
        ("weights", "labels.csv", "view already"),
        ("Weights", "labels.csv", "view already"),
        ("a b", "labels.csv", "cannot be the name"),
        ("mine", "none.csv", "no such file"),
        ("mine", "secret.txt", "'.txt' is not known"),
        ("mine", "bad.parquet", "bad.parquet: cannot be read"),
        ("mine", "bad.json", "bad.json: cannot be read"),
    ],
)
def test_files_that_make_no_sense_are_named(place: Path, tmp_path: Path, name: str, file: str, said: str) -> None:
    path = place / file if not file.startswith("bad") else tmp_path / file
    if file.startswith("bad"):
        path.write_text('{"a": [1, 2')
    with pytest.raises(UsageError, match=said):
        wexport.connect("weights.parquet", {name: path})
