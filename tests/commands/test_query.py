"""`wexport query` as a user meets it: the list, a page, answers in five formats, and ways out of mistakes."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.commands.test_cli import run
from tests.tables import write_table
from wexport import library
from wexport.terminal import tables

ROWS = [
    {"model": name, "layer": "dense", "layer_class": "Dense", "role": "kernel", "values": [[1, 2], [3, number]]}
    for number, name in enumerate("abc")
]
ODD = (
    "SELECT 'nan'::DOUBLE AS n, 'inf'::DOUBLE AS i, NULL AS nothing, 1.50::DECIMAL(9, 2) AS d, 2::HUGEINT AS h, "
    "true AS b, DATE '2020-01-02' AS day, TIMESTAMP '2020-01-02 03:04:05' AS time, [1.0, 'nan'::DOUBLE, NULL] AS list, "
    "{'x': 1, 'y': [2]} AS struct, MAP {'k': 1} AS map, INTERVAL 3 DAY AS span, 'a' AS twice, 'b' AS twice, "
    "'|' || chr(27) || '[31m<b>' || chr(10) || '[/]' AS text"
)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_table(tmp_path_factory.mktemp("query") / "weights.parquet", ROWS)


def test_the_library_is_listed_a_line_a_query() -> None:
    lines = run("query").stdout.splitlines()
    assert max(map(len, lines)) <= 105
    for query in library.load().values():
        assert [line for line in lines if line.startswith(f"  {query.name} ") and line.endswith(query.question)]
    listed = json.loads(run("query", "--format", "json").stdout)
    assert [row["query"] for row in listed] == list(library.load())


def test_a_page_tells_parameters_columns_and_limits() -> None:
    page = run("query", "models", "--about").stdout
    query = library.get("models")
    for text in (
        query.question,
        "How to read it",
        "What it does not prove",
        *(column.name for column in query.columns),
    ):
        assert text in page
    assert run("query", "models", "--sql").stdout == query.sql
    views = run("query", "--views").stdout
    assert "CREATE OR REPLACE VIEW weights" in views
    assert "CREATE OR REPLACE MACRO similarities" in views


def test_an_answer_is_a_table_and_says_how_to_read_it(table: Path) -> None:
    found = run("query", "models", table, "--param", "model=a*")
    assert "a" in found.stdout.split()
    assert "c" not in found.stdout.split()
    assert "query models --about" in found.stderr
    chosen = run("query", "models", table, "--param", "model=a*", "--format", "csv").stdout
    assert [row["model"] for row in csv.DictReader(io.StringIO(chosen))] == ["a"]
    assert run("query", "SELECT 1", table).stderr == ""


def test_odd_values_in_every_format(table: Path, tmp_path: Path) -> None:
    [row] = json.loads(run("query", ODD, table, "--format", "json").stdout, parse_constant=pytest.fail)
    assert row == {
        **{"n": None, "i": None, "nothing": None, "d": 1.5, "h": 2, "b": True},
        **{"day": "2020-01-02", "time": "2020-01-02T03:04:05", "list": [1.0, None, None]},
        **{"struct": {"x": 1, "y": [2]}, "map": {"k": 1}, "span": "P0M3DT0S", "twice": "a", "twice_1": "b"},
        "text": "|\x1b[31m<b>\n[/]",
    }
    [line] = csv.DictReader(io.StringIO(run("query", ODD, table, "--format", "csv").stdout))
    assert json.loads(line["list"]) == row["list"]
    assert json.loads(line["struct"]) == row["struct"]
    assert (line["nothing"], line["b"], line["day"], line["text"]) == (
        "",
        "true",
        row["day"],
        "|\N{REPLACEMENT CHARACTER}[31m<b>\N{REPLACEMENT CHARACTER}[/]",
    )
    for form in ("table", "markdown"):
        shown = run("query", ODD, table, "--format", form).stdout
        assert "\x1b" not in shown
        assert "struct" in shown
    assert "&lt;b>" in run("query", ODD, table, "--format", "markdown").stdout
    run("query", "FROM weights", table, "--format", "parquet", "--out", tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet")["model"].to_pylist() == ["a", "b", "c"]


def test_an_answer_of_many_rows_is_cut_in_the_table_alone(table: Path) -> None:
    shown = run("query", "FROM range(1000)", table).stdout
    assert "... and 960 more rows (--rows 0 shows all)" in shown
    assert "more" not in run("query", "FROM range(50)", table, "--rows", "0").stdout
    assert len(json.loads(run("query", "FROM range(1000)", table, "--format", "json").stdout)) == 1000
    assert "more than 1,000,000 more rows" in run("query", "FROM range(1000000000000)", table).stdout


def test_an_answer_without_rows_says_so(table: Path) -> None:
    assert run("query", "SELECT 1 AS a WHERE false", table).stdout == "no rows (columns: a)\n"
    assert json.loads(run("query", "SELECT 1 AS a WHERE false", table, "--format", "json").stdout) == []
    assert run("query", "SELECT 1 AS a WHERE false", table, "--format", "csv").stdout == "a\n"


@pytest.mark.parametrize("width", [40, 80, 120])
def test_wide_answers_stay_readable(table: Path, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    four = run("query", "FROM weights UNION ALL FROM weights", table).stdout
    lines = four.splitlines()
    assert "columns do not fit" in four
    assert max(map(len, lines)) <= width
    assert "a" in [line.strip().split(" ")[0] for line in lines]
    upright = run("query", "FROM weights LIMIT 1", table).stdout
    for column in ("model", "histogram", "std"):
        assert [line for line in upright.splitlines() if line.split()[:1] == [column]]


def test_long_lists_and_texts_are_cut_short_in_a_table() -> None:
    assert tables.cell_text(list(range(2000))) == "[0, 1, 2, … 2,000 in all]"
    assert tables.cell_text([3, 3, 1, 8]) == "[3, 3, 1, 8]"
    assert tables.cell_text({"a": [1.5, None], "b": "x"}) == "{a: [1.5, ], b: x}"
    assert tables.cell_text("x" * 10_000).endswith("(10,000 characters)")


def test_files_of_the_user_are_joined(table: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.tsv").write_text("model\tfold\nb\t7\n")
    found = run(
        "query",
        "SELECT model, fold FROM weights JOIN labels USING (model) WHERE fold > getvariable('n')",
        table,
        *("--with", f"labels={tmp_path / 'labels.tsv'}", "--param", "n=6", "--format", "csv"),
    )
    assert found.stdout == "model,fold\nb,7\n"


def test_an_answer_replaces_a_file_only_when_it_is_complete(table: Path, tmp_path: Path) -> None:
    out = tmp_path / "answer.csv"
    run("query", "SELECT 1 AS a", table, "--format", "csv", "--out", out)
    assert out.read_text() == "a\n1\n"
    failing = "SELECT CASE WHEN i > 100000 THEN error('no luck') ELSE i END AS a FROM range(200000) AS t(i)"
    for form in ("csv", "json", "parquet", "table"):
        assert "no luck" in run("query", failing, table, "--format", form, "--out", out, "--overwrite", code=3).stderr
        assert out.read_text() == "a\n1\n"
    assert [path.name for path in tmp_path.iterdir()] == ["answer.csv"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["model"], 2, "did you mean models"),
        (["weights.parquet"], 2, "wexport query models weights.parquet"),
        (["parts/*.parquet", "models"], 2, "the question comes first"),
        (["models"], 3, "wexport query models TABLE"),
        (["models", "none.parquet"], 3, "none.parquet: there is no such table"),
        (["models", "a.parquet", "b.parquet"], 2, "quote a pattern"),
        (["--about"], 2, "no query is named"),
        (["SELECT 1", "--about"], 2, "SQL of your own"),
        (["models", "{table}", "--param", "modle=a"], 2, "its parameters: model"),
        (["models", "{table}", "--param", "model"], 2, "NAME=VALUE"),
        (["models", "{table}", "--with", "x=none.csv"], 2, "none.csv: there is no such file"),
        (["models", "{table}", "--out", "{table}"], 2, "an output is never an input"),
        (["models", "{table}", "--out", "none/x.csv", "--format", "csv"], 2, "none/x.csv: cannot be written"),
        (["SELECT modle FROM weights", "{table}"], 3, '"model"'),
        (["DROP VIEW weights", "{table}"], 3, "only one statement that reads"),
        (["FROM range(1000000000000000000) SELECT sum(range)", "{table}", "--timeout", "0.5"], 3, "longer than 0.5 s"),
    ],
)
def test_mistakes_are_told_with_the_way_out(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    before = table.read_bytes()
    filled = [argument.replace("{table}", str(table)) for argument in arguments]
    assert said in run("query", *filled, code=code).stderr
    assert table.read_bytes() == before


@pytest.mark.parametrize("width", range(40, 260, 5))
def test_no_word_of_a_table_is_cut_off(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    told = ["warning", "collapsed_units", "cnn_overregularised", "conv2d_1/kernel", "2 of 12 units: 5, 9"]
    told += ["nearly constant: relu of bias -0.05", "dense/kernel has 27 zero inputs", "norm below 0.000162"]
    rows = [[f"model_{row}", *told, 12_345, "cut them out, or decay less"] for row in range(4)]
    tables.show([f"column_{place}" for place in range(len(rows[0]))], rows)
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    for row in rows if " not fit (" not in shown else []:
        assert {word for cell in row for word in tables.cell_text(cell).split()} <= set(shown.split())


def test_sql_may_begin_with_a_comment(table: Path) -> None:
    assert json.loads(
        run("query", "-- how many\nselect count(*) as n from weights", str(table), "--format", "json").stdout
    ) == [{"n": 3}]
    drift = run("query", run("query", "drift", "--sql").stdout, str(table), "-p", "reference=a", "--format", "json")
    assert {row["model"] for row in json.loads(drift.stdout)} == {"b", "c"}
    run("query", "--nosuch", str(table), code=2)
