"""The seal of a table: a digest of all its bytes in its own footer, by which damage is seen before a figure is read.

Parquet's own checksums are of pages alone, and DuckDB does not look at them. The seal covers pages, their headers and
the footer. It is no signature: who makes a table up can seal it too.
"""

from __future__ import annotations

import math
import time
from io import BufferedRandom, BufferedReader
from pathlib import Path
from typing import TypeAlias

import xxhash

from wexport.errors import TableError

KEY = "wexport_seal"
"""The key of the seal in a table's metadata. Its value is the file's size in bytes and the digest, xxh3-128."""
_SIZE_DIGITS, _DIGEST_DIGITS = 16, 32
BLANK = "0" * _SIZE_DIGITS + ":" + "0" * _DIGEST_DIGITS
"""What stands there while the digest is worked out."""
_MARK = b"\x18%c%b\x18%c" % (len(KEY), KEY.encode(), len(BLANK))
"""What precedes the value in the footer: the key, and the length of the value, in Thrift's compact protocol."""
_CHUNK_BYTES = 1 << 20
_MOST_FOOTER_BYTES = 1 << 28
_TRAILER_BYTES = 8  # the footer's length, and PAR1

_File: TypeAlias = BufferedReader | BufferedRandom


def seal(path: Path) -> None:
    """Seal a table that was written with BLANK under KEY."""
    with path.open("r+b") as file:
        place = _place(file)
        if place is None:
            raise AssertionError(f"{path} was not written to be sealed")
        size = file.seek(0, 2)
        value = f"{size:0{_SIZE_DIGITS}}:{_digest(file, place)}"
        file.seek(place)
        file.write(value.encode())


def check(path: Path, said: str = "", until: float = math.inf) -> None:
    """Raise TableError if a table is not as it was written. said: what it is called.

    One without a seal, or of another size than the sealed one, was written by others, and passes; so does one that is
    not read to its end `until` that time of the monotonic clock [s].
    """
    with path.open("rb") as file:
        place = _place(file)
        if place is None:
            return
        size = file.seek(0, 2)
        file.seek(place)
        value = file.read(len(BLANK)).decode("ascii", "replace")
        if value[:_SIZE_DIGITS] != f"{size:0{_SIZE_DIGITS}}":
            return
        if _digest(file, place, until) not in (value[_SIZE_DIGITS + 1 :], None):
            raise TableError(
                f"{said or path}: is damaged: its bytes are not those that were written",
                hint="copy it again, or write it anew with `wexport ingest`",
            )


def _place(file: _File) -> int | None:
    """Where the value stands in a file; None where there is none."""
    size = file.seek(0, 2)
    file.seek(max(0, size - _TRAILER_BYTES))
    length = int.from_bytes(file.read(4), "little")
    start = size - _TRAILER_BYTES - length
    if start < 0 or length > _MOST_FOOTER_BYTES:
        return None
    file.seek(start)
    found = file.read(length).rfind(_MARK)
    return None if found < 0 else start + found + len(_MARK)


def _digest(file: _File, place: int, until: float = math.inf) -> str | None:
    """The digest of a file with BLANK at `place`; None where there is no time for it."""
    digest = xxhash.xxh3_128()
    chunk = memoryview(bytearray(_CHUNK_BYTES))
    blank = BLANK.encode()
    file.seek(0)
    left = place
    while left and (count := file.readinto(chunk[: min(left, _CHUNK_BYTES)])):
        digest.update(chunk[:count])
        left -= count
        if time.monotonic() > until:
            return None
    digest.update(blank)
    file.seek(place + len(blank))
    while count := file.readinto(chunk):
        digest.update(chunk[:count])
    return digest.hexdigest()
