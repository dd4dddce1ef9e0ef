"""A model or slot that the table does not have is told, and is not an empty answer or a clean bill of health."""

from __future__ import annotations

from pathlib import Path

import pytest

import wexport
from tests.tables import write_table
from wexport.errors import UsageError


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [
        {"model": model, "layer": "dense", "role": "kernel", "values": [[1.0, 2.0], [3.0, 5.0]]}
        for model in ("house/new", "house/old")
    ]
    return write_table(tmp_path_factory.mktemp("fitting") / "t.parquet", rows)


@pytest.mark.parametrize("question", ["gates", "similarity", "layers"])
def test_a_model_that_is_not_there_is_told_with_those_like_it(table: Path, question: str) -> None:
    with pytest.raises(UsageError, match=r"no model 'houses\*'") as caught:
        wexport.query(question, table, {"model": "houses*"})
    assert caught.value.hint == "models are house/old, house/new"


def test_check_of_a_model_or_slot_that_is_not_there_finds_no_peace(table: Path) -> None:
    with pytest.raises(UsageError, match="no model 'old'") as caught:
        wexport.check(table, {"model": "old"})
    assert caught.value.hint == "models are house/old and 1 more"
    with pytest.raises(UsageError, match="no slot 'dense_7/kernel'"):
        wexport.check(table, {"slot": "dense_7/kernel"})


def test_names_that_fit_are_asked_and_a_baseline_may_lack_them(table: Path, tmp_path: Path) -> None:
    assert wexport.query("layers", table, {"model": "house/*", "slot": "dense/kernel"}).num_rows
    assert wexport.query("layers", table, {"model": "!house/old"}).num_rows
    old = write_table(
        tmp_path / "old.parquet", [{"model": "x", "layer": "a", "role": "kernel", "values": [[1.0, 2.0]]}]
    )
    assert not wexport.check(table, {"model": "house/new"}, baseline=old)


def test_an_empty_table_is_asked_without_complaint(tmp_path: Path) -> None:
    empty = write_table(tmp_path / "empty.parquet", [])
    assert not wexport.query("layers", empty, {"model": "any"}).num_rows
