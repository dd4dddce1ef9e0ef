"""What decides is seen at 80 columns, from what commands print of real models."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import wexport
from tests.conftest import EXAMPLES
from tests.tables import write_table


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("narrow") / "weights.parquet"
    wexport.ingest(EXAMPLES, path)
    return path


def printed(width: int, *words: object) -> str:
    environment = {**os.environ, "COLUMNS": str(width), "NO_COLOR": "1"}
    found = subprocess.run(
        [sys.executable, "-m", "wexport", *map(str, words)], env=environment, capture_output=True, text=True
    )
    assert found.returncode in (0, 1), found.stderr
    tables = [line for line in found.stdout.splitlines() if ".parquet" not in line and ".h5" not in line]
    assert max(map(len, tables)) <= width
    return found.stdout


@pytest.mark.parametrize("width", [80, 120])
def test_check_tells_place_seen_and_advice(table: Path, width: int) -> None:
    text = " ".join(printed(width, "check", table).split())
    for found in wexport.check(table):
        for part in (found.severity, found.finding, found.model, found.place):
            assert str(part) in text
        assert found.advice in text
        assert found.seen in text


@pytest.mark.parametrize("width", [80, 120])
def test_diff_tells_status_shape_and_relative_l2(width: int) -> None:
    a, b = EXAMPLES / "cnn_seed_1.h5", EXAMPLES / "cnn_seed_2.h5"
    text = printed(width, "diff", a, b)
    for each in wexport.diff(a, b).tensors:
        [line] = [line for line in text.splitlines() if line.split()[:1] == [each.name]]
        assert each.status in line
        assert "x".join(map(str, each.side.canonical_shape)) in line
        assert each.change is not None
        assert f"{each.change.relative_l2:.4g}" in line


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("command", ["query models", "compare"])
def test_models_tells_parameters_and_what_was_found(table: Path, width: int, command: str) -> None:
    text = printed(width, *command.split(), table)
    for row in wexport.query("models", table).to_pylist()[:9]:
        lines = [line for line in text.splitlines() if line.split()[:1] == [row["model"]]]
        assert f"{row['parameters']:,}" in lines[0]
        assert (row["found"] or "").split(", ")[0] in lines[0]


def test_what_does_not_fit_is_named(table: Path) -> None:
    assert "2 more columns do not fit (--format json or csv has them): threshold, query" in printed(80, "check", table)
    assert "more column" not in printed(200, "diff", EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5")


def test_compare_shows_what_was_seen_at_any_width(table: Path) -> None:
    for width in (60, 80, 120, 160):
        assert "5 of 16 units" in printed(width, "compare", table)


def test_names_longer_than_the_terminal_are_folded_and_not_lost(tmp_path: Path) -> None:
    name = "a" * 100
    row = {"model": name, "layer": "dense", "role": "kernel", "values": [[0.0, 0.0], [0.0, 0.0]]}
    text = printed(80, "check", write_table(tmp_path / "t.parquet", [row]))
    assert text.replace("\n", "").replace(" ", "").count(name)


def test_information_is_shown_where_there_is_nothing_worse(tmp_path: Path) -> None:
    values = np.random.default_rng(1).normal(0, 0.1, (60, 40))
    values[:3] = 0  # inputs without weights
    row = {"model": "a", "layer": "dense", "layer_class": "Dense", "role": "kernel", "values": values}
    table = write_table(tmp_path / "t.parquet", [row])
    assert {each.severity for each in wexport.check(table)} == {"info"}
    assert "3 of 60 inputs" in printed(80, "compare", table)
