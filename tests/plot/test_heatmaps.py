"""Heat maps: cells are the values in the files, or the root mean squares of their blocks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure

import wexport
from tests.conftest import EXAMPLES
from tests.plot.test_histograms import HOSTILE
from tests.tables import write_table
from wexport import plot
from wexport.errors import UsageError
from wexport.plot import heatmaps
from wexport.sessions.session import Session


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest(EXAMPLES, out)
    with Session(out) as session:
        yield session


def stored(model: str, shape: tuple[int, ...]) -> np.ndarray:
    """The array of this shape in a model's file."""
    found: list[np.ndarray] = []
    with h5py.File(EXAMPLES / f"{model}.h5") as file:
        file.visititems(lambda _, item: found.append(item[()]) if isinstance(item, h5py.Dataset) else None)
    return next(array for array in found if array.shape == shape)


def meshes(figure: Figure) -> list[QuadMesh]:
    """The heat maps of a figure, without its colour bars."""
    return [made for ax in figure.axes if not hasattr(ax, "_colorbar") for made in ax.collections if is_mesh(made)]


def is_mesh(artist: object) -> bool:
    return isinstance(artist, QuadMesh)


def bars(figure: Figure) -> list[str]:
    return [ax.get_ylabel() for ax in figure.axes if hasattr(ax, "_colorbar")]


def blocks(matrix: np.ndarray) -> np.ndarray:
    """Root mean squares of at most 32 x 32 blocks: index i of n is in block i * 32 // n."""
    rows, columns = (np.arange(n) * min(32, n) // n for n in matrix.shape)
    found = np.empty((rows[-1] + 1, columns[-1] + 1))
    for i, j in np.ndindex(found.shape):
        found[i, j] = np.sqrt(np.mean(matrix[np.ix_(rows == i, columns == j)] ** 2))
    return found


def test_cells_are_the_values_and_gates_are_marked(table: Session) -> None:
    ax = Figure().subplots()
    [mesh] = plot.heatmap(table, "lstm/recurrent_kernel", ax=ax)
    np.testing.assert_array_equal(mesh.get_array(), stored("lstm", (12, 48)))
    assert mesh.cmap.name == "RdBu_r"
    assert mesh.norm.vmin == -mesh.norm.vmax == -np.abs(stored("lstm", (12, 48))).max()
    assert [line.get_xdata()[0] for line in ax.lines] == [11.5, 23.5, 35.5]
    [top] = ax.child_axes
    assert [(tick, text.get_text()) for tick, text in zip(top.get_xticks(), top.get_xticklabels(), strict=True)] == [
        (5.5, "i: input"),
        (17.5, "f: forget"),
        (29.5, "c: cell"),
        (41.5, "o: output"),
    ]
    assert (ax.get_ylabel(), ax.get_xlabel()) == ("from hidden unit", "to hidden unit in each gate")


def test_a_large_tensor_is_its_blocks_and_the_colour_bar_says_so(table: Session) -> None:
    made = plot.figure("heatmap", table, slot="dense/kernel", model="cnn_seed_1")
    [mesh] = meshes(made)
    np.testing.assert_allclose(mesh.get_array(), blocks(stored("cnn_seed_1", (108, 16)).astype(np.float64)), rtol=1e-6)
    assert (mesh.cmap.name, mesh.norm.vmin) == ("viridis", 0)
    # Block k of 32 over 108 inputs begins at the first i with i * 32 // 108 == k.
    firsts = [next(i for i in range(108) if i * 32 // 108 == k) for k in range(32)]
    assert mesh.get_coordinates()[:, 0, 1].tolist() == [first - 0.5 for first in [*firsts, 108]]
    assert bars(made) == ["RMS of blocks of 3-4 x 1 weights"]


def test_models_that_are_compared_have_one_scale(table: Session) -> None:
    made = plot.figure("heatmap", table, slot="conv2d/kernel", model="cnn_seed_*")
    found = meshes(made)
    arrays = [stored(f"cnn_seed_{n}", (5, 5, 1, 8)).reshape(25, 8) for n in range(1, 6)]
    for mesh, array in zip(found, arrays, strict=True):
        np.testing.assert_array_equal(mesh.get_array(), array)
        assert mesh.norm.vmax == -mesh.norm.vmin == max(np.abs(array).max() for array in arrays)
    assert made.axes[0].get_ylabel() == "input (5 x 5 x 1 flattened)"
    assert made.get_suptitle() == "conv2d/kernel (5 x 5 x 1 x 8); 5 models; one colour scale"


def test_values_and_blocks_have_a_scale_each(table: Session) -> None:
    made = plot.figure("heatmap", table, slot="dense/kernel", shown=17)
    blocked = [mesh for mesh in meshes(made) if mesh.norm.vmin == 0]
    assert (len(blocked), len(meshes(made))) == (15, 17)
    assert len({mesh.norm.vmax for mesh in blocked}) == 1
    assert sorted(bars(made)) == ["RMS of blocks of 3-4 x 1 weights", "weight"]
    assert "of different shapes" in made.get_suptitle()
    assert "one colour scale for values, one for RMS" in made.get_suptitle()


def test_slots_of_a_layer_stand_below_one_another(table: Session) -> None:
    made = plot.figure("heatmap", table, slot="gru/*")
    shapes = [(2, 36), (12, 36), (2, 36)]
    assert [mesh.get_array().shape for mesh in meshes(made)] == shapes
    bias = made.axes[2]
    assert [text.get_text() for text in bias.get_yticklabels()] == ["input", "recurrent"]
    assert bars(made) == ["weight"] * 3


SHAPES: list[tuple[str, str, tuple[int, ...], tuple[int, ...]]] = [
    ("Dense", "kernel", (5, 7), (0, 1)),
    ("Dense", "kernel", (70, 45), (0, 1)),
    ("Dense", "bias", (9,), (0,)),
    ("Dense", "bias", (1500,), (0,)),
    ("Conv2DTranspose", "kernel", (3, 3, 2, 5), (0, 1, 3, 2)),
    ("DepthwiseConv2D", "depthwise_kernel", (3, 3, 4, 2), (0, 1, 2, 3)),
    ("LSTM", "kernel", (40, 4 * 17), (0, 1)),
    ("Unheard", "unknown", (2, 3, 4), (0, 1, 2)),
]


def test_columns_are_units_and_rows_all_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for _, _, shape, _ in SHAPES]
    rows = [
        {"model": "m", "slot": f"s{n}", "layer_class": name, "role": role, "values": array, "dtype": "float64"}
        for n, ((name, role, _, _), array) in enumerate(zip(SHAPES, arrays, strict=True))
    ]
    widths = [7, 45, 9, 1500, 2, 8, 68, 4]
    with Session(write_table(tmp_path / "t.parquet", rows)) as session:
        for n, (array, (_, _, _, order)) in enumerate(zip(arrays, SHAPES, strict=True)):
            [mesh] = plot.heatmap(session, f"s{n}", ax=Figure().subplots())
            matrix = array.transpose(order).reshape(-1, widths[n])
            expected = matrix if array.size <= 1024 else blocks(matrix)
            np.testing.assert_allclose(mesh.get_array(), expected, rtol=1e-6)
            assert mesh.get_coordinates()[-1, -1].tolist() == [matrix.shape[1] - 0.5, matrix.shape[0] - 0.5]


def test_what_is_not_finite_is_marked_and_counted(tmp_path: Path) -> None:
    values = np.linspace(-1, 1, 12).reshape(3, 4)
    values[0, 1], values[2, 3], values[1, 1] = np.nan, np.inf, np.nan
    row = {"model": "m", "slot": "s", "layer_class": "Dense", "role": "kernel", "values": values}
    ax = Figure().subplots()
    [mesh] = plot.heatmap(write_table(tmp_path / "t.parquet", [row]), "s", ax=ax)
    assert np.array_equal(np.ma.getmaskarray(mesh.get_array()), ~np.isfinite(values))
    assert ax.get_title("left") == "s: m\n2 NaN, 1 infinite (yellow)"
    rings = next(artist for artist in ax.collections if artist is not mesh)
    assert sorted(map(tuple, rings.get_offsets().tolist())) == [(1, 0), (1, 1), (3, 2)]


def test_blocks_without_a_finite_value_are_marked(tmp_path: Path) -> None:
    values = np.ones((64, 64))
    values[2:4, 6:8] = np.nan
    values[10, 10] = np.inf
    row = {"model": "m", "slot": "s", "layer_class": "Dense", "role": "kernel", "values": values}
    ax = Figure().subplots()
    [mesh] = plot.heatmap(write_table(tmp_path / "t.parquet", [row]), "s", ax=ax)
    assert np.argwhere(np.ma.getmaskarray(mesh.get_array())).tolist() == [[1, 3]]
    assert mesh.get_array().compressed().tolist() == [1.0] * 1023
    words = "4 NaN, 1 infinite, left out of the blocks (orange: nothing else in it)"
    assert ax.get_title("left").splitlines()[1] == words


def test_a_few_values_far_above_all_others_do_not_set_the_scale(tmp_path: Path) -> None:
    values = np.tile([0.5, -1.0], 500).reshape(100, 10)
    values[3, 3], values[4, 4] = 80, -90
    row = {"model": "m", "slot": "s", "layer_class": "Dense", "role": "kernel", "values": values}
    with Session(write_table(tmp_path / "t.parquet", [row])) as session:
        made = plot.figure("heatmap", session, slot="s")
        [mesh] = meshes(made)
        assert mesh.norm.vmax == 1
        assert bars(made) == ["weight\n2 of 1,000 values\nbeyond the scale"]
        [mesh] = meshes(plot.figure("heatmap", session, slot="s", limit=85))
        assert mesh.norm.vmax == 85


def test_of_many_models_some_are_shown_and_the_number_is_said(tmp_path: Path) -> None:
    rows = [
        {"model": f"m{n:02}", "slot": "s", "role": "kernel", "values": [[n, 1.0]], "run": "r", "step": n}
        for n in range(50)
    ]
    made = plot.figure("heatmap", write_table(tmp_path / "t.parquet", rows), slot="s")
    assert [mesh.get_array()[0, 0] for mesh in meshes(made)] == [0, 7, 14, 21, 28, 35, 42, 49]
    assert "8 of 50 models, evenly spread" in made.get_suptitle()


def test_what_cannot_be_drawn_is_said_in_its_place(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"model": "a", "slot": "l/kernel", "role": "kernel", "values": [[1.0, 2.0]]},
        {"model": "a", "slot": "l/bias", "role": "bias", "values": [1.0, 2.0]},
        {"model": "b", "slot": "l/kernel", "role": "kernel", "values": np.zeros((0, 3))},
    ]
    made = plot.figure("heatmap", write_table(tmp_path / "t.parquet", rows), slot="l/*")
    words = [text.get_text() for ax in made.axes for text in ax.texts]
    assert words == ["it has no values", "no such slot in this model"]


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    rows = [
        {"model": name, "slot": HOSTILE[1], "role": "kernel", "values": [[1, 2, n]]} for n, name in enumerate(HOSTILE)
    ]
    made = plot.figure("heatmap", write_table(tmp_path / "t.parquet", rows), slot=HOSTILE[1])
    for suffix in plot.figures.SUFFIXES:
        plot.save(made, tmp_path / f"f{suffix}")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<img" not in drawn
    assert "&lt;img src=x" in drawn


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slot": "nothing"}, "no model has a slot 'nothing'"),
        ({"slot": "*"}, "fits [0-9]+ slots, and the figure shows at most 6"),
        ({"slot": "lstm/bias", "limit": -1}, "limit -1 is not an end of a colour scale"),
        ({"slot": "lstm/bias", "limit": float("nan")}, "limit nan is not an end of a colour scale"),
        ({"slot": "lstm/bias", "shown": 0}, "shown 0 is not a number of models"),
    ],
)
def test_bad_options_are_told(table: Session, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plot.figure("heatmap", table, **options)


def test_axes_have_room_for_one_tensor(table: Session) -> None:
    for slot, message in (("conv2d/kernel", "15 models fit"), ("lstm/*", "3 slots fit")):
        with pytest.raises(UsageError, match=message):
            plot.heatmap(table, slot, ax=Figure().subplots())


def test_a_table_without_values_and_grids_is_told(tmp_path: Path) -> None:
    row = {"model": "m", "slot": "s", "role": "kernel", "values": [[1.0]], "sample": None, "grid": None}
    with pytest.raises(UsageError, match="neither all its values nor a grid") as caught:
        heatmaps.load(write_table(tmp_path / "t.parquet", [row]), "s")
    assert "--detail full" in caught.value.hint
