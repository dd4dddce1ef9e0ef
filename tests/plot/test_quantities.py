"""Plots of gradients and outputs say that they are: no axis of theirs calls them weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from matplotlib.text import Text

from tests import running
from tests.tables import write_table
from wexport import plot
from wexport.cli import cli
from wexport.errors import UsageError
from wexport.plot.matrices import matrix_of
from wexport.sessions.session import Session

ONE, TWO = running.MODELS


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.write(tmp_path_factory.mktemp("table") / "t.parquet")


@pytest.fixture(scope="module")
def sessions(path: Path) -> Iterator[dict[str, Session]]:
    with Session(path, kinds=["gradient"]) as gradient, Session(path, kinds=["activation"]) as activation:
        yield {"gradient": gradient, "activation": activation}


def words(made: Figure) -> list[str]:
    """All text of a figure but ticks, names of models and slots left out."""
    found = [text.get_text() for text in made.findobj(Text)]
    return [text for text in found if any(letter.isalpha() for letter in text)]


# Of each kind of plot: what to draw, and the words in which it says what that is.
GRADIENTS = {
    "histogram": ({"slot": "dense/kernel"}, {"gradient [loss/weight]", "share of values per unit of gradient"}),
    "gates": ({"layer": "lstm"}, {"gradient [loss/weight]"}),
    "heatmap": ({"slot": "lstm/*kernel", "model": ONE}, {"gradient [loss/weight]"}),
    "units": ({"slot": "dense/kernel"}, {"L2 norm of the gradients of each unit [loss/weight]"}),
    "filters": ({"slot": "conv2d/kernel"}, {"gradient [loss/weight]"}),
    "scatter": (
        {"slot": "dense/kernel", "a": ONE, "b": TWO},
        {"gradient [loss/weight] in epoch_1", "gradient [loss/weight] in epoch_2"},
    ),
    "profile": ({"statistic": "rms"}, {"rms of the gradients [loss/weight]"}),
    "trajectory": ({"slot": "dense/kernel"}, {"std of the gradients [loss/weight]"}),
    "curves": ({"slot": "lstm/output", "model": ONE}, {"gradient [loss/output]"}),
    "maps": ({"slot": "lstm/output", "model": ONE}, {"gradient [loss/output]"}),
}
OUTPUTS = {
    "histogram": ({"slot": "lstm/output", "layout": "ridge"}, {"output"}),
    "heatmap": ({"slot": "lstm/output", "model": ONE}, {"output", "input and place (4 x 6 flattened)", "unit"}),
    "units": ({"slot": "lstm/output"}, {"L2 norm of the outputs of each unit [output]"}),
    "scatter": ({"slot": "dense/output", "a": ONE, "b": TWO}, {"output in epoch_1", "output in epoch_2"}),
    "profile": (
        {"statistic": "abs_max", "role": "output"},
        {"abs_max of the outputs [output]", "layers that have an output, in order of depth"},
    ),
    "trajectory": ({"slot": "dense/output", "statistic": "zero_fraction"}, {"zero_fraction of the outputs [fraction]"}),
    "curves": ({"slot": "lstm/output", "model": ONE}, {"output"}),
    "maps": ({"slot": "conv2d/output", "model": ONE}, {"output"}),
}
CASES = [
    (held, kind, options, said)
    for held, cases in (("gradient", GRADIENTS), ("activation", OUTPUTS))
    for kind, (options, said) in cases.items()
]


@pytest.mark.parametrize(("held", "kind", "options", "said"), CASES, ids=[f"{case[1]} of {case[0]}" for case in CASES])
def test_a_plot_says_what_it_is_of(
    sessions: dict[str, Session], held: str, kind: str, options: dict[str, Any], said: set[str]
) -> None:
    found = words(plot.figure(kind, sessions[held], **options))
    assert said <= set(found)
    assert not [text for text in found if "weight" in text.replace("loss/weight", "")]


def test_every_kind_of_plot_is_among_the_cases_or_has_no_such_words() -> None:
    # similarity is a cosine whatever it is of; rank is below.
    assert set(plot.KINDS) - {case[1] for case in CASES} == {"similarity", "rank"}


def test_gradients_by_several_things_share_no_unit(sessions: dict[str, Session]) -> None:
    found = words(plot.figure("profile", sessions["gradient"], role="*"))
    assert "std of the gradients [loss/value]" in found


def test_values_are_those_of_the_kind_asked_for(sessions: dict[str, Session]) -> None:
    given = {model: running.values(model, "gradient", "dense/kernel", 12, 9) for model in (ONE, TWO)}
    ax = Figure().subplots()
    cloud, _ = plot.scatter(sessions["gradient"], ONE, TWO, ax=ax, slot="dense/kernel")
    drawn = np.asarray(cloud.get_offsets())  # type: ignore[attr-defined]
    np.testing.assert_array_equal(drawn, np.column_stack([given[ONE].ravel(), given[TWO].ravel()]))
    ax = Figure().subplots()
    (line,) = plot.profile(sessions["gradient"], "abs_max", ax=ax, model=ONE, slot="dense/*")
    assert line.get_ydata() == [np.abs(given[ONE]).max()]  # type: ignore[attr-defined]


def test_rank_takes_kinds_though_it_opens_its_own_session(path: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "metrics.csv"
    metrics.write_text(f"model,val_loss\n{ONE},0.5\n{TWO},0.25\n")
    made = plot.figure("rank", path, metrics=metrics, kinds=["gradient"], slot="dense/kernel")
    assert "l2_norm of the gradients [loss/weight] of dense/kernel" in words(made)
    (points, *_) = made.axes[0].collections
    drawn = np.asarray(points.get_offsets())
    expected = [np.linalg.norm(running.values(model, "gradient", "dense/kernel", 12, 9)) for model in (TWO, ONE)]
    np.testing.assert_allclose(drawn[:, 0], expected, rtol=1e-6)


def test_similarity_is_of_the_kind_asked_for(sessions: dict[str, Session]) -> None:
    ax = Figure().subplots()
    mesh, _ = plot.similarity(sessions["activation"], ax=ax)
    slots = [(slot, shape) for (kind, slot), shape in running.SHAPES.items() if kind == "activation"]
    pairs = [
        [running.values(model, "activation", slot, *shape).ravel() for model in (ONE, TWO)] for slot, shape in slots
    ]
    cosines = [float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs]
    expected = np.average(cosines, weights=[a.size for a, _ in pairs])
    cells = np.asarray(mesh.get_array(), np.float64).reshape(2, 2)
    assert cells[0, 1] == pytest.approx(expected, rel=1e-5)


# -- heat maps of outputs whose grid is one over inputs ----------------------------------------------------------------


def test_a_grid_of_outputs_stands_at_its_places_and_not_at_its_inputs(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(50, 40, 35)).astype("f4")
    row = {"model": "m", "slot": "l/output", "role": "output", "kind": "activation", "values": array}
    made = plot.figure("heatmap", write_table(tmp_path / "t.parquet", [row]), slot="l/output", kinds=["activation"])
    ax = made.axes[0]
    assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 34.5), (39.5, -0.5))
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("unit", "place")
    assert "RMS of blocks of 1-2 x 1-2 outputs\nover 50 inputs" in words(made)
    squares = (array.astype(np.float64) ** 2).mean(axis=0)
    first = np.asarray(ax.collections[0].get_array())[0, 0]
    # 40 places and 35 units in 32 bands each: the first holds two of each.
    assert first == pytest.approx(np.sqrt(squares[:2, :2].mean()), rel=1e-6)


def test_the_matrix_of_a_kernel_keeps_all_its_axes() -> None:
    said = {"canonical_shape": [3, 40, 50], "unit_axes": [2], "value_count": 6000, "sample": None, "gates": None}
    grid = {"rows": 32, "cols": 32, "rms": np.ones(1024)}
    kernel = matrix_of({**said, "grid": grid, "role": "kernel"})
    output = matrix_of({**said, "grid": grid, "role": "output"})
    assert kernel is not None
    assert output is not None
    assert (kernel.row_axes, kernel.row_edges[-1], kernel.pooled) == ((0, 1), 120, 1)
    assert (output.row_axes, output.row_edges[-1], output.pooled) == ((1,), 40, 3)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "options", "message", "hint"),
    [
        (
            "histogram",
            {"slot": "lstm/output", "kinds": ["activation", "gradient"]},
            "activation and gradient do not",
            "",
        ),
        ("heatmap", {"slot": "lstm/output", "kinds": ["activation", "gradient"]}, "activation and gradient do not", ""),
        ("profile", {"role": "*", "kinds": ["weight", "gradient"]}, "gradient and weight do not go into one plot", ""),
        ("histogram", {"slot": "lstm/output", "kinds": ["outputs"]}, "there is no kind 'outputs'", "activation"),
        ("histogram", {"slot": "lstm/output", "kinds": "activation"}, "kinds 'activation' is a text", "['activation']"),
        ("filters", {"slot": "conv2d/output", "kinds": ["activation"]}, "no kernel, but what goes through a layer", ""),
        ("gates", {"kinds": ["activation"]}, "there is no recurrent layer", "nothing here has a recurrent kernel"),
        ("profile", {"kinds": ["activation"]}, "nothing of role 'kernel'", "roles are: output"),
        ("units", {"slot": "loss/output", "kinds": ["activation"]}, "has no units", ""),
        ("histogram", {"slot": "lstm/output"}, "no model has a slot 'lstm/output'", "slots here are "),
        ("pie", {"kinds": ["gradient"]}, "kind 'pie' is not known", "histogram"),
    ],
)
def test_what_makes_no_sense_is_refused(
    path: Path, kind: str, options: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        plot.figure(kind, path, **options)
    assert hint in caught.value.hint


def test_a_session_has_its_kinds_already(sessions: dict[str, Session]) -> None:
    with pytest.raises(UsageError, match="an open session is of some kinds already"):
        plot.figure("histogram", sessions["gradient"], slot="dense/kernel", kinds=["activation"])


# -- from the command line ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("histogram --slot dense/kernel --kinds gradient", "gradient [loss/weight]"),
        (f"curves --slot lstm/output --model {ONE} --input 2", "input 2 of 4"),
        (f"maps --slot conv2d/output --model {ONE} --kinds activation --limit 2", "5 channels of 8 x 10"),
    ],
)
def test_the_commands(path: Path, tmp_path: Path, arguments: str, said: str) -> None:
    out = tmp_path / "f.svg"
    done = CliRunner().invoke(cli, ["plot", *arguments.split(), str(path), "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert said in out.read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("histogram --slot dense/kernel --kinds outputs", "'outputs' is not one of"),
        ("curves --slot lstm/output --input -1", "-1 is not in the range"),
    ],
)
def test_commands_that_make_no_sense(path: Path, arguments: str, said: str) -> None:
    done = CliRunner().invoke(cli, ["plot", *arguments.split(), str(path), "-o", "f.svg"])
    assert done.exit_code == 2
    assert said in done.output
