"""A session makes the views and macros that a statement needs, and one never notices that the others were not there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest

import wexport
from tests.tables import write_table
from wexport.errors import QueryError, UsageError
from wexport.library import load
from wexport.sessions.connection import Connection
from wexport.sessions.definitions import definitions, needed
from wexport.sessions.views import views

VIEWS = ("gates", "histogram", "sample", "tensors", "units", "weights")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("definitions") / "weights.parquet"
    write_table(path, [{"model": "a", "layer": "dense", "layer_class": "Dense", "role": "kernel", "values": [[1, 2]]}])
    return path


@pytest.fixture
def connection(table: Path) -> Iterator[Connection]:
    with wexport.connect(table) as opened:
        yield opened


def test_every_statement_of_the_views_is_a_definition() -> None:
    statements = [statement.query for statement in duckdb.connect().extract_statements(views())]
    assert len(definitions()) == len(statements)
    for name, statement in zip(definitions(), statements, strict=True):
        assert f" {name} AS" in statement or f" {name}(" in statement


@pytest.mark.parametrize("name", definitions())
def test_a_definition_stands_behind_all_that_it_needs(name: str) -> None:
    names = list(definitions())
    assert all(names.index(need) < names.index(name) for need in definitions()[name].needs)
    later = [each for each in names[names.index(name) + 1 :] if f" {each}(" in definitions()[name].sql]
    assert not later


@pytest.mark.parametrize("name", load())
def test_a_query_of_the_library_names_all_that_it_needs(table: Path, name: str) -> None:
    """In a database with that alone, and with metrics, it is answered."""
    with duckdb.connect() as duck:
        duck.execute(f"SET VARIABLE weights_parquet = ['{table}']")
        duck.execute("CREATE TABLE metrics AS SELECT 'a' AS model, 0.5 AS val_loss")
        wanted = needed(load()[name].sql)
        for each in wanted:
            duck.execute(each.sql)
        assert duck.execute(load()[name].sql).description
        assert len(wanted) <= len(definitions()) / 2


def test_a_simple_question_needs_two() -> None:
    assert [each.name for each in needed("SELECT model FROM weights -- of units and gates")] == ["tensors", "weights"]
    assert needed("SELECT 1") == []


@pytest.mark.parametrize(
    "statement",
    [
        "SHOW TABLES",
        "SHOW",
        "DESCRIBE",
        "FROM (DESCRIBE)",
        "FROM (SHOW ALL TABLES)",
        "SELECT view_name AS name FROM duckdb_views() WHERE NOT internal",
        "SELECT table_name AS name FROM information_schema.tables",
        "SELECT '--' AS line, viewname AS name FROM pg_catalog.pg_views",
    ],
)
def test_who_lists_the_views_sees_all(connection: Connection, statement: str) -> None:
    answer = connection.ask(statement).to_pydict()
    assert set(VIEWS) <= set(answer["name" if "name" in answer else "table_name"])


@pytest.mark.parametrize(
    "statement",
    [
        "FROM WEIGHTS",
        'FROM "weights"',
        "FROM memory.main.weights",
        "FROM/**/weights",
        "FROM query_table('weights')",
        "FROM query_table('wei' || 'ghts')",
        "SELECT role.is_kernel() FROM tensors",
        "SELECT list_filter([role], lambda each: is_kernel(each)) FROM tensors",
        "DESCRIBE weights",
        "SUMMARIZE weights",
        "EXPLAIN FROM weights",
    ],
)
def test_a_name_is_found_however_it_is_written(connection: Connection, statement: str) -> None:
    assert connection.ask(statement).num_rows


def test_a_wrong_name_is_told_with_those_that_are_like_it(connection: Connection) -> None:
    with pytest.raises(QueryError) as told:
        connection.ask("SELECT finding_advise('health', 'nan')")
    assert "finding_advice" in str(told.value)


def test_a_relation_that_is_asked_further_knows_all(connection: Connection) -> None:
    assert connection.sql("FROM tensors").filter("is_kernel(role)").count("*").fetchall() == [(1,)]


def test_names_of_views_are_taken(table: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("a\n1\n")
    with pytest.raises(UsageError, match="name of a view"):
        wexport.connect(table, {"Units": tmp_path / "mine.csv"})
