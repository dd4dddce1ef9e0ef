"""Models measured in shards side by side, and parts joined into one file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import wexport

Write = Callable[..., Path]
COUNT = 12


@pytest.fixture
def folder(write_h5: Write, tmp_path: Path) -> Path:
    for seed in range(COUNT):
        rng = np.random.default_rng(seed)
        write_h5(f"m/{seed}.h5", w=rng.normal(size=(20, 4)).astype("f4"), b=rng.normal(size=4).astype("f4"))
    return tmp_path / "m"


def rows(path: Path) -> list[dict[str, object]]:
    return pq.read_table(path).sort_by([("model", "ascending"), ("tensor_index", "ascending")]).to_pylist()


def test_shards_joined_are_what_one_run_gives(folder: Path, tmp_path: Path) -> None:
    parts, out = f"{tmp_path}/parts/", tmp_path / "joined.parquet"
    read = [
        {model.model for model in wexport.ingest(folder, parts, shard=f"{number}/3", jobs=1).models}
        for number in (1, 2, 3)
    ]
    assert sum(map(len, read)) == len(set().union(*read)) == COUNT
    assert wexport.compact(parts, out) == out
    wexport.ingest(folder, tmp_path / "one.parquet", jobs=1)
    assert rows(out) == rows(tmp_path / "one.parquet")
    one, other = (pq.ParquetFile(path) for path in (out, tmp_path / "one.parquet"))
    assert one.metadata.num_row_groups == other.metadata.num_row_groups == 1
    assert one.schema_arrow.metadata == other.schema_arrow.metadata
    assert one.metadata.metadata[b"wexport_sources"] == other.metadata.metadata[b"wexport_sources"]
    # What was joined can be asked and added to, and the parts are as they were.
    assert wexport.query("models", out).to_pylist() == wexport.query("models", parts).to_pylist()
    added = wexport.ingest(folder / "3.h5", out, append=True, jobs=1)
    assert (len(added.models), added.rows) == (1, 2 * COUNT)
    assert {model.status for model in wexport.ingest(folder, parts, jobs=1).models} == {"unchanged"}


def test_parts_that_do_not_go_together_are_named(folder: Path, tmp_path: Path) -> None:
    for name, detail, file in (("a", "full", "1.h5"), ("b", "full", "1.h5"), ("c", "summary", "2.h5")):
        wexport.ingest(folder / file, tmp_path / f"{name}.parquet", detail=detail, jobs=1)
    (tmp_path / "out.parquet").write_bytes(b"before")
    with pytest.raises(wexport.TableError, match=r"the model '1' is in two files of the table, .*a\.parquet and .*b"):
        wexport.compact(tmp_path / "[ab].parquet", tmp_path / "out.parquet", overwrite=True)
    with pytest.raises(wexport.TableError, match=r"c\.parquet: was written with options"):
        wexport.compact(tmp_path / "[ac].parquet", tmp_path / "out.parquet", overwrite=True)
    assert (tmp_path / "out.parquet").read_bytes() == b"before"
    with pytest.raises(wexport.TableError, match="is read, and an output is never an input"):
        wexport.compact(tmp_path / "a.parquet", tmp_path / "a.parquet")
    with pytest.raises(wexport.MissingTableError):
        wexport.compact(tmp_path / "none", tmp_path / "new.parquet")
    assert not (tmp_path / "new.parquet").exists()


@pytest.mark.parametrize("shard", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/"])
def test_a_shard_that_makes_no_sense_is_refused(folder: Path, tmp_path: Path, shard: str) -> None:
    with pytest.raises(wexport.UsageError, match="is not one of several"):
        wexport.ingest(folder, f"{tmp_path}/parts/", shard=shard)


def test_shards_are_not_for_one_file(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(wexport.UsageError, match="shards are written into a folder"):
        wexport.ingest(folder, tmp_path / "t.parquet", shard="1/2")
