"""Indices that ask for too much, and damaged checkpoints: told by name, and what is good is still read."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from wexport_tf import table

import wexport
from wexport.testing import ingest_mutants, mutants

# -- a writer of indices, as TensorFlow's but for what is put in -------------------------------------------------------

Message = Sequence[tuple[int, "int | bytes"]]


def varint(value: int) -> bytes:
    data = b""
    while value >= 0x80:
        data, value = data + bytes([value & 0x7F | 0x80]), value >> 7
    return data + bytes([value])


def message(fields: Message) -> bytes:
    return b"".join(
        varint(number << 3) + varint(value % (1 << 64))
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


def entry(
    *shape: int, dtype: int = 1, shard: int = 0, offset: int = 0, size: int | None = None, more: Any = ()
) -> bytes:
    lengths = message([(2, message([(1, length)])) for length in shape])
    size = 4 * int(np.prod(shape)) if size is None else size
    return message([(1, dtype), (2, lengths), (3, shard), (4, offset), (5, size), *more])


def block(items: Sequence[tuple[bytes, bytes]], kind: int = 0) -> bytes:
    body = b"".join(b"\0" + varint(len(key)) + varint(len(value)) + key + value for key, value in items)
    return body + bytes(4) + (1).to_bytes(4, "little") + bytes([kind]) + bytes(4)


def closed(data: bytes, handle: bytes | None = None) -> bytes:
    """With an index of the one block that `data` is, or of `handle`, and a footer."""
    index = block([(b"\xff", handle or varint(0) + varint(len(data) - 5))])
    footer = varint(0) + varint(0) + varint(len(data)) + varint(len(index) - 5)
    return data + index + footer + bytes(40 - len(footer)) + table.MAGIC


HEADER = message([(1, 1), (3, message([(1, 1)]))])
GOOD = (b"good", entry(2))


def index(*items: tuple[bytes, bytes], header: bytes = HEADER) -> bytes:
    return closed(block([(b"", header), *items]))


def raw(entries: bytes) -> bytes:
    """A block with entries that are not as they should be, behind the header."""
    body = b"\0\0" + varint(len(HEADER)) + HEADER + entries
    return closed(body + bytes(4) + (1).to_bytes(4, "little") + bytes(5))


REFUSED = {
    "no data files": index(GOOD, header=message([(1, 0), (3, b"")])),
    "2^40 data files": index(GOOD, header=message([(1, 1 << 40)])),
    "another byte order": index(GOOD, header=message([(1, 1), (2, 7)])),
    "no header": index((b"a", b"")),
    "a block outside": closed(block([(b"", HEADER)]), varint(1 << 40) + varint(10)),
    "a block of 2^60 bytes": closed(block([(b"", HEADER)]), varint(0) + varint(1 << 60)),
    "a block that does not end": closed(block([(b"", HEADER)]), b"\xff" * 12),
    "a compressed block": closed(block([(b"", HEADER)], kind=1)),
    "2^32 - 1 places": closed(b"\0\0" + varint(len(HEADER)) + HEADER + b"\xff" * 4 + bytes(5)),
    "a key of more than there is": raw(varint(0) + varint(1 << 40) + varint(0)),
    "a value of more than there is": raw(varint(0) + varint(1) + varint(1 << 60) + b"a"),
    "the beginning of a key that is not there": raw(varint(9) + varint(1) + varint(0) + b"a"),
    "long keys of three bytes": raw(
        varint(0)
        + varint(8000)
        + varint(0)
        + b"a" * 8000
        + b"".join(varint(7990) + varint(4) + varint(0) + number.to_bytes(4, "big") for number in range(60_000))
    ),
    "a name twice": index(GOOD, GOOD),
    "names out of order": index(GOOD, (b"a", entry(2, offset=8))),
    "a negative length": index((b"a", entry(-4, size=0))),
    "2^62 values of four": index((b"a", entry(1 << 31, 1 << 32, size=0))),
    "nothing of 2^63": index((b"a", entry(0, 1 << 62, 2, size=0))),
    "40 dimensions": index((b"a", entry(*[1] * 40))),
    "a shape that is not known": index((b"a", message([(1, 1), (2, message([(3, 1)]))]))),
    "a group": index((b"a", b"\x0b\x0c")),
    "a number of eleven bytes": index((b"a", b"\x08" + b"\xff" * 11)),
    "bytes for a number": index((b"a", message([(1, b"1")]))),
    "a number for bytes": index((b"a", message([(2, 5)]))),
    "the same bytes twice": index((b"a", entry(4)), (b"b", entry(4))),
    "the same bytes in part": index((b"a", entry(4)), (b"b", entry(4, offset=12))),
    "nothing readable": index((b"a", entry(2, offset=1 << 60))),
}


def ingested(folder: Path, content: bytes, data: bytes = bytes(64)) -> Any:
    (folder / "m.index").write_bytes(content)
    (folder / "m.data-00000-of-00001").write_bytes(data)
    return wexport.ingest([folder / "m.index"], folder / "out.parquet", reader="tf", timeout=20).models[0]


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_index_is_refused_by_name(tmp_path: Path, name: str) -> None:
    result = ingested(tmp_path, REFUSED[name])
    assert result.status == "failed"
    assert result.reason.startswith(str(tmp_path / "m.index")), result.reason
    assert result.hint


UNREADABLE = {
    "outside the data file": entry(2, offset=1 << 60),
    "larger than the data file": entry(1 << 40, offset=8),
    "more bytes than values": entry(2, offset=8, size=12),
    "fewer bytes than values": entry(2, offset=8, size=4),
    "in a data file that is none": entry(2, shard=7, offset=8),
    "in data file 2^40": entry(2, shard=1 << 40, offset=8),
    "of a type of tomorrow": entry(2, dtype=99, offset=8),
    "in parts that are not there": entry(2, more=[(7, message([(1, message([(2, 2)]))]))]),
    "in parts of more rows": entry(2, more=[(7, message([(1, message([(2, 1 << 60)]))]))]),
    "in parts of other dimensions": entry(2, more=[(7, b"")]),
    "in parts that do not begin": entry(2, more=[(7, message([(1, message([(1, 1), (2, 1)]))]))]),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_hostile_entry_costs_itself_only(tmp_path: Path, name: str) -> None:
    result = ingested(tmp_path, index((b"bad", UNREADABLE[name]), GOOD))
    assert (result.status, result.tensors) == ("partial", 1)
    assert [problem.name for problem in result.problems] == ["bad"]
    assert result.problems[0].detail


def test_the_writer_above_writes_what_is_read(tmp_path: Path) -> None:
    """Or else nothing above would prove anything; a part, a scalar and an empty tensor among it."""
    extents = [message([(1, message([(1, row), (2, 1)]))]) for row in range(2)]
    whole = (b"parts", entry(2, more=[(7, extent) for extent in extents]))
    parts = [
        (b"\0parts\0\1\1\1\x80\x81", entry(1, offset=8)),
        (b"\0parts\0\1\1\1\x81\x81", entry(1, offset=12)),
    ]
    data = np.arange(16, dtype="<f4").tobytes()
    result = ingested(
        tmp_path, index(*parts, (b"empty", entry(0, 7)), GOOD, whole, (b"scalar", entry(offset=20, size=4))), data
    )
    assert (result.status, result.tensors) == ("ok", 4)
    rows = {row["tensor"]: row for row in wexport.inspect(tmp_path / "m.index").rows}
    assert list(rows["parts"]["sample"]["value"]) == [2, 3]
    assert list(rows["scalar"]["sample"]["value"]) == [5]
    assert rows["empty"]["shape"] == (0, 7)


def test_big_endian_values_are_turned(tmp_path: Path) -> None:
    header = message([(1, 1), (2, 1)])
    result = ingested(tmp_path, index((b"a", entry(3)), header=header), np.arange(3, dtype=">f4").tobytes())
    assert result.status == "ok"
    (row,) = wexport.inspect(tmp_path / "m.index").rows
    assert list(row["sample"]["value"]) == [0, 1, 2]


# -- the graph of objects ----------------------------------------------------------------------------------------------


def node(children: Sequence[tuple[str, int]] = (), key: bytes = b"") -> tuple[int, bytes]:
    edges = [(1, message([(1, place), (2, name.encode())])) for name, place in children]
    value = [(2, message([(1, b"VARIABLE_VALUE"), (2, b"dense/kernel"), (3, key)]))] if key else []
    return 1, message([*edges, *value])


CHAIN = [node([("next", place + 1)]) for place in range(50_000)] + [node(key=b"good")]
GRAPHS = {
    "good": message([node([("layer_with_weights-0", 1)]), node([("kernel", 2)]), node(key=b"good")]),
    "in a circle": message([node([("a", 1), ("b", 0)]), node([("a", 0), ("kernel", 2)]), node(key=b"good")]),
    "deep": message(CHAIN),
    "into nowhere": message([node([("a", 1 << 31), ("b", (1 << 64) - 1), ("kernel", 1)]), node(key=b"good")]),
    "of another key": message([node([("kernel", 1)]), node(key=b"other")]),
    "empty": b"",
    "cut short": message([node([("kernel", 1)]), node(key=b"good")])[:-3],
    "noise": b"\xff" * 99,
    "of too many ways": message([(1, b"\x0a\0" * 400_001)]),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_a_hostile_graph_costs_its_names_only(tmp_path: Path, name: str) -> None:
    text = varint(len(GRAPHS[name])) + bytes(4) + GRAPHS[name]
    graph = (b"_CHECKPOINTABLE_OBJECT_GRAPH", entry(dtype=7, offset=8, size=len(text)))
    result = ingested(tmp_path, index(graph, GOOD), bytes(8) + text)
    told = name in ("good", "in a circle", "deep", "into nowhere")
    assert result.tensors == 1
    assert result.status == ("ok" if told or name == "of another key" else "partial")
    (row,) = wexport.inspect(tmp_path / "m.index").rows
    assert row["role"] == ("kernel" if told else "unknown")


def test_a_graph_that_lies_about_its_length_is_told(tmp_path: Path) -> None:
    for length in (0, 5, 1 << 60):
        text = varint(length) + bytes(4) + GRAPHS["good"]
        graph = (b"_CHECKPOINTABLE_OBJECT_GRAPH", entry(dtype=7, offset=8, size=len(text)))
        assert ingested(tmp_path, index(graph, GOOD), bytes(8) + text).status == "partial"


# -- data files --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_pipe_for_a_data_file_does_not_hang(tmp_path: Path) -> None:
    (tmp_path / "m.index").write_bytes(index(GOOD))
    os.mkfifo(tmp_path / "m.data-00000-of-00001")
    result = wexport.ingest([tmp_path / "m.index"], tmp_path / "out.parquet", timeout=20).models[0]
    assert result.status == "failed"
    assert "is not a regular file" in result.reason


def test_a_table_of_something_else_is_not_claimed(tmp_path: Path) -> None:
    path = tmp_path / "000005.ldb"
    path.write_bytes(closed(block([(b"a key", b"a value")])))
    result = wexport.ingest([path], tmp_path / "out.parquet").models[0]
    assert result.status == "failed"
    assert "no reader recognises it" in result.reason


# -- damaged files -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("models")
    with zipfile.ZipFile(Path(__file__).parent / "models.zip") as archive:
        archive.extractall(found)
    return found


@pytest.mark.parametrize("name", ["keras/ckpt-7", "first/model.ckpt-1"])
def test_damaged_indices_end_in_one_named_status_each(folder: Path, name: str) -> None:
    beside = [folder / f"{name}.data-00000-of-00001"]
    found = ingest_mutants(folder / f"{name}.index", beside=beside, reader="tf", optimizer=True)
    assert not found.statuses["crashed"] + found.statuses["timed out"] + found.statuses["memory"], found.statuses


def test_damaged_data_files_end_in_one_named_status_each(folder: Path, tmp_path: Path) -> None:
    """The graph of objects is in them."""
    stem = "keras/whole-1"
    content = (folder / f"{stem}.index").read_bytes()
    for mutant in mutants(folder / f"{stem}.data-00000-of-00001", 300):
        own = tmp_path / f"{mutant.number:03}"
        own.mkdir()
        (own / "m.index").write_bytes(content)
        (own / "m.data-00000-of-00001").write_bytes(mutant.content)
    found = wexport.ingest([*tmp_path.glob("*/m.index")], tmp_path / "out.parquet", timeout=10).models
    assert len(found) == 300
    assert {model.status for model in found} == {"ok", "partial", "failed"}
    told = [problem.detail for model in found for problem in model.problems]
    told += [model.reason for model in found if model.status == "failed"]
    assert not [detail for detail in told if "Error:" in detail], "an error that is not wexport's"
