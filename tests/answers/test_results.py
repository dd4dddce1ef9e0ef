"""Each result is a table of pandas, polars and Arrow, and a page of HTML in a notebook."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wexport
from tests.conftest import EXAMPLES
from tests.reports.conftest import HOSTILE, Parsed
from tests.tables import write_table

TWO = [EXAMPLES / "cnn_seed_1.h5", EXAMPLES / "cnn_seed_2.h5"]
RESULTS: dict[str, tuple[Callable[[Path], Any], int]] = {
    "ingest": (lambda folder: wexport.ingest(TWO, folder / "two.parquet"), 2),
    "compare": (lambda folder: wexport.compare(folder / "weights.parquet", metrics=EXAMPLES / "metrics.csv"), 17),
    "diff": (lambda folder: wexport.diff(EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"), 8),
    "inspect": (lambda folder: wexport.inspect(EXAMPLES / "lstm.h5"), 5),
    "check": (lambda folder: wexport.check(folder / "weights.parquet"), 0),
    "query": (lambda folder: wexport.query("models", folder / "weights.parquet"), 17),
    "similarity": (lambda folder: wexport.similarity(folder / "weights.parquet"), 136),
    "relate": (lambda folder: wexport.relate(TWO), 1),
}
"""Public functions, how each is called, and how many rows it gives; 0 for as many as it finds."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("answers")
    wexport.ingest(EXAMPLES, folder / "weights.parquet")
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    return {name: call(folder) for name, (call, _) in RESULTS.items()}


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_is_a_table(results: dict[str, Any], name: str) -> None:
    result, rows = results[name], RESULTS[name][1]
    table = result.to_arrow()
    assert isinstance(table, pa.Table)
    assert table.num_rows == (rows or len(result)) > 0
    assert isinstance(result.to_pandas(), pd.DataFrame)
    assert list(result.to_pandas().columns) == table.column_names
    assert isinstance(result.to_polars(), pl.DataFrame)
    assert result.to_polars().columns == table.column_names
    assert pa.table(pa.RecordBatchReader.from_stream(result).read_all()) == table


@pytest.mark.parametrize("name", RESULTS)
def test_a_result_shows_itself_in_a_notebook(results: dict[str, Any], name: str) -> None:
    page = Parsed(results[name]._repr_html_())
    assert [tag for tag, _ in page.tags].count("table") >= 1
    text = " ".join(page.words)
    told = {"compare": "Who is like whom", "diff": "different: ", "ingest": "rows, in ", "check": "Findings: "}
    assert told.get(name, "") in text
    first = results[name].to_arrow().slice(0, 1).to_pylist()[0]
    if name != "diff":  # which shows what differs, not what stands first
        assert str(next(value for value in first.values() if isinstance(value, str))) in text


def test_a_page_of_what_a_file_holds_has_its_histograms(results: dict[str, Any]) -> None:
    assert "█" in results["inspect"]._repr_html_()


def test_names_are_text_and_no_markup(tmp_path: Path) -> None:
    row = {"model": HOSTILE, "slot": HOSTILE, "layer": HOSTILE, "role": "kernel", "values": [[1.0, float("nan")]]}
    table = write_table(tmp_path / "t.parquet", [row])
    for result in (wexport.query("tensors", table), wexport.check(table), wexport.compare(table)):
        page = Parsed(result._repr_html_())
        assert "img" not in [tag for tag, _ in page.tags]
        assert any(HOSTILE in word for word in page.words)


def test_a_long_answer_shows_its_beginning_and_says_so(tmp_path: Path) -> None:
    rows = [{"model": f"m{number:03}", "slot": "a/kernel", "values": [1.0, 2.0]} for number in range(120)]
    answer = wexport.query("SELECT model FROM weights ORDER BY model", write_table(tmp_path / "t.parquet", rows))
    page = answer._repr_html_()
    assert "m049" in page
    assert "m050" not in page
    assert "the first 50 of 120 rows" in page
    assert "120 rows, the first 20 of them shown" in repr(answer)
    assert "m019" in repr(answer)
    assert "m020" not in repr(answer)


def test_an_empty_answer_says_so(folder: Path) -> None:
    answer = wexport.query("SELECT model FROM weights WHERE false", folder / "weights.parquet")
    assert "no rows" in answer._repr_html_()
    assert answer.to_pandas().empty
    assert "0 rows" in repr(answer)


def test_an_answer_is_what_its_table_is(results: dict[str, Any], tmp_path: Path) -> None:
    answer = results["query"]
    table = answer.to_arrow()
    assert answer.num_rows == len(answer) == table.num_rows
    assert answer["model"] == table["model"]
    assert answer.select(["model"]) == table.select(["model"])
    assert answer.to_pylist() == table.to_pylist()
    assert "to_pylist" in dir(answer)
    assert {"to_polars", "to_pandas", "num_rows"} <= set(dir(answer))
    assert pickle.loads(pickle.dumps(answer)) == copy.deepcopy(answer) == answer == table
    pq.write_table(answer.to_arrow(), tmp_path / "answer.parquet")
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = answer.no_such_thing


def test_findings_are_a_list(results: dict[str, Any]) -> None:
    found = results["check"]
    assert isinstance(found, list)
    assert isinstance(found[0], wexport.Finding)
    assert found.to_arrow()["severity"].to_pylist() == [each.severity for each in found]
    assert pickle.loads(pickle.dumps(found)) == found


def test_none_found_is_a_table_of_no_rows_with_columns(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(0, 0.1, (30, 30))
    table = write_table(tmp_path / "t.parquet", [{"model": "a", "slot": "a/kernel", "values": values}])
    found = wexport.check(table)
    assert found == []
    assert found.to_arrow().column_names[:3] == ["severity", "finding", "model"]
    assert "Findings: none" in found._repr_html_()


@pytest.mark.parametrize("package", ["pandas", "polars"])
def test_what_is_missing_is_named_with_the_way_to_it(
    results: dict[str, Any], package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(wexport.WexportError, match=f"{package} is not installed") as error:
        getattr(results["query"], f"to_{package}")()
    assert error.value.hint == f"pip install {package}"


def test_every_public_name_is_there() -> None:
    assert set(wexport.__all__) <= set(dir(wexport))
    for name in dir(wexport):
        assert getattr(wexport, name) is not None or name.startswith("__")
