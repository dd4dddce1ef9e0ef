"""Profiles: lines are the files' figures in layer order, and gaps are gaps."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import wexport
from tests.conftest import EXAMPLES
from tests.plot.test_histograms import HOSTILE
from tests.tables import write_table
from wexport import plot
from wexport.errors import UsageError
from wexport.plot import style
from wexport.plot.profiles import in_order
from wexport.sessions.session import Session

KERNELS = [(5, 5, 1, 8), (3, 3, 8, 12), (108, 16), (16, 6)]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest([*EXAMPLES.glob("cnn_seed_*.h5"), EXAMPLES / "gru.h5"], out)
    with Session(out) as session:
        yield session


def kernels(model: str) -> list[np.ndarray]:
    """The kernels of a convolutional example in layer order, as h5py reads them."""
    found: dict[tuple[int, ...], np.ndarray] = {}
    with h5py.File(EXAMPLES / f"{model}.h5") as file:
        file.visititems(lambda name, item: found.update({item.shape: item[()]}) if name.endswith("kernel:0") else None)
    return [found[shape].astype(np.float64) for shape in KERNELS]


def axes() -> Axes:
    return Figure(figsize=(8, 4)).subplots()


def tick_names(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_xticklabels()]


@pytest.mark.parametrize(
    ("statistic", "oracle"),
    [("std", np.std), ("abs_max", lambda w: np.abs(w).max()), ("rms", lambda w: np.sqrt((w**2).mean()))],
)
def test_lines_are_the_figures_in_layer_order(table: Session, statistic: str, oracle: object) -> None:
    ax = axes()
    lines = plot.profile(table, statistic, ax=ax, model="cnn_seed_*")
    assert len(lines) == 5
    for number, line in enumerate(lines, 1):
        np.testing.assert_array_equal(line.get_xdata(), range(4))
        expected = [oracle(kernel) for kernel in kernels(f"cnn_seed_{number}")]
        np.testing.assert_allclose(line.get_ydata(), expected, rtol=1e-9)
    assert tick_names(ax) == ["conv2d", "conv2d_1", "dense", "dense_1"]
    assert ax.get_ylabel() == f"{statistic} [weight]"
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [f"cnn_seed_{n}" for n in range(1, 6)]


def test_other_architectures_and_shapes_are_not_joined(table: Session) -> None:
    ax = axes()
    lines = plot.profile(table, ax=ax)
    names = tick_names(ax)
    assert sorted(names) == ["conv2d", "conv2d_1", "dense 108x16", "dense 12x4", "dense_1", "gru"]
    gru = lines[5].get_ydata()
    assert {name for name, y in zip(names, gru, strict=True) if np.isfinite(y)} == {"gru", "dense 12x4"}
    assert {name for name, y in zip(names, lines[0].get_ydata(), strict=True) if np.isnan(y)} == {"gru", "dense 12x4"}
    assert "gaps" in ax.get_title("left")


def test_of_many_models_the_others_are_one_grey_line_and_counted(tmp_path: Path) -> None:
    rows = [
        {"model": f"m{n:02}", "layer": layer, "role": "kernel", "std": float(n + place), "canonical_shape": [2, 2]}
        for n in range(50)
        for place, layer in enumerate(("d", "e"))
        if (n, layer) != (20, "e")
    ]
    ax = axes()
    *lines, others = plot.profile(write_table(tmp_path / "t.parquet", rows), ax=ax)
    assert len(lines) == style.SHOWN
    y = np.asarray(others.get_ydata())
    rest = [n for n in range(50) if n not in (0, 1, 2, 3, 46, 47, 48, 49)]  # those farthest from the median
    np.testing.assert_array_equal(y[0::3], [float(n) for n in rest])
    np.testing.assert_array_equal(y[1::3], [np.nan if n == 20 else n + 1 for n in rest])
    assert np.isnan(y[2::3]).all()
    assert list(others.get_markevery()) == [48]  # the point of m20 has no neighbour
    assert ax.get_legend().get_texts()[-1].get_text() == "42 others, nearer to the median"


def test_what_is_undefined_absent_or_hidden_is_said(tmp_path: Path) -> None:
    rows = [
        {"model": "a", "layer": "d", "role": "kernel", "values": [[1, 1], [1, 1]]},
        {"model": "a", "layer": "e", "role": "kernel", "values": [[1, 2], [3, 5]], "dtype": "float16"},
        {"model": "b", "layer": "d", "role": "bias", "values": [1, 2]},
    ]
    path = write_table(tmp_path / "t.parquet", rows)
    ax = axes()
    (line,) = plot.profile(path, "kurtosis", ax=ax)
    assert np.isnan(line.get_ydata()[0])
    title = ax.get_title("left")
    assert "1 figures undefined" in title
    assert "1 model without any of these" in title
    assert "stored as float16, float32" in title
    ax = axes()
    (line,) = plot.profile(path, "std", ax=ax, scale="log")
    assert np.isnan(line.get_ydata()[0])
    assert "1 figures of 0 or less not shown" in ax.get_title("left")
    assert not any("$" in text.get_text() for text in ax.get_yticklabels(which="both"))


def test_ticks_are_thinned_and_long_names_fit(tmp_path: Path) -> None:
    rows = [
        {"model": "m", "slot": f"{'block/' * 9}conv_{n:03}/kernel", "role": "kernel", "std": 1.0, "tensor_index": n}
        for n in range(300)
    ]
    path = write_table(tmp_path / "t.parquet", rows)
    made = plot.figure("profile", path)
    plot.save(made, tmp_path / "f.png")
    (ax,) = made.axes
    texts = ax.get_xticklabels()
    made.draw_without_rendering()  # at the resolution that extents are given in
    boxes = [text.get_window_extent() for text in texts]
    assert 40 < len(boxes) < 120
    assert all(left.x1 <= right.x0 + 1 for left, right in itertools.pairwise(boxes))
    assert all(box.y0 >= 0 for box in boxes)
    assert texts[0].get_text() == "conv_000"


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    rows = [
        {"model": model, "slot": slot, "role": "kernel", "values": [[1, 2], [3, n]]}
        for model in HOSTILE
        for n, slot in enumerate(HOSTILE)
    ]
    made = plot.figure("profile", write_table(tmp_path / "t.parquet", rows))
    for suffix in plot.figures.SUFFIXES:
        plot.save(made, tmp_path / f"f{suffix}")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<img" not in drawn
    assert "&lt;img src=x" in drawn
    assert "\x1b" not in drawn


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        ({"statistic": "stdd"}, "no statistic 'stdd'", "did you mean std"),
        ({"statistic": "std) FROM x --"}, "no statistic", "such as std"),
        ({"statistic": "layer"}, "no statistic 'layer'", "layer_index"),
        ({"role": "nothing"}, "nothing of role 'nothing'", "roles are: bias, kernel"),
        ({"model": "nothing"}, "nothing of role 'kernel' in these models", "models are cnn_seed_1"),
        ({"scale": "square"}, "scale 'square' is not known", "linear or log"),
        ({"statistic": "nan_count", "scale": "log"}, "no nan_count is above 0", "linear"),
    ],
)
def test_bad_options_are_told(table: Session, options: dict[str, str], message: str, hint: str) -> None:
    with pytest.raises(UsageError, match=message) as told:
        plot.figure("profile", table, **options)
    assert hint in told.value.hint


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), max_size=4))
def test_one_order_holds_every_place_once_and_keeps_the_first(sequences: list[list[str]]) -> None:
    found = in_order([[("weight", name, "") for name in sequence] for sequence in sequences])
    names = [name for _, name, _ in found]
    assert sorted(names) == sorted(set().union(*sequences))
    if sequences:
        assert [name for name in names if name in sequences[0]] == sequences[0]


def test_a_deeper_sibling_has_its_layers_in_their_place() -> None:
    short, deep = (tuple(("weight", name, "") for name in names) for names in ("abc", "axbyc"))
    assert [name for _, name, _ in in_order([short, deep])] == list("axbyc")
