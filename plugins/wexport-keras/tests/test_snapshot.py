"""Snapshots of a training: what is in the folder, and what happens when training is broken off and goes on."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest
import wexport_keras
from click.testing import CliRunner
from keras import layers as k

import wexport
from wexport.cli import cli
from wexport.errors import UsageError

X = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
Y = X[:, :1] * 2 + 1


def small() -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), k.Dense(6, activation="relu"), k.Dense(1)])
    model.compile("sgd", "mse")
    return model


def train(model: Any, snapshot: Any, epochs: int = 4, **options: Any) -> None:
    model.fit(X, Y, epochs=epochs, verbose=0, validation_split=0.2, callbacks=[snapshot], **options)


def parts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.parquet"))


def metrics(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def test_each_epoch_is_a_part_with_the_weights_it_ended_with(tmp_path: Path) -> None:
    model, seen = small(), []
    keeping = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.get_weights()))
    snapshot = wexport_keras.Snapshot(tmp_path / "run", verbose=0)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[snapshot, keeping])
    assert parts(tmp_path / "run") == ["epoch_0001.parquet", "epoch_0002.parquet", "epoch_0003.parquet"]
    for step, weights in enumerate(seen, 1):
        rows = pq.read_table(tmp_path / "run" / f"epoch_{step:04}.parquet").to_pylist()
        assert {(row["run"], row["step"], row["model"]) for row in rows} == {("run", step, f"run/epoch_{step:04}")}
        for row, values in zip(rows, weights, strict=True):
            np.testing.assert_array_equal(np.float32(row["sample"]["value"]).reshape(values.shape), values)


def test_the_folder_is_a_table_that_queries_and_rank_take(tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(small(), wexport_keras.Snapshot(run, inputs=X[:10], targets=Y[:10], verbose=0))
    kinds = wexport.query("SELECT kind, count(*) AS n FROM tensors GROUP BY kind ORDER BY kind", run).to_pylist()
    assert kinds == [{"kind": "activation", "n": 8}, {"kind": "gradient", "n": 16}, {"kind": "weight", "n": 16}]
    assert wexport.query("drift", run).num_rows == 12
    rows = wexport.query("rank", run, files={"metrics": run / "metrics.csv"}).to_pylist()
    losses = [float(row["val_loss"]) for row in metrics(run)]
    assert rows[0]["model"] == f"run/epoch_{np.argmin(losses) + 1:04}"
    assert rows[0]["value"] == pytest.approx(min(losses))
    report = ["report", str(run), "--metrics", str(run / "metrics.csv"), "-o", str(tmp_path / "r.html")]
    done = CliRunner().invoke(cli, report)
    assert done.exit_code == 0, done.output
    page = (tmp_path / "r.html").read_text()
    assert "Outputs and gradients" in page
    assert "By the metrics" in page


def test_every_second_epoch_and_the_last(tmp_path: Path) -> None:
    snapshot = wexport_keras.Snapshot(tmp_path / "run", every=2, verbose=0)
    train(small(), snapshot, epochs=5)
    assert snapshot.written == [2, 4, 5]
    assert [row["epoch"] for row in metrics(tmp_path / "run")] == ["1", "2", "3", "4", "5"]
    assert {row["learning_rate"] for row in metrics(tmp_path / "run")} == {"0.009999999776482582"}


def test_the_cost_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    snapshot = wexport_keras.Snapshot(tmp_path / "run")
    train(small(), snapshot, epochs=2)
    assert snapshot.cost == pytest.approx(snapshot.snapshot_seconds / snapshot.epoch_seconds)
    assert f"Snapshot: 2 epochs in {tmp_path / 'run'}" in capsys.readouterr().out


def test_training_that_goes_on_goes_on_here(tmp_path: Path) -> None:
    model, run = small(), tmp_path / "run"
    train(model, wexport_keras.Snapshot(run, verbose=0), epochs=5)
    with pytest.raises(UsageError, match="holds a run already, epochs 1 to 5") as caught:
        train(model, wexport_keras.Snapshot(run, verbose=0), epochs=1)
    assert "initial_epoch=5" in caught.value.hint
    # Back to the state after epoch 3, as after a crash: what was written of 4 and 5 is of a training that is gone.
    before = metrics(run)
    train(model, wexport_keras.Snapshot(run, verbose=0), epochs=4, initial_epoch=3)
    assert parts(run)[-1] == "epoch_0004.parquet"
    assert metrics(run)[:3] == before[:3]
    assert [row["epoch"] for row in metrics(run)] == ["1", "2", "3", "4"]
    train(model, wexport_keras.Snapshot(run, overwrite=True, verbose=0), epochs=2)
    assert parts(run) == ["epoch_0001.parquet", "epoch_0002.parquet"]


_KILLED = """
import os, sys, numpy as np, keras, wexport_keras, wexport.table.writer
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
model.compile("sgd", "mse")
commit, count = wexport.table.writer.TableWriter.commit, []
def killed(writer):
    count.append(1)
    if len(count) == 3:
        os._exit(9)
    commit(writer)
wexport.table.writer.TableWriter.commit = killed
x = np.ones((8, 4), "float32")
model.fit(x, x[:, :3], epochs=5, verbose=0, callbacks=[wexport_keras.Snapshot(sys.argv[1])])
"""


def test_a_run_that_is_killed_leaves_a_table(tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", _KILLED, run], env=os.environ, capture_output=True)
    assert done.returncode == 9, done.stderr
    assert parts(run) == ["epoch_0001.parquet", "epoch_0002.parquet"]
    assert wexport.query("models", run).num_rows == 2
    assert len(metrics(run)) == 2
    model = keras.Sequential([keras.Input((4,)), k.Dense(3)])
    model.compile("sgd", "mse")
    x = np.ones((8, 4), "float32")
    snapshot = wexport_keras.Snapshot(run, verbose=0)
    model.fit(x, x[:, :3], epochs=3, initial_epoch=2, verbose=0, callbacks=[snapshot])
    assert sorted(path.name for path in run.iterdir()) == [
        *(f"epoch_000{step}.parquet" for step in (1, 2, 3)), "metrics.csv"
    ]  # fmt: skip


def test_what_does_not_fit_is_told_before_the_first_epoch(tmp_path: Path) -> None:
    model = small()
    before = model.get_weights()
    with pytest.raises(UsageError, match="its shape is"):
        train(model, wexport_keras.Snapshot(tmp_path / "run", inputs=X[:, :2]))
    with pytest.raises(UsageError, match="not a number of epochs"):
        wexport_keras.Snapshot(tmp_path / "run", every=0)
    with pytest.raises(UsageError, match="targets and no inputs"):
        wexport_keras.Snapshot(tmp_path / "run", targets=Y)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


class Each(keras.callbacks.Callback):
    """Does something at the beginning of an epoch."""

    def __init__(self, **acts: Any) -> None:
        super().__init__()
        self._acts = acts

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._acts.get(f"at{epoch}", lambda: None)()


def test_training_outlives_what_cannot_be_written(tmp_path: Path) -> None:
    run, model = tmp_path / "run", small()
    snapshot = wexport_keras.Snapshot(run, verbose=0)

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    patch = pytest.MonkeyPatch()
    acts = Each(
        at1=lambda: patch.setattr("wexport.table.writer.TableWriter.commit", full),
        at2=patch.undo,
        at3=lambda: shutil.rmtree(run),
    )
    with pytest.warns(UserWarning, match=r"epoch 2 is not all written: OSError: .* No space left"):
        model.fit(X, Y, epochs=4, verbose=0, callbacks=[snapshot, acts])
    assert list(snapshot.failed) == [2]
    assert parts(run) == ["epoch_0004.parquet"]
    assert [row["epoch"] for row in metrics(run)] == ["1", "2", "3", "4"]


def test_two_runs_in_one_folder_are_told_and_neither_is_torn(tmp_path: Path) -> None:
    run = tmp_path / "run"

    def other() -> None:
        (run / "epoch_0002.parquet").write_bytes(b"theirs")
        (run / "metrics.csv").write_text("run,epoch,loss\nrun,2,0.5\n")

    callbacks = [wexport_keras.Snapshot(run, verbose=0), Each(at1=other)]
    with pytest.warns(UserWarning, match="another run writes there too"):
        small().fit(X, Y, epochs=2, verbose=0, callbacks=callbacks)
    assert (run / "epoch_0002.parquet").read_bytes() == b"theirs"
    assert metrics(run) == [{"run": "run", "epoch": "2", "loss": "0.5"}]


def test_the_last_epoch_holds_its_own_weights_though_better_ones_are_brought_back(tmp_path: Path) -> None:
    model, seen = small(), []
    stopping = keras.callbacks.EarlyStopping(monitor="loss", min_delta=100, patience=1, restore_best_weights=True)
    keeping = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(model.get_weights()))
    snapshot = wexport_keras.Snapshot(tmp_path / "run", every=5, verbose=0)
    model.fit(X, Y, epochs=9, verbose=0, callbacks=[keeping, stopping, snapshot])
    assert snapshot.written == [len(seen)]
    [part] = (tmp_path / "run").glob("*.parquet")
    kernel = pq.read_table(part).to_pylist()[0]["sample"]["value"]
    np.testing.assert_array_equal(np.float32(kernel).reshape(4, 6), seen[-1][0])
    assert not np.array_equal(seen[-1][0], model.get_weights()[0])


def test_metrics_called_like_our_columns_take_no_places(tmp_path: Path) -> None:
    model = small()
    named = [keras.metrics.MeanAbsoluteError(name=name) for name in ("run", "epoch", "a,b/c")]
    model.compile("sgd", "mse", metrics=named)
    train(model, wexport_keras.Snapshot(tmp_path / "run", verbose=0), epochs=2)
    rows = metrics(tmp_path / "run")
    assert [(row["run"], row["epoch"]) for row in rows] == [("run", "1"), ("run", "2")]
    assert {"metric_run", "metric_epoch", "a,b/c", "val_a,b/c"} <= set(rows[0])


def test_a_model_that_training_builds(tmp_path: Path) -> None:
    model = keras.Sequential([k.Dense(3), k.Dense(1)])
    model.compile("sgd", "mse")
    train(model, wexport_keras.Snapshot(tmp_path / "run", inputs=X[:5], targets=Y[:5], verbose=0), epochs=2)
    kinds = wexport.query("SELECT kind, count(*) AS n FROM tensors GROUP BY kind ORDER BY kind", tmp_path / "run")
    assert [row["n"] for row in kinds.to_pylist()] == [4, 8, 8]


def test_layers_that_are_frozen_are_marked_from_then_on(tmp_path: Path) -> None:
    model, run = small(), tmp_path / "run"
    snapshot = wexport_keras.Snapshot(run, inputs=X[:5], targets=Y[:5], verbose=0)
    train(model, snapshot, epochs=1)
    model.layers[0].trainable = False
    model.compile("sgd", "mse")
    train(model, snapshot, epochs=2, initial_epoch=1)
    rows = wexport.query("SELECT step, kind, trainable FROM tensors WHERE slot = 'dense/kernel' ORDER BY ALL", run)
    assert [tuple(row.values()) for row in rows.to_pylist()] == [
        (1, "gradient", True), (1, "weight", True), (2, "weight", False)
    ]  # fmt: skip
