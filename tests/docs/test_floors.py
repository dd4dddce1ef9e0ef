"""The least versions that are declared, as CI installs them; and what those of them do not have."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(not (ROOT / ".ci" / "floors.py").is_file(), reason="not a checkout")


@pytest.fixture
def floors() -> ModuleType:
    spec = importlib.util.spec_from_file_location("floors", ROOT / ".ci" / "floors.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_each_dependency_has_a_floor(floors: ModuleType) -> None:
    found = floors.floors((ROOT / "pyproject.toml").read_text())
    assert {line.partition("==")[0] for line in found} >= {"click", "pyarrow", "duckdb", "numpy", "h5py"}
    assert all(line.partition("==")[2] for line in found)


def test_a_dependency_without_a_floor_is_refused(floors: ModuleType) -> None:
    with pytest.raises(ValueError, match="'numpy' is not name>=version"):
        floors.floors('[project]\ndependencies = ["h5py>=3", "numpy"]')


WITHOUT = """
import sys
sys.modules["pandas"] = None
import click
click.ParamType.__class_getitem__ = None  # as before click 8.4
import wexport, wexport.cli
wexport.ingest(sys.argv[1], "out.parquet")
print(wexport.query("models", "out.parquet").num_rows)
"""


def test_neither_pandas_nor_a_new_click_is_needed(tmp_path: Path) -> None:
    models = str(ROOT / "wexport" / "examples" / "lstm.h5")
    command = [sys.executable, "-c", WITHOUT, models]
    found = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=300)
    assert (found.stdout, found.stderr) == ("1\n", "")
