"""Queries taken apart by the names of their WITH clause."""

from __future__ import annotations

import duckdb
import pytest

from wexport import library
from wexport.errors import QueryError
from wexport.sessions.with_queries import WithQuery

TEXT = """
WITH one AS (SELECT 1 AS a),  -- a comment, with a ( and a name AS (
"two words" AS MATERIALIZED (SELECT a, ') AS (' AS "(" FROM one)
SELECT 1;
"""


def test_parts_have_their_names_and_texts() -> None:
    query = WithQuery.of("WITH a AS (SELECT ')é' AS x), b AS MATERIALIZED (SELECT (1) AS y)\nSELECT x, y FROM a, b;")
    assert dict(query.parts) == {"a": "(SELECT ')é' AS x)", "b": "MATERIALIZED (SELECT (1) AS y)"}
    assert duckdb.sql(str(query)).fetchall() == [(")é", 1)]


def test_a_part_is_replaced_and_what_only_it_needed_is_left_out() -> None:
    query = WithQuery.of("WITH a AS (SELECT 1 AS x), b AS (FROM a), c AS (FROM b) SELECT x FROM c")
    assert duckdb.sql(str(query.replacing(b="(SELECT 2 AS x)"))).fetchall() == [(2,)]
    assert "a AS" not in str(query.replacing(b="(SELECT 2 AS x)"))
    assert duckdb.sql(str(query.up_to("b").asking("FROM b"))).fetchall() == [(1,)]
    assert duckdb.sql(str(query.asking("FROM d", d="(SELECT 3 AS x FROM c)"))).fetchall() == [(3,)]


def test_a_query_that_another_asks_stays_within_it() -> None:
    query = WithQuery.of("SELECT x + 1 FROM (WITH a AS (SELECT 1 AS x), b AS (FROM a) FROM b) WHERE x > 0")
    assert duckdb.sql(str(query)).fetchall() == [(2,)]
    assert duckdb.sql(str(query.replacing(b="(SELECT 5 AS x)"))).fetchall() == [(6,)]
    assert duckdb.sql(str(query.up_to("a").asking("FROM a"))).fetchall() == [(1,)]


@pytest.mark.parametrize("text", ["SELECT 1", TEXT, "WITH a AS (SELECT 1"])
def test_what_has_no_such_clause_is_refused(text: str) -> None:
    with pytest.raises(QueryError):
        WithQuery.of(text)


@pytest.mark.parametrize("name", ["drift", "freeze"])
def test_the_queries_of_which_a_program_answers_parts_come_apart(name: str) -> None:
    query = WithQuery.of(library.get(name).sql)
    assert {"drift": {"wanted", "matched", "summed"}, "freeze": {"matched", "tracks"}}[name] <= query.parts.keys()
    assert query.body.startswith("SELECT")
