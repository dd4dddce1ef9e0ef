"""The bench of faults in short: what tests/bench/bench_faults.py does by the thousand."""

from __future__ import annotations

from pathlib import Path

from tests.bench import bench_faults, faults_of_readers
from tests.bench.faults import Found


def test_nothing_is_lost_torn_or_changed_unseen(tmp_path: Path) -> None:
    found = Found()
    found.add(bench_faults.flips(tmp_path, 100))
    found.add(bench_faults.two_writers(tmp_path, 1))
    found.add(bench_faults.full_disk(tmp_path))
    assert found.trials > 100
    assert found.wrong() == 0, found


def test_damaged_models_harm_no_good_ones(tmp_path: Path) -> None:
    found = faults_of_readers.damaged(tmp_path, 30)
    assert found.trials > 30
    assert found.wrong() == 0, found
