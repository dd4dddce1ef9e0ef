"""The report's layers: gates and drift are drawn, and the figures are the table's."""

from __future__ import annotations

import html
import re
import shlex
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner
from markupsafe import escape

import wexport
from tests.conftest import EXAMPLES
from tests.reports.conftest import Parsed
from tests.tables import write_table
from wexport.cli import cli
from wexport.errors import UsageError
from wexport.reports import layers
from wexport.terminal.text import figure


def pictures(text: str) -> dict[str, str]:
    """The SVG of each picture, by its description."""
    found = [attributes for tag, attributes in Parsed(text).tags if tag == "img"]
    return {str(each["alt"]): unquote(str(each["src"])) for each in found}


def cells(text: str, table: str) -> list[list[str]]:
    """The texts of a table's rows, headings first."""
    body = text.partition(f'<table id="table-{table}">')[2].partition("</table>")[0]
    rows = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in re.findall(r"<tr>(.*?)</tr>", body)]
    return [[html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in row] for row in rows]


def anchor(text: str, slot: str) -> str:
    found = re.search(rf'id="(layer-\d+)"><summary><strong>{re.escape(str(escape(slot)))}</strong>', text)
    assert found is not None, slot
    return found[1]


def test_recurrent_layers_show_their_gates(page: Path) -> None:
    drawn = pictures(page.read_text())
    lstm = drawn["Histograms of the gates i, f, c, o of lstm/recurrent_kernel in 1 model"]
    assert [f"{gate}<" in lstm for gate in ("i: input", "f: forget", "c: cell", "o: output")] == [True] * 4
    gru = drawn["Histograms of the gates z, r, h of gru/bias in 1 model"]
    assert "r: reset<" in gru
    assert not [alt for alt in drawn if "gates" in alt and "dense" in alt]


def test_both_directions_and_many_models_show_their_gates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            **{"model": f"m{n:02}", "slot": f"bidirectional/{direction}/kernel", "role": "kernel"},
            **{"direction": direction, "layer_class": "LSTM", "values": rng.normal(size=(5, 12))},
        }
        for n in range(12)
        for direction in ("forward", "backward")
    ]
    text = wexport.report(write_table(tmp_path / "t.parquet", rows), tmp_path / "r.html").read_text()
    for direction in ("forward", "backward"):
        drawn = pictures(text)[f"Histograms of the gates i, f, c, o of bidirectional/{direction}/kernel in 12 models"]
        assert "4 others, their range<" in drawn


def test_checkpoints_show_how_far_they_moved(page: Path) -> None:
    text, table = page.read_text(), page.with_name("weights.parquet")
    for slot in ("dense/kernel", "batch_normalization/moving_variance"):
        drift = wexport.query("drift", table, {"slot": slot}).to_pylist()
        moved = {row["model"]: row for row in drift if row["relative_l2"] is not None}
        assert len(moved) == 7
        far = [row["relative_l2"] for row in moved.values()]
        words = f"relative L2 from {figure(min(far))} to {figure(max(far))}, in 7 models"
        drawn = pictures(text)[f"How far {slot} is from the checkpoint before: {words}"]
        assert "7 checkpoints of run/weights<" in drawn
        heading, *rows = cells(text, anchor(text, slot))
        assert heading[-2:] == ["relative_l2", "cosine"]
        for row in rows:
            known = moved.get(row[0])
            assert row[-2:] == ([figure(known["relative_l2"]), figure(known["cosine"])] if known else ["", ""])


def test_points_stand_where_the_query_says(tmp_path: Path) -> None:
    values = [np.array([1.0, 2.0]), np.array([1.0, 1.0]), np.array([2.0, 1.0]), np.array([2.0, 5.0])]
    rows = [
        {"model": f"r.{n}", "run": "r", "step": n, "slot": "d/kernel", "role": "kernel", "values": each}
        for n, each in enumerate(values)
    ]
    text = wexport.report(write_table(tmp_path / "t.parquet", rows), tmp_path / "r.html").read_text()
    (drawn,) = [svg for alt, svg in pictures(text).items() if alt.startswith("How far d/kernel")]
    line = re.search(r'<path d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)"[^>]*stroke: #0072b2', drawn)
    assert line is not None
    x, y = np.array(line.groups(), float).reshape(3, 2).T
    expected = [np.linalg.norm(b - a) / np.linalg.norm(a) for a, b in pairwise(values)]
    assert x[1] - x[0] == pytest.approx(x[2] - x[1], abs=0.2)
    assert (y[0] - y[1]) / (y[0] - y[2]) == pytest.approx(
        (expected[1] - expected[0]) / (expected[2] - expected[0]), abs=0.02
    )


def test_drift_is_told_from_a_reference(tmp_path: Path) -> None:
    wexport.ingest(sorted(EXAMPLES.glob("cnn_seed_*.h5")), tmp_path / "t.parquet")
    out = wexport.report(tmp_path / "t.parquet", tmp_path / "r.html", reference="cnn_seed_3")
    text = out.read_text()
    drift = wexport.query("drift", tmp_path / "t.parquet", {"reference": "cnn_seed_3", "slot": "dense/kernel"})
    far = [row["relative_l2"] for row in drift.to_pylist()]
    words = f"relative L2 from {figure(min(far))} to {figure(max(far))}, in 4 models"
    assert f"How far dense/kernel is from cnn_seed_3: {words}" in pictures(text)
    assert "--param reference=&#39;cnn_seed_3&#39;" in text
    with pytest.raises(UsageError, match="there is no model 'cnn_sed_3'") as caught:
        wexport.report(tmp_path / "t.parquet", tmp_path / "r.html", reference="cnn_sed_3")
    assert "cnn_seed_3" in caught.value.hint
    assert out.read_text() == text


def test_without_checkpoints_or_reference_nothing_is_said_to_move(tmp_path: Path) -> None:
    wexport.ingest(sorted(EXAMPLES.glob("cnn_seed_[12].h5")), tmp_path / "t.parquet")
    text = wexport.report(tmp_path / "t.parquet", tmp_path / "r.html").read_text()
    assert "How far" not in text
    assert cells(text, "layer-1")[0][-1] == "zero_fraction"


def test_what_has_no_room_is_said_with_a_command_that_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "ROOM", 0)
    monkeypatch.chdir(tmp_path)
    wexport.ingest([EXAMPLES / "lstm.h5", *EXAMPLES.glob("run/*.h5")], "t.parquet")
    text = wexport.report("t.parquet", "r.html").read_text()
    left_out = re.findall(rf"{layers.NOT_DRAWN}: (gates|drift), (wexport [^<]*)", html.unescape(text))
    assert {what for what, _ in left_out} == {"gates", "drift"}
    assert f"Gates or drift of {len(left_out):,} of them are not drawn" in text
    for what in ("gates", "drift"):
        command = next(command for name, command in left_out if name == what)
        done = CliRunner().invoke(cli, shlex.split(command)[1:])
        assert done.exit_code == 0, (command, done.output)
    assert (tmp_path / "gates.png").is_file()


def test_the_sql_of_a_layer_gives_its_figures(page: Path) -> None:
    text = page.read_text()
    place = anchor(text, "dense/kernel")
    found = re.search(rf'<code id="sql-{place}">(.*?)</code>', text)
    assert found is not None
    answer = wexport.query(html.unescape(found[1]), page.with_name("weights.parquet"))
    heading, *rows = cells(text, place)
    assert heading[: answer.num_columns] == answer.column_names
    shown = [
        [row[0], *map(figure, row[1:])] for row in zip(*(each.to_pylist() for each in answer.columns), strict=True)
    ]
    assert [row[: answer.num_columns] for row in rows] == shown


def test_hostile_slots_are_quoted_in_sql(tmp_path: Path) -> None:
    slot = "a' OR 1=1 --/kernel"
    rows = [{"model": "m", "slot": name, "role": "kernel", "values": [1.0, 2.0]} for name in (slot, "b/kernel")]
    table = write_table(tmp_path / "t.parquet", rows)
    text = wexport.report(table, tmp_path / "r.html").read_text()
    found = re.search(rf'<code id="sql-{anchor(text, slot)}">(.*?)</code>', text)
    assert found is not None
    assert wexport.query(html.unescape(found[1]), table).num_rows == 1


def absolute(path: str) -> list[tuple[float, float]]:
    """The points of a path of M, L, H and V, without those that repeat the one before."""
    found: list[tuple[float, float]] = []
    for command, numbers in re.findall(r"([MLHVz])([^MLHVz]*)", path):
        if command != "z":
            given = [float(number) for number in numbers.split()]
            x, y = found[-1] if found else (0.0, 0.0)
            point = (given[0] if command != "V" else x, given[-1] if command != "H" else y)
            if not found or command == "M" or point != found[-1]:
                found.append(point)
    return found


def test_shorter_paths_lead_through_the_same_points(page: Path, tmp_path: Path) -> None:
    wexport.plot.save(wexport.plot.figure("similarity", page.with_name("weights.parquet")), tmp_path / "drawn.svg")
    shown = next(svg for alt, svg in pictures(page.read_text()).items() if alt.startswith("Similarity"))
    paths = []
    for text in ((tmp_path / "drawn.svg").read_text(), shown):
        found = [
            re.sub(r"-?\d+\.\d{2,}", lambda number: f"{float(number[0]):.1f}", each)
            for each in re.findall(r' d="([^"]*)"', text)
        ]
        paths.append([absolute(each) for each in found if not set(each) & set("QCA")])
    assert len(paths[0]) > 20
    assert paths[0] == paths[1]
