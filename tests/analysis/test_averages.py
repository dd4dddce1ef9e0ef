"""Averages that were made on purpose, and what is found of them."""

from __future__ import annotations

import numpy as np
import pytest

from wexport.analysis.averages import averages

Model = list[np.ndarray]
SHAPES = ((3, 3, 4, 16), (16,), (64, 32), (32, 10))


def trajectory(count: int, seed: int = 0, step: float = 0.05) -> list[Model]:
    """Models that lie along a walk, as checkpoints do."""
    rng = np.random.default_rng(seed)
    now = [rng.standard_normal(shape) for shape in SHAPES]
    drift = [rng.standard_normal(shape) for shape in SHAPES]
    found = []
    for _ in range(count):
        now = [x + step * (d + rng.standard_normal(x.shape)) for x, d in zip(now, drift, strict=True)]
        found.append([x.astype("f4") for x in now])
    return found


def mixed(models: list[Model], shares: list[float], dtype: str = "f4") -> Model:
    return [
        sum(share * x.astype("f8") for share, x in zip(shares, each, strict=True)).astype(dtype).astype("f4")
        for each in zip(*models, strict=True)
    ]


def ema(models: list[Model], decay: float) -> list[float]:
    """The coefficients of an exponential moving average that begins at the first."""
    shares = [1.0]
    for _ in models[1:]:
        shares = [decay * each for each in shares] + [1 - decay]
    return shares


@pytest.mark.parametrize(
    "shares",
    [[0.25] * 4, [0.3, 0.7, 0, 0], ema([[]] * 4, 0.9), [0.5, 0.2, 0.2, 0.1]],
    ids=["mean", "mix", "ema", "soup"],
)
@pytest.mark.parametrize("seed", range(3))
def test_coefficients_of_averages_are_found(shares: list[float], seed: int) -> None:
    checkpoints = trajectory(7, seed)
    made = mixed(checkpoints[:4], shares)
    (found,) = averages([*"abcdefg", "made"], [*checkpoints, made])
    assert found.model == "made"
    wanted = {name: share for name, share in zip("abcd", shares, strict=True) if share}
    assert dict(zip(found.parts, found.coefficients, strict=True)) == pytest.approx(wanted, abs=1e-6)
    assert found.rank == len(wanted) - 1
    assert found.residual < 1e-6
    assert found.unexplained < 1e-4
    assert found.chance > 0.99
    assert found.values == sum(int(np.prod(shape)) for shape in SHAPES)


def test_several_averages_of_one_set_are_written_in_terms_of_what_is_none() -> None:
    checkpoints = trajectory(4)
    made = [mixed(checkpoints, [0.25] * 4), mixed(checkpoints[:2], [0.4, 0.6])]
    found = {each.model: each for each in averages([*"abcd", "mean", "mix"], [*checkpoints, *made])}
    assert set(found) == {"mean", "mix"}
    assert set(found["mean"].parts) == set("abcd")
    assert dict(zip(found["mix"].parts, found["mix"].coefficients, strict=True)) == pytest.approx({"a": 0.4, "b": 0.6})


def test_an_average_in_half_precision_is_found_less_exactly() -> None:
    checkpoints = trajectory(4)
    (found,) = averages([*"abcd", "mean"], [*checkpoints, mixed(checkpoints, [0.25] * 4, "f2")])
    assert found.coefficients == pytest.approx([0.25] * 4, abs=1e-3)


def test_checkpoints_strangers_and_noisy_averages_are_none() -> None:
    rng = np.random.default_rng(1)
    assert averages([*"abcdef"], trajectory(6)) == []
    assert averages([*"abc"], [trajectory(1, seed)[0] for seed in range(3)]) == []
    checkpoints = trajectory(4)
    trained_on = [x + 0.02 * rng.standard_normal(x.shape).astype("f4") for x in mixed(checkpoints, [0.25] * 4)]
    assert averages([*"abcde"], [*checkpoints, trained_on]) == []


def test_where_parts_are_collinear_none_are_told() -> None:
    a, b, c, _ = trajectory(4)
    d = [x + y - z for x, y, z in zip(a, b, c, strict=True)]  # the corners of a parallelogram
    (found,) = averages([*"abcd", "mean"], [a, b, c, d, mixed([a, b, c, d], [0.25] * 4)])
    assert found.parts == ()
    assert "collinear" in found.reason


def test_copies_are_no_averages() -> None:
    a, b, c, _ = trajectory(4)
    assert averages([*"abcd"], [a, b, c, a]) == []


def test_values_that_are_not_finite_are_left_out() -> None:
    checkpoints = trajectory(3)
    made = mixed(checkpoints, [0.5, 0.25, 0.25])
    made[0][0, 0, 0, 0] = np.nan
    (found,) = averages([*"abc", "made"], [*checkpoints, made])
    assert dict(zip(found.parts, found.coefficients, strict=True)) == pytest.approx({"a": 0.5, "b": 0.25, "c": 0.25})
