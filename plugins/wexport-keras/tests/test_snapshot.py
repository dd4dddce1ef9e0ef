"""Snapshots of a training: what is in the folder, and what happens when training is broken off and goes on."""

from __future__ import annotations

import csv
import os
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
import os, sys, numpy as np, keras, wexport_keras, wexport.dataset
model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
model.compile("sgd", "mse")
commit, count = wexport.dataset.TableWriter.commit, []
def killed(writer):
    count.append(1)
    if len(count) == 3:
        os._exit(9)
    commit(writer)
wexport.dataset.TableWriter.commit = killed
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
    with pytest.raises(UsageError, match="no number of epochs"):
        wexport_keras.Snapshot(tmp_path / "run", every=0)
    with pytest.raises(UsageError, match="targets and no inputs"):
        wexport_keras.Snapshot(tmp_path / "run", targets=Y)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)
