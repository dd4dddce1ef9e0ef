"""The order of models by a metric: what decides, what is said, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import wexport
from tests.conftest import EXAMPLES
from tests.tables import write_table
from wexport import library
from wexport.cli import cli


def rank(table: Path, file: Path, **parameters: Any) -> list[dict[str, Any]]:
    with wexport.connect(table, {"metrics": file}) as connection:
        found = connection.sql(library.get("rank").sql, parameters)
        return [dict(zip(found.columns, row, strict=True)) for row in found.fetchall()]


def written(path: Path, lines: str) -> Path:
    path.write_text(lines)
    return path


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [{"model": name, "layer": "dense", "role": "kernel", "values": [[1, 2]]} for name in ("a", "b")]
    return write_table(tmp_path_factory.mktemp("pair") / "weights.parquet", rows)


def test_the_best_fold_is_found(tmp_path: Path) -> None:
    """Ten folds, whose file of metrics calls them by number; fold 7 is the best."""
    accuracies = [0.81, 0.84, 0.79, 0.83, 0.80, 0.82, 0.91, 0.85, 0.78, 0.86]
    for fold in range(1, 11):
        target = tmp_path / "folds" / f"fold_{fold:02d}.h5"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(EXAMPLES / "gru.h5", target)
        with h5py.File(target, "r+") as file:
            kernel = file[next(key for key in keys(file) if key.endswith("kernel:0"))]
            kernel[...] = np.random.default_rng(fold).normal(size=kernel.shape)
    wexport.ingest(tmp_path / "folds", tmp_path / "weights.parquet")
    lines = ["fold,val_accuracy"] + [f"{fold},{value}" for fold, value in enumerate(accuracies, 1)]
    answer = wexport.query(
        "rank",
        tmp_path / "weights.parquet",
        files={"metrics": written(tmp_path / "folds.csv", "\n".join(lines) + "\n")},
    ).to_pylist()
    order = sorted(range(10), key=lambda place: -accuracies[place])
    assert [row["model"] for row in answer] == [f"fold_{place + 1:02d}" for place in order]
    assert answer[0]["model"] == "fold_07"
    assert answer[0]["reason"] == "best val_accuracy 0.91; ahead of fold_10 by 0.05"


def keys(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return found


def test_the_examples(tmp_path: Path) -> None:
    wexport.ingest(sorted(EXAMPLES.glob("*.h5")), tmp_path / "weights.parquet")
    found = rank(tmp_path / "weights.parquet", EXAMPLES / "metrics.csv", model="cnn_*")
    assert [row["model"] for row in found[:2]] == ["cnn_seed_1", "cnn_seed_4"]
    assert found[0]["reason"] == "best val_loss 0.2348; ahead of cnn_seed_4 by 0.0248"
    assert "architectures" not in found[0]["reason"]
    # With the recurrent networks, which were trained for another task, the first line warns.
    assert "several architectures" in rank(tmp_path / "weights.parquet", EXAMPLES / "metrics.csv")[0]["reason"]


def test_the_best_checkpoint_of_the_example_run(tmp_path: Path) -> None:
    wexport.ingest(EXAMPLES / "run", tmp_path / "weights.parquet")
    found = rank(tmp_path / "weights.parquet", EXAMPLES / "run" / "metrics.csv")
    # The name of each checkpoint holds its validation loss, so the names themselves say which epoch is whose.
    assert len(found) == 8
    for row in found:
        assert f"{row['value']:.2f}" == row["model"].rpartition("-")[2]
    assert found[0]["model"] == "weights.08-0.42"
    assert "epoch 7 of the metrics" in found[0]["reason"]


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[wexport.sessions.connection.Connection, Path]]:
    """A session over eight models, and its file of metrics, which each example writes anew."""
    folder = tmp_path_factory.mktemp("eight")
    rng = np.random.default_rng(8)
    rows = [
        {"model": f"m{place}", "layer": "d", "role": "kernel", "values": rng.normal(size=(4, 4))} for place in range(8)
    ]
    table = write_table(folder / "weights.parquet", rows)
    with wexport.connect(table, {"metrics": written(folder / "m.csv", "model,val_loss\nm0,1.5\n")}) as connection:
        yield connection, folder / "m.csv"


@settings(max_examples=20)
@given(
    losses=st.lists(st.one_of(st.floats(0, 4), st.sampled_from([0.5, 1.0])), min_size=8, max_size=8),
    tolerance=st.sampled_from([0.0, 0.1, 1.0]),
)
def test_order_and_ties(
    losses: list[float], tolerance: float, eight: tuple[wexport.sessions.connection.Connection, Path]
) -> None:
    """A model is never placed behind one that is worse by more than the tolerance, and every model has a line."""
    connection, file = eight
    lines = "".join(f"m{place},{loss!r}\n" for place, loss in enumerate(losses))
    written(file, "model,val_loss\n" + lines)
    found = connection.sql(library.get("rank").sql, {"tolerance": tolerance}).fetchall()
    assert sorted(row[1] for row in found) == [f"m{place}" for place in range(8)]
    ordered = [losses[int(row[1][1:])] for row in found]
    assert [row[3] for row in found] == ordered
    slack = tolerance * (1 + 1e-6)
    for place, loss in enumerate(ordered):
        assert all(loss <= later + slack for later in ordered[place:])
    assert tolerance > 0 or ordered == sorted(losses)
    assert [row[4] for row in found] == pytest.approx([loss - min(losses) for loss in ordered], abs=1e-12)


def test_infinite_is_last_and_said(pair: Path, tmp_path: Path) -> None:
    found = rank(pair, written(tmp_path / "m.csv", "model,val_loss\na,inf\nb,3\n"))
    assert [(row["model"], row["place"]) for row in found] == [("b", 1), ("a", None)]
    assert found[1]["reason"] == "its val_loss is infinite"


def test_what_is_no_number_is_said(pair: Path, tmp_path: Path) -> None:
    found = rank(pair, written(tmp_path / "m.csv", "model,val_loss\na,n/a?\nb,diverged\n"))
    assert [row["reason"] for row in found] == [
        "its val_loss is not a number: n/a?",
        "its val_loss is not a number: diverged",
    ]


ERRORS = {
    "not a validation metric": (
        "model,accuracy,loss\na,1,2\n",
        {},
        "no metric was measured on validation data.*accuracy, loss",
    ),
    "no such metric": ("model,val_loss\na,1\n", {"metric": "auc"}, "the metrics have no auc.*val_loss"),
    "not clear whose": ("epoch,val_loss\n0,1\n", {}, "no column that names models.*runs of the table: none"),
    "nothing": ("model,val_loss\n", {}, "the metrics are empty"),
    "no such run": ("epoch,val_loss\n0,1\n", {"run": "x"}, "no column that names models"),
    "no direction": ("model,val_loss\na,1\n", {"direction": "up"}, "higher or lower, not up"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_the_way_out(name: str, pair: Path, tmp_path: Path) -> None:
    lines, parameters, message = ERRORS[name]
    with pytest.raises(wexport.QueryError, match=message):
        wexport.query("rank", pair, parameters, files={"metrics": written(tmp_path / "m.csv", lines)})


def test_metrics_of_other_models_only(pair: Path, tmp_path: Path) -> None:
    found = rank(pair, written(tmp_path / "m.csv", "model,val_loss\nx,1\n"))
    assert [(row["model"], row["place"]) for row in found] == [("a", None), ("b", None), ("x", None)]


def test_a_test_metric_is_not_chosen_by_itself(pair: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "m.csv", "model,test_accuracy,val_accuracy\na,0.9,0.5\nb,0.1,0.6\n")
    assert rank(pair, file)[0]["model"] == "b"
    asked = rank(pair, file, metric="test_accuracy")
    assert asked[0]["model"] == "a"
    assert "not a validation metric" in asked[0]["reason"]


def test_a_single_model_with_its_own_history(tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "weights.parquet", [{"model": "best", "layer": "dense", "role": "kernel", "values": [[1, 2]]}]
    )
    file = written(tmp_path / "log.csv", "epoch,loss,val_loss\n0,1,0.9\n1,1,0.5\n2,1,0.7\n")
    assert rank(table, file)[0]["value"] == 0.7
    assert rank(table, file, epoch="best")[0]["value"] == 0.5
    assert "of its best epoch, 1" in rank(table, file, epoch="best")[0]["reason"]


def test_metrics_have_one_spelling_on_every_command(pair: Path, tmp_path: Path) -> None:
    file = written(tmp_path / "m.csv", "model,val_loss\na,2\nb,1\n")
    named = wexport.query("rank", pair, metrics=file)
    assert named.equals(wexport.query("rank", pair, files={"metrics": file}))
    assert named["model"].to_pylist() == ["b", "a"]
    said = [
        CliRunner().invoke(cli, ["query", "rank", str(pair), "--format", "csv", *given]).output
        for given in (["--metrics", str(file)], ["--with", f"metrics={file}"])
    ]
    assert said[0] == said[1] != ""
    with pytest.raises(wexport.UsageError, match="metrics are named twice"):
        wexport.query("rank", pair, metrics=[file], files={"metrics": file})
