"""Curves and maps of outputs: what is drawn is what the layers gave."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from tests import running
from tests.tables import write_table
from wexport import plot
from wexport.errors import UsageError
from wexport.sessions.session import Session

ONE = running.MODELS[0]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.write(tmp_path_factory.mktemp("table") / "t.parquet")


@pytest.fixture(scope="module")
def table(path: Path) -> Iterator[Session]:
    with Session(path) as session:
        yield session


def axes() -> Axes:
    return Figure().subplots()


def lines(found: list[Line2D]) -> np.ndarray:
    return np.array([line.get_ydata() for line in found], np.float64)


def labels(ax: Axes) -> list[str]:
    legend = ax.get_legend()
    return [text.get_text() for text in legend.get_texts()] if legend else []


def output(path: Path, array: np.ndarray, slot: str = "layer/output") -> Path:
    return write_table(path, [{"model": "m", "slot": slot, "role": "output", "kind": "activation", "values": array}])


# The table holds grids as float32, which rounds to 6e-8.
def rms(array: np.ndarray, bands: int) -> np.ndarray:
    """Of (inputs, places, units): over inputs and bands of places and units, straight from the definition."""
    squares = (array.astype(np.float64) ** 2).mean(axis=0)
    for axis, length in enumerate(squares.shape):
        which = np.arange(length) * min(bands, length) // length
        parts = [np.compress(which == band, squares, axis).mean(axis, keepdims=True) for band in range(which[-1] + 1)]
        squares = np.concatenate(parts, axis)
    return np.sqrt(squares)


# -- curves ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [None, 0, 3])
def test_of_a_sequence_a_line_is_a_unit_along_time(table: Session, number: int | None) -> None:
    ax = axes()
    found = plot.curves(table, "lstm/output", ax=ax, model=ONE, number=number, shown=20)
    given = running.values(ONE, "activation", "lstm/output", *running.SHAPES["activation", "lstm/output"])
    np.testing.assert_array_equal(lines(found), given[number or 0].T)
    np.testing.assert_array_equal(found[0].get_xdata(), np.arange(running.STEPS))
    assert labels(ax) == [f"unit {unit}" for unit in range(running.UNITS)]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("time step", "output")
    assert ax.get_title("left") == f"lstm/output: {ONE}\ninput {number or 0} of 4"


def test_of_a_layer_without_steps_a_line_is_an_input_along_its_units(table: Session) -> None:
    given = running.values(ONE, "activation", "dense/output", *running.SHAPES["activation", "dense/output"])
    ax = axes()
    np.testing.assert_array_equal(lines(plot.curves(table, "dense/output", ax=ax, model=ONE)), given)
    assert labels(ax) == [f"input {number}" for number in range(4)]
    assert (ax.get_xlabel(), ax.get_title("left").splitlines()[1]) == ("unit", "4 inputs")
    ax = axes()
    np.testing.assert_array_equal(lines(plot.curves(table, "dense/output", ax=ax, model=ONE, number=2)), given[[2]])
    assert ax.get_title("left").splitlines()[1] == "input 2 of 4"


def test_of_many_units_the_others_are_their_range(table: Session) -> None:
    given = running.values(ONE, "activation", "lstm/output", *running.SHAPES["activation", "lstm/output"])[0].T
    ax = axes()
    found = plot.curves(table, "lstm/output", ax=ax, model=ONE, shown=3)
    shown = [0, 6, 11]
    np.testing.assert_array_equal(lines(found), given[shown])
    others = np.delete(given, shown, axis=0)
    (band,) = ax.collections
    edges = band.get_paths()[0].vertices
    for step in range(running.STEPS):
        at = edges[edges[:, 0] == step, 1]
        assert (at.min(), at.max()) == pytest.approx((others[:, step].min(), others[:, step].max()))
    assert labels(ax) == ["range of 9 others", "unit 0", "unit 6", "unit 11"]
    (alone,) = plot.curves(table, "lstm/output", ax=axes(), model=ONE, shown=1)
    np.testing.assert_array_equal(alone.get_ydata(), given[0])


def test_of_many_inputs_the_root_mean_square_is_drawn_and_said(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(50, 40, 35)).astype("f4")  # 70,000 values: not held whole
    path = output(tmp_path / "t.parquet", array)
    ax = axes()
    found = plot.curves(path, "layer/output", ax=ax, shown=40)
    np.testing.assert_allclose(lines(found), rms(array, 32).T, rtol=1e-7)
    # Each band stands at the middle of its steps: 40 steps in 32 bands, some of two steps.
    which = np.arange(40) * 32 // 40
    middles = [np.flatnonzero(which == band).mean() for band in range(32)]
    np.testing.assert_array_equal(found[0].get_xdata(), middles)
    assert ax.get_title("left").splitlines()[1] == "RMS over 50 inputs, 32 bands of 35 units"
    assert ax.get_ylabel() == "RMS of the output"
    assert labels(ax)[0] == "band of units 0"
    with pytest.raises(UsageError, match="the table holds no single outputs of 50 inputs") as caught:
        plot.curves(path, "layer/output", ax=axes(), number=0)
    assert "run the model on one input or a few" in caught.value.hint


def test_many_inputs_of_a_layer_without_steps(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(900, 80)).astype("f4")
    ax = axes()
    (line,) = plot.curves(output(tmp_path / "t.parquet", array), "layer/output", ax=ax)
    np.testing.assert_allclose(line.get_ydata(), rms(array[:, None], 32)[0], rtol=1e-7)
    assert ax.get_title("left").splitlines()[1] == "RMS over 900 inputs, 32 bands of 80 units"
    assert not labels(ax)


def test_a_logarithmic_scale_is_of_magnitudes_and_tells_of_zeros(tmp_path: Path) -> None:
    array = np.array([[[0.5, -0.25], [0.0, 4.0], [np.nan, -np.inf]]], "f4")
    ax = axes()
    found = plot.curves(output(tmp_path / "t.parquet", array), "layer/output", ax=ax, scale="log")
    np.testing.assert_array_equal(lines(found), [[0.5, np.nan, np.nan], [0.25, 4, np.inf]])
    assert ax.get_yscale() == "log"
    assert ax.get_ylabel() == "magnitude of the output"
    assert "1 zero not shown" in ax.get_title("left")
    with pytest.raises(UsageError, match="no output is other than 0"):
        plot.curves(output(tmp_path / "z.parquet", np.zeros((2, 3))), "layer/output", ax=axes(), scale="log")


def test_what_is_nan_in_all_others_is_a_gap_in_their_range(tmp_path: Path) -> None:
    array = np.ones((1, 4, 20), "f4")
    array[0, 2] = np.nan
    found = plot.curves(output(tmp_path / "t.parquet", array), "layer/output", ax=axes(), shown=2)
    np.testing.assert_array_equal(lines(found), [[1, 1, np.nan, 1]] * 2)


def test_gradients_by_outputs_are_drawn_by_their_own_words(path: Path) -> None:
    given = running.values(ONE, "gradient", "lstm/output", *running.SHAPES["gradient", "lstm/output"])
    with Session(path, kinds=["gradient"]) as session:
        ax = axes()
        np.testing.assert_array_equal(
            lines(plot.curves(session, "lstm/output", ax=ax, model=ONE, number=1, shown=12)), given[1].T
        )
        assert ax.get_ylabel() == "gradient [loss/output]"
        ax = axes()
        plot.curves(session, "lstm/input", ax=ax, model=ONE)
        assert ax.get_ylabel() == "gradient [loss/input]"


# -- maps --------------------------------------------------------------------------------------------------------------


def cells(mesh: QuadMesh) -> np.ndarray:
    array = mesh.get_array()
    assert array is not None
    return np.ma.filled(np.ma.asarray(array, np.float64), np.nan)


def tile_of(mesh: QuadMesh, high: int, wide: int, channel: int) -> np.ndarray:
    """The cells of one tile: tiles are rows of `a_line`, each with a gap after it, and a line for its number above."""
    found = cells(mesh)
    a_line = found.shape[1] // (wide + 1)
    line, column = divmod(channel, a_line)
    top, left = line * (high + 2) + 1, column * (wide + 1)
    return found[top : top + high, left : left + wide]


@pytest.mark.parametrize("number", [None, 2])
def test_of_a_convolution_a_tile_is_a_channel(table: Session, number: int | None) -> None:
    ax = axes()
    (mesh,) = plot.maps(table, "conv2d/output", ax=ax, model=ONE, number=number)
    given = running.values(ONE, "activation", "conv2d/output", *running.SHAPES["activation", "conv2d/output"])
    for channel in range(5):
        np.testing.assert_array_equal(tile_of(mesh, 8, 10, channel), given[number or 0, :, :, channel])
    assert ax.get_title("left") == f"conv2d/output: {ONE}\n5 channels of 8 x 10, input {number or 0} of 4"
    assert {text.get_text() for text in ax.texts} == set("01234")
    assert mesh.norm.vmin == -mesh.norm.vmax
    assert mesh.norm.vmax == pytest.approx(np.abs(given[number or 0]).max())


def test_of_a_sequence_time_is_down_and_units_are_across(table: Session) -> None:
    ax = axes()
    (mesh,) = plot.maps(table, "lstm/output", ax=ax, model=ONE, number=1)
    given = running.values(ONE, "activation", "lstm/output", *running.SHAPES["activation", "lstm/output"])
    np.testing.assert_array_equal(cells(mesh), given[1])
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("unit", "time step")
    assert ax.get_ylim() == (running.STEPS - 0.5, -0.5)
    assert ax.get_title("left").splitlines()[1] == "6 steps of 12 units, input 1 of 4"


def test_a_sequence_of_many_inputs_is_their_root_mean_square(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(50, 40, 35)).astype("f4")
    made = plot.figure("maps", output(tmp_path / "t.parquet", array), slot="layer/output")
    ax, bar = made.axes
    (mesh,) = (each for each in ax.collections if isinstance(each, QuadMesh))
    np.testing.assert_allclose(cells(mesh), rms(array, 32), rtol=1e-7)
    assert ax.get_title("left").splitlines()[1] == "40 steps of 35 units, over 50 inputs"
    assert bar.get_ylabel().startswith("RMS of the output over inputs")
    assert mesh.norm.vmin == 0
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 34.5), (39.5, -0.5))


def test_values_that_are_lost_have_a_colour_and_gaps_have_none(tmp_path: Path) -> None:
    array = np.ones((1, 3, 4, 2), "f4")
    array[0, 1, 2, 0] = np.nan
    (mesh,) = plot.maps(output(tmp_path / "t.parquet", array), "layer/output", ax=axes())
    np.testing.assert_array_equal(tile_of(mesh, 3, 4, 0), array[0, :, :, 0])
    np.testing.assert_array_equal(tile_of(mesh, 3, 4, 1), array[0, :, :, 1])


def test_a_limit_of_ones_own(table: Session) -> None:
    (mesh,) = plot.maps(table, "conv2d/output", ax=axes(), model=ONE, limit=0.5)
    assert (mesh.norm.vmin, mesh.norm.vmax) == (-0.5, 0.5)
    with pytest.raises(UsageError, match="limit 0 is not an end"):
        plot.maps(table, "conv2d/output", ax=axes(), model=ONE, limit=0)


# -- what cannot be drawn ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message", "hint"),
    [
        (
            "curves",
            {"slot": "conv2d/output"},
            "conv2d/output is not a curve: it is 8 x 10 x 5 for an input",
            "plot maps",
        ),
        (
            "curves",
            {"slot": "loss/output"},
            "loss/output is not a curve: it is one value for an input",
            "plot histogram",
        ),
        ("curves", {"slot": "conv3d/output"}, "it is 2 x 3 x 4 x 5 for an input", "plot histogram"),
        ("maps", {"slot": "dense/output"}, "dense/output is not a picture: it is 9 for an input", "plot curves"),
        ("maps", {"slot": "conv3d/output"}, "it is 2 x 3 x 4 x 5 for an input", "plot histogram"),
        ("curves", {"slot": "lstm/output", "number": 4}, "there is no input 4", "from 0 to 3"),
        ("maps", {"slot": "lstm/output", "number": -1}, "there is no input -1", "from 0 to 3"),
        ("curves", {"slot": "lstm/output", "shown": 0}, "shown 0 is not a number of lines", "1 or more"),
        ("curves", {"slot": "lstm/output", "scale": "square"}, "scale 'square' is not known", "linear or log"),
        ("curves", {"slot": "lstm/outputs"}, "no model has an output 'lstm/outputs'", "there are lstm/output"),
        ("curves", {"slot": "lstm/kernel"}, "no model has an output 'lstm/kernel'", "there are "),
        ("curves", {"slot": "*"}, "several outputs fit: conv2d/output of .*, lstm/output of", "name one slot"),
    ],
)
def test_what_cannot_be_drawn_is_told_with_the_way_out(
    table: Session, kind: str, options: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plot.figure(kind, table, **{"model": ONE, **options})
    assert hint in caught.value.hint


def test_several_models_and_none_are_told(table: Session) -> None:
    with pytest.raises(UsageError, match="several outputs fit: lstm/output of run/epoch_1, lstm/output of run/epoch_2"):
        plot.figure("curves", table, slot="lstm/output")
    with pytest.raises(UsageError, match="no model has an output") as caught:
        plot.figure("curves", table, slot="lstm/output", model="nobody")
    assert "in run/epoch_1, run/epoch_2" in caught.value.hint


def test_a_table_of_weights_says_how_to_run_models(tmp_path: Path, path: Path) -> None:
    path = write_table(tmp_path / "t.parquet", [{"model": "m", "layer": "d", "role": "kernel", "values": [[1.0]]}])
    with pytest.raises(UsageError, match="no model has an output 'd/output'") as caught:
        plot.figure("maps", path, slot="d/output")
    assert "wexport activations" in caught.value.hint
    with pytest.raises(UsageError, match="no model has an output 'lstm/output'"):
        plot.figure("maps", path, slot="lstm/output", model=ONE, kinds=["weight"])


def test_outputs_of_no_inputs_and_tables_of_summaries_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="layer/output of m has no values"):
        plot.figure("curves", output(tmp_path / "e.parquet", np.zeros((0, 3))), slot="layer/output")
    given = {"model": "m", "slot": "layer/output", "role": "output", "kind": "activation"}
    path = write_table(tmp_path / "s.parquet", [{**given, "values": np.ones((2, 3)), "sample": None, "grid": None}])
    with pytest.raises(UsageError, match="holds neither its values nor their grid") as caught:
        plot.figure("curves", path, slot="layer/output")
    assert "--detail full" in caught.value.hint


@pytest.mark.parametrize("kind", ["curves", "maps"])
def test_hostile_names_are_only_text_and_pictures_are_the_same_each_time(tmp_path: Path, kind: str) -> None:
    slot = "<img src=x>$\\frac{\x1b[31m" + "n" * 300
    path = output(tmp_path / "t.parquet", np.random.default_rng(0).normal(size=(2, 5, 3)), slot)
    for name in ("a.svg", "b.svg"):
        plot.save(plot.figure(kind, path, slot=slot), tmp_path / name)
    drawn = (tmp_path / "a.svg").read_text()
    assert drawn == (tmp_path / "b.svg").read_text()
    assert "<img" not in drawn
    assert "\x1b" not in drawn
