"""Which pairs of a table's models may be more than strangers, told by what no order of units changes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import wexport
from tests.relating.test_relate import RESIDUAL, residual, saved, scaled, shuffled
from wexport.analysis.candidates import candidates

MADE = {
    "base": residual(1),
    "shuffled": shuffled(residual(1)),
    "rescaled": shuffled(scaled(residual(1))),
    **{f"stranger_{seed}": residual(seed) for seed in range(2, 8)},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    paths = [saved(folder / f"{name}.h5", weights, RESIDUAL) for name, weights in MADE.items()]
    wexport.ingest(paths, folder / "weights.parquet")
    return folder / "weights.parquet"


def test_copies_in_another_order_or_scale_are_candidates_and_strangers_are_not(table: Path) -> None:
    found = candidates(table)
    named = {frozenset((found.models[a], found.models[b])) for a, b in found.pairs}
    copies = ("base", "shuffled", "rescaled")
    assert {frozenset((a, b)) for a in copies for b in copies if a < b} <= named
    assert len(named) <= 3 + 2


def test_relate_opens_the_files_of_candidates_only(table: Path) -> None:
    for name in MADE:
        if name.startswith("stranger"):
            (table.parent / f"{name}.h5").unlink(missing_ok=True)
    found = wexport.relate([table])
    assert {pair.relation for pair in found.pairs if "stranger" not in pair.model_a + pair.model_b} == {
        "reordered",
        "rescaled",
    }
    assert len(found.pairs) == 3
    assert found.compared == len(MADE) * (len(MADE) - 1) // 2


def test_a_file_that_is_gone_is_told(table: Path) -> None:
    (table.parent / "rescaled.h5").unlink()
    found = wexport.relate([table])
    assert [name for name, _, _ in found.failed] == ["rescaled"]
    assert [pair.relation for pair in found.pairs] == ["reordered"]


def test_fine_tunes_in_another_order_are_candidates(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    tuned = {
        name: {role: values + 0.1 * rng.standard_normal(values.shape).astype("f4") for role, values in tensors.items()}
        for name, tensors in residual(1).items()
    }
    paths = [saved(tmp_path / "a.h5", residual(1), RESIDUAL), saved(tmp_path / "b.h5", shuffled(tuned), RESIDUAL)]
    wexport.ingest(paths, tmp_path / "weights.parquet")
    assert candidates(tmp_path / "weights.parquet").pairs == [(0, 1)]
