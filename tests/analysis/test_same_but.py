"""What is told of pairs of models that are the same but for something, on tables of their tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.tables import write_table
from wexport.analysis.similarity import similarity

Weights = dict[str, NDArray[Any]]
CLASSES = {"dense": "Dense", "conv": "Conv2D", "norm": "BatchNormalization", "head": "Dense"}


def model(seed: int = 0, classes: int = 10) -> Weights:
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(0, 0.1, shape).astype(np.float32)  # noqa: E731
    return {
        "dense/kernel": draw(24, 32), "dense/bias": draw(32),
        "dense_1/kernel": draw(32, 48), "dense_1/bias": draw(48),
        "head/kernel": draw(48, classes), "head/bias": draw(classes),
    }  # fmt: skip


def told(tmp_path: Path, a: Mapping[str, NDArray[Any]], b: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The row of the pair."""
    rows = [
        {
            "model": name, "layer": slot.split("/")[0], "layer_class": CLASSES[slot.split("/")[0].split("_")[0]],
            "role": slot.split("/")[1], "values": values, "dtype": values.dtype.name, "layer_index": place,
        }
        for name, weights in (("a", a), ("b", b))
        for place, (slot, values) in enumerate(weights.items())
    ]  # fmt: skip
    found = similarity(write_table(tmp_path / "weights.parquet", rows)).pairs().to_pylist()
    assert len(found) == 1
    return dict(found[0])


def test_the_same_backbone_below_a_head_of_more_classes(tmp_path: Path) -> None:
    found = told(tmp_path, model(), model() | {"head/kernel": np.ones((48, 12), "f4"), "head/bias": np.ones(12, "f4")})
    assert (found["relation"], found["changed"], found["lacking"]) == ("same_but", 0, 4)
    assert found["differs"] == ["head/kernel", "head/bias", "head/kernel"]


def test_a_small_backbone_below_a_large_new_head(tmp_path: Path) -> None:
    one, other = model(0, 4000), model(0, 4000)
    other["head/kernel"], other["head/bias"] = model(1, 4000)["head/kernel"], model(1, 4000)["head/bias"]
    found = told(tmp_path, one, other)
    assert (found["relation"], found["differs"]) == ("same_but", ["head/kernel", "head/bias"])


def test_biases_alone_are_no_backbone(tmp_path: Path) -> None:
    pruned = {slot: np.where(abs(v) < 0.07, 0, v).astype("f4") if v.ndim > 1 else v for slot, v in model().items()}
    assert told(tmp_path, model(), pruned)["relation"] == "related"


def test_one_fixed_table_makes_strangers_no_relatives(tmp_path: Path) -> None:
    one, other = model(0), model(1)
    other["dense_1/bias"] = one["dense_1/bias"]
    assert told(tmp_path, one, other)["relation"] == "strangers"


def test_layers_that_only_one_has_are_named(tmp_path: Path) -> None:
    more = model() | {"norm/gamma": np.full(48, 1.5, "f4"), "norm/beta": np.arange(48, dtype="f4")}
    found = told(tmp_path, model(), more)
    assert (found["relation"], found["differs"], found["lacking"]) == ("same_but", ["norm/gamma", "norm/beta"], 2)


@pytest.mark.parametrize("share", [1e-3, 1.0])
def test_values_that_are_lost_differ_from_those_that_were(tmp_path: Path, share: float) -> None:
    broken = model()
    flat = broken["dense_1/kernel"].reshape(-1)
    flat[: max(1, int(share * flat.size))] = np.nan
    found = told(tmp_path, model(), broken)
    assert (found["relation"], found["differs"]) == ("same_but", ["dense_1/kernel"])
    assert (found["worst_slot"], found["worst_relative_l2"]) == ("dense_1/kernel", None)


def test_a_lost_value_in_each_tensor_leaves_nothing_close(tmp_path: Path) -> None:
    broken = model()
    for values in broken.values():
        values.reshape(-1)[0] = np.inf
    assert told(tmp_path, model(), broken)["relation"] not in ("identical", "rounded", "close", "same_but")


def test_two_copies_that_are_broken_alike_are_identical(tmp_path: Path) -> None:
    broken = model()
    broken["dense/kernel"][:] = np.nan
    assert told(tmp_path, broken, {slot: values.copy() for slot, values in broken.items()})["relation"] == "identical"


def test_models_of_constants_tell_nothing(tmp_path: Path) -> None:
    one, other = ({slot: np.full_like(values, v) for slot, values in model().items()} for v in (0.1, 0.2))
    found = told(tmp_path, one, other)
    assert (found["relation"], found["reason"]) == ("not_comparable", "no matrix whose values tell anything")


def _through(dtype: Any) -> Callable[[NDArray[Any]], NDArray[Any]]:
    return lambda values: values.astype(dtype).astype(np.float32)


def _cut(values: NDArray[Any]) -> NDArray[Any]:
    cut: NDArray[Any] = (values.view(np.uint32) & np.uint32(0xFFFF0000)).view(np.float32)
    return cut


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_a_small_fine_tune_that_is_stored_in_a_smaller_type_is_no_cast(tmp_path: Path, dtype: Any) -> None:
    rng = np.random.default_rng(3)
    tuned = {slot: (v * (1 + 3e-3 * rng.normal(size=v.shape))).astype(dtype) for slot, v in model().items()}
    found = told(tmp_path, model(), tuned)
    assert (found["relation"], found["changed"]) == ("close", 6)


def test_a_model_with_all_signs_turned_is_no_stranger(tmp_path: Path) -> None:
    found = told(tmp_path, model(), {slot: -v for slot, v in model().items()})
    assert (found["relation"], found["similarity"]) == ("related", pytest.approx(-1))


@pytest.mark.parametrize("cast", [_through(np.float16), _through(ml_dtypes.bfloat16), _cut])
def test_a_cast_is_seen_in_what_was_cast_back(tmp_path: Path, cast: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
    found = told(tmp_path, model(), {slot: cast(values) for slot, values in model().items()})
    assert (found["relation"], found["changed"]) == ("rounded", 0)


def test_a_small_training_is_no_cast(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    base = {slot: values.astype(np.float16).astype(np.float32) for slot, values in model().items()}
    moved = {slot: (values * (1 + rng.normal(0, 2e-3, values.shape))).astype("f4") for slot, values in base.items()}
    assert told(tmp_path, base, moved)["relation"] == "close"


def test_a_parametrization_is_the_weight_norm_that_it_replaces(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    g, v, bias = (rng.normal(0, 0.1, shape).astype("f4") for shape in ((32, 1, 1), (32, 16, 3), (32,)))

    def rows(name: str, g_name: str, v_name: str, by: float) -> list[dict[str, Any]]:
        return [
            {"model": name, "slot": f"conv/{leaf}", "layer": f"conv/{leaf}".rpartition("/")[0], "role": "unknown",
             "values": values * np.float32(by), "layer_index": place}
            for place, (leaf, values) in enumerate([(g_name, g), (v_name, v), ("bias", bias)])
        ]  # fmt: skip

    new = rows("new", "parametrizations/weight/original0", "parametrizations/weight/original1", 1.001)
    table = write_table(tmp_path / "weights.parquet", [*rows("old", "weight_g", "weight_v", 1), *new])
    (found,) = similarity(table).pairs().to_pylist()
    assert (found["relation"], found["lacking"], found["match_method"]) == ("close", 0, "slot")
