"""Small files whose illness was once told wrongly. Skipped where they are not."""

from __future__ import annotations

from pathlib import Path

import pytest

import wexport

CASES = Path(__file__).parents[3] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not here")


def told(case: str, tmp_path: Path) -> dict[str, set[tuple[str, str | None]]]:
    files = [file for file in (CASES / case).iterdir() if file.suffix != ".py"]
    wexport.ingest(files, tmp_path / "weights.parquet")
    found: dict[str, set[tuple[str, str | None]]] = {}
    for each in wexport.check(tmp_path / "weights.parquet"):
        found.setdefault(each.model, set()).add((each.finding, each.place))
    return found


def test_a_new_head_on_a_trained_backbone_of_unknown_roles_is_no_fresh_model(tmp_path: Path) -> None:
    found = told("fresh_claim", tmp_path)
    assert len(found) == 3
    assert all(findings == {("untrained", "new_head")} for findings in found.values())


def test_tensors_of_unknown_roles_that_are_all_zero(tmp_path: Path) -> None:
    pytest.importorskip("wexport_torch")
    pytest.importorskip("wexport_npz")
    found = told("unknown_roles", tmp_path)
    zero = {model: sum(finding == "zero_tensor" for finding, _ in findings) for model, findings in found.items()}
    assert zero == {"adapter_model": 3, "emb_zero": 1, "haiku": 1, "mha_zero": 1}
