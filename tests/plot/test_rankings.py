"""Rank plots: points are the metrics and the figures, and names stand apart."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import wexport
from tests.conftest import EXAMPLES
from tests.plot.test_histograms import HOSTILE
from tests.tables import write_table
from wexport import plot
from wexport.errors import UsageError
from wexport.plot import rankings
from wexport.sessions.session import Session


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest(EXAMPLES.glob("cnn*.h5"), out)
    return out


def arrays(model: str) -> list[np.ndarray]:
    """All trained arrays of an example, as h5py reads them."""
    found: list[np.ndarray] = []
    with h5py.File(EXAMPLES / f"{model}.h5") as file:
        file["model_weights"].visititems(
            lambda name, item: (
                found.append(item[()]) if isinstance(item, h5py.Dataset) and "moving" not in name else None
            )
        )
    return found


def axes() -> Axes:
    return Figure(figsize=(8, 4.5)).subplots()


def metrics_of(path: Path, values: dict[str, float], metric: str = "val_loss") -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["model", metric], *values.items()])
    return path


def ranking(figures: list[float], values: list[float], names: list[str]) -> rankings.Ranking:
    return rankings.Ranking("val_loss", "std", "d/kernel", "lower", names, np.array(values), np.array(figures), 0, 0, 1)


def test_points_are_the_metrics_and_the_figures(table: Path, tmp_path: Path) -> None:
    values = {f"cnn_seed_{n}": (3.0, 1.0, 2.0, 5.0, 4.0)[n - 1] for n in range(1, 6)}
    ax = axes()
    path = metrics_of(tmp_path / "m.csv", values)
    points, best, *_ = plot.rank(table, path, ax=ax)
    whole = {name: np.sqrt(sum((a.astype(np.float64) ** 2).sum() for a in arrays(name))) for name in values}
    expected = [(whole[name], values[name]) for name in sorted(values, key=values.__getitem__)]
    np.testing.assert_allclose(points.get_offsets(), expected, rtol=1e-9)
    np.testing.assert_allclose(best.get_offsets(), expected[:1], rtol=1e-9)
    assert ax.get_ylabel() == "val_loss (lower is better)"
    assert ax.get_xlabel() == "l2_norm [weight] of the whole model"
    assert "5 models, best cnn_seed_2, 1\n2 without the metric left out" in ax.get_title("left")


def test_the_figure_may_be_of_a_slot_and_higher_be_better(table: Path, tmp_path: Path) -> None:
    values = {f"cnn_seed_{n}": n / 10 for n in range(1, 6)}
    path = metrics_of(tmp_path / "m.csv", values, "val_accuracy")
    ax = axes()
    points, *_ = plot.rank(table, path, "abs_max", ax=ax, slot="dense/kernel")
    largest = [
        max(float(np.abs(a).max()) for a in arrays(f"cnn_seed_{n}") if a.shape == (108, 16)) for n in range(5, 0, -1)
    ]
    np.testing.assert_allclose(points.get_offsets(), np.column_stack([largest, [0.5, 0.4, 0.3, 0.2, 0.1]]), rtol=1e-9)
    assert ax.get_ylabel() == "val_accuracy (higher is better)"


CLOUDS = {
    "one spot": np.zeros((15, 2)),
    "a line": np.column_stack([np.arange(15), np.arange(15)]),
    "a row": np.column_stack([np.arange(15), np.zeros(15)]),
    "two heaps": np.random.default_rng(0).normal(scale=0.02, size=(15, 2)) + np.arange(15)[:, None] % 2,
    "spread": np.random.default_rng(1).normal(size=(15, 2)),
}


@pytest.mark.parametrize("name", CLOUDS)
def test_fifteen_names_cover_neither_each_other_nor_points(name: str) -> None:
    ax = axes()
    figures, values = CLOUDS[name].T
    data = ranking(list(figures), list(values), [f"experiment_{n:02}" for n in range(15)])
    _, _, *texts = rankings.draw(data, ax)
    assert [text.get_text() for text in texts] == data.models
    figure = ax.get_figure()
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw(renderer)
    boxes = [text.get_window_extent(renderer) for text in texts]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))
    dots = ax.transData.transform(CLOUDS[name])
    assert not any(box.contains(*dot) for box in boxes for dot in dots)
    outer = figure.bbox
    assert all(outer.x0 <= box.x0 and box.x1 <= outer.x1 and outer.y0 <= box.y0 <= outer.y1 for box in boxes)


def test_of_many_models_the_best_are_named(tmp_path: Path) -> None:
    rows = [
        {"model": f"m{n:02}", "layer": layer, "role": "kernel", "values": [[n, 1], [2, 3]]}
        for n in range(50)
        for layer in ("d", "e")[: 1 + n % 2]
    ]
    path = metrics_of(tmp_path / "m.csv", {f"m{n:02}": float((7 * n) % 50) for n in range(50)})
    ax = axes()
    points, _, *texts = plot.rank(write_table(tmp_path / "t.parquet", rows), path, ax=ax)
    assert len(points.get_offsets()) == 50
    best = sorted(range(50), key=lambda n: (7 * n) % 50)[:15]
    assert {text.get_text() for text in texts} <= {f"m{n:02}" for n in best}
    assert texts[0].get_text() == "m00"
    assert "the 15 best are named; 2 architectures" in ax.get_title("left")


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    rows = [{"model": name, "slot": "d/kernel", "role": "kernel", "values": [[1, 2], [3, 4]]} for name in HOSTILE[:2]]
    path = metrics_of(tmp_path / "m.csv", {name: float(n) for n, name in enumerate(HOSTILE[:2])})
    made = plot.figure("rank", write_table(tmp_path / "t.parquet", rows), metrics=path)
    for suffix in plot.figures.SUFFIXES:
        plot.save(made, tmp_path / f"f{suffix}")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<img" not in drawn
    assert "&lt;img src=x" in drawn


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"statistic": "stdd"}, "no statistic 'stdd'", "std"),
        ({"statistic": "std"}, "no model with a metric has a std of the whole model", "choose a slot"),
        ({"slot": "nothing"}, "has a l2_norm of 'nothing'", "wexport query tensors"),
        ({"model": "cnn_dead_layer"}, "no model of the table has a metric", ""),
    ],
)
def test_bad_options_are_told(table: Path, tmp_path: Path, options: dict[str, str], message: str, hint: str) -> None:
    path = metrics_of(tmp_path / "m.csv", {"cnn_seed_1": 1.0, "cnn_seed_2": 2.0})
    with pytest.raises(UsageError, match=message) as told:
        plot.figure("rank", table, metrics=path, **options)
    assert hint in told.value.hint


def test_an_open_session_takes_no_metrics(table: Path, tmp_path: Path) -> None:
    path = metrics_of(tmp_path / "m.csv", {"cnn_seed_1": 1.0})
    with Session(table) as session, pytest.raises(UsageError, match="an open session cannot take metrics"):
        plot.figure("rank", session, metrics=path)
