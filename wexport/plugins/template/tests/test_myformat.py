"""The reader keeps wexport's contract, gives the values that were written, and survives damaged files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from wexport_myformat import MAGIC, READER

import wexport
import wexport.testing

RANDOM = np.random.default_rng(0)
ARRAYS: dict[str, Any] = {
    "dense/kernel": RANDOM.normal(size=(5, 4)).astype(np.float32),
    "dense/bias": np.zeros(4, np.float32),
    "steps": np.arange(3),
}


def write_myformat(path: Path, arrays: dict[str, Any]) -> None:
    """Writes a small file, as your framework does; better still, ship one that it wrote."""
    header, values = {}, b""
    for name, array in arrays.items():
        header[name] = {"type": array.dtype.name, "shape": array.shape, "begin": len(values)}
        values += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(MAGIC + len(text).to_bytes(8, "little") + text + values)


class TestMyformat(wexport.testing.ReaderTests):
    """The contract: what wexport relies on, tested with one file."""

    reader = READER
    values: ClassVar[Any] = ARRAYS

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def written(cls, tmp_path_factory: pytest.TempPathFactory) -> None:
        cls.path = tmp_path_factory.mktemp("myformat") / "model.myformat"
        write_myformat(cls.path, ARRAYS)


def test_damaged_files_end_in_one_named_status_each(tmp_path: Path) -> None:
    write_myformat(tmp_path / "model.myformat", ARRAYS)
    found = wexport.testing.ingest_mutants(tmp_path / "model.myformat", count=500)
    assert not found.statuses["crashed"] + found.statuses["timed out"] + found.statuses["memory"]


def test_what_is_known_of_a_tensor_is_told(tmp_path: Path) -> None:
    write_myformat(tmp_path / "model.myformat", ARRAYS)
    rows = {row["tensor"]: row for row in wexport.inspect(tmp_path / "model.myformat").rows}
    assert (rows["dense/kernel"]["layer"], rows["dense/kernel"]["role"]) == ("dense", "kernel")
    assert rows["steps"]["role"] == "unknown"


def test_a_damaged_header_is_told_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "model.myformat"
    path.write_bytes(MAGIC + (2).to_bytes(8, "little") + b"[}")
    with pytest.raises(wexport.ReadError, match=r"model\.myformat: its header cannot be read"):
        wexport.inspect(path)
