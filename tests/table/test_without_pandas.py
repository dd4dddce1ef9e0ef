"""Arrow imports pandas at its first conversion; in processes of wexport's own it does not, in others it still may."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import wexport
from tests.conftest import EXAMPLES

pytest.importorskip("pandas")


def said(code: str, *words: str) -> str:
    """What a program prints."""
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_conversions_import_no_pandas_and_others_find_it() -> None:
    code = (
        "import sys, wexport.table.without_pandas\n"
        "import pyarrow as pa\n"
        "table = pa.table({'a': pa.array([1.5, None]), 'b': pa.array(['x', 'y'])})\n"
        "table['a'].combine_chunks().fill_null(0).to_numpy(zero_copy_only=False), table.to_pylist()\n"
        "print('pandas' in sys.modules)\n"
        "import pandas\n"
        "print(pandas.DataFrame({'a': [1]}).shape)\n"
    )
    assert said(code).split("\n") == ["False", "(1, 1)"]


def test_a_program_of_somebody_else_has_its_data_frames(tmp_path: Path) -> None:
    wexport.ingest(EXAMPLES / "cnn_seed_1.h5", tmp_path / "weights.parquet")
    code = "import sys, wexport; print(len(wexport.query('models', sys.argv[1]).to_pandas()))"
    assert said(code, str(tmp_path / "weights.parquet")) == "1"
