"""Faults planted in real model files, each found by one query; and sound models, in which nothing is found."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

import wexport
from tests.conftest import DATA, EXAMPLES
from wexport.findings.checking import check

Change = Callable[[NDArray[Any]], NDArray[Any]]


def changed(source: Path, target: Path, changes: Mapping[str, Change], *, frozen: tuple[str, ...] = ()) -> Path:
    """A copy of a model file: datasets whose path ends as a key says are changed, layers marked as frozen."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)
    with h5py.File(target, "r+") as file:
        names: list[str] = []
        file.visititems(lambda name, each: names.append(name) if isinstance(each, h5py.Dataset) else None)
        for ending, change in changes.items():
            hits = [name for name in names if name.endswith(ending)]
            assert hits, ending
            for name in hits:
                file[name][...] = change(file[name][...])
        if frozen:
            config = json.loads(file.attrs["model_config"])
            for layer in config["config"]["layers"]:
                if layer["config"]["name"] in frozen:
                    layer["config"]["trainable"] = False
            file.attrs["model_config"] = json.dumps(config)
    return target


def table_of(folder: Path) -> Path:
    out = folder / "weights.parquet"
    wexport.ingest(folder, out)
    return out


def rows(query: str, table: Path, **parameters: Any) -> list[dict[str, Any]]:
    return wexport.query(query, table, parameters).to_pylist()


def found(query: str, table: Path, **parameters: Any) -> list[dict[str, Any]]:
    return [row for row in rows(query, table, **parameters) if row["severity"] is not None]


def zeroed(units: list[int]) -> Change:
    def change(values: NDArray[Any]) -> NDArray[Any]:
        values[..., units] = 0
        return values

    return change


def scaled(units: list[int], factor: float) -> Change:
    def change(values: NDArray[Any]) -> NDArray[Any]:
        values[..., units] *= factor
        return values

    return change


def set_at(place: tuple[int, ...], value: float) -> Change:
    def change(values: NDArray[Any]) -> NDArray[Any]:
        values[place] = value
        return values

    return change


def test_exactly_seven_zeroed_filters(tmp_path: Path) -> None:
    units = [0, 2, 3, 5, 7, 8, 11]
    changed(EXAMPLES / "cnn_seed_1.h5", tmp_path / "a.h5", {"conv2d_1/kernel:0": zeroed(units)})
    [row] = found("health", table_of(tmp_path))
    assert (row["finding"], row["slot"], row["count"]) == ("zero_units", "conv2d_1/kernel", 7)
    assert row["seen"] == "7 of 12 units: 0, 2, 3, 5, 7, 8, 11"
    assert row["severity"] == "warning"
    assert row["output"].startswith("constant: relu of bias")


def test_zeroed_filters_are_counted_without_the_list_of_units(tmp_path: Path) -> None:
    changed(EXAMPLES / "cnn_seed_1.h5", tmp_path / "a.h5", {"conv2d_1/kernel:0": zeroed([1, 4])})
    out = tmp_path / "summary.parquet"
    wexport.ingest(tmp_path / "a.h5", out, detail="summary")
    [row] = found("health", out)
    assert (row["finding"], row["count"]) == ("zero_units", 2)
    assert "not listed" in row["seen"]


def test_collapsed_units_are_found_by_their_siblings(tmp_path: Path) -> None:
    changed(EXAMPLES / "cnn_seed_1.h5", tmp_path / "a.h5", {"conv2d_1/kernel:0": scaled([4, 9], 4e-31)})
    [row] = found("health", table_of(tmp_path))
    assert (row["finding"], row["count"]) == ("collapsed_units", 2)
    assert row["seen"].endswith(": 4, 9")


@pytest.mark.parametrize("factor", [1.0, 1e-6, 1e6])
def test_healthy_depthwise_channels_raise_nothing_at_any_scale(tmp_path: Path, factor: float) -> None:
    scale = {"depthwise_kernel:0": lambda values: values * np.float32(factor)}
    changed(DATA / "fresh" / "tfkeras_images.h5", tmp_path / "a.h5", scale)
    findings = {row["finding"] for row in found("health", table_of(tmp_path))}
    assert not findings & {"zero_units", "collapsed_units"}


def test_a_collapsed_depthwise_channel(tmp_path: Path) -> None:
    def change(values: NDArray[Any]) -> NDArray[Any]:
        values[:, :, 5, 0] *= 4e-31
        return values

    changed(
        DATA / "fresh" / "tfkeras_images.h5",
        tmp_path / "a.h5",
        {"separable_conv2d/separable_conv2d/depthwise_kernel:0": change},
    )
    [row] = [row for row in found("health", table_of(tmp_path)) if row["severity"] == "warning"]
    assert (row["finding"], row["slot"]) == ("collapsed_units", "separable_conv2d/depthwise_kernel")
    assert row["seen"] == "1 of 24 units: 5"


def test_units_that_are_constant_and_ignored(tmp_path: Path) -> None:
    def ignore(values: NDArray[Any]) -> NDArray[Any]:
        values[[3, 6]] = 0
        return values

    changed(
        EXAMPLES / "cnn_seed_1.h5",
        tmp_path / "a.h5",
        {"dense/dense/kernel:0": zeroed([3, 6]), "dense_1/dense_1/kernel:0": ignore},
    )
    by_finding = {row["finding"]: row for row in found("health", table_of(tmp_path))}
    assert by_finding["zero_units"]["outgoing"] == "dense_1/kernel has 2 zero inputs of 16"
    assert by_finding["zero_inputs"]["severity"] == "info"


def test_nan_in_one_gate(tmp_path: Path) -> None:
    changed(EXAMPLES / "lstm.h5", tmp_path / "a.h5", {"recurrent_kernel:0": set_at((3, 15), np.nan)})
    [row] = found("health", table_of(tmp_path))
    assert (row["severity"], row["finding"], row["slot"]) == ("error", "nan", "lstm/recurrent_kernel")
    assert row["seen"] == "1 value NaN, by gate: f 1"


def test_an_infinity(tmp_path: Path) -> None:
    changed(EXAMPLES / "gru.h5", tmp_path / "a.h5", {"dense_15/bias:0": set_at((0,), -np.inf)})
    [row] = found("health", table_of(tmp_path))
    assert (row["severity"], row["finding"], row["count"]) == ("error", "inf", 1)


def test_a_kernel_of_zeros(tmp_path: Path) -> None:
    changed(EXAMPLES / "cnn_seed_1.h5", tmp_path / "a.h5", {"dense/dense/kernel:0": np.zeros_like})
    [row] = found("health", table_of(tmp_path))
    assert (row["severity"], row["finding"], row["slot"]) == ("error", "zero_tensor", "dense/kernel")


def test_an_exploding_value(tmp_path: Path) -> None:
    changed(EXAMPLES / "cnn_seed_1.h5", tmp_path / "a.h5", {"dense/dense/kernel:0": set_at((0, 0), 1e5)})
    by_finding = {row["finding"]: row for row in found("stability", table_of(tmp_path))}
    assert by_finding["exploding"]["slot"] == "dense/kernel"
    assert by_finding["exploding"]["severity"] == "warning"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The example run, in which a layer jumps between epochs 3 and 4 and stays where it is then."""
    shift = {"dense_16/dense_16/kernel:0": lambda values: values[::-1, ::-1]}
    for source in sorted((EXAMPLES / "run").glob("*.h5")):
        epoch = int(source.stem.split(".")[1].split("-")[0])
        changed(source, tmp_path / source.name, shift if epoch > 3 else {})
    return tmp_path


def test_a_layer_that_jumps_between_epochs_3_and_4(run: Path) -> None:
    jumps = found("stability", table_of(run))
    assert [(row["finding"], row["slot"], row["model"].split("-")[0]) for row in jumps] == [
        ("jump", "dense/kernel", "weights.04")
    ]


def test_a_run_that_settles_does_not_jump(tmp_path: Path) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest(EXAMPLES / "run", out)
    assert found("stability", out) == []


def test_a_frozen_layer_that_moved_while_statistics_moved_elsewhere(tmp_path: Path) -> None:
    frozen = ("conv2d", "batch_normalization", "conv2d_1")
    nudge: Change = lambda values: values * np.float32(1.001)  # noqa: E731  one word for four changes
    source = EXAMPLES / "cnn_seed_1.h5"
    changed(source, tmp_path / "before.h5", {}, frozen=frozen)
    moved = {"conv2d_1/kernel:0": nudge, "moving_mean:0": nudge, "dense/dense/kernel:0": nudge, "dense_1/bias:0": nudge}
    changed(source, tmp_path / "after.h5", moved, frozen=frozen)
    by_layer = {row["layer"]: row for row in rows("freeze", table_of(tmp_path), reference="before")}
    assert {layer: (row["severity"], row["verdict"]) for layer, row in by_layer.items()} == {
        "conv2d": (None, "as marked"),
        "conv2d_1": ("warning", "frozen but changed"),
        "batch_normalization": ("info", "statistics moved"),
        "dense": ("info", "partly unchanged"),
        "dense_1": ("info", "partly unchanged"),
    }
    assert by_layer["conv2d_1"]["relative_l2"] == pytest.approx(0.001, rel=1e-3)


def test_a_trainable_layer_that_did_not_change(tmp_path: Path) -> None:
    source = EXAMPLES / "cnn_seed_1.h5"
    changed(source, tmp_path / "before.h5", {})
    changed(source, tmp_path / "after.h5", {"dense/dense/kernel:0": np.negative, "dense/dense/bias:0": np.negative})
    by_layer = {row["layer"]: row for row in rows("freeze", table_of(tmp_path), reference="before")}
    assert by_layer["dense"]["verdict"] == "as marked"
    assert (by_layer["dense_1"]["severity"], by_layer["dense_1"]["verdict"]) == ("warning", "trainable but unchanged")


def test_marks_are_unknown_in_files_of_weights_alone(run: Path) -> None:
    answer = rows("freeze", table_of(run))
    assert {(row["severity"], row["verdict"]) for row in answer} == {(None, "cannot tell")}


def test_a_layer_that_never_trained(tmp_path: Path) -> None:
    with h5py.File(DATA / "fresh" / "tfkeras_example.h5") as fresh:
        kernel = fresh["model_weights/dense/dense/kernel:0"][...]
    untrained = {"dense/dense/kernel:0": lambda _: kernel, "dense/dense/bias:0": np.zeros_like}
    changed(EXAMPLES / "cnn_seed_1.h5", tmp_path / "a.h5", untrained)
    [row] = found("untrained", table_of(tmp_path))
    assert (row["severity"], row["verdict"], row["layer"]) == ("warning", "untrained", "dense")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("fresh") / "weights.parquet"
    wexport.ingest(DATA / "fresh", out)
    return out


def test_no_false_alarm_on_fresh_models(fresh: Path) -> None:
    loud = [each for each in check(fresh) if each.severity != "info"]
    assert {each.finding for each in loud} <= {"fresh model"}


def test_fresh_models_are_known_as_such(fresh: Path) -> None:
    answer = rows("untrained", fresh)
    models = {row["model"] for row in answer}
    assert len(models) == 11
    assert {row["model"] for row in answer if row["verdict"] == "fresh model"} == models
    assert not [row for row in answer if row["verdict"] == "trained"]


def test_every_initialiser_that_draws_enough_values_is_recognised(fresh: Path) -> None:
    answer = [row for row in rows("untrained", fresh, model="*starts") if row["layer"] is not None]
    told = {
        row["seen"].split(";")[0].removeprefix("kernel has the shape of ")
        for row in answer
        if row["verdict"] == "untrained"
    }
    uniform = {"glorotuniform", "heuniform", "lecununiform", "randomuniform", "variancescaling"}
    assert uniform < told


def test_no_false_alarm_on_healthy_trained_models(tmp_path: Path) -> None:
    for name in (*(f"cnn_seed_{seed}" for seed in range(1, 6)), "lstm", "gru"):
        shutil.copy(EXAMPLES / f"{name}.h5", tmp_path)
    shutil.copytree(EXAMPLES / "run", tmp_path / "run", ignore=shutil.ignore_patterns("*.csv"))
    assert [each for each in check(table_of(tmp_path)) if each.severity != "info"] == []


def test_trained_models_are_not_taken_for_fresh(tmp_path: Path) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest([EXAMPLES / f"cnn_seed_{seed}.h5" for seed in range(1, 6)], out)
    assert {row["verdict"] for row in rows("untrained", out)} == {"trained"}


def test_the_sick_examples(tmp_path: Path) -> None:
    for name in ("cnn_dead_layer", "cnn_overregularised"):
        shutil.copy(EXAMPLES / f"{name}.h5", tmp_path)
    warned = {
        (each.model, each.finding, each.place) for each in check(table_of(tmp_path)) if each.severity == "warning"
    }
    assert {
        ("cnn_dead_layer", "near_zero_tensor", "dense/kernel"),
        ("cnn_dead_layer", "near_zero_tensor", "dense_1/kernel"),
        ("cnn_overregularised", "collapsed_units", "conv2d_1/kernel"),
        ("cnn_overregularised", "collapsed_units", "dense/kernel"),
    } <= warned


def test_no_error_in_real_files(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest(
        [corpus / "oarriaga__face_classification", corpus / "MaheshSyamK__NextCrime_with_SoftwareTesting"], out
    )
    findings = [each for each in check(out) if each.severity != "info"]
    # Two filters of one network did collapse: their norms are near 1e-34.
    assert [(each.finding, each.place) for each in findings] == [("collapsed_units", "conv2d/kernel")]
