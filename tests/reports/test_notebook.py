"""The notebook runs as it stands, in a kernel, and shows tables and pictures."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import wexport
from tests.conftest import EXAMPLES
from tests.reports.conftest import HOSTILE
from tests.tables import write_table
from wexport.library import load
from wexport.plot import KINDS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebook")
    wexport.ingest([EXAMPLES / "cnn_seed_1.h5", EXAMPLES / "cnn_seed_2.h5"], folder / "weights.parquet")
    return folder / "weights.parquet"


def codes(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.filterwarnings("ignore")  # the client's and the kernel's own
def test_every_cell_runs_and_shows_something(table: Path) -> None:
    out = wexport.notebook(table, table.parent / "sub.ipynb", metrics=EXAMPLES / "metrics.csv")
    notebook = nbformat.read(out, as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(table.parent)}}).execute()
    for cell in notebook.cells:
        if cell.cell_type == "code" and cell.source.startswith("wexport."):
            [shown] = cell.outputs
            assert ("image/png" if "plot" in cell.source else "text/html") in shown["data"], cell.source


def test_all_queries_and_all_plots_that_can_be_drawn_are_there(table: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(wexport.notebook(table, tmp_path / "n.ipynb", metrics=EXAMPLES / "metrics.csv"), 4)
    text = "\n".join(codes(notebook))
    assert [name for name in load() if f'wexport.query("{name}", table' not in text] == []
    left = notebook.cells[-1].source
    for kind in KINDS:
        assert (f"wexport.plot.{kind}(table" in text) != (f"- {kind}: " in left), kind
    assert "- gates: " in left
    assert "- histogram: " not in left


def test_what_needs_metrics_is_left_out_without_any_and_said(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [{"model": "a", "slot": "a/kernel", "values": [[1.0, 2.0]]}])
    notebook = nbformat.read(wexport.notebook(table, tmp_path / "n.ipynb"), 4)
    assert not any("METRICS" in text for text in codes(notebook))
    assert "- predictors: it reads metrics" in notebook.cells[-1].source


def test_names_of_the_user_are_neither_code_nor_markup(tmp_path: Path) -> None:
    folder = tmp_path / "a'; import os #<b>"
    rows = [{"model": HOSTILE, "slot": "a/kernel", "layer": HOSTILE, "role": "kernel", "values": [[1.0, 2.0]]}]
    table = write_table(folder / "it's.parquet", rows)
    notebook = nbformat.read(wexport.notebook(table, tmp_path / "n.ipynb"), 4)
    assert not any("<b>" in cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    names: dict[str, Any] = {}
    exec(codes(notebook)[0].rpartition("\n")[0], names)
    assert (tmp_path / names["TABLE"]).samefile(table)


def test_one_that_somebody_worked_in_is_not_replaced(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [{"model": "a", "slot": "a/kernel", "values": [[1.0, 2.0]]}])
    out = wexport.notebook(table, tmp_path / "n.ipynb")
    wexport.notebook(table, out)  # untouched
    nbformat.write(nbformat.read(out, 4), out)  # as Jupyter saves it
    with pytest.raises(wexport.UsageError, match=r"is not a notebook that wexport wrote"):
        wexport.notebook(table, out)
    wexport.notebook(table, out, overwrite=True)
