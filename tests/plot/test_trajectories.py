"""Trajectories: lines are the checkpoints' figures by step."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import wexport
from tests.conftest import EXAMPLES
from tests.plot.test_histograms import HOSTILE
from tests.tables import write_table
from wexport import plot
from wexport.errors import UsageError
from wexport.plot import style
from wexport.sessions.session import Session

SHAPES = [(5, 5, 1, 8), (3, 3, 8, 12), (108, 16), (16, 6)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest([EXAMPLES / "run", EXAMPLES / "gru.h5"], out)
    with Session(out) as session:
        yield session


def kernel(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """The kernel of that shape, as h5py reads it."""
    found: list[np.ndarray] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, item: found.append(item[()]) if getattr(item, "shape", None) == shape else None)
    return found[0].astype(np.float64)


def axes() -> Axes:
    return Figure(figsize=(8, 4)).subplots()


def checkpoint(run: str | None, step: int | None, **row: Any) -> dict[str, Any]:
    return {"model": f"{run}-{step}", "run": run, "step": step, "layer": "d", "role": "kernel", **row}


def test_lines_are_the_figures_by_step(table: Session) -> None:
    ax = axes()
    lines = plot.trajectory(table, ax=ax)
    files = sorted((EXAMPLES / "run").glob("*.h5"))
    assert len(lines) == 4
    for line, shape in zip(lines, SHAPES, strict=True):
        np.testing.assert_array_equal(line.get_xdata(), range(1, 9))
        np.testing.assert_allclose(line.get_ydata(), [kernel(path, shape).std() for path in files], rtol=1e-9)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [f"{layer}/kernel" for layer in ("conv2d", "conv2d_1", "dense", "dense_1")]
    assert "8 checkpoints of run/weights\n1 left out: no checkpoint of a run" in ax.get_title("left")


def test_one_slot_of_several_runs_is_a_line_a_run(tmp_path: Path) -> None:
    rows = [
        checkpoint(run, step, std=float(step * factor))
        for run, factor in (("b", 2), ("a", 1))
        for step in (10, 2, 5)
        if (run, step) != ("b", 5)
    ]
    ax = axes()
    a, b = plot.trajectory(write_table(tmp_path / "t.parquet", rows), ax=ax, slot="d/kernel")
    np.testing.assert_array_equal(a.get_xydata(), [[2, 2], [5, 5], [10, 10]])
    np.testing.assert_array_equal(b.get_xydata(), [[2, 4], [10, 20]])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["a", "b"]


def test_other_shapes_are_other_lines(tmp_path: Path) -> None:
    rows = [checkpoint("r", step, std=1.0, canonical_shape=[2, 2 + step // 3]) for step in range(1, 5)]
    ax = axes()
    lines = plot.trajectory(write_table(tmp_path / "t.parquet", rows), ax=ax)
    assert [list(line.get_xdata()) for line in lines] == [[1, 2], [3, 4]]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["r 2x2", "r 2x3"]


def test_what_is_odd_is_said(tmp_path: Path) -> None:
    rows = [
        checkpoint("r", 1, std=1.0),
        checkpoint("r", 2, std=None),
        checkpoint("r", 3, std=0.0),
        {**checkpoint("r", 3, std=2.0), "model": "copy"},
    ]
    path = write_table(tmp_path / "t.parquet", rows)
    ax = axes()
    (line,) = plot.trajectory(path, ax=ax, scale="log")
    np.testing.assert_array_equal(line.get_xdata(), [1, 2, 3, 3])
    np.testing.assert_array_equal(np.sort(line.get_ydata()), [1, 2, np.nan, np.nan])
    for words in (
        "1 more than one at a step: all are drawn",
        "1 figures undefined",
        "1 figures of 0 or less not shown",
        "4 checkpoints",
    ):
        assert words in ax.get_title("left")


def test_of_many_runs_the_others_are_grey_and_counted(tmp_path: Path) -> None:
    rows = [checkpoint(f"r{run:02}", step, std=float(run)) for run in range(50) for step in (1, 2)]
    ax = axes()
    *lines, others = plot.trajectory(write_table(tmp_path / "t.parquet", rows), ax=ax, slot="d/kernel")
    assert len(lines) == style.SHOWN
    assert set(np.asarray(others.get_ydata())[::3]) == set(range(4, 46))  # those farthest from the middle stand out
    assert ax.get_legend().get_texts()[-1].get_text() == "42 others, nearer to the median"


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    rows = [
        {"model": f"{run}{step}", "run": run, "step": step, "slot": HOSTILE[1], "role": "kernel", "std": 1.0}
        for run in HOSTILE
        for step in (1, 2)
    ]
    made = plot.figure("trajectory", write_table(tmp_path / "t.parquet", rows), slot=HOSTILE[1])
    for suffix in plot.figures.SUFFIXES:
        plot.save(made, tmp_path / f"f{suffix}")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<img" not in drawn
    assert "&lt;img src=x" in drawn
    assert "\x1b" not in drawn


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"slot": "nothing"}, "nothing has slot 'nothing'", "slots here are conv2d/kernel"),
        ({"run": "wieghts"}, "nothing has run 'wieghts'", "runs are run/weights"),
        ({"statistic": "stdd"}, "no statistic 'stdd'", "std"),
        ({"model": "gru"}, "no model here is a checkpoint", "--series"),
        ({"scale": "square"}, "scale 'square' is not known", "linear or log"),
        ({"statistic": "nan_count", "scale": "log"}, "no nan_count is above 0", "linear"),
    ],
)
def test_bad_options_are_told(table: Session, options: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as told:
        plot.figure("trajectory", table, **options)
    assert hint in told.value.hint


def test_several_runs_and_slots_are_too_much(tmp_path: Path) -> None:
    rows = [checkpoint(run, 1, std=1.0, layer=layer) for run in "ab" for layer in "de"]
    with pytest.raises(UsageError, match="2 runs and 2 slots") as told:
        plot.figure("trajectory", write_table(tmp_path / "t.parquet", rows), slot="?/kernel")
    assert told.value.hint == "choose one slot, such as 'd/kernel', or one run, such as 'a'"
