"""What is asked of gradients and outputs instead of weights, by `kinds` in Python and `--kinds` on the command line."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import wexport
from tests import running
from wexport import library
from wexport.cli import cli
from wexport.errors import UsageError
from wexport.model.kinds import KINDS
from wexport.queries.asking import ONE_KIND, ask, stream
from wexport.sessions.session import Session

MODELS = ("run/epoch_1", "run/epoch_2", "run/epoch_3")
ONLY_RUN = ("activation", "gradient")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return running.write(tmp_path_factory.mktemp("table") / "t.parquet", MODELS)


@pytest.fixture(scope="module")
def metrics(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("metrics") / "metrics.csv"
    path.write_text("model,val_loss\n" + "".join(f"{model},{place}\n" for place, model in enumerate(MODELS)))
    return path


@pytest.fixture(scope="module")
def sessions(table: Path, metrics: Path) -> Iterator[dict[str, Session]]:
    opened = {kind: Session(table, {"metrics": metrics}, kinds=[kind]) for kind in ONLY_RUN}
    yield opened
    for session in opened.values():
        session.close()


def given(kind: str) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of a kind, by slot and model."""
    slots = [(slot, shape) for (of, slot), shape in running.SHAPES.items() if of == kind]
    return {slot: {model: running.values(model, kind, slot, *shape) for model in MODELS} for slot, shape in slots}


# -- the library -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ONLY_RUN)
@pytest.mark.parametrize("name", sorted(set(library.load()) - ONE_KIND))
def test_a_query_answers_about_the_kind_alone(sessions: dict[str, Session], name: str, kind: str) -> None:
    found = ask(sessions[kind], name).to_pylist()
    slots = {row["slot"] for row in found if row.get("slot") and row["slot"] != "(all)"}
    assert slots <= set(given(kind))
    if name in ("models", "architectures", "rank", "sparsity"):
        column = "values" if name == "sparsity" else "parameters"
        assert found[0][column] == sum(arrays[MODELS[0]].size for arrays in given(kind).values())
    elif name in ("tensors", "histogram", "drift"):
        assert slots == set(given(kind))
    elif name in ("similarity", "clusters"):
        assert len(found) == 3


@pytest.mark.parametrize("name", sorted(ONE_KIND))
def test_a_query_of_one_kind_is_asked_of_no_other(sessions: dict[str, Session], name: str) -> None:
    for question in (ask, stream):
        with pytest.raises(UsageError, match=f"{name} is not asked of gradient rows"):
            question(sessions["gradient"], name)


def test_all_queries_that_name_a_kind_are_among_those() -> None:
    by_kind = {name for name, query in library.load().items() if "kind = '" in query.sql}
    assert by_kind <= ONE_KIND


@pytest.mark.parametrize("kind", ONLY_RUN)
def test_similarity_and_drift_are_those_of_the_arrays(sessions: dict[str, Session], kind: str) -> None:
    arrays = {
        slot: {model: each.astype(np.float64).ravel() for model, each in of.items()} for slot, of in given(kind).items()
    }
    similar = {(row["model_a"], row["model_b"]): row for row in ask(sessions[kind], "similarity").to_pylist()}
    assert set(similar) == set(combinations(MODELS, 2))
    for (a, b), row in similar.items():
        cosines = [of[a] @ of[b] / np.linalg.norm(of[a]) / np.linalg.norm(of[b]) for of in arrays.values()]
        expected = np.average(cosines, weights=[of[a].size for of in arrays.values()])
        assert row["similarity"] == pytest.approx(expected, rel=1e-5, abs=1e-7)
        assert (row["coverage"], row["standard_error"]) == (1, 0)
    drifted = ask(sessions[kind], "drift", {"reference": MODELS[0]}).to_pylist()
    assert {(row["model"], row["slot"]) for row in drifted} == {(m, slot) for m in MODELS[1:] for slot in arrays}
    for row in drifted:
        old, new = arrays[row["slot"]][MODELS[0]], arrays[row["slot"]][row["model"]]
        assert row["relative_l2"] == pytest.approx(np.linalg.norm(new - old) / np.linalg.norm(old), rel=1e-5)
        assert row["cosine"] == pytest.approx(old @ new / np.linalg.norm(old) / np.linalg.norm(new), rel=1e-5)


def test_outputs_and_gradients_are_asked_without_kinds(table: Path) -> None:
    assert set(wexport.query("outputs", table)["slot"].to_pylist()) == set(given("activation"))
    assert set(wexport.query("gradients", table)["slot"].to_pylist()) - {None} == set(given("gradient"))


# -- views and sessions ------------------------------------------------------------------------------------------------

VIEWS = ("tensors", "gates", "units", "histogram", "sample")


@pytest.mark.parametrize("kind", ["weight", *ONLY_RUN])
def test_the_view_of_weights_shows_the_kind_and_the_others_stay(table: Path, kind: str) -> None:
    with wexport.connect(table, kinds=[kind]) as of_kind, wexport.connect(table) as plain:
        assert set(of_kind.sql("SELECT DISTINCT kind FROM weights").fetchall()) == {(kind,)}
        assert set(plain.sql("SELECT DISTINCT kind FROM weights").fetchall()) == {("weight",)}
        for view in VIEWS:
            counting = f"SELECT kind, count(*) FROM {view} GROUP BY kind ORDER BY kind"
            assert of_kind.sql(counting).fetchall() == plain.sql(counting).fetchall()


def test_kinds_do_not_leak_from_a_query_into_the_next(table: Path) -> None:
    with wexport.connect(table, kinds=["gradient"]) as connection:
        for _ in range(2):
            assert connection.ask("SELECT DISTINCT kind FROM weights")["kind"].to_pylist() == ["gradient"]
    with Session(table) as session:
        assert session.kinds == []
        assert session.ask("SELECT DISTINCT kind FROM weights")["kind"].to_pylist() == ["weight"]


@pytest.mark.parametrize(
    ("kinds", "told", "hint"),
    [
        (["outputs"], "there is no kind 'outputs'", "choose of weight, array, optimizer, activation, gradient"),
        (["activation", "x' OR 1"], 'there is no kind "x\' OR 1"', "choose of"),
        ([None], "there is no kind None", "choose of"),
        ("gradient", "kinds 'gradient' is a text", "['gradient']"),
    ],
)
def test_what_is_no_kind_is_refused_before_anything_is_opened(kinds: Any, told: str, hint: str) -> None:
    nowhere = "/nowhere/t.parquet"
    for call in (
        lambda: wexport.query("models", nowhere, kinds=kinds),
        lambda: wexport.connect(nowhere, kinds=kinds),
        lambda: Session(nowhere, kinds=kinds),
        lambda: wexport.plot.figure("histogram", nowhere, kinds=kinds, slot="a"),
    ):
        with pytest.raises(UsageError) as caught:
            call()
        assert str(caught.value) == told
        assert hint in caught.value.hint


@pytest.mark.parametrize("name", ["kinds", "KINDS", "weights_parquet"])
def test_no_parameter_changes_what_the_views_show(table: Path, name: str) -> None:
    with wexport.connect(table) as connection, pytest.raises(UsageError, match=f"{name} is not a parameter"):
        connection.sql("SELECT 1", {name: ["gradient"]})
    with pytest.raises(UsageError, match=f"{name} is not a parameter"):
        wexport.query("SELECT 1", table, {name: ["gradient"]})
    with pytest.raises(UsageError, match=f"query models has no parameter '{name}'"):
        wexport.query("models", table, {name: "gradient"})
    with pytest.raises(wexport.QueryError):
        wexport.query(f"SET VARIABLE {name} = ['gradient']", table)


def test_a_rule_cannot_change_them_either(table: Path, tmp_path: Path) -> None:
    rule = tmp_path / "rule.sql"
    rule.write_text("SET VARIABLE kinds = ['gradient'];")
    with pytest.raises(UsageError, match="kinds"):
        wexport.check(table, rules=[rule])


def test_a_check_is_of_all_kinds(table: Path, sessions: dict[str, Session]) -> None:
    assert {each.query for each in wexport.check(table)} <= {"health", "stability", "untrained", "outputs", "gradients"}
    with pytest.raises(UsageError, match="a session over gradient rows cannot be checked"):
        wexport.check(sessions["gradient"])


# -- from the command line ---------------------------------------------------------------------------------------------


def command(*arguments: object, code: int = 0) -> str:
    done = CliRunner().invoke(cli, ["query", *map(str, arguments)])
    assert done.exit_code == code, done.output
    return done.output + str(done.exception or "")


def test_the_command_asks_of_a_kind_or_of_several(table: Path) -> None:
    counting = "SELECT count(*) AS n FROM weights"
    count = {kind: 3 * sum(of == kind for of, _ in running.SHAPES) for kind in KINDS}
    assert command(counting, table, "--format", "csv").split() == ["n", str(count["weight"])]
    for kind in ONLY_RUN:
        assert command(counting, table, "--format", "csv", "--kinds", kind).split() == ["n", str(count[kind])]
    both = command(counting, table, "--format", "csv", "--kinds", "gradient", "--kinds", "activation")
    assert both.split() == ["n", str(count["gradient"] + count["activation"])]


def test_the_command_refuses_other_kinds(table: Path) -> None:
    assert "'outputs' is not one of 'weight'" in command("models", table, "--kinds", "outputs", code=2)
    assert "untrained is not asked of gradient rows" in command("untrained", table, "--kinds", "gradient", code=1)
    assert "kinds is not a parameter" in command("SELECT 1", table, "--param", "kinds=x", code=1)
