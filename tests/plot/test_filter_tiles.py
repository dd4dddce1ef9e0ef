"""Filters: each tile holds the weights of its filter."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection, QuadMesh
from matplotlib.figure import Figure

import wexport
from tests.conftest import EXAMPLES
from tests.plot.test_histograms import HOSTILE
from tests.tables import write_table
from wexport import plot
from wexport.errors import UsageError
from wexport.plot import filter_tiles
from wexport.sessions.session import Session


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest(EXAMPLES, out)
    with Session(out) as session:
        yield session


def kernel(model: str) -> np.ndarray:
    found: list[np.ndarray] = []
    with h5py.File(EXAMPLES / f"{model}.h5") as file:
        file.visititems(lambda _, item: found.append(item[()]) if getattr(item, "shape", ()) == (5, 5, 1, 8) else None)
    return found[0]


def tile(ax: Axes, mesh: QuadMesh, name: str, size: tuple[int, int], plane: int = 0) -> np.ndarray:
    """The cells of a filter's tile, found by the number above it."""
    [text] = [text for text in ax.texts if text.get_text() == name]
    x, y = mesh.get_coordinates()[0, :, 0], mesh.get_coordinates()[:, 0, 1]
    column = int(np.searchsorted(x, text.get_position()[0] - size[1] / 2 + 1e-6, side="right")) - 1
    row = int(np.searchsorted(y, text.get_position()[1] + 1e-6, side="right")) - 1 + plane * (size[0] + 1)
    cells = mesh.get_array().reshape(len(y) - 1, len(x) - 1, -1)
    return np.ma.squeeze(cells[row : row + size[0], column : column + size[1]])


def drawn(table: Any, slot: str, **options: Any) -> tuple[Axes, QuadMesh]:
    ax = Figure().subplots()
    [mesh] = plot.filters(table, slot, ax=ax, **options)
    return ax, mesh


def one(tmp_path: Path, values: np.ndarray, layer_class: str, role: str = "kernel") -> Path:
    row = {"model": "m", "slot": "s", "layer_class": layer_class, "role": role, "values": values, "dtype": "float64"}
    return write_table(tmp_path / "t.parquet", [row])


def test_tiles_are_the_filters_on_one_scale(table: Session) -> None:
    made = plot.figure("filters", table, slot="conv2d/kernel", model="cnn_seed_*")
    panels = [ax for ax in made.axes if ax.texts]
    most = max(np.abs(kernel(f"cnn_seed_{n}")).max() for n in range(1, 6))
    for n, ax in enumerate(panels, 1):
        [mesh] = ax.collections
        assert (mesh.norm.vmin, mesh.norm.vmax) == (-most, most)
        for number in range(8):
            np.testing.assert_array_equal(tile(ax, mesh, str(number), (5, 5)), kernel(f"cnn_seed_{n}")[:, :, 0, number])
    assert len(panels) == 5
    assert made.get_suptitle() == "conv2d/kernel: 8 filters of 5 x 5, 1 channel each; 5 models, one colour scale"


def test_nothing_but_tiles_is_drawn(table: Session) -> None:
    _, mesh = drawn(table, "conv2d/kernel", model="cnn_seed_1", colour="grey")
    assert np.ma.count(mesh.get_array()) == 200
    assert mesh.cmap.name == "gray"


def test_each_channel_has_a_row_of_tiles(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 2, 3, 7))
    ax, mesh = drawn(one(tmp_path, values, "Conv2D"), "s")
    for number in range(7):
        for channel in range(3):
            found = tile(ax, mesh, str(number), (3, 2), channel)
            np.testing.assert_array_equal(found, values[:, :, channel, number])
    assert {text.get_text() for text in ax.get_yticklabels()} == {"channel 0", "channel 1", "channel 2"}


LAYERS: list[tuple[str, str, tuple[int, ...], Any]] = [
    ("Conv2DTranspose", "kernel", (3, 3, 2, 1), lambda array, unit: array[:, :, unit, 0]),
    ("DepthwiseConv2D", "depthwise_kernel", (3, 3, 3, 2), lambda array, unit: array[:, :, unit // 2, unit % 2]),
    ("Conv1D", "kernel", (4, 1, 5), lambda array, unit: array[None, :, 0, unit]),
]


@pytest.mark.parametrize(("layer_class", "role", "shape", "of_unit"), LAYERS)
def test_filters_of_every_kind_of_convolution(
    tmp_path: Path, layer_class: str, role: str, shape: tuple[int, ...], of_unit: Any
) -> None:
    values = np.random.default_rng(0).normal(size=shape)
    ax, mesh = drawn(one(tmp_path, values, layer_class, role), "s")
    units = len(ax.texts)
    size = (3, 3) if len(shape) == 4 else (1, 4)
    assert units * size[0] * size[1] == values.size
    for unit in range(units):
        np.testing.assert_array_equal(tile(ax, mesh, str(unit), size), np.squeeze(of_unit(values, unit)))


def test_slices_of_a_3d_convolution_and_gates_are_named(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(2, 3, 3, 1, 4))
    ax, mesh = drawn(one(tmp_path, values, "Conv3D"), "s")
    np.testing.assert_array_equal(tile(ax, mesh, "2", (3, 3), plane=1), values[1, :, :, 0, 2])
    assert ax.get_title("left") == "s: 4 filters of 3 x 3, 1 channel in 2 slices each; m"
    assert "channel 0, slice 1" in {text.get_text() for text in ax.get_yticklabels()}
    values = np.random.default_rng(0).normal(size=(3, 3, 1, 8))
    ax, mesh = drawn(one(tmp_path, values, "ConvLSTM2D"), "s")
    np.testing.assert_array_equal(tile(ax, mesh, "c 1", (3, 3)), values[:, :, 0, 5])


def test_three_channels_as_colours(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 3, 3, 4))
    table = one(tmp_path, values, "Conv2D")
    ax, mesh = drawn(table, "s", colour="rgb", limit=1.0)
    expected = np.clip(values[:, :, :, 2] / 2 + 0.5, 0, 1)
    np.testing.assert_allclose(tile(ax, mesh, "2", (3, 3))[..., :3], expected)
    made = plot.figure("filters", table, slot="s", colour="rgb", limit=1.0)
    beyond = int((np.abs(values) > 1).sum())
    assert f"0 is half bright, 1 full, -1 dark ({beyond} of 108 beyond)" in made.get_suptitle().replace("\n", " ")


def test_what_is_not_finite_is_marked_and_counted(tmp_path: Path) -> None:
    values = np.ones((2, 2, 1, 3))
    values[0, 1, 0, 1], values[1, 1, 0, 2] = np.nan, np.inf
    table = one(tmp_path, values, "Conv2D")
    for colour in ("diverging", "grey"):
        ax, mesh = drawn(table, "s", colour=colour)
        assert np.ma.count(mesh.get_array()) == 10
        [marks] = [artist for artist in ax.collections if isinstance(artist, PatchCollection)]
        assert len(marks.get_paths()) == 2
        assert ax.get_title("left").endswith("1 NaN, 1 infinite (yellow)")


def test_of_many_filters_the_lines_are_numbered(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(3, 3, 1, 500))
    ax, mesh = drawn(one(tmp_path, values, "Conv2D"), "s")
    assert not ax.texts
    cells = mesh.get_array()
    a_line = cells.shape[1] // 4
    assert [text.get_text() for text in ax.get_yticklabels()][:2] == ["0", str(a_line)]
    line, column = divmod(333, a_line)
    found = cells[1 + 5 * line : 4 + 5 * line, 4 * column : 4 * column + 3]
    np.testing.assert_array_equal(found, values[:, :, 0, 333])
    assert np.ma.count(cells) == values.size


def test_of_many_models_some_are_shown(tmp_path: Path) -> None:
    rows = [
        {
            "model": f"m{n:02}",
            "slot": "s",
            "layer_class": "Conv2D",
            "role": "kernel",
            "values": np.full((2, 2, 1, 1), n),
        }
        for n in range(50)
    ]
    made = plot.figure("filters", write_table(tmp_path / "t.parquet", rows), slot="s")
    assert [ax.get_title("left") for ax in made.axes if ax.texts] == ["m00", "m10", "m20", "m29", "m39", "m49"]
    assert "6 of 50 models, evenly spread" in made.get_suptitle()


def test_a_kernel_that_is_not_held_whole_is_refused(tmp_path: Path) -> None:
    row: dict[str, Any] = {"model": "m", "layer_class": "Conv2D", "role": "kernel"}
    rows = [
        {**row, "slot": "big", "values": np.ones((3, 3, 20, 20))},
        {**row, "slot": "small", "values": np.ones((3, 3, 1, 20))},
        {
            **row,
            "slot": "attention",
            "layer_class": "MultiHeadAttention",
            "values": np.ones((4, 2, 3)),
            "unit_axes": [1, 2],
        },
    ]
    rows[2]["unit_axes"] = [1, 2]
    with Session(write_table(tmp_path / "t.parquet", rows)) as session:
        with pytest.raises(UsageError, match="not held whole: the table has 1,024 of its 3,600 values") as caught:
            filter_tiles.load(session, "big")
        assert caught.value.hint == "held whole: small"
        with pytest.raises(UsageError, match="no convolution's kernel"):
            filter_tiles.load(session, "attention")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"slot": "nothing"}, "no model has a slot 'nothing'"),
        ({"slot": "conv2d*/kernel"}, "fits 2 slots, and the figure shows one"),
        ({"slot": "conv2d/kernel", "colour": "pink"}, "colour 'pink' is not known"),
        ({"slot": "conv2d/kernel", "colour": "rgb"}, "rgb needs filters that see 3 channels"),
        ({"slot": "dense/kernel"}, "no convolution's kernel"),
    ],
)
def test_bad_options_are_told(table: Session, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        plot.figure("filters", table, **options)


def test_axes_have_room_for_one_model(table: Session) -> None:
    with pytest.raises(UsageError, match="models fit, and axes have room for one"):
        plot.filters(table, "conv2d/kernel", ax=Figure().subplots())


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    row = {"slot": HOSTILE[1], "layer_class": "Conv2D", "role": "kernel", "values": np.ones((2, 2, 1, 2))}
    made = plot.figure("filters", write_table(tmp_path / "t.parquet", [{**row, "model": n} for n in HOSTILE]), slot="*")
    for suffix in plot.figures.SUFFIXES:
        plot.save(made, tmp_path / f"f{suffix}")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<img" not in drawn
    assert "&lt;img src=x" in drawn
