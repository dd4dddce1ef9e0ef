"""Keras' models in more than one file: sharded weights, unzipped folders, a config beside weights, linked variables."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
from pathlib import Path

import h5py
import pytest

import wexport
from tests.conftest import DATA, ROOT
from wexport.errors import ReadError

CASES = ROOT.parent / "shared" / "cases"
with_cases = pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
MODELS = sorted(DATA.glob("keras3/**/*.keras"))


def unzipped(model: Path, folder: Path) -> Path:
    with zipfile.ZipFile(model) as archive:
        archive.extractall(folder)
    return folder


def facts(path: Path) -> list[tuple[object, ...]]:
    names = ("slot", "role", "layer", "layer_class", "trainable", "layer_config", "content_hash")
    return [tuple(row[name] for name in names) for row in wexport.inspect(path).rows]


@pytest.mark.parametrize("model", MODELS[::4], ids=lambda path: path.name)
def test_an_unzipped_folder_is_the_model(tmp_path: Path, model: Path) -> None:
    assert facts(unzipped(model, tmp_path / "folder")) == facts(model)


def test_a_folder_goes_by_its_own_name(tmp_path: Path) -> None:
    unzipped(MODELS[0], tmp_path / "mine")
    result = wexport.ingest([tmp_path], tmp_path / "t.parquet")
    assert [model.model for model in result.models if model.status != "skipped"] == ["mine"]


def test_a_config_of_another_model_beside_weights_does_not_count(tmp_path: Path) -> None:
    folder = unzipped(MODELS[0], tmp_path / "folder")
    alone = unzipped(MODELS[0], tmp_path / "alone")
    (alone / "config.json").unlink()
    other = {"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {"name": "strange"}}]}}
    (folder / "config.json").write_text(json.dumps(other))
    assert facts(folder) == facts(alone)


@pytest.mark.skipif(os.name != "posix", reason="makes links")
def test_a_config_that_is_a_link_is_not_read(tmp_path: Path) -> None:
    folder = unzipped(MODELS[0], tmp_path / "folder")
    shutil.move(folder / "config.json", tmp_path / "config.json")
    (folder / "config.json").symlink_to(tmp_path / "config.json")
    assert all(row["trainable"] in (None, False) for row in wexport.inspect(folder / "model.weights.h5").rows)


def sharded(weights: Path, folder: Path) -> Path:
    """The file's groups of variables in two, as Keras' ShardedH5IOStore lays them out."""
    folder.mkdir()
    with h5py.File(weights) as file:
        groups: list[str] = []
        file.visit(lambda name: groups.append(name) if name.endswith("vars") and len(file[name]) else None)
        index: dict[str, object] = {}
        for number, part in enumerate((groups[: len(groups) // 2], groups[len(groups) // 2 :])):
            with h5py.File(folder / f"model_0000{number}.weights.h5", "w") as shard:
                for name in part:
                    file.copy(name, shard.require_group(name.rpartition("/")[0]), "vars")
                    index[f"/{name}"] = f"model_0000{number}.weights.h5"
    index[next(iter(index))] = [index[next(iter(index))]]  # one layer may be in several files
    (folder / "model.weights.json").write_text(json.dumps({"metadata": {"total_size": 0}, "weight_map": index}))
    return folder


def test_sharded_weights_are_one_model(tmp_path: Path) -> None:
    weights = unzipped(MODELS[0], tmp_path / "folder") / "model.weights.h5"
    (tmp_path / "folder" / "config.json").unlink()
    folder = sharded(weights, tmp_path / "sharded")
    assert {row["content_hash"] for row in wexport.inspect(folder).rows} == {
        row["content_hash"] for row in wexport.inspect(weights).rows
    }
    assert wexport.diff(folder, weights).same
    result = wexport.ingest([folder], tmp_path / "t.parquet")
    assert [model.status for model in result.models] == ["ok"]


@pytest.mark.parametrize("name", ["../elsewhere.weights.h5", "/etc/x.weights.h5", "model.h5", "missing.weights.h5"])
def test_an_index_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    path = tmp_path / "model.weights.json"
    path.write_text(json.dumps({"weight_map": {"/layers/dense/vars": name, "/x": "a.weights.h5"}}))
    with pytest.raises(ReadError):
        wexport.inspect(path)


def test_linked_variables_are_all_there_and_told(tmp_path: Path) -> None:
    path = tmp_path / "linked.weights.h5"
    with h5py.File(path, "w") as file:
        for layer in ("dense", "dense_1"):
            file[f"layers/{layer}/vars/0"] = [[1.0, 2.0], [3.0, 4.0]]
            file[f"layers/{layer}/vars/1"] = [0.5, 0.25]
    plain = tmp_path / "plain.weights.h5"
    shutil.copy(path, plain)
    with h5py.File(path, "a") as file:
        del file["layers/dense_1/vars/0"]
        file["layers/dense_1/vars/0"] = file["layers/dense/vars/0"]
    assert wexport.diff(path, plain).same
    inspection = wexport.inspect(path)
    assert inspection.result.parameters == wexport.inspect(plain).result.parameters == 12
    assert inspection.result.aliases == {"layers/dense_1/vars/0": "layers/dense/vars/0"}


def test_a_dataset_of_ten_thousand_names_is_not_read_ten_thousand_times(tmp_path: Path) -> None:
    path = tmp_path / "links.h5"
    with h5py.File(path, "w") as file:
        file["w"] = [1.0] * (1 << 20)
        for number in range(200):
            file[f"w{number}"] = file["w"]
    with wexport.Source(path) as source:
        from wexport.readers.hdf5 import walk

        tree = walk.open_file(source).walk()
        assert len(tree.links) < 10
        assert {each.what for each in tree.skipped} == {"link that repeats too much"}


@with_cases
def test_the_shared_cases() -> None:
    assert wexport.diff(CASES / "sharded_keras" / "sharded", CASES / "sharded_keras" / "sharded_ref.weights.h5").same
    assert facts(CASES / "unzipped_dir" / "hf_dir") == facts(CASES / "unzipped_dir" / "hf_ref.keras")
    for suffix in ("h5", "weights.h5"):
        found = [wexport.inspect(CASES / "hardlinks" / f"{name}.{suffix}").result for name in ("linked", "plain")]
        assert [each.parameters for each in found] == [98, 98]
        assert [len(each.aliases) for each in found] == [1, 0]
