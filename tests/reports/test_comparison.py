"""From model files to a screen: what is read again, what is refused, and what is shown."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import h5py
import pytest
from click.testing import CliRunner, Result

import wexport
from tests.conftest import EXAMPLES
from tests.tables import write_table
from wexport.commands.compare import compare as command
from wexport.reports.comparison import compare


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Three small models, a run of three checkpoints, and their metrics."""
    folder = tmp_path / "models"
    for name in ("gru.h5", "lstm.h5", "cnn_seed_1.h5", "run/weights.06-0.49.h5", "run/weights.07-0.44.h5"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(EXAMPLES / name, folder / name)
    for name in ("metrics.csv", "run/metrics.csv"):
        shutil.copy(EXAMPLES / name, folder / name)
    time.sleep(0.02)  # so that the table is younger than the files also where the clock is coarse
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, list(map(str, arguments)), env={"COLUMNS": "100"}, catch_exceptions=False)


def test_the_blocks(models: Path, tmp_path: Path) -> None:
    found = compare(
        models, metrics=[models / "metrics.csv", models / "run" / "metrics.csv"], out=tmp_path / "weights.parquet"
    )
    names = ["cnn_seed_1", "gru", "lstm", "run/weights.06-0.49", "run/weights.07-0.44"]
    assert found.models["model"].to_pylist() == names
    assert found.rank is not None
    assert found.rank["model"].to_pylist()[:5] == ["gru", "lstm", "cnn_seed_1", *reversed(names[3:])]
    assert found.findings == wexport.findings.checking.check(found.table)
    assert found.clusters.equals(wexport.query("clusters", found.table))
    assert found.ingested is not None


def test_the_models_are_told_with_all_that_is_wrong_with_them(tmp_path: Path) -> None:
    rows = [
        {"model": model, "layer": layer, "layer_class": "Dense", "role": "kernel", "values": values}
        for model, values in (("diverged", [[3e5, -2e5], [1e6, 4e5]]), ("sound", [[1, 2], [3, -4], [0.5, 1]]))
        for layer in ("one", "two")
    ]
    models = compare([write_table(tmp_path / "weights.parquet", rows)]).models.to_pylist()
    assert [(row["model"], row["findings"], row["found"]) for row in models] == [
        ("diverged", 1, "diverged"),
        ("sound", 0, None),
    ]


def test_a_table_that_is_up_to_date_is_used_again(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.parquet"
    assert compare(models, out=out).ingested is not None
    before = out.stat().st_mtime_ns
    assert compare(models, out=out).ingested is None
    assert compare(sorted(map(str, models.rglob("*.h5"))), out=out).ingested is None
    assert out.stat().st_mtime_ns == before


def changed(models: Path) -> None:
    with h5py.File(models / "gru.h5", "r+") as file:
        file.attrs["note"] = "changed"


def replaced_by_an_older_file(models: Path) -> None:
    shutil.copy(models / "gru.h5", models / "older")
    os.utime(models / "older", (0, 0))
    (models / "older").replace(models / "gru.h5")


def added(models: Path) -> None:
    shutil.copy(models / "gru.h5", models / "more.h5")


def added_an_old_one_of_no_known_suffix(models: Path) -> None:
    shutil.copy2(models / "gru.h5", models / "more.model")
    os.utime(models / "more.model", (0, 0))


@pytest.mark.parametrize("change", [changed, replaced_by_an_older_file, added, added_an_old_one_of_no_known_suffix])
def test_a_table_that_is_not_up_to_date_is_written_anew(change: object, models: Path, tmp_path: Path) -> None:
    from wexport.ingestion import inputs, reuse
    from wexport.ingestion.options import Options

    wexport.ingest(models, tmp_path / "weights.parquet")
    table = tmp_path / "weights.parquet"
    assert reuse.due(table, inputs.expand([models]), Options()) == []
    assert reuse.due(table, inputs.expand([models]), Options(detail="summary")) is None
    assert callable(change)
    change(models)
    assert reuse.due(table, inputs.expand([models]), Options()) is None


def test_files_with_another_name_are_not_the_table_s(models: Path, tmp_path: Path) -> None:
    from wexport.ingestion import inputs, reuse
    from wexport.ingestion.options import Options

    wexport.ingest(models, tmp_path / "weights.parquet")
    fewer = inputs.expand([models / "gru.h5", models / "lstm.h5"])
    assert reuse.due(tmp_path / "weights.parquet", fewer, Options()) is None


def test_a_table_with_other_models_is_not_overwritten(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest(models, out)
    before = out.read_bytes()
    with pytest.raises(
        wexport.TableError, match=r"weights\.parquet: holds 3 models that are not among these files"
    ) as error:
        compare([models / "gru.h5", models / "lstm.h5"], out=out)
    assert "--out" in error.value.hint
    assert out.read_bytes() == before


def test_a_table_is_compared_as_it_is(models: Path, tmp_path: Path) -> None:
    wexport.ingest(models, tmp_path / "weights.parquet")
    found = compare(tmp_path / "weights.parquet", out=tmp_path / "other.parquet")
    assert (found.ingested, found.rank, found.models.num_rows) == (None, None, 5)
    assert not (tmp_path / "other.parquet").exists()


def test_a_folder_of_parts_reads_what_changed_only(models: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    compare(models, out=f"{parts}/")
    changed(models)
    found = compare(models, out=parts)
    assert found.ingested is not None
    assert [each.model for each in found.ingested.with_status("ok")] == ["gru"]
    assert compare(parts).models.num_rows == 5


def test_a_screen(models: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.parquet"
    shown = run(models, "--out", out, "--metrics", models / "metrics.csv", "--by", "metric=val_accuracy").stdout
    lines = shown.splitlines()
    assert len(lines) <= 50
    assert max(map(len, lines)) <= 100 + len(str(out)) + len(str(models))  # the commands are not cut
    assert f"wexport query clusters {out}" in shown
    assert f"wexport check {out}" in shown
    assert "Order by val_accuracy" in shown
    assert "best val_accuracy 0.9383; ahead of cnn_seed_1 by 0.02" in shown


def test_many_models_are_cut(tmp_path: Path) -> None:
    rows = [
        {"model": f"m{place:03d}", "layer": "dense", "role": "kernel", "values": [[float("nan"), place]]}
        for place in range(60)
    ]
    table = write_table(tmp_path / "weights.parquet", rows)
    (tmp_path / "m.csv").write_text("model,val_loss\n" + "".join(f"m{place:03d},{place}\n" for place in range(60)))
    shown = run(table, "--metrics", tmp_path / "m.csv").stdout
    assert len(shown.splitlines()) <= 55
    assert "10 of 60 lines" in shown
    assert "60 models, e.g. m000" in shown


def test_json(models: Path, tmp_path: Path) -> None:
    found = json.loads(run(models, "--out", tmp_path / "w.parquet", "--format", "json").stdout)
    assert found["table"] == str(tmp_path / "w.parquet")
    assert [row["model"] for row in found["models"]][:2] == ["cnn_seed_1", "gru"]
    assert found["rank"] is None


def test_a_file_that_cannot_be_read_costs_no_other(models: Path, tmp_path: Path) -> None:
    (models / "broken.h5").write_bytes((models / "gru.h5").read_bytes()[:5_000])
    result = run(models / "gru.h5", models / "broken.h5", "--out", tmp_path / "w.parquet")
    assert result.exit_code == 1
    assert "1 model," in result.stdout
    assert "broken.h5" in result.stderr


def test_nothing_that_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    with pytest.raises(wexport.ReadError, match=r"none of 1 files can be read.*broken\.h5"):
        compare(tmp_path / "broken.h5", out=tmp_path / "w.parquet")
    with pytest.raises(wexport.UsageError, match="no metrics"):
        compare(tmp_path / "broken.h5", by={"metric": "x"}, out=tmp_path / "w.parquet")


def test_a_model_alone_has_none_to_be_close_to(models: Path, tmp_path: Path) -> None:
    shown = run(models / "gru.h5", "--out", tmp_path / "weights.parquet")
    assert shown.exit_code == 0
    assert shown.stdout.startswith("1 model, 628 parameters")
    assert "Who is like whom" not in shown.stdout


def test_a_second_folder_has_a_table_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for number in (1, 2):
        (tmp_path / f"fold_{number}").mkdir()
        shutil.copy(EXAMPLES / f"cnn_seed_{number}.h5", tmp_path / f"fold_{number}")
    assert compare("fold_1").table == Path("weights.parquet")
    second = compare(["fold_2"])
    assert second.table == Path("fold_2.parquet")
    assert second.models["model"].to_pylist() == ["cnn_seed_2"]
    for folder, table in (("fold_1", "weights.parquet"), ("fold_2", "fold_2.parquet")):
        again = compare(folder)
        assert (again.table, again.ingested) == (Path(table), None)
    with pytest.raises(wexport.TableError, match=r"weights\.parquet: holds 1 model that is not among these files"):
        compare("fold_2", out="weights.parquet")  # as it was named
    assert compare("fold_2", overwrite=True).table == Path("weights.parquet")


def test_fewer_files_of_the_same_folder_do_not_go_elsewhere_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for number in (1, 2):
        shutil.copy(EXAMPLES / f"cnn_seed_{number}.h5", tmp_path / "models")
    compare("models")
    with pytest.raises(wexport.TableError, match="holds 1 model that is not among these files"):
        compare("models/cnn_seed_1.h5")


def test_an_empty_folder_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(wexport.UsageError, match=f"{tmp_path.name}: there is no file in this folder"):
        compare(tmp_path, out=tmp_path / "weights.parquet")
