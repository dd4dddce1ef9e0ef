"""Tables from strangers: what makes no sense is told by file, column and row before anything is worked out from it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import wexport
from tests.conftest import CORPUS, EXAMPLES
from tests.crafted_tables import CHANGES, craft
from tests.tables import write_table
from wexport.errors import TableError
from wexport.sessions.session import Session
from wexport.sessions.soundness import KEYS, NESTED

READS = {"counts": "SELECT 1 AS a", "model, slot and kind": "SELECT 1 AS a"}
"""What is read of a column that is more than its name."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    table = tmp_path_factory.mktemp("sound") / "t.parquet"
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"], table)
    return table


def read(table: Path, column: str) -> None:
    with wexport.connect(table) as connection:
        connection.ask(READS.get(column, f"SELECT {column} FROM weights"))


@pytest.mark.parametrize("change", CHANGES)
def test_what_makes_no_sense_is_told_by_file_column_and_row(sound: Path, tmp_path: Path, change: str) -> None:
    column, edit = CHANGES[change]
    table = craft(sound, tmp_path / "mailed.parquet", edit)
    with pytest.raises(TableError, match=rf"mailed\.parquet: makes no sense: {column} of ") as caught:
        read(table, column)
    assert "wexport ingest" in caught.value.hint
    read(sound, column)


def test_every_check_is_tried() -> None:
    assert {column for column, _ in CHANGES.values()} == {*KEYS, *NESTED}


def test_what_is_not_said_makes_sense(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.parquet", [{"model": "a", "slot": "x", "value_count": 2, "nan_count": 0}])
    for column in NESTED:
        read(table, column)


def test_a_part_is_named(sound: Path, tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    parts.mkdir()
    shutil.copy(sound, parts / "sound.parquet")
    table = pq.read_table(sound)
    other = pa.Table.from_pylist(
        [{**row, "model": f"other_{row['model']}", "shape": [-1]} for row in table.slice(0, 2).to_pylist()],
        table.schema,
    )
    pq.write_table(other, parts / "other.parquet")
    with pytest.raises(TableError, match=r"other\.parquet: makes no sense: shape of .* in other_"):
        read(parts, "shape")


@pytest.mark.parametrize("query", ["health", "similarity", "architectures"])
def test_a_query_of_the_library_tells_it(sound: Path, tmp_path: Path, query: str) -> None:
    table = craft(sound, tmp_path / "mailed.parquet", CHANGES["bins reversed"][1])
    with Session(table) as session:
        with pytest.raises(TableError, match="makes no sense: histogram"):
            wexport.query(query, session)
        assert session.ask("SELECT count(*) AS n FROM weights")["n"].to_pylist()[0] > 0  # it goes on


def test_a_report_is_refused_and_nothing_is_written(sound: Path, tmp_path: Path) -> None:
    table = craft(sound, tmp_path / "mailed.parquet", CHANGES["a position beyond the end"][1])
    with pytest.raises(TableError, match="makes no sense: sample"):
        wexport.report(table, tmp_path / "report.html")
    assert [path.name for path in tmp_path.iterdir()] == ["mailed.parquet"]


def test_columns_of_another_type_are_told(sound: Path, tmp_path: Path) -> None:
    table = pq.read_table(sound)
    place = table.schema.get_field_index("histogram")
    texts = table.set_column(place, "histogram", pa.array(["x"] * table.num_rows))
    pq.write_table(texts, tmp_path / "mailed.parquet")
    with pytest.raises(TableError, match=r"mailed\.parquet: the column 'histogram' holds VARCHAR"):
        wexport.connect(tmp_path / "mailed.parquet")


def test_numbers_may_be_narrower(sound: Path, tmp_path: Path) -> None:
    """As other programs write them."""
    table = pq.read_table(sound)
    place = table.schema.get_field_index("zero_count")
    narrow = table.set_column(place, "zero_count", table["zero_count"].cast(pa.int16()))
    pq.write_table(narrow.replace_schema_metadata(table.schema.metadata), tmp_path / "t.parquet")
    read(tmp_path / "t.parquet", "zero_count")


def test_real_tables_make_sense(corpus: Path, tmp_path: Path) -> None:
    wexport.ingest(sorted(CORPUS.glob("*/*"))[:40], tmp_path / "t.parquet", optimizer=True)
    for column in NESTED:
        read(tmp_path / "t.parquet", column)
