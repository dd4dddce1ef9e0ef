"""One model in many containers is one model: to `diff`, to `similarity`, and to `drift` against any of them."""

from __future__ import annotations

import importlib.util
from itertools import combinations
from pathlib import Path

import pytest

import wexport
from tests.conftest import DATA, ROOT
from wexport.sessions.connection import connect

FOLDER = DATA / "one_model"
KERAS = (".h5", ".keras", ".weights.h5")
PLUGINS = {
    ".keras_names.npz": "wexport_npz",
    ".torch_names.npz": "wexport_npz",
    ".safetensors": "wexport_safetensors",
    ".pt": "wexport_torch",
    ".onnx": "wexport_onnx",
}
THERE = [*KERAS, *(suffix for suffix, module in PLUGINS.items() if importlib.util.find_spec(module))]
MISSING = [suffix for suffix in PLUGINS if suffix not in THERE]
MODELS = {"cnn": 16, "lstm": 8, "gru": 8}
"""How many tensors each has that are trained."""


@pytest.fixture(scope="module", params=MODELS)
def table(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    out = tmp_path_factory.mktemp(request.param) / "weights.parquet"
    found = wexport.ingest([FOLDER / f"{request.param}{suffix}" for suffix in THERE], out)
    assert {model.status for model in found.models} == {"ok"}
    return request.param, out


@pytest.mark.parametrize("suffix", [suffix for suffix in [*KERAS, *PLUGINS] if suffix != ".h5"])
@pytest.mark.parametrize("model", MODELS)
def test_diff_says_that_they_are_the_same(model: str, suffix: str) -> None:
    if suffix in MISSING:
        pytest.skip(f"{PLUGINS[suffix]} is not installed")
    found = wexport.diff(FOLDER / f"{model}.h5", FOLDER / f"{model}{suffix}")
    assert found.same
    assert found.summary().startswith("same: ")
    assert {each.status for each in found.tensors if each.side.role != "count"} == {"identical"}
    methods = {each.method for each in found.tensors if each.method}
    assert methods == {"slot"} if suffix in KERAS else methods <= {"order", "content"}


def test_similarity_says_that_they_are_the_same(table: tuple[str, Path]) -> None:
    model, path = table
    found = wexport.similarity(path)
    pairs = found.pairs().to_pylist()
    assert len(pairs) == len(list(combinations(THERE, 2)))
    for pair in pairs:
        assert (pair["similarity"], pair["relative_l2"], pair["coverage"]) == (1, 0, 1), pair
        assert pair["tensors"] == MODELS[model]
        keras = all(pair[side].removeprefix(model) in ("", *KERAS) for side in ("model_a", "model_b"))
        assert pair["match_method"] == "slot" if keras else pair["match_method"] in METHODS, pair


METHODS = {"slot", "order", "content", "order, content", "slot, order", "slot, content", "slot, order, content"}


def test_the_sql_of_similarity_finds_the_same_pairs(table: tuple[str, Path]) -> None:
    _, path = table
    with connect(path) as connection:
        sql = connection.sql("SELECT * FROM similarities('*', 0.5, 0.1) ORDER BY model_a, model_b")
        rows = [dict(zip(sql.columns, row, strict=True)) for row in sql.fetchall()]
    python = sorted(wexport.similarity(path).pairs().to_pylist(), key=lambda row: (row["model_a"], row["model_b"]))
    for one, other in zip(rows, python, strict=True):
        assert one["similarity"] == pytest.approx(1, abs=1e-12)
        # Python sees whole layers, and so tells by order what SQL tells by content.
        assert (one["match_method"] == "slot") == (other["match_method"] == "slot")
        for column in ("model_a", "model_b", "tensors", "coverage"):
            assert one[column] == other[column], (column, one)


def test_no_pair_is_a_wrong_one() -> None:
    """Which tensor is which is known from the files' own names."""
    found = wexport.diff(FOLDER / "cnn.h5", FOLDER / "cnn.safetensors")
    layers = {"conv1": "conv2d", "conv2": "conv2d_1", "conv3": "conv2d_2", "bn1": "batch_normalization"}
    layers |= {"bn2": "batch_normalization_1", "fc1": "dense", "fc2": "dense_1", "head": "dense_2"}
    for each in found.tensors:
        if each.a and each.b:
            torch_layer, _, role = each.b.slot.rpartition("/")
            assert each.a.slot == f"{layers[torch_layer]}/{role}"


@pytest.mark.parametrize("suffix", [".torch_names.npz", ".safetensors", ".pt"])
def test_gates_are_those_of_keras(suffix: str, tmp_path: Path) -> None:
    """The same figures of the same gates, whatever the order in which a framework keeps them."""
    if suffix in MISSING:
        pytest.skip(f"{PLUGINS[suffix]} is not installed")
    for model in ("lstm", "gru"):
        wexport.ingest([FOLDER / f"{model}.h5", FOLDER / f"{model}{suffix}"], tmp_path / f"{model}.parquet")
        with connect(tmp_path / f"{model}.parquet") as connection:
            rows = connection.sql(
                "SELECT role, direction, gate, value_count, round(mean, 9), round(std, 9), min, max, count(*) "
                "FROM gates GROUP BY ALL ORDER BY ALL"
            ).fetchall()
        assert {row[-1] for row in rows} == {2}
        assert len(rows) == 6 * (4 if model == "lstm" else 3)


def test_the_set_is_small() -> None:
    archive = ROOT / "tests" / "data" / "one_model.zip"
    assert archive.stat().st_size < 150_000
