"""Changes of known rank, and what is told of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import wexport
from tests.relating.test_relate import RESIDUAL, Weights, layer, residual, saved, shuffled
from wexport.cli import cli

LSTM = [
    layer("InputLayer", "input"),
    layer("LSTM", "lstm", "input", units=12, activation="tanh"),
    layer("Dense", "head", "lstm"),
]


def with_kernel(weights: Weights, name: str, kernel: np.ndarray) -> Weights:
    return weights | {name: weights[name] | {"kernel": kernel.astype("f4")}}


def test_a_merged_adapter_has_a_low_rank_in_one_place(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    old = residual(1)
    adapter = rng.standard_normal((48, 2)) @ rng.standard_normal((2, 20))
    new = with_kernel(old, "hidden", old["hidden"]["kernel"] + 0.3 * adapter)
    found = wexport.change([saved(tmp_path / "a.h5", old, RESIDUAL), saved(tmp_path / "b.h5", new, RESIDUAL)])
    rows = {row.slot: row for row in found.rows}
    moved = rows["dense/kernel"]
    assert moved.effective_rank is not None
    assert moved.chance_rank is not None
    assert moved.effective_rank < 2.5 < moved.chance_rank
    assert moved.full_rank == 20
    assert moved.spikes == 2
    assert moved.changed == 1
    apart = new["hidden"]["kernel"] - old["hidden"]["kernel"]
    assert moved.relative_length == pytest.approx(
        np.linalg.norm(apart) / np.linalg.norm(old["hidden"]["kernel"]), rel=1e-4
    )
    assert moved.stable_rank == pytest.approx((apart**2).sum() / np.linalg.norm(apart, 2) ** 2, rel=1e-4)
    still = rows["dense_1/kernel"]
    assert (still.changed, still.relative_length, still.effective_rank) == (0, 0, None)


def test_units_are_put_into_order_first(tmp_path: Path) -> None:
    old = residual(1)
    rng = np.random.default_rng(1)
    new = {
        name: {role: (x + 0.05 * rng.standard_normal(x.shape)).astype("f4") for role, x in tensors.items()}
        for name, tensors in old.items()
    }
    paths = [saved(tmp_path / "a.h5", old, RESIDUAL), saved(tmp_path / "b.h5", shuffled(new), RESIDUAL)]
    found = wexport.change(paths)
    assert found.aligned
    assert found.moved > 30
    for row in found.rows:
        if row.slot.endswith("kernel"):
            assert row.relative_length == pytest.approx(0.05, abs=0.02)
            assert row.effective_rank == pytest.approx(row.chance_rank, rel=0.1)
            assert row.intruders == 0


def test_a_strong_new_direction_intrudes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    old = residual(1)
    u, v = rng.standard_normal((48, 1)), rng.standard_normal((1, 20))
    new = with_kernel(old, "hidden", old["hidden"]["kernel"] + 3 * u @ v)
    found = wexport.change([saved(tmp_path / "a.h5", old, RESIDUAL), saved(tmp_path / "b.h5", new, RESIDUAL)])
    assert {row.slot: row.intruders for row in found.rows}["dense/kernel"] == 1


def test_each_gate_has_a_row(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)

    def normal(*shape: int) -> np.ndarray:
        return rng.standard_normal(shape).astype("f4")

    old = {
        "lstm": {"kernel": normal(8, 48), "recurrent_kernel": normal(12, 48), "bias": normal(48)},
        "head": {"kernel": normal(12, 3), "bias": normal(3)},
    }
    new = with_kernel(old, "lstm", old["lstm"]["kernel"])
    new["lstm"]["kernel"][:, 12:24] *= 2  # the forget gate
    found = wexport.change([saved(tmp_path / "a.h5", old, LSTM), saved(tmp_path / "b.h5", new, LSTM)])
    gates = {row.gate: row for row in found.rows if row.slot == "lstm/kernel"}
    assert set(gates) == {None, "i", "f", "c", "o"}
    assert gates["f"].relative_length == pytest.approx(1)
    assert gates["i"].changed == 0
    assert gates[None].changed == 0.25


def test_the_command_shows_it_and_wants_two_models(tmp_path: Path) -> None:
    paths = [str(saved(tmp_path / f"{n}.h5", residual(n), RESIDUAL)) for n in range(3)]
    done = CliRunner(env={"COLUMNS": "80"}).invoke(cli, ["relate", "--change", *paths[:2]])
    assert done.exit_code == 0, done.output
    assert "effective rank of the difference" in done.stdout
    done = CliRunner().invoke(cli, ["relate", "--change", "--format", "json", *paths[:2]])
    assert json.loads(done.stdout)[0]["slot"] == "conv2d/kernel"
    with pytest.raises(wexport.UsageError, match="3 models"):
        wexport.change(paths)
