"""Metrics as users have them: what the files look like, and whose they are."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wexport
from tests.conftest import EXAMPLES
from tests.tables import write_table
from wexport import library
from wexport.queries.metrics import gather


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Two models."""
    return write_table(
        tmp_path / "weights.parquet",
        [{"model": name, "layer": "dense", "role": "kernel", "values": [[1, 2]]} for name in ("a", "b")],
    )


def scores(table: Path, file: Path, **parameters: Any) -> dict[str, Any]:
    """The metric's value by model, as `rank` finds it."""
    with wexport.connect(table, {"metrics": file}) as connection:
        answer = connection.sql(library.get("rank").sql, parameters).fetchall()
    return {row[1]: row[3] for row in answer}


WIDE = {
    "wide.csv": "model,val_loss,note\na,0.2,x\nb,0.1,\n",
    "wide.tsv": "model\tval_loss\na\t0.2\nb\t0.1\n",
    "semicolons.csv": "model;val_loss\na;0.2\nb;0.1\n",
    "index_with_the_names.csv": ",val_loss\na,0.2\nb,0.1\n",
    "index_and_names.csv": ",name,val_loss\n0,a,0.2\n1,b,0.1\n",
    "unnamed.csv": "Unnamed: 0,model,val_loss\n0,a,0.2\n1,b,0.1\n",
    "spaces.csv": "Model Name, Val Loss\n a ,0.2\n b ,0.1\n",
    "suffixes.csv": "file,val_loss\na.h5,0.2\nb.keras,0.1\n",
    "folders.csv": "path,val_loss\nruns/x/a.h5,0.2\n/data/b.weights.h5,0.1\n",
    "windows.csv": "path,val_loss\nruns\\x\\a.h5,0.2\nC:\\b.h5,0.1\n",
    "case.csv": "model,val_loss\nA,0.2\nB,0.1\n",
    "percent.csv": "model,val_loss\na,20%\nb,10 %\n",
    "long.csv": "model,metric,value\na,val_loss,0.2\na,loss,9\nb,val_loss,0.1\n",
    "lines.jsonl": '{"model": "a", "val_loss": 0.2}\n{"model": "b", "val_loss": 0.1, "extra": [1, 2]}\n',
    "list.json": '[{"model": "a", "val_loss": 0.2}, {"model": "b", "val_loss": 0.1}]',
    "epochs.csv": "model,epoch,val_loss\na,0,0.5\na,1,0.2\nb,0,0.1\n",
    "training_apart.csv": "model,epoch,step,loss,val_loss\na,0,9,0.5,\na,0,9,,0.2\nb,0,9,0.5,\nb,0,9,,0.1\n",
    "decimal_commas.csv": "model;val_loss\na;0,2\nb;1e-1\n",
    "decimal_commas_percent.csv": "model;val_loss\na;20,0 %\nb;10%\n",
    "line_ends_of_two_systems.csv": "model,val_loss\r\na,0.2\nb,0.1\r\n",
    "floating_epochs.csv": "model,epoch,val_loss\na,0.0,0.5\na,1.0,0.2\nb,0.0,0.1\n",
}


@pytest.mark.parametrize("name", WIDE)
def test_reads_what_users_have(name: str, table: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(WIDE[name])
    assert scores(table, tmp_path / name) == {"a": 0.2, "b": 0.1}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_reads_parquet(dtype: type, table: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"model": ["a", "b"], "val_loss": np.array([0.2, 0.1], dtype)}), tmp_path / "m.parquet")
    assert scores(table, tmp_path / "m.parquet") == {"a": 0.2, "b": 0.1}


def test_values_come_through_to_the_last_digit(table: Path, tmp_path: Path) -> None:
    value = 0.1 + 0.2
    (tmp_path / "m.csv").write_text(f"model,val_loss\na,{value!r}\nb,1e-300\n")
    assert scores(table, tmp_path / "m.csv") == {"a": value, "b": 1e-300}


DIRECTIONS = {
    1: "val_accuracy val_acc val_auc_1 val_f1 val_f1_score val_top_5_accuracy val_r2_score val_mean_io_u val_precision "
    "val_neg_mean_squared_error valid_recall validation_accuracy accuracy_val val_binary_accuracy val_log_likelihood",
    -1: "val_loss val_dense_1_loss val_mae val_mean_absolute_error val_root_mean_squared_error val_log_loss val_wer "
    "val_sparse_categorical_crossentropy val_perplexity val_kl_divergence val_false_positives dev_loss",
}


def test_direction_by_name(table: Path) -> None:
    with wexport.connect(table) as connection:
        for sign, names in DIRECTIONS.items():
            for name in names.split():
                found = connection.sql(f"SELECT metric_direction(metric_word('{name}'))").fetchall()
                assert (name, found) == (name, [(sign,)])


def test_the_direction_decides(table: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text("model,val_acc,val_mse\na,1,1\nb,2,2\n")
    assert list(scores(table, tmp_path / "m.csv", metric="val_acc")) == ["b", "a"]
    assert list(scores(table, tmp_path / "m.csv", metric="val_mse")) == ["a", "b"]


@pytest.mark.parametrize("metric", ["val_score", "val_cosine_similarity"])
def test_no_direction_is_guessed(metric: str, table: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text(f"model,{metric}\na,1\nb,2\n")
    with pytest.raises(wexport.QueryError, match=f"{metric} does not tell whether more is better.*direction"):
        wexport.query("rank", table, {"metric": metric}, files={"metrics": tmp_path / "m.csv"})
    assert list(scores(table, tmp_path / "m.csv", metric=metric, direction="higher")) == ["b", "a"]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two runs of two checkpoints, a model in its own folder, and the table."""
    names = ["x/weights.01.h5", "x/weights.02.h5", "y/weights.01.h5", "y/weights.02.h5", "z/model.h5"]
    for name in names:
        (tmp_path / "models" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / "gru.h5", tmp_path / "models" / name)
    wexport.ingest(tmp_path / "models", tmp_path / "weights.parquet")
    return tmp_path


def test_a_csvlogger_file_belongs_to_the_run_in_its_folder(runs: Path) -> None:
    logs = []
    for folder, losses in (("x", (0.5, 0.4)), ("y", (0.3, 0.6)), ("z", (0.9, 0.2))):
        logs.append(runs / "models" / folder / "log.csv")
        logs[-1].write_text("epoch,loss,val_loss\n" + "".join(f"{i},0,{loss}\n" for i, loss in enumerate(losses)))
    gathered = gather(runs / "weights.parquet", logs, runs / "all.parquet")
    assert scores(runs / "weights.parquet", gathered) == {
        "z/model": 0.2,
        "y/weights.01": 0.3,
        "x/weights.02": 0.4,
        "x/weights.01": 0.5,
        "y/weights.02": 0.6,
    }


def test_a_run_that_is_not_clear_must_be_chosen(runs: Path) -> None:
    log = runs / "log.csv"
    log.write_text("epoch,val_loss\n0,0.5\n1,0.4\n")
    with pytest.raises(wexport.QueryError, match=r"parameter run.*x/weights, y/weights"):
        wexport.query("rank", runs / "weights.parquet", files={"metrics": log})
    found = scores(runs / "weights.parquet", log, run="y/weights")
    assert found["y/weights.01"] == 0.5
    assert found["y/weights.02"] == 0.4
    assert found["x/weights.01"] is None


def test_the_history_of_keras_as_json(runs: Path) -> None:
    (runs / "history.json").write_text('{"loss": [0.3, 0.2], "val_loss": [0.4, 0.35]}')
    found = scores(runs / "weights.parquet", runs / "history.json", run="x/weights")
    assert (found["x/weights.01"], found["x/weights.02"]) == (0.4, 0.35)


def test_gathers_what_names_models_as_well(table: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("model,val_loss,val_accuracy\na,0.2,91%\n")
    (tmp_path / "two.jsonl").write_text('{"name": "b", "val_loss": 0.1}\n{"name": "c", "val_loss": 0.3}\n')
    gathered = gather(table, [tmp_path / "one.csv", tmp_path / "two.jsonl"], tmp_path / "all.parquet")
    assert pq.read_table(gathered).to_pylist() == [
        {"model": "a", "epoch": None, "metric": "val_accuracy", "value": "91%"},
        {"model": "a", "epoch": None, "metric": "val_loss", "value": "0.2"},
        {"model": "b", "epoch": None, "metric": "val_loss", "value": "0.1"},
        {"model": "c", "epoch": None, "metric": "val_loss", "value": "0.3"},
    ]
    assert scores(table, gathered) == {"b": 0.1, "a": 0.2, "c": None}


def test_a_metrics_file_that_is_not_there(table: Path, tmp_path: Path) -> None:
    with pytest.raises(wexport.UsageError, match=r"gone\.csv"):
        gather(table, [tmp_path / "gone.csv"], tmp_path / "all.parquet")


NESTED = {
    "by_name.json": '{"a": {"val_loss": 0.2, "loss": 9}, "b": {"val_loss": 0.1}}',
    "inner.json": '[{"model": "a", "metrics": {"val_loss": 0.2}}, {"model": "b", "metrics": {"val_loss": 0.1}}]',
    "epochs.json": '{"a": [{"epoch": 1, "val_loss": 0.5}, {"epoch": 2, "val_loss": 0.2}], "b": {"val_loss": 0.1}}',
    "deep.json": '{"a": {"validation": {"val_loss": 0.2}}, "b": {"validation": {"val_loss": 0.1}}}',
    "rows.json": '[{"model": "a", "val_loss": 0.2}, {"model": "b", "val_loss": 0.1}]',
}


@pytest.mark.parametrize("name", NESTED)
def test_reads_nested_json(name: str, table: Path, tmp_path: Path) -> None:
    (tmp_path / name).write_text(NESTED[name])
    rows = wexport.query("rank", table, metrics=tmp_path / name).to_pylist()
    assert {row["model"]: row["value"] for row in rows} == {"a": 0.2, "b": 0.1}


def test_commas_between_thousands_are_no_decimals(table: Path, tmp_path: Path) -> None:
    (tmp_path / "m.csv").write_text('model,val_loss\na,"1,234"\nb,"12,345,678"\n')
    assert scores(table, tmp_path / "m.csv") == {"a": None, "b": None}


def test_a_file_that_names_no_model_is_an_error_with_the_nearest_names(tmp_path: Path) -> None:
    rows = [{"model": name, "layer": "d", "role": "kernel", "values": [[1, 2]]} for name in ("seed_1", "seed_2", "x")]
    table = write_table(tmp_path / "weights.parquet", rows)
    (tmp_path / "m.csv").write_text("model,val_loss\nsede_1,0.2\nother,0.1\n")
    with pytest.raises(wexport.UsageError, match=r"m\.csv: names no model of the table: sede_1, other") as error:
        wexport.query("rank", table, metrics=tmp_path / "m.csv")
    assert error.value.hint == "did you mean seed_1, seed_2?"
    (tmp_path / "m.csv").write_text("model,val_loss\nqqqq,0.2\n")
    with pytest.raises(wexport.UsageError) as error:
        wexport.query("rank", table, metrics=tmp_path / "m.csv")
    assert error.value.hint == "models are seed_1, seed_2, x"
    (tmp_path / "m.csv").write_text("model,val_loss\nqqqq,0.2\nx,0.1\n")  # one is known, and the other told
    assert wexport.query("rank", table, metrics=tmp_path / "m.csv")["model"].to_pylist()[0] == "x"


@pytest.mark.parametrize("question", ["rank", "predictors"])
def test_without_metrics_it_is_said_what_to_give(question: str, table: Path) -> None:
    with pytest.raises(wexport.UsageError, match=f"the query {question} reads how your models do") as error:
        wexport.query(question, table)
    assert "--metrics FILE" in error.value.hint


def test_queries_that_read_metrics_are_the_ones_that_are_known_to(table: Path) -> None:
    from wexport.queries.asking import OF_METRICS

    assert {name for name, query in library.load().items() if "'metrics'," in query.sql} == OF_METRICS
