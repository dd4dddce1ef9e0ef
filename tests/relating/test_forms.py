"""Models that are another one in another form, and what `relate` says of them and of which came first."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

import wexport
from tests.relating.test_relate import RESIDUAL, Weights, residual, saved, the_pair
from wexport.analysis.relations import MEANINGS, RELATIONS
from wexport.relating.forms import grid_of


def changed(weights: Weights, how: object, *roles: str) -> Weights:
    """A copy with some tensors changed, all of them where no roles are named."""
    return {
        name: {role: how(values) if not roles or role in roles else values for role, values in tensors.items()}  # type: ignore[operator]
        for name, tensors in weights.items()
    }


def related(tmp_path: Path, made: Weights, source: Weights | None = None, *, turned: bool = False) -> wexport.Kinship:
    paths = [
        saved(tmp_path / "source.h5", source or residual(1), RESIDUAL),
        saved(tmp_path / "made.h5", made, RESIDUAL),
    ]
    return the_pair(*(reversed(paths) if turned else paths))


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e5m2])
def test_a_cast_to_a_smaller_type_is_rounded_and_came_second(tmp_path: Path, dtype: object, turned: bool) -> None:
    pair = related(tmp_path, changed(residual(1), lambda x: x.astype(dtype).astype("f4")), turned=turned)
    assert (pair.relation, pair.earlier) == ("rounded", "source")
    assert np.dtype(dtype).name in pair.evidence[0]


def test_a_cast_of_the_kernels_alone_is_rounded(tmp_path: Path) -> None:
    pair = related(tmp_path, changed(residual(1), lambda x: x.astype("f2").astype("f4"), "kernel"))
    assert pair.relation == "rounded"
    assert "tensors are equal" in pair.evidence[0]


def smallest_zeroed(x: np.ndarray) -> np.ndarray:
    return np.where(np.abs(x) < np.quantile(np.abs(x), 0.4), np.float32(0), x)


@pytest.mark.parametrize("turned", [False, True])
def test_zeros_where_the_other_has_weights_are_pruned(tmp_path: Path, turned: bool) -> None:
    pair = related(tmp_path, changed(residual(1), smallest_zeroed, "kernel"), turned=turned)
    assert (pair.relation, pair.earlier) == ("pruned", "source")
    assert "the smallest of each tensor" in pair.evidence[0]


def test_pruned_and_trained_on_is_not_called_pruned(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    made = changed(residual(1), smallest_zeroed, "kernel")
    made = changed(made, lambda x: np.where(x == 0, x, x + 0.05 * rng.standard_normal(x.shape)).astype("f4"))
    assert related(tmp_path, made).relation == "related"


def symmetric(x: np.ndarray, bits: int = 8, axis: int | None = None) -> np.ndarray:
    rest = tuple(each for each in range(x.ndim) if each != axis)
    step = np.abs(x).max(axis=rest, keepdims=True) / (2 ** (bits - 1) - 1)
    return (np.rint(x / step).astype("i1") * step.astype("f4")).astype("f4")


def asymmetric(x: np.ndarray) -> np.ndarray:
    step = np.float32((x.max() - x.min()) / 255)
    zero = np.rint(-x.min() / step)
    return ((np.clip(np.rint(x / step) + zero, 0, 255) - zero) * step).astype("f4")


@pytest.mark.parametrize(
    ("how", "least"),
    [
        (symmetric, 30),
        (lambda x: symmetric(x, axis=x.ndim - 1), 35),
        (lambda x: symmetric(x, 4, axis=x.ndim - 1), 12),
        (asymmetric, 30),
    ],
)
def test_kernels_on_a_grid_are_quantised_from_the_other(tmp_path: Path, how: object, least: float) -> None:
    pair = related(tmp_path, changed(residual(1), how, "kernel"), turned=True)
    assert (pair.relation, pair.earlier) == ("quantised", "source")
    decibels = float(pair.evidence[1].split()[3])
    assert least < decibels < least + 25
    steps = float(pair.evidence[2].split()[2])
    assert steps == pytest.approx(1 / np.sqrt(12), abs=0.02)


def test_another_model_on_a_grid_is_not_quantised_from_this_one(tmp_path: Path) -> None:
    assert related(tmp_path, changed(residual(2), symmetric, "kernel")).relation not in ("quantised", "related")


@pytest.mark.parametrize("seed", range(20))
def test_values_of_chance_lie_on_no_grid(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for values in (rng.standard_normal((3, 3, 8, 8)), rng.uniform(-1, 1, (16, 4)), rng.standard_normal((4, 16)) ** 3):
        assert grid_of(values.astype("f4")) is None


def test_a_head_of_other_values_was_replaced_and_one_that_moved_was_trained_on(tmp_path: Path) -> None:
    source = residual(1)
    replaced = related(tmp_path, source | {"head": residual(9)["head"]})
    assert replaced.relation == "same_but"
    assert "head was replaced" in replaced.evidence[-1]
    moved = {"kernel": source["head"]["kernel"] * np.float32(1.1), "bias": source["head"]["bias"]}
    assert "head was trained on" in related(tmp_path, source | {"head": moved}).evidence[-1]
    conv = {role: values * np.float32(1.1) for role, values in source["conv"].items()}
    other = related(tmp_path, source | {"conv": conv})
    assert other.relation == "same_but"
    assert "frozen" in other.evidence[-1]


def noisy(weights: Weights, amount: float = 0.1, seed: int = 3) -> Weights:
    rng = np.random.default_rng(seed)
    return changed(weights, lambda x: (x + amount * rng.standard_normal(x.shape)).astype("f4"))


def test_learnt_values_that_are_equal_tell_one_training(tmp_path: Path) -> None:
    made = noisy(residual(1))
    made["conv"]["bias"] = residual(1)["conv"]["bias"]
    made["norm"] = residual(1)["norm"]
    pair = related(tmp_path, made)
    assert (pair.relation, pair.earlier) == ("fine_tuned", None)
    assert "chance gives 0" in pair.evidence[-1]


def test_weights_that_neither_training_touched_tell_one_start(tmp_path: Path) -> None:
    made = noisy(residual(1))
    made["hidden"]["kernel"][:4] = residual(1)["hidden"]["kernel"][:4]
    assert related(tmp_path, made).relation == "same_start"


def test_a_model_whose_vectors_are_constants_came_first(tmp_path: Path) -> None:
    fresh = residual(1)
    for tensors in fresh.values():
        for role, values in tensors.items():
            if values.ndim == 1:
                values[...] = role in ("gamma", "moving_variance")
    trained = noisy(fresh, 0.3)
    trained["norm"]["moving_variance"] **= 2
    pair = related(tmp_path, trained, fresh, turned=True)
    assert (pair.relation, pair.earlier) == ("same_start", "source")


def test_files_without_a_graph_are_compared_by_place(tmp_path: Path) -> None:
    one = saved(tmp_path / "a.h5", residual(1))
    pair = the_pair(one, saved(tmp_path / "b.h5", noisy(residual(1), 0.5)))
    assert pair.relation == "related"
    assert pair.null_similarity is not None
    assert pair.similarity is not None
    assert pair.similarity > pair.null_similarity
    assert the_pair(one, saved(tmp_path / "c.h5", noisy(residual(1), 0.01))).relation == "close"


def test_each_relation_says_what_it_rests_on() -> None:
    assert len(MEANINGS) == len(RELATIONS)
    for each in RELATIONS:
        assert each.means
        assert each.evidence
        assert each.by <= {"table", "files"}
        assert each.null or each.word == "not_comparable"
