"""Where the bytes of a tensor's storage lie, in either layout of the file."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Protocol

from wexport import HostileFileError, ReadError
from wexport.reading import Archive, FileSlice
from wexport_torch import element_types
from wexport_torch.element_types import ElementType
from wexport_torch.inert import Named, Outside, same

MAX_LENGTH = 1 << 62
UNPACKED_AT_A_TIME = 16
"""Storages of a compressed archive that are kept unpacked; each is a temporary file."""


@dataclass(frozen=True, slots=True)
class Storage:
    """A storage as the pickle names it.

    key: its name in the file. type: of its values. count: of the values under that name, as declared.
    first, length: the values that it has of these; all of them but where it is a part of another (before torch 0.4).
    """

    key: str
    type: ElementType
    count: int
    first: int
    length: int


class Storages(Protocol):
    """The storages of one file."""

    big_endian: bool

    def size(self, key: str) -> int:
        """Bytes that a storage has in the file. Raises ReadError for one that is not there."""

    def window(self, key: str) -> FileSlice:
        """A storage as a file of its own. Raises ReadError for one that is not there, or not whole."""


def storage(value: Any) -> Storage:
    """What the pickle says of a storage: ("storage", class, key, device, number of values[, part of]).

    Raises ReadError, without naming the file, for what says anything else.
    """
    identity = value.identity if isinstance(value, Outside) else None
    if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or not same(identity[0], "storage"):
        raise ReadError("it has no storage")
    _, kind, key, _, count, *view = identity
    type_ = element_types.of_storage(kind.name) if isinstance(kind, Named) else None
    if type_ is None:
        raise ReadError(f"its storage is of an unknown class{f', {kind.name}' if isinstance(kind, Named) else ''}")
    if not isinstance(key, str | int) or not is_length(count):
        raise ReadError("its storage has no name, or an impossible length")
    first, length = 0, count
    if view and view[0] is not None:
        part = view[0]
        if not isinstance(part, tuple) or len(part) != 3 or not is_length(part[1]) or not is_length(part[2]):
            raise ReadError("its storage is part of another in an unknown way")
        first, length = part[1:]
        if first + length > count:
            raise ReadError("its storage is part of a shorter one")
    return Storage(str(key), type_, count, first, length)


def is_length(value: Any) -> bool:
    """Whether a value may be a number of values, or a place among them."""
    return type(value) is int and 0 <= value < MAX_LENGTH


class ZipStorages:
    """Storages that are members of a zip; those that are stored as they are, are read in place.

    root: the folder of everything in it. folder: where the storages are, if not in its `data`.
    """

    def __init__(self, archive: Archive, root: str, folder: str | None = None) -> None:
        self._archive, self._folder = archive, f"{root}/data/" if folder is None else folder
        self._windows: OrderedDict[str, FileSlice] = OrderedDict()
        order = archive.read(f"{root}/byteorder".lstrip("/"), 64)
        self.big_endian = order is not None and order.strip() == b"big"
        members = [info for info in archive.members.values() if info.filename.startswith(self._folder)]
        limit = archive.source.size if all(not info.compress_type for info in members) else _unpacked_limit(archive)
        declared = sum(info.file_size for info in members)
        if declared > limit:
            raise HostileFileError(
                f"{archive.source.path}: its storages declare {declared:,} bytes, {limit:,} are allowed for a file of "
                f"{archive.source.size:,}",
                hint="members that overlap, or unpack to so much more, are refused",
            )

    def size(self, key: str) -> int:
        info = self._archive.members.get(self._folder + key)
        if info is None:
            raise ReadError(f"its storage {key!r} is not in the file")
        return info.file_size

    def window(self, key: str) -> FileSlice:
        found = self._windows.pop(key, None)
        if found is None:
            found = self._archive.window(self._folder + key)
        if found is None:
            raise ReadError(f"its storage {key!r} is not in the file")
        self._windows[key] = found
        while len(self._windows) > UNPACKED_AT_A_TIME:
            _, oldest = self._windows.popitem(last=False)
            if oldest.base is not self._archive.source.file:
                oldest.base.close()
        return found


def _unpacked_limit(archive: Archive) -> int:
    return (1 << 30) + 200 * archive.source.size


class LegacyStorages:
    """Storages that follow one another at the end of a file. places: offset and size in bytes of each, by key."""

    big_endian = False  # torch swaps bytes where it writes on such a machine

    def __init__(self, whole: FileSlice, places: dict[str, tuple[int, int]]) -> None:
        self._whole, self._places = whole, places

    def size(self, key: str) -> int:
        return self._place(key)[1]

    def window(self, key: str) -> FileSlice:
        offset, size = self._place(key)
        return FileSlice(self._whole.base, self._whole.start + offset, max(0, min(size, self._whole.size - offset)))

    def _place(self, key: str) -> tuple[int, int]:
        if key not in self._places:
            raise ReadError(f"its storage {key!r} is not in the file")
        return self._places[key]
