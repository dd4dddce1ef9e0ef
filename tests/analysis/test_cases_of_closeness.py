"""Small files that once were told wrongly: which tensor is which, and who is like whom. Skipped where they are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import wexport
from wexport.reports.closeness import closeness

CASES = Path(__file__).parents[3] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")


def case(*paths: str) -> list[Path]:
    """Files of the cases; skips where one cannot be read for want of a package."""
    found = [CASES / path for path in paths]
    suffixes = {path.suffix for path in found}
    if suffixes & {".pt", ".npz"}:
        pytest.importorskip("wexport_torch" if ".pt" in suffixes else "wexport_npz")
    return found


def related(tmp_path: Path, *paths: str) -> dict[tuple[str, str], dict[str, Any]]:
    """The answer of `similarity` by the names of the models."""
    wexport.ingest(case(*paths), tmp_path / "weights.parquet")
    rows = wexport.query("similarity", tmp_path / "weights.parquet").to_pylist()
    return {(row["model_a"], row["model_b"]): row for row in rows}


def words(tmp_path: Path) -> list[str]:
    return closeness(wexport.query("clusters", tmp_path / "weights.parquet").to_pylist())


@pytest.mark.parametrize("suffix", ["h5", "keras"])
def test_a_layer_that_was_put_in(suffix: str) -> None:
    a, b, c = case(*(f"inserted_layer/{name}.{suffix}" for name in "abc"))
    found = wexport.diff(a, b)
    assert {status: count for status, count in found.counts.items() if count} == {"identical": 8, "only in b": 2}
    assert found.edits == ("layer adapter is only in b: it stands before fc1",)
    assert {each.name for each in found.tensors if each.status == "only in b"} == {"adapter/kernel", "adapter/bias"}
    assert wexport.diff(a, c).edits == ("layer fc1 is only in a: it stands before fc2",)


def test_no_frozen_layer_changed_behind_one_that_was_put_in(tmp_path: Path) -> None:
    table = tmp_path / "weights.parquet"
    wexport.ingest(case("inserted_layer/a.keras", "inserted_layer/b_frozen.keras"), table)
    found = wexport.query("freeze", table, {"reference": "a"}).to_pylist()
    assert {row["verdict"] for row in found if row["layer"] in ("fc1", "fc2", "fc3")} == {"as marked"}
    assert not [row for row in found if row["severity"] == "warning"]
    moved = wexport.query("drift", table, {"reference": "a"}).to_pylist()
    assert {row["basis"] for row in moved if row["match_method"]} == {"same hash"}
    assert {row["slot"] for row in moved if not row["match_method"]} == {"dense/kernel", "dense/bias"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("two_sub.h5", "two_sub.keras"),
        ("tdshared.h5", "tdshared.keras"),
        ("k3_two_sub.h5", "k3_two_sub.keras"),
        ("k3_two_sub.h5", "k3_two_sub.weights.h5"),
        ("k3_td.h5", "k3_td.keras"),
    ],
)
def test_a_shared_layer_that_one_file_holds_twice(one: str, other: str, tmp_path: Path) -> None:
    paths = f"shared_submodels/{one}", f"shared_submodels/{other}"
    found = wexport.diff(*case(*paths))
    assert found.same
    assert {each.status for each in found.tensors} == {"identical", "repeats another"}
    assert next(iter(related(tmp_path, *paths).values()))["relation"] == "identical"


def test_equal_tensors_under_other_paths(tmp_path: Path) -> None:
    a, b, d = case("diff_unsure/a.npz", "diff_unsure/b.npz", "diff_unsure/d.npz")
    assert wexport.diff(a, b).counts["identical"] == 2
    assert not wexport.diff(a, d).same
    one, other = case("diff_unsure/spectral.h5", "diff_unsure/spectral_weights.hdf5")
    assert wexport.diff(one, other).same
    found = related(tmp_path, "diff_unsure/a.npz", "diff_unsure/b.npz")
    assert found["a", "b"]["relation"] == "identical"


def test_square_kernels_of_a_state_dict(tmp_path: Path) -> None:
    state, whole = case("square/state.pt", "square/whole.pt")
    assert wexport.diff(state, whole).same
    found = related(tmp_path, "square/state.pt", "square/whole.pt")["state", "whole"]
    assert (found["relation"], found["similarity"]) == ("identical", 1)


def test_a_kernel_that_was_zeroed(tmp_path: Path) -> None:
    found = related(tmp_path, "zeroed/base.pt", "zeroed/half_zeroed.pt")["base", "half_zeroed"]
    assert (found["relation"], found["differs"], found["worst_slot"]) == ("same_but", ["2/kernel"], "2/kernel")
    assert found["similarity"] < 0.5


def test_four_heads_on_one_base(tmp_path: Path) -> None:
    found = related(tmp_path, *(f"transfer_heads/task_{number}.h5" for number in range(4)))
    assert {row["relation"] for row in found.values()} == {"same_but"}
    assert {tuple(row["differs"]) for row in found.values()} == {("dense_1/kernel", "dense_1/bias")}
    told = words(tmp_path)
    assert "dense_1/kernel, dense_1/bias" in told[0]
    assert not [text for text in told if "close in every" in text or "would do" in text]


def test_fresh_models_are_strangers(tmp_path: Path) -> None:
    (found,) = related(tmp_path, "fresh_models/init1.h5", "fresh_models/init2.h5").values()
    assert found["relation"] == "strangers"


def test_twelve_models(tmp_path: Path) -> None:
    found = related(
        tmp_path, *(f"twelve_models/{path.name}" for path in sorted((CASES / "twelve_models").glob("*.h5")))
    )
    relations = {pair: row["relation"] for pair, row in found.items()}
    identical = {pair for pair, relation in relations.items() if relation == "identical"}
    assert identical == {("best (copy)", "seed1"), ("final_model_v2", "seed2")}
    assert relations["frozen_base", "seed1"] == "same_but"
    assert set(found["frozen_base", "seed1"]["differs"]) <= {
        "dense/kernel",
        "dense/bias",
        "dense_1/kernel",
        "dense_1/bias",
    }
    kin = {"best (copy)", "dropout50", "finetuned_from_seed1", "frozen_base", "l2_heavy", "order_a", "order_b", "seed1"}
    for pair, relation in relations.items():
        if set(pair) <= kin:
            assert relation in ("identical", "same_but", "related"), pair
        elif pair not in identical:
            assert relation == "strangers", pair
            assert found[pair]["correlation"] < found[pair]["null_similarity"]
    clusters = wexport.query("clusters", tmp_path / "weights.parquet").to_pylist()
    assert not [row for row in clusters if row["verdict"] == "odd one out"]
    told = words(tmp_path)
    assert told[:2] == [
        "best (copy) and seed1 are identical, value by value.",
        "final_model_v2 and seed2 are identical, value by value.",
    ]
    assert any(
        text.startswith("lr_too_high and seed3 are as unlike any other as independent trainings") for text in told
    )
    assert not [text for text in told if "would do" in text]
    (first,) = wexport.query("architectures", tmp_path / "weights.parquet").to_pylist()
    assert (first["models"], first["copies"]) == (10, 2)


@pytest.mark.parametrize(
    ("folder", "runs"),
    [
        ("folds", {f"weights_fold{fold}": [1, 2, 3] for fold in (1, 2, 3)}),
        ("grid", {}),
        ("lookback", {}),
    ],
)
def test_hyperparameters_are_no_steps(folder: str, runs: dict[str, list[int]], tmp_path: Path) -> None:
    result = wexport.ingest([CASES / "steps_are_hyperparameters" / folder], tmp_path / "weights.parquet")
    found: dict[str, list[int]] = {}
    for model in sorted(result.models, key=lambda model: model.step or 0):
        if model.run is not None and model.step is not None:
            found.setdefault(model.run, []).append(model.step)
    assert found == runs


def test_a_trainers_folder_is_one_run_of_two_checkpoints(tmp_path: Path) -> None:
    pytest.importorskip("wexport_safetensors")
    result = wexport.ingest([CASES / "trainer_folder"], tmp_path / "weights.parquet")
    assert [(model.run, model.step) for model in result.with_status("ok")] == [("model", 4), ("model", 8)]
