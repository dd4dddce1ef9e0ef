"""The table that a checkpoint's `.index` is: sorted keys and their values, in blocks.

The format is that of LevelDB's `table_format.md`, which TensorFlow took over (`tensorflow/core/lib/io/table*.cc`): data
blocks, an index block that names them, and a footer of 48 bytes that names the index. Keys share their beginnings with
the key before, so a few bytes can stand for long keys: their sum is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator

import wexport
from wexport_tf import wire

FOOTER_BYTES = 48
MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")
TRAILER_BYTES = 5
"""Behind each block: how it is compressed, and a checksum."""
MAX_BLOCK_BYTES = 64 << 20
"""TensorFlow begins a new block at 256 KiB."""
MAX_KEYS = 200_000
MAX_KEY_BYTES, MAX_ALL_KEY_BYTES = 8192, 64 << 20
_DAMAGED = "the file is damaged or cut short; copy or save it again"


def is_table(source: wexport.Source) -> bool:
    """Whether a file ends as a table does."""
    return source.size > FOOTER_BYTES and source.read_at(source.size - len(MAGIC), len(MAGIC)) == MAGIC


def read(source: wexport.Source) -> Iterator[tuple[bytes, memoryview]]:
    """All keys, in ascending order, with their values.

    Raises ReadError for a damaged table, HostileFileError for one with too many keys.
    """
    try:
        yield from _read(source)
    except wire.MalformedError as error:
        raise wexport.ReadError(f"{source.path}: is not a whole table: {error}", hint=_DAMAGED) from None


def _read(source: wexport.Source) -> Iterator[tuple[bytes, memoryview]]:
    if not is_table(source):
        raise wire.MalformedError("it does not end as one")
    footer = memoryview(source.read_at(source.size - FOOTER_BYTES, FOOTER_BYTES))
    _, _, at = _handle(footer, 0)  # of the block for filters, which TensorFlow does not use
    start, size, _ = _handle(footer, at)
    count = length = 0
    last: bytes | None = None
    for _, where in _entries(_block(source, start, size)):
        for key, value in _entries(_block(source, *_handle(where, 0)[:2])):
            count, length = count + 1, length + len(key)
            if count > MAX_KEYS or length > MAX_ALL_KEY_BYTES:
                raise wexport.HostileFileError(
                    f"{source.path}: holds more than {MAX_KEYS:,} names or {MAX_ALL_KEY_BYTES >> 20} MiB of them",
                    hint=_DAMAGED,
                )
            if last is not None and key <= last:
                raise wire.MalformedError(f"the name {key[:100]!r} stands behind {last[:100]!r}")
            yield key, value
            last = key


def _handle(data: memoryview, at: int) -> tuple[int, int, int]:
    """Offset and size of a block, and where the handle ends."""
    offset, at = wire.varint(data, at)
    size, at = wire.varint(data, at)
    return offset, size, at


def _block(source: wexport.Source, offset: int, size: int) -> memoryview:
    if size > MAX_BLOCK_BYTES or offset + size + TRAILER_BYTES > source.size - FOOTER_BYTES:
        raise wire.MalformedError(f"a block of {size:,} bytes at {offset:,}, where the file has {source.size:,}")
    block = memoryview(source.read_at(offset, size + 1))
    if len(block) != size + 1:
        raise wire.MalformedError("the file became shorter")
    if block[size]:
        raise wire.MalformedError("a block is compressed, which TensorFlow does not do")
    return block[:size]


def _entries(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Keys and values of a block, at whose end stand the places where keys are whole, and their number."""
    count = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 - 4 * count
    if len(block) < 4 or end < 0:
        raise wire.MalformedError(f"a block of {len(block)} bytes with {count:,} places")
    block = block[:end]
    key, at = b"", 0
    while at < end:
        shared, at = wire.varint(block, at)
        rest, at = wire.varint(block, at)
        size, at = wire.varint(block, at)
        if shared > len(key) or rest + size > end - at or shared + rest > MAX_KEY_BYTES:
            raise wire.MalformedError(f"a name of {shared:,} + {rest:,} bytes with {size:,} of value at byte {at:,}")
        key = key[:shared] + bytes(block[at : at + rest])
        yield key, block[at + rest : at + rest + size]
        at += rest + size
