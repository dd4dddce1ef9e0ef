"""Headers that ask for too much, and damaged files: told by name, never a crash, and what is good is still read."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import pytest
from wexport_gguf import header

import wexport
from wexport.testing import ingest_mutants


def text(content: str | bytes) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return struct.pack("<Q", len(data)) + data


def tensor(name: str, *ne: int, kind: int = 0, offset: int = 0) -> bytes:
    return text(name) + struct.pack(f"<I{len(ne)}QIQ", len(ne), *ne, kind, offset)


def file(*tensors: bytes, metadata: tuple[bytes, ...] = (), values: int = 64, count: int | None = None) -> bytes:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors) if count is None else count, len(metadata))
    head += b"".join(metadata) + b"".join(tensors)
    return head + bytes(-len(head) % 32) + bytes(values)


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def array(kind: int, count: int, items: bytes = b"") -> bytes:
    return struct.pack("<IQ", kind, count) + items


NESTED = b""
for _ in range(10_000):
    NESTED = array(9, 1, NESTED) if NESTED else array(0, 1, b"\0")
GOOD = tensor("good", 4)

REFUSED = {
    "2^60 tensors": file(GOOD, count=1 << 60),
    "a million tensors": file(GOOD, count=1_000_000),
    "2^60 keys": b"GGUF" + struct.pack("<IQQ", 3, 0, 1 << 60) + bytes(99),
    "more tensors than there are": file(GOOD, count=1_000),
    "a name of 2^60 bytes": file(struct.pack("<Q", 1 << 60) + bytes(64)),
    "a name of 2^64 - 1 bytes": file(struct.pack("<Q", (1 << 64) - 1) + bytes(64)),
    "a key of 2^60 bytes": file(GOOD, metadata=(struct.pack("<Q", 1 << 60),)),
    "a text of 2^60 bytes": file(GOOD, metadata=(key("a", 8, struct.pack("<Q", 1 << 60)),)),
    "2^60 numbers": file(GOOD, metadata=(key("a", 9, array(5, 1 << 60)),)),
    "2^60 texts": file(GOOD, metadata=(key("a", 9, array(8, 1 << 60)),)),
    "texts of 2^60 bytes": file(GOOD, metadata=(key("a", 9, array(8, 2, struct.pack("<QQ", 1, 1 << 60))),)),
    "five million texts": file(GOOD, metadata=(key("a", 9, array(8, 5_000_000)),)),
    "2^60 arrays": file(GOOD, metadata=(key("a", 9, array(9, 1 << 60)),)),
    "10,000 arrays in each other": file(GOOD, metadata=(key("a", 9, NESTED),)),
    "a key of no type": file(GOOD, metadata=(key("a", 13, bytes(8)),)),
    "an array of no type": file(GOOD, metadata=(key("a", 9, array(99, 1, bytes(8))),)),
    "a key twice": file(GOOD, metadata=(key("a", 0, b"\1"), key("a", 0, b"\1"))),
    "a name twice": file(GOOD, tensor("good", 4, offset=32)),
    "alignment 0": file(GOOD, metadata=(key("general.alignment", 4, bytes(4)),)),
    "alignment 48": file(GOOD, metadata=(key("general.alignment", 4, struct.pack("<I", 48)),)),
    "alignment 2^63": file(GOOD, metadata=(key("general.alignment", 10, struct.pack("<Q", 1 << 63)),)),
    "alignment in words": file(GOOD, metadata=(key("general.alignment", 8, text("32")),)),
    "alignment true": file(GOOD, metadata=(key("general.alignment", 7, b"\1"),)),
    "five dimensions": file(tensor("a", 1, 1, 1, 1, 1)),
    "2^32 - 1 dimensions": file(text("a") + b"\xff" * 64),
    "a product of 2^64": file(tensor("a", 1 << 32, 1 << 32)),
    "a product of 2^64 and nothing": file(tensor("a", 1 << 32, 0, 1 << 32)),
    "a length of 2^64 - 1": file(tensor("a", (1 << 64) - 1)),
    "the same bytes twice": file(tensor("a", 8), tensor("b", 8)),
    "the same bytes in part": file(tensor("a", 16), tensor("b", 8, offset=32)),
    "nothing but the magic": b"GGUF",
    "a version and no more": b"GGUF\3\0\0\0",
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_header_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(REFUSED[name])
    result = wexport.ingest([path], tmp_path / "out.parquet", timeout=20).models[0]
    assert result.status == "failed"
    assert result.reason.startswith(str(path)), result.reason
    assert result.hint, result.reason


UNREADABLE = {
    "outside the file": tensor("bad", 4, offset=1 << 40),
    "an offset of 2^64 - 32": tensor("bad", 4, offset=(1 << 64) - 32),
    "larger than the file": tensor("bad", 1 << 40, offset=32),
    "not aligned": tensor("bad", 1, offset=33),
    "a row of no whole blocks": tensor("bad", 33, kind=2, offset=32),
    "a scalar of no whole blocks": tensor("bad", kind=2, offset=32),
    "a type that was taken back": tensor("bad", 4, kind=4, offset=32),
    "a type of tomorrow": tensor("bad", 4, kind=4_000_000, offset=32),
    "a type that is not decoded": tensor("bad", 256, kind=15, offset=32),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_hostile_tensor_costs_itself_only(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile.gguf"
    path.write_bytes(file(UNREADABLE[name], GOOD))
    result = wexport.ingest([path], tmp_path / "out.parquet").models[0]
    assert (result.status, result.tensors) == ("partial", 1)
    assert [problem.name for problem in result.problems] == ["bad"]
    assert result.problems[0].detail


def test_odd_but_legal_tensors_are_read(tmp_path: Path) -> None:
    path = tmp_path / "odd.gguf"
    name = b"not \xff utf-8 \x1b[31m <script>"
    path.write_bytes(
        file(
            tensor("empty", 0, 5),
            tensor("also empty", 0, kind=2),
            tensor("scalar", offset=32),
            text(name) + tensor("", 2, offset=64)[8:],
            metadata=(key("a", 9, array(9, 2, array(0, 1, b"\1") + array(8, 1, text("x")))), key("b", 9, array(9, 0))),
            values=128,
        )
    )
    rows = wexport.inspect(path).rows
    assert [(tuple(row["shape"]), row["value_count"]) for row in rows] == [((5, 0), 0), ((0,), 0), ((), 1), ((2,), 2)]
    assert rows[3]["tensor"] == "not \\udcff utf-8 \x1b[31m <script>"


def test_a_long_text_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "long.gguf"
    path.write_bytes(file(GOOD, metadata=(key("general.architecture", 8, text("a" * 100_000)),)))
    (row,) = wexport.inspect(path).rows
    assert row["backend"] is None


def test_a_header_larger_than_any_is_refused(tmp_path: Path) -> None:
    """A sparse file: zeros cost nothing on disk."""
    path = tmp_path / "large.gguf"
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key("a", 9, array(0, 1 << 27))
    with path.open("wb") as written:
        written.write(head)
        written.truncate(2 << 30)
    result = wexport.ingest([path], tmp_path / "out.parquet").models[0]
    assert result.status == "failed"
    assert "larger than 128 MiB" in result.reason


def test_the_tokenizer_is_passed_over_and_not_kept(tmp_path: Path) -> None:
    """The strings are skipped at places that depend on the buffer, so a few sizes around it are tried."""
    for length in (1, 7, 8, 250, 40_000):
        items = b"".join(
            text(bytes([65 + number % 26]) * (number % length)) for number in range(20_000 // length + 900)
        )
        count = 20_000 // length + 900
        path = tmp_path / "words.gguf"
        path.write_bytes(file(GOOD, metadata=(key("words", 9, array(8, count, items)), key("after", 8, text("here")))))
        with wexport.Source(path) as source:
            found = header.read(source)
        assert found.metadata == {"after": "here"}
        assert [entry.name for entry in found.entries] == ["good"]


def model(folder: Path, name: str) -> Path:
    with zipfile.ZipFile(Path(__file__).parent / "models.zip") as archive:
        return Path(archive.extract(name, folder))


@pytest.mark.parametrize("name", ["every_type.gguf", "llama.gguf"])
def test_damaged_files_end_in_one_named_status_each(tmp_path: Path, name: str) -> None:
    found = ingest_mutants(model(tmp_path, name))
    assert not found.statuses["crashed"] + found.statuses["timed out"] + found.statuses["memory"], found.statuses
