"""Histograms: what is drawn is what the files hold."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from matplotlib.figure import Figure

import wexport
from tests.conftest import EXAMPLES
from tests.tables import write_table
from wexport import plot
from wexport.errors import UsageError
from wexport.plot import style

HOSTILE = ["<img src=x onerror=alert(1)>", "$\\frac{", "a\x1b[31m\u202eb", "n" * 300]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest(EXAMPLES, out)
    return out


def kernel(model: str) -> np.ndarray:
    """The values of the last Dense kernel, as h5py reads them."""
    found: list[np.ndarray] = []
    with h5py.File(EXAMPLES / f"{model}.h5") as file:
        file.visititems(lambda name, item: found.append(item[()]) if name.endswith("kernel:0") else None)
    return next(array for array in found if array.shape == (108, 16))


def axes() -> tuple[Figure, object]:
    figure = Figure()
    return figure, figure.subplots()


def test_bars_are_the_density_of_the_values(table: Path) -> None:
    _, ax = axes()
    artists = plot.histogram(table, "dense/kernel", ax=ax, model="cnn_seed_*")
    assert len(artists) == 5
    for number, artist in enumerate(artists, 1):
        heights, edges, _ = artist.get_data()
        values = kernel(f"cnn_seed_{number}").astype(np.float64)
        counts, _ = np.histogram(values, edges)
        np.testing.assert_allclose(heights, counts / values.size / np.diff(edges), rtol=1e-12)
        assert (heights * np.diff(edges)).sum() == pytest.approx(1)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [f"cnn_seed_{n}" for n in range(1, 6)]


def test_a_ridge_has_each_model_on_its_own_line(table: Path) -> None:
    _, ax = axes()
    artists = plot.histogram(table, "dense/kernel", ax=ax, model="cnn_seed_*", layout="ridge")
    for place, artist in enumerate(artists):
        heights, edges, baseline = artist.get_data()
        counts, _ = np.histogram(kernel(f"cnn_seed_{place + 1}").astype(np.float64), edges)
        density = counts / np.diff(edges)
        np.testing.assert_allclose(heights, 4 - place + 0.92 * density / density.max(), rtol=1e-12)
        assert baseline == 4 - place
    assert [text.get_text() for text in ax.get_yticklabels()] == [f"cnn_seed_{n}" for n in range(5, 0, -1)]


def test_a_bar_far_above_the_others_is_cut_and_its_height_written(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    spread = rng.normal(0, 1, 5000)
    rows = [
        {"model": "spread", "layer": "d", "role": "kernel", "values": spread},
        {"model": "zeros", "layer": "d", "role": "kernel", "values": np.where(rng.random(5000) < 0.99, 0, spread)},
    ]
    _, ax = axes()
    artists = plot.histogram(write_table(tmp_path / "t.parquet", rows), "d/kernel", ax=ax)
    top = max(artist.get_data().values.max() for artist in artists)
    assert ax.get_ylim()[1] < top / 4
    assert [text.get_text() for text in ax.texts] == [f"up to {top:.3g} ▲"]


def test_of_many_models_the_others_are_a_band_and_counted(tmp_path: Path) -> None:
    arrays = [np.random.default_rng(n).normal(size=50) for n in range(50)]
    rows = [
        {"model": f"m{n:02}", "layer": "d", "role": "kernel", "values": array, "dtype": "float64"}
        for n, array in enumerate(arrays)
    ]
    _, ax = axes()
    *lines, band = plot.histogram(write_table(tmp_path / "t.parquet", rows), "d/kernel", ax=ax)
    heights, edges, baseline = band.get_data()
    assert len(lines) == style.SHOWN
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    shown = [int(name[1:]) for name in labels[:-1]]
    assert shown == sorted(shown)
    densities = [
        np.histogram(array, edges)[0] / 50 / np.diff(edges) for n, array in enumerate(arrays) if n not in shown
    ]
    np.testing.assert_allclose(heights, np.max(densities, axis=0))
    np.testing.assert_allclose(baseline, np.min(densities, axis=0))
    assert labels == [f"m{n:02}" for n in shown] + ["42 others, their range"]


def test_what_is_missing_and_other_shapes_are_said(tmp_path: Path) -> None:
    rows = [
        {"model": "a", "layer": "d", "role": "kernel", "values": [1, 2, np.nan, np.inf]},
        {"model": "b", "layer": "d", "role": "kernel", "values": [1, 2, 3]},
        {"model": "c", "layer": "d", "role": "kernel", "values": [np.nan, np.nan]},
    ]
    _, ax = axes()
    plot.histogram(write_table(tmp_path / "t.parquet", rows), "d/kernel", ax=ax)
    title = ax.get_title("left")
    assert "2 to 4 values: not all of one shape" in title
    assert "4 NaN or infinite left out" in title


@pytest.mark.parametrize("options", [{}, {"layout": "ridge"}, {"scale": "log"}])
def test_hostile_names_are_only_text(tmp_path: Path, options: dict[str, str]) -> None:
    rows = [
        {"model": name, "slot": HOSTILE[1], "role": "kernel", "values": [1, 2, n]} for n, name in enumerate(HOSTILE)
    ]
    made = plot.figure("histogram", write_table(tmp_path / "t.parquet", rows), slot=HOSTILE[1], **options)
    for suffix in plot.figures.SUFFIXES:
        plot.save(made, tmp_path / f"f{suffix}")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<img" not in drawn
    assert "&lt;img src=x" in drawn
    assert "\x1b" not in drawn


def test_pictures_are_the_same_each_time(table: Path, tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        plot.save(plot.figure("histogram", table, slot="dense/kernel"), tmp_path / name)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slot": "nothing"}, "no model has a slot 'nothing'"),
        ({"slot": "*kernel"}, "fits"),
        ({"slot": "dense/kernel", "layout": "pie"}, "layout 'pie' is not known"),
        ({"slot": "dense/kernel", "colour": "red"}, "unexpected keyword argument 'colour'"),
    ],
)
def test_bad_options_are_told(table: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plot.figure("histogram", table, **options)


def test_the_old_picture_stays_when_a_new_one_cannot_be_written(table: Path, tmp_path: Path) -> None:
    made = plot.figure("histogram", table, slot="dense/kernel")
    with pytest.raises(UsageError, match="is not a kind of picture"):
        plot.save(made, tmp_path / "a.gif")
    with pytest.raises(UsageError, match="cannot be written"):
        plot.save(made, tmp_path / "nowhere" / "a.png")
    assert list(tmp_path.iterdir()) == []


def test_the_callers_settings_stay(table: Path) -> None:
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plot.figure("histogram", table, slot="dense/kernel")
    assert dict(mpl.rcParams) == before


def test_few_values_far_away_are_beyond_the_axis_and_told(tmp_path: Path) -> None:
    values = np.append(np.random.default_rng(0).normal(size=9_990), np.full(10, 500.0))
    path = write_table(tmp_path / "t.parquet", [{"model": "m", "layer": "d", "role": "kernel", "values": values}])
    _, ax = axes()
    (artist,) = plot.histogram(path, "d/kernel", ax=ax)
    heights, edges, _ = artist.get_data()
    assert edges[-1] < 10
    assert 0.995 <= (heights * np.diff(edges)).sum() < 1  # the densities are still of all values
    beyond = int(ax.get_title("left").partition("\n")[2].partition(" far values beyond")[0])
    assert beyond == round((1 - (heights * np.diff(edges)).sum()) * values.size)
    assert "to 512" in ax.get_title("left")
    _, ax = axes()
    (artist,) = plot.histogram(path, "d/kernel", ax=ax, scale="log")
    assert (artist.get_data().values * np.diff(artist.get_data().edges)).sum() == pytest.approx(1)
