"""Drift: every figure against plain NumPy over all values, from samples and from whole tensors."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wexport
from tests.tables import write_table
from tests.test_similar import KINDS, dense, exact_cosine, moved
from wexport.stats import sample


def drift(path: Path, rows: list[dict[str, Any]], **parameters: Any) -> dict[str, dict[str, Any]]:
    """Answers by slot."""
    answer = wexport.query("drift", write_table(path / "weights.parquet", rows), {"reference": "old", **parameters})
    return {row["slot"]: row for row in answer.to_pylist()}


def test_samples_are_within_three_standard_errors_of_all_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(11)
    rows, exact = [], {}
    for number in range(240):
        kernel = rng.normal(0, 0.1, (64, 96)).astype(np.float32)
        new = moved(rng, kernel, KINDS[number % len(KINDS)])
        rows += [dense("old", kernel, f"layer_{number}"), dense("new", new, f"layer_{number}")]
        x, d = kernel.astype(np.float64), new.astype(np.float64) - kernel
        exact[f"layer_{number}/kernel"] = {
            "relative_l2": math.sqrt((d**2).sum() / (x**2).sum()),
            "cosine": exact_cosine(kernel, new),
            "changed_fraction": np.mean(d != 0),
        }
    found = drift(tmp_path, rows)
    assert {row["basis"] for row in found.values()} == {"sample"}
    for figure in ("relative_l2", "cosine", "changed_fraction"):
        errors = np.array(
            [(found[slot][figure] - value[figure]) / found[slot][f"{figure}_se"] for slot, value in exact.items()]
        )
        assert np.mean(np.abs(errors) <= 3) >= 0.99, figure
    relative = np.array(
        [(found[s]["relative_l2"] - v["relative_l2"]) / found[s]["relative_l2_se"] for s, v in exact.items()]
    )
    assert 0.6 < relative.std() < 1.3  # neither too sure nor too careful


def test_whole_tensors_give_exact_figures(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    old = rng.normal(0, 1, (20, 30))
    new = old + rng.normal(0, 1e-9, old.shape)
    found = drift(tmp_path, [{**dense("old", old), "dtype": "float64"}, {**dense("new", new), "dtype": "float64"}])
    row = found["dense/kernel"]
    d = new - old
    assert row["relative_l2"] == pytest.approx(math.sqrt((d**2).sum() / (old**2).sum()), rel=1e-12)
    assert 1 - row["cosine"] == pytest.approx(0, abs=1e-15)
    assert row["rms_change"] == pytest.approx(math.sqrt((d**2).mean()), rel=1e-12)
    assert (row["relative_l2_se"], row["cosine_se"], row["changed_fraction_se"]) == (0, 0, 0)
    assert row["basis"] == "all values"


@pytest.mark.parametrize("scale", [1e-300, 1e37])
def test_magnitudes_do_not_overflow(tmp_path: Path, scale: float) -> None:
    old, new = np.array([[3.0, 4.0]]) * scale, np.array([[3.0, 0.0]]) * scale
    found = drift(tmp_path, [{**dense("old", old), "dtype": "float64"}, {**dense("new", new), "dtype": "float64"}])
    assert found["dense/kernel"]["relative_l2"] == pytest.approx(0.8)
    assert found["dense/kernel"]["cosine"] == pytest.approx(0.6)


def test_a_change_that_the_sample_misses_is_said(tmp_path: Path) -> None:
    old = np.random.default_rng(1).normal(0, 1, (64, 96)).astype(np.float32)
    kept = sample.positions(old.shape, 1024)
    new = old.copy()
    new.flat[min(set(range(old.size)) - set(kept.tolist()))] += 1
    row = drift(tmp_path, [dense("old", old), dense("new", new)])["dense/kernel"]
    assert row["reason"] == "changed, but in no value of the sample"
    assert row["relative_l2"] is None
    assert row["cosine"] is None
    assert row["changed_fraction"] == 0
    assert row["changed_fraction_se"] > 1 / old.size


def test_wasserstein_is_near_that_of_the_values(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    old = rng.normal(0, 0.1, (100, 100)).astype(np.float32)
    rows = [dense("old", old, "wider"), dense("new", (old * 1.5).astype(np.float32), "wider")]
    rows += [dense("old", old, "moved"), dense("new", old + np.float32(0.1), "moved")]
    rows += [dense("old", old, "shuffled"), dense("new", rng.permutation(old.ravel()).reshape(old.shape), "shuffled")]
    found = drift(tmp_path, rows)
    for slot, new in (("wider", old * 1.5), ("moved", old + 0.1)):
        # Of two samples of one size, the Wasserstein-1 distance is the mean distance of their sorted values.
        wanted = np.abs(np.sort(old.ravel()) - np.sort(new.ravel())).mean() / old.std()
        assert found[f"{slot}/kernel"]["wasserstein"] == pytest.approx(wanted, rel=0.02)
    assert found["shuffled/kernel"]["wasserstein"] == pytest.approx(0, abs=1e-12)
    assert found["shuffled/kernel"]["js_distance"] == pytest.approx(0, abs=1e-6)
    assert found["moved/kernel"]["js_distance"] > 0.3


@pytest.mark.parametrize("shape", [(8, 8), (20, 20), (64, 64)])
def test_js_expected_is_what_two_samples_of_one_distribution_give(tmp_path: Path, shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(6)
    rows = []
    for number in range(40):
        rows += [dense(model, rng.normal(0, 0.1, shape), f"layer_{number}") for model in ("old", "new")]
    found = drift(tmp_path, rows, js_level=2.0).values()
    distance, expected = (np.mean([row[name] for row in found]) for name in ("js_distance", "js_expected"))
    assert expected == pytest.approx(distance, rel=0.05)
    told = drift(tmp_path, rows).values()
    assert all((row["js_distance"] is not None) == (row["js_expected"] < 0.2) for row in told)


def test_histograms_are_compared_where_most_moved(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    rows = []
    for number in range(4):
        kernel = rng.normal(0, 0.1, (8, 8))
        rows += [dense("old", kernel, f"layer_{number}"), dense("new", kernel * (1.5 + number), f"layer_{number}")]
    found = drift(tmp_path, rows, histograms=2)
    assert {slot for slot, row in found.items() if row["wasserstein"] is not None} == {
        "layer_2/kernel",
        "layer_3/kernel",
    }
