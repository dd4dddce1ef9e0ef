"""A table that is damaged is not told as sound: byte by byte, wherever one changes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import wexport
from tests.conftest import EXAMPLES
from wexport.errors import TableError
from wexport.table import seal, stored

FLIPS = 100


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = tmp_path_factory.mktemp("sealed") / "t.parquet"
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"], table)
    return table


def data_bytes(table: Path) -> list[tuple[int, int]]:
    """Where the pages of each column begin and how long they are, with their headers."""
    metadata = pq.read_metadata(table)
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    columns = (group.column(number) for group in groups for number in range(group.num_columns))
    return [(each.dictionary_page_offset or each.data_page_offset, each.total_compressed_size) for each in columns]


def test_no_byte_of_the_pages_changes_figures_unseen(table: Path, tmp_path: Path) -> None:
    whole = pq.read_table(table)
    rng = np.random.default_rng(0)
    places = np.concatenate([np.arange(start, start + length) for start, length in data_bytes(table)])
    unseen = 0
    for place in rng.choice(places, FLIPS, replace=False):
        data = bytearray(table.read_bytes())
        data[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "t.parquet").write_bytes(data)
        with contextlib.suppress(TableError):
            seal.check(tmp_path / "t.parquet")
            unseen += not pq.read_table(tmp_path / "t.parquet").equals(whole)
    assert unseen == 0
    with pytest.raises(TableError, match=r"t\.parquet: is damaged") as caught:
        wexport.connect(tmp_path / "t.parquet")
    assert "copy it again" in caught.value.hint


def test_no_byte_at_all_is_changed_unseen(table: Path, tmp_path: Path) -> None:
    """But those of the seal itself, and of what only says how to read it."""
    data = bytearray(table.read_bytes())
    start = data.rfind(seal.KEY.encode())
    rng = np.random.default_rng(1)
    changed = tmp_path / "t.parquet"
    for place in [*rng.integers(0, len(data), 200), *range(len(data) - 600, len(data) - 8)]:
        if start - 2 <= place < start + len(seal.KEY) + 2 + 17:
            continue
        data[place] ^= 1
        changed.write_bytes(data)
        with pytest.raises(TableError, match="is damaged"):
            seal.check(changed)
        data[place] ^= 1
    changed.write_bytes(data)
    seal.check(changed)


def test_a_damaged_table_is_not_added_to(table: Path, tmp_path: Path) -> None:
    data = bytearray(table.read_bytes())
    start, length = data_bytes(table)[5]
    data[start + length // 2] ^= 4
    damaged = tmp_path / "t.parquet"
    damaged.write_bytes(data)
    for change in ({"append": True}, {"append": True, "prune": True}):
        with pytest.raises(TableError, match="is damaged"):
            wexport.ingest(EXAMPLES / "lstm.h5", damaged, name="other", **change)  # type: ignore[arg-type]
        assert damaged.read_bytes() == bytes(data)
    with pytest.raises(TableError, match="is damaged"):
        list(stored.row_groups(damaged))


def test_tables_of_other_programs_are_read(table: Path, tmp_path: Path) -> None:
    """What they keep of the seal does not fit their file, and is none."""
    rows = pq.read_table(table)
    sealed = pq.read_metadata(table).metadata
    kept = {**rows.schema.metadata, seal.KEY: sealed[seal.KEY.encode()]}
    pq.write_table(rows.replace_schema_metadata(kept), tmp_path / "t.parquet", compression="gzip")
    with wexport.connect(tmp_path / "t.parquet") as connection:
        assert connection.ask("SELECT count(*) AS n FROM tensors")["n"].to_pylist()[0] > 0
    assert wexport.ingest(EXAMPLES / "lstm.h5", tmp_path / "t.parquet", append=True, name="b").rows > 0


@pytest.mark.parametrize("data", [b"", b"PAR1", b"x" * 4, b"\xff" * 8, b"\xff\xff\xff\x0fPAR1"])
def test_what_is_no_table_has_no_seal(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.parquet").write_bytes(data)
    seal.check(tmp_path / "t.parquet")


def test_the_same_rows_give_the_same_bytes(table: Path, tmp_path: Path) -> None:
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"], tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").read_bytes() == table.read_bytes()


def test_a_table_too_large_for_the_time_there_is_passes(table: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "t.parquet"
    data = bytearray(table.read_bytes())
    data[1_000] ^= 1
    damaged.write_bytes(data)
    seal.check(damaged, until=0.0)
    with pytest.raises(TableError, match="is damaged"):
        seal.check(damaged)
