"""A model far from all others does not flatten them, is named at the edge and stands out; a table alone is enough."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure

from tests.tables import write_table
from wexport import plot
from wexport.cli import cli
from wexport.errors import UsageError
from wexport.plot import limits


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven models, the sixth of which diverged; the tenth is a little larger than the others."""
    rows = []
    for number in range(11):
        rng = np.random.default_rng(number)
        scale = 1e9 if number == 5 else 1.5 if number == 9 else 1.0
        for layer, shape in (("conv2d", (3, 3, 2, 4)), ("dense", (36, 8))):
            kind = "Conv2D" if layer == "conv2d" else "Dense"
            meaning = {"layer": layer, "layer_class": kind, "role": "kernel"}
            rows.append({"model": f"m{number:02}", **meaning, "values": scale * rng.normal(0, 0.1, shape)})
    return write_table(tmp_path_factory.mktemp("table") / "t.parquet", rows)


@pytest.mark.parametrize("kind", ["profile", "units", "histogram"])
def test_a_diverged_model_does_not_flatten_the_others_and_is_named(table: Path, kind: str) -> None:
    ax = Figure().subplots()
    getattr(plot, kind)(table, ax=ax)
    end = ax.get_xlim()[1] if kind == "histogram" else ax.get_ylim()[1]
    assert end < 10
    (told,) = [text.get_text() for text in ax.texts if "beyond" in text.get_text()]
    assert "m05 to " in told
    assert any("m05" in text.get_text() for text in ax.get_legend().get_texts())  # it stands out


def test_of_two_neither_is_the_odd_one() -> None:
    assert limits.within([np.array([1.0]), np.array([1e9])]) is None
    assert limits.within([np.array([1.0, 2.0]), np.array([1.5]), np.array([np.nan]), np.array([1e9, 1.7])]) == (
        1.0,
        2.0,
    )


def test_equal_lines_are_spread_and_the_odd_one_is_among_those_that_stand_out() -> None:
    assert limits.standing_out([np.ones(3)] * 20, 4) == [0, 6, 13, 19]
    odd = [np.ones(3) * (5 if place == 7 else 1 + place / 1000) for place in range(20)]
    assert 7 in limits.standing_out(odd, 4)


@pytest.mark.parametrize("kind", ["histogram", "heatmap", "units", "filters", "scatter", "profile", "similarity"])
def test_a_kind_needs_the_table_alone_and_says_what_it_chose(table: Path, tmp_path: Path, kind: str) -> None:
    out = tmp_path / "f.png"
    done = CliRunner().invoke(cli, ["plot", kind, str(table), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert out.read_bytes().startswith(b"\x89PNG")
    assert f"wrote {out}" in done.output
    if kind not in ("profile", "similarity"):
        assert "drawn " in done.output
        chosen = " ".join(done.output.split())
        assert {"scatter": "--a and --b", "filters": "conv2d/kernel"}.get(kind, "--slot chooses another") in chosen


def test_without_axes_there_is_a_figure_of_its_own(table: Path) -> None:
    assert isinstance(plot.histogram(table, model="m0[0-4]"), Figure)
    assert isinstance(plot.scatter(table, "m00", "m01"), Figure)


def test_dark_figures_are_light_on_dark(table: Path) -> None:
    made = plot.figure("profile", table, dark=True)
    assert max(made.get_facecolor()[:3]) < 0.2
    assert made.axes[0].xaxis.label.get_color() == "#e8eaed"


def test_a_wrong_model_is_told_with_the_nearest(table: Path) -> None:
    with pytest.raises(UsageError, match="there is no model 'm0x'") as raised:
        plot.histogram(table, model="m0x")
    assert "models are m" in str(raised.value.hint)


def test_a_ranking_says_that_it_needs_metrics(table: Path) -> None:
    with pytest.raises(UsageError, match="needs your metrics"):
        plot.rank(table)
