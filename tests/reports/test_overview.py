"""The first screen answers which models are the same, which are sick and why, which is best, and how they group."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.tables import write_table
from wexport.reports.comparison import compare
from wexport.reports.overview import MOST, Overview, overview
from wexport.sessions.session import Session


def models(path: Path, count: int) -> Path:
    """Random models of which the second is a copy of the first, and the third is broken."""
    rows = []
    for number in range(count):
        values = np.random.default_rng(max(1, number)).normal(0, 0.1, (30, 10))
        if number == 2:
            values[0, 0] = np.nan
        about = {"layer": "dense", "layer_class": "Dense", "role": "kernel", "values": values}
        rows.append({"model": f"m{number:02}", **about})
    return write_table(path, rows)


def of(table: Path, metrics: Path | None = None) -> Overview:
    found = compare(table, metrics=[metrics] if metrics else [])
    with Session(table) as session:
        return overview(session, found)


@pytest.fixture(scope="module")
def five(tmp_path_factory: pytest.TempPathFactory) -> Overview:
    folder = tmp_path_factory.mktemp("five")
    metrics = folder / "metrics.csv"
    metrics.write_text("model,val_loss\nm00,0.5\nm02,0.9\nm03,0.25\nm04,1.0\n")
    return of(models(folder / "t.parquet", 5), metrics)


def test_the_four_questions_have_their_answers(five: Overview) -> None:
    same, sick, best, groups = (answer.text for answer in five.answers)
    assert "m00" in same
    assert "m01" in same
    assert sick.startswith("m02: ")
    assert five.answers[1].tone == "error"
    assert best == "m03, by val_loss 0.25."
    assert groups.startswith("2 around m00")


def test_a_row_has_metric_state_cause_nearest_and_similarities(five: Overview) -> None:
    rows = {row.model: row for row in five.rows}
    assert rows.keys() == {f"m{number:02}" for number in range(5)}
    assert [rows[f"m{n:02}"].share for n in range(5)] == [0.5, None, 0.9, 0.25, 1.0]
    assert [name for name, row in rows.items() if row.best] == ["m03"]
    assert rows["m02"].state == "error"
    assert "dense/kernel" in rows["m02"].what
    assert rows["m00"].nearest == "= m01"
    place = [row.model for row in five.rows].index("m01")
    assert rows["m00"].cells[place].words == "m00 and m01: 1.000"
    assert all(row.bars for row in five.rows)


def test_of_many_models_the_sick_one_has_a_row(tmp_path: Path) -> None:
    found = of(models(tmp_path / "t.parquet", MOST + 5))
    assert len(found.rows) == MOST
    assert found.left_out == 5
    assert "m02" in {row.model for row in found.rows}
    assert "--metrics" in found.answers[2].text
