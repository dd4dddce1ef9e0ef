"""Spectral statistics against NumPy's SVD, and against values that WeightWatcher and powerlaw gave."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import wexport
from tests.conftest import ROOT
from tests.relating.test_relate import RESIDUAL, residual, saved
from wexport.model.tensors import Layout
from wexport.stats import spectral as module
from wexport.stats.power_law import power_law
from wexport.stats.spectral import STATISTICS, singular_values, spectral

CONVOLUTION = Layout(unit_axes=(-1,), input_axes=(-2,))
LSTM = Layout(unit_axes=(-1,), input_axes=(0,), gates=("i", "f", "c", "o"), gate_axis=1)


def heavy(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """A matrix whose singular values have a heavy tail."""
    return (rng.standard_t(3, shape) / np.sqrt(shape[-1])).astype("f4")


@pytest.mark.parametrize("shape", [(200, 70), (70, 200), (64, 64), (5, 3), (3000, 6)])
def test_singular_values_are_those_of_the_svd(shape: tuple[int, int]) -> None:
    matrix = heavy(np.random.default_rng(0), *shape)
    wanted = np.linalg.svd(matrix.astype("f8"), compute_uv=False)
    # Of a Gram matrix, the small ones are known to the square root of float64's rounding of the largest.
    np.testing.assert_allclose(singular_values(matrix)[::-1], wanted, rtol=1e-9, atol=1e-7 * wanted[0])


def test_figures_of_a_matrix_are_their_formulas() -> None:
    matrix = heavy(np.random.default_rng(1), 300, 120).astype("f8")
    found = spectral(matrix, None)
    assert found is not None
    s = np.linalg.svd(matrix, compute_uv=False)
    p = s / s.sum()
    assert found["spectral_norm"] == pytest.approx(s[0], rel=1e-9)
    assert found["stable_rank"] == pytest.approx((matrix**2).sum() / s[0] ** 2, rel=1e-9)
    assert found["effective_rank"] == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-9)
    rms = np.sqrt((matrix**2).mean())
    assert found["random_edge"] == pytest.approx(rms * (np.sqrt(300) + np.sqrt(120)))
    assert found["spectral_exact"] == 1


def test_windows_are_pooled_and_gates_stand_by_themselves() -> None:
    rng = np.random.default_rng(2)
    kernel = heavy(rng, 3, 3, 16, 24)
    found = spectral(kernel, CONVOLUTION)
    assert found is not None
    all_of_them = np.concatenate([np.linalg.svd(each, compute_uv=False) for each in kernel.reshape(9, 16, 24)])
    assert found["spectral_norm"] == pytest.approx(all_of_them.max(), rel=1e-6)
    assert found["stable_rank"] == pytest.approx((all_of_them**2).sum() / all_of_them.max() ** 2, rel=1e-6)
    recurrent = heavy(rng, 30, 80)
    found = spectral(recurrent, LSTM)
    assert found is not None
    for place, letter in enumerate("ifco"):
        block = np.linalg.svd(recurrent[:, 20 * place : 20 * place + 20], compute_uv=False)
        assert found[f"spectral_norm.{letter}"] == pytest.approx(block[0], rel=1e-6)
    assert found["spectral_norm"] == pytest.approx(np.linalg.svd(recurrent, compute_uv=False)[0], rel=1e-6)


def test_a_random_matrix_has_no_spikes_and_planted_ones_are_counted() -> None:
    rng = np.random.default_rng(3)
    for _ in range(20):
        found = spectral(rng.standard_normal((200, 100)), None)
        assert found is not None
        assert found["spikes"] == 0
        assert found["spectral_norm"] == pytest.approx(found["random_edge"], rel=0.05)
    u, v = (np.linalg.qr(rng.standard_normal((n, 3)))[0] for n in (200, 100))
    found = spectral(rng.standard_normal((200, 100)) + 60 * u @ v.T, None)
    assert found is not None
    assert found["spikes"] == 3


def test_of_a_large_matrix_the_largest_are_found_by_a_sketch(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    scales = 0.97 ** np.arange(400)
    u, v = (np.linalg.qr(rng.standard_normal((n, 400)))[0] for n in (500, 600))
    matrix = (u * scales) @ v.T
    monkeypatch.setattr(module, "EXACT_SIDE", 300)
    found = spectral(matrix, None)
    assert found is not None
    assert found["spectral_exact"] == 0
    assert found["spectral_norm"] == pytest.approx(1, rel=1e-6)
    assert found["stable_rank"] == pytest.approx((scales**2).sum(), rel=1e-6)
    assert "effective_rank" not in found
    assert "alpha" not in found
    np.testing.assert_allclose(singular_values(matrix)[::-1][:50], scales[:50], rtol=1e-3)


def test_what_is_undefined_is_left_out() -> None:
    assert spectral(np.array([[1.0, np.nan], [0, 1]]), None) is None
    assert spectral(np.ones(5), None) is None
    zeros = spectral(np.zeros((60, 60)), None)
    assert zeros == {"spectral_exact": 1.0, "spectral_norm": 0.0, "spikes": 0.0}
    small = spectral(np.random.default_rng(0).standard_normal((20, 30)), None)
    assert small is not None
    assert "alpha" not in small


def test_the_exponent_of_a_planted_power_law_is_found() -> None:
    rng = np.random.default_rng(5)
    for alpha in (2.0, 3.5):
        law = power_law((1 - rng.random(4000)) ** (-1 / (alpha - 1)))
        assert law is not None
        assert law.alpha == pytest.approx(alpha, abs=0.15)


ORACLE = json.loads((ROOT / "tests" / "data" / "spectral.json").read_text())


@pytest.mark.parametrize("name", sorted(ORACLE))
def test_values_are_those_of_weightwatcher_and_powerlaw(name: str) -> None:
    case = ORACLE[name]
    values = heavy(np.random.default_rng(case["seed"]), *case["shape"])
    found = spectral(values, CONVOLUTION)
    assert found is not None
    wanted, slices = case["weightwatcher"], values.reshape(-1, *values.shape[-2:])
    law = power_law(np.concatenate([singular_values(each) ** 2 for each in slices]), least=2)
    assert law is not None
    assert law.alpha == pytest.approx(wanted["alpha"], rel=1e-6)
    assert law.distance == pytest.approx(wanted["D"], abs=1e-6)
    assert law.tail == wanted["tail"]
    assert law.alpha == pytest.approx(case["powerlaw"]["alpha"], rel=1e-6)
    assert found.get("alpha") == (law.alpha if law.tail >= 50 else None)
    assert found["stable_rank"] == pytest.approx(case["weightwatcher"]["stable_rank"], rel=1e-6)
    assert found["spectral_norm"] == pytest.approx(case["weightwatcher"]["spectral_norm"] ** 0.5, rel=1e-6)


def test_the_table_has_them_on_demand_and_remembers_what_they_are(tmp_path: Path) -> None:
    model = saved(tmp_path / "model.h5", residual(1), RESIDUAL)
    table = tmp_path / "weights.parquet"
    wexport.ingest(model, table, spectral=True)
    rows = wexport.query(
        "SELECT slot, extra['stable_rank'] AS rank FROM weights WHERE extra IS NOT NULL", table
    ).to_pylist()
    kernels = residual(1)
    assert {row["slot"] for row in rows} == {
        f"{name}/kernel" for name in ("conv2d", "conv2d_1", "conv2d_2", "dense", "dense_1")
    }
    head = kernels["head"]["kernel"].astype("f8")
    rank = next(row["rank"] for row in rows if row["slot"] == "dense_1/kernel")
    assert rank == pytest.approx((head**2).sum() / np.linalg.svd(head, compute_uv=False)[0] ** 2, rel=1e-9)
    with pytest.raises(wexport.TableError):
        wexport.ingest(model, table, append=True)


def test_each_statistic_says_what_it_is() -> None:
    assert len({each.name for each in STATISTICS}) == len(STATISTICS)
    assert all(each.doc.endswith(".") for each in STATISTICS)
