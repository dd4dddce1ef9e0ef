"""Gates: each panel holds the values of one gate, of one kernel or bias, of one direction."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
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
from wexport.plot import gate_panels, style
from wexport.sessions.session import Session


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"], out)
    with Session(out) as session:
        yield session


def stored(model: str, name: str) -> np.ndarray:
    found: list[np.ndarray] = []
    with h5py.File(EXAMPLES / f"{model}.h5") as file:
        file.visititems(lambda path, item: found.append(item[()]) if path.endswith(f"_cell/{name}:0") else None)
    [array] = found
    return array


def assert_density(artist: Any, values: np.ndarray) -> None:
    """That an outline is the density of these values between its own edges, to float32's rounding at edges."""
    heights, edges, _ = artist.get_data()
    finite = values[np.isfinite(values)].astype(np.float64)
    counts = np.array([np.sum((finite >= low) & (finite < high)) for low, high in pairwise(edges)])
    counts[-1] += np.sum(finite == edges[-1])
    np.testing.assert_allclose(heights, counts / finite.size / np.diff(edges), rtol=1e-12)


def draw(table: Any, **options: Any) -> tuple[list[Any], Axes]:
    ax = Figure(figsize=(10, 6)).subplots()
    return plot.gates(table, **options, ax=ax), ax


def test_rows_are_kernels_and_columns_gates(table: Session) -> None:
    artists, ax = draw(table, layer="lstm")
    arrays = [stored("lstm", name) for name in ("kernel", "recurrent_kernel", "bias")]
    expected = [part for array in arrays for part in np.split(array, 4, axis=-1)]
    for artist, values in zip(artists, expected, strict=True):
        assert_density(artist, values)
    titles = [panel.get_title("left") for panel in ax.child_axes]
    assert titles == ["i: input", "f: forget", "c: cell", "o: output", *[""] * 8]
    assert ax.child_axes[4].get_ylabel() == "recurrent kernel\ndensity"
    assert ax.get_title("left").startswith("lstm: lstm; density is the share of a gate's values per unit of weight")


def test_the_panels_of_a_row_have_the_same_limits(table: Session) -> None:
    _, ax = draw(table, layer="gru")
    for row in range(3):
        panels = ax.child_axes[3 * row : 3 * row + 3]
        assert len({(panel.get_xlim(), panel.get_ylim()) for panel in panels}) == 1


def recurrent(model: str, layer: str, layer_class: str, seed: int, **more: Any) -> list[dict[str, Any]]:
    """A layer of 3 units and 5 inputs."""
    rng = np.random.default_rng(seed)
    gates = {"LSTM": 4, "GRU": 3}.get(layer_class, 1)
    shapes = {"kernel": (5, 3 * gates), "recurrent_kernel": (3, 3 * gates), "bias": (3 * gates,)}
    return [
        {
            **{"model": model, "slot": f"{layer}/{role}", "role": role, "layer_class": layer_class, **more},
            **{"values": rng.normal(size=shape), "dtype": "float64"},
        }
        for role, shape in shapes.items()
    ]


def test_two_directions_stand_side_by_side(tmp_path: Path) -> None:
    both = [
        recurrent("m", f"bidirectional/{direction}", "GRU", seed, direction=direction)
        for seed, direction in enumerate(("backward", "forward"))
    ]
    artists, ax = draw(write_table(tmp_path / "t.parquet", both[0] + both[1]), layer="bidirectional")
    expected = [
        part for role in range(3) for rows in (both[1], both[0]) for part in np.split(rows[role]["values"], 3, axis=-1)
    ]
    for artist, values in zip(artists, expected, strict=True):
        assert_density(artist, values)
    assert [panel.get_title("left") for panel in ax.child_axes[:4]] == [
        *("forward z: update", "forward r: reset", "forward h: hidden", "backward z: update"),
    ]


def test_a_layer_without_gates_has_one_column(tmp_path: Path) -> None:
    rows = recurrent("m", "simple_rnn", "SimpleRNN", 0)
    artists, ax = draw(write_table(tmp_path / "t.parquet", rows))
    for artist, row in zip(artists, rows, strict=True):
        assert_density(artist, row["values"])
    assert "without gates" in ax.get_title("left")


def test_gates_that_the_file_does_not_tell_are_not_guessed(tmp_path: Path) -> None:
    rows = recurrent("m", "my_cell", "MyCell", 0)
    artists, ax = draw(write_table(tmp_path / "t.parquet", rows))
    assert len(artists) == 3
    assert "the files do not tell its gates" in ax.get_title("left")


def test_one_tensor_a_gate_is_drawn_like_one_tensor(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {
            **{"model": "m", "slot": f"gru/{role}_{gate}", "role": role, "gate": gate, "dtype": "float64"},
            "values": rng.normal(size=(4, 3)),
        }
        for gate in ("h", "z", "r")
        for role in ("kernel", "recurrent_kernel")
    ]
    artists, ax = draw(write_table(tmp_path / "t.parquet", rows))
    order = [2, 4, 0, 3, 5, 1]  # z r h of the kernel, then of the recurrent kernel
    for artist, place in zip(artists, order, strict=True):
        assert_density(artist, rows[place]["values"])
    assert [panel.get_title("left") for panel in ax.child_axes[:3]] == ["z: update", "r: reset", "h: hidden"]


def test_a_convolutional_lstm_has_its_gates(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    row = {"model": "m", "layer": "conv_lstm2d", "layer_class": "ConvLSTM2D", "dtype": "float64"}
    arrays = {"kernel": rng.normal(size=(3, 3, 1, 8)), "recurrent_kernel": rng.normal(size=(3, 3, 2, 8))}
    rows = [{**row, "role": role, "values": values} for role, values in arrays.items()]
    artists, _ = draw(write_table(tmp_path / "t.parquet", rows))
    expected = [part for values in arrays.values() for part in np.split(values, 4, axis=-1)]
    for artist, values in zip(artists, expected, strict=True):
        assert_density(artist, values)


def test_what_is_not_finite_is_counted_in_its_panel(tmp_path: Path) -> None:
    rows = recurrent("a", "lstm", "LSTM", 0) + recurrent("b", "lstm", "LSTM", 1)
    rows[4]["values"][:2, 3] = np.nan  # model b, recurrent kernel, forget gate
    rows[4]["values"][0, 5] = -np.inf
    rows[5]["values"][9:] = np.nan  # all of the output gate's bias
    artists, ax = draw(write_table(tmp_path / "t.parquet", rows))
    words = [[text.get_text() for text in panel.texts] for panel in ax.child_axes]
    assert [place for place, found in enumerate(words) if any("NaN" in text for text in found)] == [5, 11]
    assert words[5] == ["2 NaN in 1 of 2 models\n1 infinite in 1 of 2 models"]
    assert words[11][0].startswith("3 NaN in 1 of 2 models")
    forget = [artist for artist in artists if artist.axes is ax.child_axes[5]]
    assert_density(forget[1], rows[4]["values"][:, 3:6])


def test_a_few_values_far_away_are_left_out_and_counted(tmp_path: Path) -> None:
    kernel = np.random.default_rng(0).uniform(-1, 1, size=(1000, 1))
    kernel[:2] = 50
    row = {"model": "m", "layer": "r", "layer_class": "SimpleRNN", "role": "recurrent_kernel", "values": kernel}
    [artist], ax = draw(write_table(tmp_path / "t.parquet", [row]))
    assert ax.child_axes[0].get_xlim()[1] < 1.2
    heights, edges, _ = artist.get_data()
    beyond = int(ax.child_axes[0].texts[0].get_text().removesuffix(" values beyond"))
    assert 2 <= beyond <= 6
    assert (heights * np.diff(edges)).sum() == pytest.approx(1 - beyond / 1000)


def test_of_many_models_the_others_are_a_band(tmp_path: Path) -> None:
    rows = [row for n in range(50) for row in recurrent(f"m{n:02}", "lstm", "LSTM", n)]
    artists, ax = draw(write_table(tmp_path / "t.parquet", rows))
    first = [artist for artist in artists if artist.axes is ax.child_axes[0]]
    assert len(first) == style.SHOWN + 1
    shown = [0, 7, 14, 21, 28, 35, 42, 49]
    for artist, n in zip(first, shown, strict=False):
        assert_density(artist, rows[3 * n]["values"][:, :3])
    high, edges, low = first[-1].get_data()
    others = [
        np.histogram(rows[3 * n]["values"][:, :3], edges)[0] / 15 / np.diff(edges) for n in range(50) if n not in shown
    ]
    np.testing.assert_allclose(high, np.max(others, axis=0))
    np.testing.assert_allclose(low, np.min(others, axis=0))
    assert ax.get_legend().get_texts()[-1].get_text() == "42 others, their range"


def test_models_that_lack_a_panel_are_said(tmp_path: Path) -> None:
    rows = recurrent("a", "lstm", "LSTM", 0) + recurrent("b", "lstm", "LSTM", 1)[:2]
    _, ax = draw(write_table(tmp_path / "t.parquet", rows))
    assert [text.get_text() for panel in ax.child_axes[8:] for text in panel.texts] == ["1 of 2 models"] * 4


def test_hostile_names_are_only_text(tmp_path: Path) -> None:
    rows = [row for n, name in enumerate(HOSTILE) for row in recurrent(name, HOSTILE[1], "LSTM", n)]
    made = plot.figure("gates", write_table(tmp_path / "t.parquet", rows))
    for suffix in plot.figures.SUFFIXES:
        plot.save(made, tmp_path / f"f{suffix}")
    drawn = (tmp_path / "f.svg").read_text()
    assert "<img" not in drawn
    assert "&lt;img src=x" in drawn


def test_the_layer_must_be_clear(table: Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 recurrent layers fit") as caught:
        gate_panels.load(table)
    assert caught.value.hint == "choose one by layer: gru, lstm"
    with pytest.raises(UsageError, match="no recurrent layer 'dense'"):
        gate_panels.load(table, "dense")
    with pytest.raises(UsageError, match="there is no recurrent layer") as caught:
        gate_panels.load(write_table(tmp_path / "t.parquet", [{"model": "m", "slot": "d/kernel", "values": [1.0]}]))
    assert "nothing here has a recurrent kernel" in caught.value.hint
    with pytest.raises(UsageError, match="no model fits 'gur'") as caught:
        gate_panels.load(table, model="gur")
    assert caught.value.hint == "models are gru and 1 more"
