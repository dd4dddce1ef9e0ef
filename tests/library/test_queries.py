"""The library of queries: complete, grouped, and its head comments parsed or told where they are wrong."""

from __future__ import annotations

import pytest

from wexport import library
from wexport.errors import UsageError

PAGE = """-- name: What?
--
-- Parameters
--   a     VARCHAR = '*'         one: a name,
--                               or a pattern
--   list  VARCHAR[] = ['a','b c']  several
--   n     BIGINT = NULL         a number
-- Columns
--   x [bytes]   a size
--   *           one for each model
-- How to read it
--   From left
--   to right.
-- What it does not prove
--   Much.
SELECT 1;
"""


def test_a_head_comment_is_the_page() -> None:
    query = library.parse(PAGE, "name")
    assert (query.question, query.reading, query.limits) == ("What?", "From left to right.", "Much.")
    assert [(each.name, each.type, each.default) for each in query.parameters] == [
        ("a", "VARCHAR", "'*'"),
        ("list", "VARCHAR[]", "['a','b c']"),
        ("n", "BIGINT", "NULL"),
    ]
    assert query.parameters[0].doc == "one: a name, or a pattern"
    assert [(each.name, each.unit) for each in query.columns] == [("x", "bytes"), ("*", "")]
    assert query.sql == PAGE


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("-- name: What?", "-- other: What?", "first line"),
        ("-- Columns\n", "", "no section 'Columns'|not an entry"),
        ("-- What it does not prove\n", "", "no section 'What it does not prove'"),
        ("BIGINT = NULL", "BIGINT", "not an entry"),
    ],
)
def test_a_head_comment_that_is_wrong_is_told(old: str, new: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        library.parse(PAGE.replace(old, new), "name")


@pytest.mark.parametrize("name", library.load())
def test_every_query_has_its_place_in_the_list(name: str) -> None:
    assert library.get(name).group != "other"


@pytest.mark.parametrize(("word", "near"), [("model", "models"), ("Gate", "gates"), ("sparse", "sparsity")])
def test_a_name_that_is_nearly_right_is_answered_with_the_right_one(word: str, near: str) -> None:
    with pytest.raises(UsageError, match=word) as caught:
        library.get(word)
    assert near in caught.value.hint


def test_a_parameter_that_is_not_is_answered_with_those_that_are() -> None:
    with pytest.raises(UsageError, match="has no parameter 'b'") as caught:
        library.parse(PAGE, "name").parameter("b")
    assert "a, list, n" in caught.value.hint
