"""What several test files share: models to read, and the collection of real files where it is at hand."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import settings

# Where Python is told to leave no bytecode, every process that a test starts would compile the whole package anew.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Machines are shared and slow at times: no example is too late.
settings.register_profile("wexport", deadline=None)
settings.load_profile("wexport")

ROOT = Path(__file__).parent.parent
DATA = Path(tempfile.mkdtemp(prefix="wexport-tests-"))
"""Real models written by real frameworks, unpacked: `DATA / "keras3"` and `DATA / "tfkeras215"`."""
atexit.register(shutil.rmtree, DATA, ignore_errors=True)
for _archive in (Path(__file__).parent / "data").glob("*.zip"):
    zipfile.ZipFile(_archive).extractall(DATA)
EXAMPLES = ROOT / "wexport" / "examples"
CORPUS = ROOT.parent / "shared" / "corpus"


@pytest.fixture(scope="session")
def corpus() -> Path:
    """A folder of real files from public repositories; not part of the project."""
    if not CORPUS.is_dir():
        pytest.skip("the collection of real files is not here")
    return CORPUS


@pytest.fixture
def write_h5(tmp_path: Path) -> Callable[..., Path]:
    """Writes arrays as datasets of an HDF5 file: `write_h5("a.h5", w=array, **{"b/c": array})`."""

    def write(name: str, **arrays: Any) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(path, "w") as file:
            for key, array in arrays.items():
                file.create_dataset(key, data=np.asarray(array))
        return path

    return write
