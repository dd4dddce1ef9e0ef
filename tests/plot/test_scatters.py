"""Scatter plots: points are pairs of the files' values, and the cosine is theirs."""

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
from wexport.plot import scatters
from wexport.plot.pairs import Pairs, cosine
from wexport.sessions.session import Session


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest([EXAMPLES / f"cnn_seed_{n}.h5" for n in (1, 2)] + [EXAMPLES / "gru.h5"], out)
    with Session(out) as session:
        yield session


def arrays(model: str) -> dict[tuple[int, ...], np.ndarray]:
    """The kernels of an example by shape, as h5py reads them."""
    found: dict[tuple[int, ...], np.ndarray] = {}
    with h5py.File(EXAMPLES / f"{model}.h5") as file:
        file.visititems(lambda name, item: found.update({item.shape: item[()]}) if name.endswith("kernel:0") else None)
    return found


def axes() -> Axes:
    return Figure().subplots()


def points(artist: Any) -> np.ndarray:
    return np.asarray(artist.get_offsets())


def true_cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def test_points_are_pairs_of_values_at_one_position(table: Session) -> None:
    ax = axes()
    cloud, line = plot.scatter(table, "cnn_seed_1", "cnn_seed_2", ax=ax, slot="conv2d/kernel")
    a, b = (arrays(f"cnn_seed_{n}")[5, 5, 1, 8] for n in (1, 2))
    np.testing.assert_allclose(points(cloud), np.column_stack([a.ravel(), b.ravel()]), rtol=1e-12)
    assert "all 200 values" in ax.get_title("left")
    assert f"cosine {true_cosine(a, b):.3f}" in ax.get_title("left")
    np.testing.assert_array_equal(line.get_xdata(), line.get_ydata())
    assert ax.get_xlim() == ax.get_ylim() == tuple(line.get_xdata())
    assert ax.get_aspect() == 1


def test_a_sample_is_said_to_be_one(table: Session) -> None:
    ax = axes()
    cloud, _ = plot.scatter(table, "cnn_seed_1", "cnn_seed_2", ax=ax, slot="dense/kernel")
    assert len(points(cloud)) == 1024
    pairs = {tuple(row) for row in np.column_stack([arrays(f"cnn_seed_{n}")[108, 16].ravel() for n in (1, 2)])}
    assert {tuple(row) for row in points(cloud)} <= pairs
    drawn = true_cosine(*points(cloud).T)
    assert f"sample of 1,024 of 1,728 values\ncosine {drawn:.3f} ± 0.0" in ax.get_title("left")


def test_several_slots_are_coloured_by_role_and_statistics_left_out(table: Session) -> None:
    ax = axes()
    *clouds, _ = plot.scatter(table, "cnn_seed_1", "cnn_seed_2", ax=ax)
    assert [len(points(cloud)) for cloud in clouds] == [200 + 864 + 1024 + 96, 8 + 12 + 16 + 6, 8, 8]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [label.partition(",")[0] for label in labels] == [
        "kernel: 4 slots",
        "bias: 4 slots",
        "gamma: 1 slot",
        "beta: 1 slot",
        "equal in both",
    ]
    assert len({tuple(cloud.get_facecolor()[0]) for cloud in clouds}) == 4
    assert "2 slots moving statistics" in ax.get_title("left")


def test_what_does_not_match_is_said(tmp_path: Path) -> None:
    rows = [
        {"model": "a", "layer": "x", "role": "kernel", "values": [[1, 2], [3, 4]]},
        {"model": "a", "layer": "y", "role": "kernel", "values": [[1, 2]]},
        {"model": "a", "layer": "z", "role": "kernel", "values": [[1, 2]]},
        {"model": "b", "layer": "x", "role": "kernel", "values": [[2, np.nan], [6, 8]]},
        {"model": "b", "layer": "y", "role": "kernel", "values": [[1, 2, 3]]},
        {"model": "b", "layer": "w", "role": "kernel", "values": [[1, 2]]},
    ]
    ax = axes()
    cloud, _ = plot.scatter(write_table(tmp_path / "t.parquet", rows), "a", "b", ax=ax)
    np.testing.assert_array_equal(points(cloud), [[1, 2], [3, 6], [4, 8]])
    title = ax.get_title("left")
    assert "1 pairs with NaN or infinity left out" in title
    for reason in ("1 slot of another shape", "1 slot in a only", "1 slot in b only"):
        assert reason in title


def test_many_pairs_of_one_slot_are_counted_in_hexagons(tmp_path: Path) -> None:
    a, b = np.random.default_rng(0).normal(size=(2, 7, 7, 3, 64))
    rows = [
        {"model": name, "layer": "c", "role": "kernel", "layer_class": "Conv2D", "values": values}
        for name, values in (("a", a), ("b", b))
    ]
    path = write_table(tmp_path / "t.parquet", rows)
    hexagons, _ = plot.scatter(path, "a", "b", ax=axes())
    assert hexagons.get_array().sum() == a.size
    cloud = scatters.load(path, "a", "b").pairs[0]
    np.testing.assert_array_equal(cloud.a, a.astype("float32").ravel())


def test_many_layers_are_the_largest_and_others(tmp_path: Path) -> None:
    rows = [
        {"model": model, "layer": f"d{n:02}", "role": "kernel", "shape": [2, 40 - n], "normal": 1.0, "seed": n}
        for model in ("a", "b")
        for n in range(30)
    ]
    ax = axes()
    *clouds, _ = plot.scatter(write_table(tmp_path / "t.parquet", rows), "a", "b", ax=ax)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels[:1] == ["d00: 1 slot, cosine 1.000"]
    assert labels[8:] == ["22 other layers: 22 slots", "equal in both"]
    assert len(points(clouds[-1])) == sum(2 * (40 - n) for n in range(8, 30))


def test_cosine_of_samples_stays_within_its_standard_error() -> None:
    rng = np.random.default_rng(3)
    misses, errors = [], []
    sizes = (3000, 600)
    a = [rng.standard_t(5, size=size) for size in sizes]
    b = [0.6 * values + rng.normal(size=values.size) for values in a]
    exact = true_cosine(np.concatenate(a), np.concatenate(b))
    for _ in range(400):
        pairs = []
        for x, y in zip(a, b, strict=True):
            places = rng.choice(x.size, 300, replace=False)
            pairs.append(Pairs("s", "kernel", "l", x[places], y[places], 300, x.size))
        found, error = cosine(pairs)
        assert found is not None
        misses.append(found - exact)
        errors.append(error)
    assert np.mean(np.abs(misses) < 2 * np.array(errors)) > 0.92
    assert np.std(misses) == pytest.approx(np.mean(errors), rel=0.15)
    held = [Pairs("s", "kernel", "l", x, y, x.size, x.size) for x, y in zip(a, b, strict=True)]
    assert cosine(held) == (pytest.approx(exact, rel=1e-12), 0.0)


def test_a_slot_of_zeros_has_no_cosine(tmp_path: Path) -> None:
    rows = [
        {"model": "a", "layer": "x", "role": "kernel", "values": [[0, 0], [0, 0]]},
        {"model": "b", "layer": "x", "role": "kernel", "values": [[0, 0], [0, 0]]},
    ]
    ax = axes()
    plot.scatter(write_table(tmp_path / "t.parquet", rows), "a", "b", ax=ax)
    assert "no cosine: all zero" in ax.get_title("left")


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    rows = [
        {"model": model, "slot": slot, "role": "kernel", "values": [[1, 2], [3, n]]}
        for model in HOSTILE[:2]
        for n, slot in enumerate(HOSTILE)
    ]
    path = write_table(tmp_path / "t.parquet", rows)
    for options in ({}, {"colour": "layer"}):
        made = plot.figure("scatter", path, a=HOSTILE[0], b=HOSTILE[1], **options)
        for suffix in plot.figures.SUFFIXES:
            plot.save(made, tmp_path / f"f{suffix}")
        drawn = (tmp_path / "f.svg").read_text()
        assert "<img" not in drawn
        assert "&lt;img src=x" in drawn
        assert "\x1b" not in drawn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"a": "cnn_seed_1", "b": "cnn_seed_1"}, "both are 'cnn_seed_1'"),
        ({"a": "cnn_seed_1", "b": "cnn_*"}, "'cnn_\\*' fits 2 models"),
        ({"a": "none", "b": "gru"}, "there is no model 'none'"),
        ({"a": "cnn_seed_1", "b": "gru", "slot": "dense/kernel"}, "can be paired .* 1 of another shape"),
        ({"a": "cnn_seed_1", "b": "cnn_seed_2", "slot": "nothing"}, "there is none"),
        ({"a": "cnn_seed_1", "b": "cnn_seed_2", "colour": "hue"}, "colour 'hue' is not known"),
    ],
)
def test_bad_options_are_told(table: Session, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as told:
        plot.figure("scatter", table, **options)
    assert told.value.hint


def test_the_legend_is_not_cut_off(tmp_path: Path) -> None:
    rows = [
        {
            "model": model,
            "slot": f"{'block/' * n}conv_{'long' * n}/kernel",
            "role": "kernel",
            "values": [[1, 2], [3, n]],
        }
        for model in ("a", "b")
        for n in range(1, 9)
    ]
    made = plot.figure("scatter", write_table(tmp_path / "t.parquet", rows), a="a", b="b")
    made.draw_without_rendering()
    (ax,) = made.axes
    assert ax.get_legend().get_window_extent().x1 <= made.bbox.x1
