"""Damaged copies of a file: the same for the same seed, on every machine."""

from __future__ import annotations

import io
import os
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)
_NUMBERS = (0, 1, -1, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1)
_DIGITS = (b"0", b"-1", b"99999999999", b"18446744073709551616", b"1e9", b"07")
_DIGITS_IN_TEXT = re.compile(rb"[0-9]+")


@dataclass(frozen=True, slots=True)
class Mutant:
    """A damaged copy. number: `mutants` makes it again from the seed and this. change: what was done, in words."""

    number: int
    change: str
    content: bytes


MUTANTS = "WEXPORT_MUTANTS"
"""The environment variable that says how many mutants are tried where a test does not say it."""


def default_count() -> int:
    """How many mutants a test tries that does not say it: 200, which takes seconds, or what WEXPORT_MUTANTS says."""
    return int(os.environ.get(MUTANTS, "200"))


def mutants(path: Path, count: int, seed: int = 0) -> Iterator[Mutant]:
    """`count` damaged copies of a file, each with one to four changes at random places.

    Bytes, bits, integers and decimal numbers are overwritten; stretches are removed, repeated and cut off. Half of a
    zip archive's mutants are changed inside a member and packed anew, so that checksums do not stop them at the door.
    """
    whole = path.read_bytes()
    members = _unpacked(whole)
    for number in range(count):
        random = np.random.default_rng([seed, number])
        if members and random.random() < 0.5:
            change, content = _repacked(members, random)
        else:
            change, content = _changed(whole, random)
        yield Mutant(number, change, content)


def _changed(content: bytes, random: np.random.Generator) -> tuple[str, bytes]:
    changes = []
    for _ in range(int(random.integers(1, 5))):
        if content:
            operation = _OPERATIONS[int(random.integers(len(_OPERATIONS)))]
            place = _place(len(content), random)
            change, content = operation(content, place, random)
            changes.append(change)
    return "; ".join(changes) or "nothing: it is empty", content


def _place(length: int, random: np.random.Generator) -> int:
    """Half of all places are anywhere; half are near an end, where formats keep their headers and directories."""
    if random.random() < 0.5:
        return int(random.integers(length))
    distance = int(length ** random.random()) - 1  # its logarithm is uniform: ten bytes count as much as ten thousand
    return distance if random.random() < 0.7 else length - 1 - distance


# -- changes: (content, place, random) to (what was done, content) -----------------------------------------------------


def _flip(content: bytes, place: int, random: np.random.Generator) -> tuple[str, bytes]:
    bit = int(random.integers(8))
    return f"bit {bit} of byte {place} flipped", _put(content, place, bytes([content[place] ^ (1 << bit)]))


def _byte(content: bytes, place: int, random: np.random.Generator) -> tuple[str, bytes]:
    value = _BYTES[int(random.integers(len(_BYTES)))]
    return f"byte {place} = {value}", _put(content, place, bytes([value]))


def _number(content: bytes, place: int, random: np.random.Generator) -> tuple[str, bytes]:
    width = (2, 4, 8)[int(random.integers(3))]
    value = _NUMBERS[int(random.integers(len(_NUMBERS)))]
    data = (value % 2 ** (8 * width)).to_bytes(width, "little")
    order = "little"
    if random.random() < 0.3:
        data, order = data[::-1], "big"
    place = place // width * width if random.random() < 0.5 else place  # fields are often aligned
    return f"{width} bytes at {place} = {value}, {order}-endian", _put(content, place, data)


def _decimal(content: bytes, place: int, random: np.random.Generator) -> tuple[str, bytes]:
    """Numbers in text, as in JSON: the next one behind the place."""
    found = _DIGITS_IN_TEXT.search(content, place, place + 256)
    if found is None:
        return _flip(content, place, random)
    value = _DIGITS[int(random.integers(len(_DIGITS)))]
    return f"{found[0][:20]!r} at {found.start()} = {value!r}", content[: found.start()] + value + content[
        found.end() :
    ]


def _remove(content: bytes, place: int, random: np.random.Generator) -> tuple[str, bytes]:
    length = int(random.integers(1, 65))
    return f"{length} bytes at {place} removed", content[:place] + content[place + length :]


def _repeat(content: bytes, place: int, random: np.random.Generator) -> tuple[str, bytes]:
    length = int(random.integers(1, 65))
    source = _place(len(content), random)
    return (
        f"{length} bytes at {source} repeated at {place}",
        content[:place] + content[source : source + length] + content[place:],
    )


def _cut(content: bytes, place: int, random: np.random.Generator) -> tuple[str, bytes]:
    return f"cut off at {place}", content[:place]


_OPERATIONS: tuple[Callable[[bytes, int, np.random.Generator], tuple[str, bytes]], ...] = (
    *(_flip, _flip, _byte, _byte, _number, _number, _number, _decimal, _decimal),
    *(_remove, _repeat, _cut),
)


def _put(content: bytes, place: int, data: bytes) -> bytes:
    return content[:place] + data[: len(content) - place] + content[place + len(data) :]


# -- zip archives ------------------------------------------------------------------------------------------------------


def _unpacked(content: bytes) -> list[tuple[str, bytes, int]]:
    """(name, content, compression) of an archive's members; empty for what is not an archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return [
                (info.filename, archive.read(info), info.compress_type)
                for info in archive.infolist()
                if not info.is_dir()
            ]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError):
        return []


def _repacked(members: list[tuple[str, bytes, int]], random: np.random.Generator) -> tuple[str, bytes]:
    members = list(members)
    at = int(random.integers(len(members)))
    name, content, compression = members[at]
    choice = random.random()
    if choice < 0.85:
        change, content = _changed(content, random)
        members[at] = (name, content, compression)
        change = f"member {name}: {change}"
    elif choice < 0.9:
        del members[at]
        change = f"member {name} left out"
    elif choice < 0.95:
        renamed = _changed(name.encode(), random)[1].decode("utf-8", "replace").replace("\0", "_") or "_"
        members[at] = (renamed, content, compression)
        change = f"member {name} renamed {renamed!r}"
    else:
        other = members[int(random.integers(len(members)))]
        members[at] = (name, other[1], compression)
        change = f"member {name} holds what {other[0]} does"
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content, compression in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = compression
            archive.writestr(info, content)
    return change, packed.getvalue()
