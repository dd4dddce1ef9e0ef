"""The report's part on what changed since an earlier table."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import wexport
from tests.tables import write_table


def rows(model: str, *arrays: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"model": model, "slot": f"dense_{n}/kernel", "role": "kernel", "layer_class": "Dense", "values": values}
        for n, values in enumerate(arrays)
    ]


def drawn(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(20, 10))


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("earlier")
    sick = drawn(9)
    sick[0, 0] = np.nan
    models = {"same": [drawn(0)], "moved": [drawn(1), drawn(2)], "old_name": [drawn(3)], "lost": [sick], "well": [sick]}
    return write_table(folder / "old.parquet", [row for name, held in models.items() for row in rows(name, *held)])


def shown(page: Path) -> tuple[str, list[list[str]]]:
    """The sentence, and the rows of the table."""
    part = page.read_text().partition('<section id="changes"')[2].partition("</section>")[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", part)]
    return html.unescape(re.findall(r"<p>(.*?)</p>", part)[0]), [row for row in cells if row]


def test_models_that_came_went_were_renamed_or_are_others(earlier: Path, tmp_path: Path) -> None:
    sick = drawn(2)
    sick[1, 1] = np.inf
    models = {"same": [drawn(0)], "moved": [drawn(1), sick, drawn(5)], "new_name": [drawn(3)], "well": [drawn(9)]}
    table = write_table(tmp_path / "t.parquet", [row for name, held in models.items() for row in rows(name, *held)])
    page = wexport.report(table, tmp_path / "r.html", compare=earlier)
    sentence, found = shown(page)
    assert sentence == (f"Since {earlier}: 1 gone, 1 renamed, 2 changed, 1 as before; new findings in 1 model.")
    assert found == [
        ["new_name", "renamed, from old_name", "", ""],
        ["lost", "gone", "", "nan"],
        ["moved", "changed: 1 of 3 tensors, 1 more", "inf", ""],
        ["well", "changed: 1 of 1 tensor", "", "nan"],
    ]
    assert f"Since {earlier}" in page.read_text().partition('<section id="summary"')[2].partition("</section>")[0]


def test_an_earlier_table_is_never_replaced_and_must_be_there(earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(wexport.UsageError, match="an output is never an input"):
        wexport.report(write_table(tmp_path / "t.parquet", []), earlier, compare=earlier, overwrite=True)
    with pytest.raises(wexport.MissingTableError):
        wexport.report(write_table(tmp_path / "t.parquet", []), tmp_path / "r.html", compare=tmp_path / "no.parquet")
