"""Every query of the library: its page is true, and it answers as `tests/queries/*.yaml` says, here and in the CLI.

A case has `rows` (see `tests/tables.py`), `parameters`, `files` (name: text of a CSV file) and `expected`: rows in
order, each naming some of the columns. Numbers are compared to 1e-9, or to `tolerance`.
"""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import wexport
from tests.conftest import ROOT
from tests.tables import write_table
from wexport import library
from wexport.queries import asking
from wexport.sessions.connection import literal
from wexport.sessions.views import views

QUERIES = library.load()
DUCKDB = Path(sys.executable).with_name("duckdb")
CASES = [
    pytest.param(path.stem, case, id=f"{path.stem}: {case['case']}")
    for path in sorted((Path(__file__).parent / "answers").glob("*.yaml"))
    for case in yaml.safe_load(path.read_text())
]
FIRST = list({case.values[0]: case for case in reversed(CASES)}.values())
"""A case of each query."""
OF_THE_VIEWS = {"weights_parquet", "kinds"}
"""Variables of the views that all queries have."""
_VARIABLE = re.compile(r"coalesce\(getvariable\('(\w+)'\), ((?:'[^']*'|\[[^\]]*\]|[^()\s])+(?:::\w+)?)\)")


def files_of(case: dict[str, Any], folder: Path) -> dict[str, str]:
    """The case's CSV files, written."""
    for name, text in case.get("files", {}).items():
        (folder / f"{name}.csv").write_text(text)
    return {name: str(folder / f"{name}.csv") for name in case.get("files", {})}


def compare(found: list[dict[str, Any]], case: dict[str, Any]) -> None:
    shown = [{name: row.get(name) for name in want} for row, want in zip(found, case["expected"], strict=False)]
    assert len(found) == len(case["expected"]), found
    for row, want in zip(shown, case["expected"], strict=True):
        for name, value in want.items():
            assert same(row[name], value, case.get("tolerance", 1e-9)), f"{name}: {row[name]!r} is not {value!r}: {row}"


def same(found: Any, wanted: Any, tolerance: float) -> bool:
    if isinstance(wanted, (list, tuple)):
        return len(found) == len(wanted) and all(map(same, found, wanted, [tolerance] * len(wanted)))
    if isinstance(wanted, (int, float)) and not isinstance(wanted, bool) and isinstance(found, (int, float)):
        return math.isclose(found, wanted, rel_tol=tolerance, abs_tol=tolerance)
    return bool(found == wanted)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_answers_as_expected_with_the_columns_of_its_page(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    table = write_table(tmp_path / "weights.parquet", case["rows"])
    parameters = asking.typed(QUERIES[name], case.get("parameters", {}))
    with wexport.connect(table, files_of(case, tmp_path)) as connection:
        answer = connection.sql(QUERIES[name].sql, parameters).to_arrow_table()
    compare(answer.to_pylist(), case)
    told = [column.name for column in QUERIES[name].columns]
    if "*" in told:
        before = told[: told.index("*")]
        assert answer.column_names[: len(before)] == before
    else:
        assert answer.column_names == told


@pytest.mark.parametrize(
    ("name", "case"), [each for each in CASES if each.values[0] in {*asking.PYTHON_FORMS, *asking.INNER_FORMS}]
)
def test_the_python_form_answers_the_same(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    table = write_table(tmp_path / "weights.parquet", case["rows"])
    answer = wexport.query(name, table, case.get("parameters"), files=files_of(case, tmp_path))
    compare(answer.to_pylist(), case)
    assert answer.column_names == [column.name for column in QUERIES[name].columns]


@pytest.mark.parametrize(("name", "case"), FIRST)
@pytest.mark.skipif(not DUCKDB.exists(), reason="the package duckdb-cli is not installed")
def test_answers_the_same_in_the_plain_cli(name: str, case: dict[str, Any], tmp_path: Path) -> None:
    write_table(tmp_path / "weights.parquet", case["rows"])
    (tmp_path / "views.sql").write_text(views(), "utf-8")
    command = [str(DUCKDB), "-init", "views.sql", "-json"]
    for parameter, value in case.get("parameters", {}).items():
        command += ["-cmd", f"SET VARIABLE {parameter} = {literal(value)}"]
    for view, path in files_of(case, tmp_path).items():
        command += ["-cmd", f"CREATE OR REPLACE VIEW {view} AS FROM '{path}'"]
    command += ["-f", str(ROOT / "queries" / f"{name}.sql")]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    compare(json.loads(found.stdout or "[]"), case)


@pytest.mark.parametrize("name", QUERIES)
def test_has_a_case(name: str) -> None:
    assert name in {case.values[0] for case in CASES}


@pytest.mark.parametrize("name", QUERIES)
def test_the_page_names_the_parameters_and_their_defaults(name: str) -> None:
    text = QUERIES[name].sql + views() if "asked_for" in QUERIES[name].sql else QUERIES[name].sql
    body = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    read = {key: value for key, value in _VARIABLE.findall(body) if key not in OF_THE_VIEWS}
    assert set(re.findall(r"getvariable\('(\w+)'\)", body)) - OF_THE_VIEWS == set(read)
    assert read == {parameter.name: parameter.default for parameter in QUERIES[name].parameters}
