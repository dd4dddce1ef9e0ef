"""Unit norms: bars and curves are the norms of the files' units."""

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


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest([*EXAMPLES.glob("cnn*.h5"), EXAMPLES / "gru.h5"], out)
    with Session(out) as session:
        yield session


def norms(model: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The norm of each unit (the last axis), and whether all its weights are near zero, as h5py reads them."""
    found: list[np.ndarray] = []
    with h5py.File(EXAMPLES / f"{model}.h5") as file:
        file.visititems(lambda name, item: found.append(item[()]) if getattr(item, "shape", None) == shape else None)
    weights = found[0].astype(np.float64).reshape(-1, shape[-1])
    return np.sqrt((weights**2).sum(axis=0)), (np.abs(weights) < 2**-10).all(axis=0)


def axes() -> Axes:
    return Figure(figsize=(8, 4)).subplots()


def kernel(model: str, values: Any) -> dict[str, Any]:
    return {"model": model, "layer": "d", "role": "kernel", "layer_class": "Dense", "values": values}


def test_bars_are_the_norms_and_near_zero_units_are_marked(table: Session) -> None:
    ax = axes()
    *bars, marks = plot.units(table, "dense/kernel", ax=ax, model="cnn_overregularised")
    expected, near_zero = norms("cnn_overregularised", (108, 16))
    np.testing.assert_allclose([bar.get_height() for bar in bars], expected, rtol=1e-6)
    np.testing.assert_allclose([bar.get_x() + bar.get_width() / 2 for bar in bars], range(16))
    np.testing.assert_array_equal(marks.get_offsets()[:, 0], np.flatnonzero(near_zero))
    assert near_zero.any()
    assert f"16 units, {near_zero.sum()} near zero" in ax.get_title("left")


def test_curves_are_the_norms_in_descending_order(table: Session) -> None:
    ax = axes()
    models = ["cnn_dead_layer", "cnn_overregularised", *(f"cnn_seed_{n}" for n in range(1, 6))]
    *curves, marks = plot.units(table, "dense/kernel", ax=ax, model="cnn*")
    near = {}
    for curve, model in zip(curves, models, strict=True):
        expected, near_zero = norms(model, (108, 16))
        near[model] = int(near_zero.sum())
        np.testing.assert_allclose(curve.get_ydata(), np.sort(expected)[::-1], rtol=1e-6)
        np.testing.assert_array_equal(curve.get_xdata(), range(1, 17))
    assert len(marks.get_offsets()) == sum(near.values())
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[:3] == [
        f"cnn_dead_layer ({near['cnn_dead_layer']} near zero)",
        f"cnn_overregularised ({near['cnn_overregularised']} near zero)",
        "cnn_seed_1",
    ]
    assert "7 models, 16 units each" in ax.get_title("left")


def test_of_many_models_those_with_near_zero_units_stand_out(tmp_path: Path) -> None:
    rows = [kernel(f"m{n:02}", [[n + 1.0, 0.0 if n == 10 else 2.0], [1.0, 0.0 if n == 10 else 2.0]]) for n in range(50)]
    ax = axes()
    *curves, others, marks = plot.units(write_table(tmp_path / "t.parquet", rows), "d/kernel", ax=ax)
    assert len(curves) == style.SHOWN
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "m10 (1 near zero)" in labels
    assert "42 others" in labels
    assert np.isnan(np.asarray(others.get_ydata())).sum() == 42
    np.testing.assert_array_equal(marks.get_offsets(), [[2, 0]])
    assert "1 near zero, in 1 model" in ax.get_title("left")


def test_what_is_missing_and_other_shapes_are_said(tmp_path: Path) -> None:
    rows = [
        kernel("a", [[1, np.nan, np.nan], [1, 2, np.inf]]),
        kernel("b", [[1, 2], [3, 4]]),
        {**kernel("c", [[1, 2], [3, 4]]), "units": None},
    ]
    path = write_table(tmp_path / "t.parquet", rows)
    ax = axes()
    a, b = plot.units(path, "d/kernel", ax=ax)
    np.testing.assert_allclose(a.get_ydata(), [2, np.sqrt(2), np.nan], rtol=1e-6)
    np.testing.assert_allclose(b.get_ydata(), np.sqrt([20, 10]), rtol=1e-6)
    title = ax.get_title("left")
    for words in (
        "2 to 3 units",
        "not all of one shape: 2x2, 2x3",
        "3 NaN or infinite values left out",
        "1 left out: the table holds no units of theirs",
    ):
        assert words in title
    with pytest.raises(UsageError, match="holds no figures of the 2 units") as told:
        plot.units(path, "d/kernel", ax=axes(), model="c")
    assert "--detail full" in told.value.hint


def test_norms_of_zero_are_not_on_a_logarithmic_scale(tmp_path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", [kernel("a", [[0, 1], [0, 100]]), kernel("b", [[0, 0], [0, 0]])])
    ax = axes()
    plot.units(path, "d/kernel", ax=ax, model="a", scale="log")
    assert "norms of 0 not shown" in ax.get_title("left")
    with pytest.raises(UsageError, match="no norm is above 0"):
        plot.units(path, "d/kernel", ax=axes(), model="b", scale="log")


@pytest.mark.parametrize("options", [{"model": HOSTILE[0][:4] + "*"}, {}])
def test_hostile_names_are_only_text(tmp_path: Path, options: dict[str, str]) -> None:
    rows = [{**kernel(name, [[1, 2], [3, 0]]), "slot": HOSTILE[1]} for name in HOSTILE]
    made = plot.figure("units", write_table(tmp_path / "t.parquet", rows), slot=HOSTILE[1], **options)
    for suffix in plot.figures.SUFFIXES:
        plot.save(made, tmp_path / f"f{suffix}")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<img" not in drawn
    assert "&lt;img src=x" in drawn
    assert "\x1b" not in drawn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slot": "nothing"}, "no model has a slot 'nothing'"),
        ({"slot": "*/kernel"}, "fits 5 slots"),
        ({"slot": "dense/bias"}, "has no units"),
        ({"slot": "dense/kernel", "layout": "pie"}, "layout 'pie' is not known"),
        ({"slot": "dense/kernel", "layout": "bars"}, "bars are for one model, and 8 have 'dense/kernel'"),
    ],
)
def test_bad_options_are_told(table: Session, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as told:
        plot.figure("units", table, **options)
    assert told.value.hint
