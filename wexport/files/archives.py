"""The members of a zip, reached without ever extracting one by its name."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from typing import BinaryIO, cast

from wexport.errors import BudgetError, HostileFileError, ReadError
from wexport.files.slices import FileSlice
from wexport.files.source import Source

SIGNATURES = (b"PK\x03\x04", b"PK\x05\x06")
MAX_MEMBERS = 100_000
_END_BYTES = 22
"""Of the record behind the directory, without its comment."""
LOCAL_HEADER_BYTES = 30
"""Before a member's name, at the beginning of the member."""
# What zipfile raises on damaged or hostile archives.
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, ValueError, RuntimeError)


@dataclass(frozen=True, slots=True)
class Archive:
    """A zip that has been looked over: no member is encrypted or named twice."""

    source: Source
    file: zipfile.ZipFile
    members: dict[str, zipfile.ZipInfo]

    def read(self, name: str, limit: int) -> bytes | None:
        """A small member whole; None if there is none. Raises BudgetError if it is larger than `limit`."""
        info = self._member(name)
        if info is None:
            return None
        if info.file_size > limit:
            raise BudgetError(f"{self.source.path}: {name} declares {info.file_size:,} bytes, {limit:,} are allowed")
        try:
            with self.file.open(info) as member:
                data = member.read(limit + 1)
        except _ZIP_ERRORS as error:
            raise ReadError(f"{self.source.path}: {name} cannot be read: {error}") from None
        return data[:limit]

    def window(self, name: str) -> FileSlice | None:
        """A member as a file of its own: in place if it is stored as it is, else unpacked beside the source's life.

        Raises BudgetError if it would unpack to more than 1 GiB and 200 bytes for each byte on disk.
        """
        info = self._member(name)
        if info is None:
            return None
        if info.compress_type == zipfile.ZIP_STORED:
            return self._in_place(info)
        limit = (1 << 30) + 200 * self.source.size
        if info.file_size > limit:
            raise BudgetError(
                f"{self.source.path}: {name} declares {info.file_size:,} bytes, {limit:,} are allowed",
                hint="save the model again with its members uncompressed",
            )
        unpacked = self.source.closing(cast(BinaryIO, tempfile.TemporaryFile(buffering=0)))  # noqa: SIM115  # closed with the source
        try:
            with self.file.open(info) as member:
                # zipfile stops at the declared size and checks the CRC there, so the limit above bounds this.
                shutil.copyfileobj(member, unpacked, 1 << 20)
        except _ZIP_ERRORS as error:
            raise ReadError(f"{self.source.path}: {name} cannot be unpacked: {error}") from None
        return FileSlice(unpacked, 0, unpacked.tell())

    def _member(self, name: str) -> zipfile.ZipInfo | None:
        info = self.members.get(name)
        if info is not None and info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # No framework writes others, and their decoders give out more at a time than we want.
            raise ReadError(
                f"{self.source.path}: {name} is compressed by method {info.compress_type}",
                hint="save the model again with its members uncompressed",
            )
        return info

    def _in_place(self, info: zipfile.ZipInfo) -> FileSlice:
        """A stored member begins behind its local header, whose name and extra field have lengths of their own."""
        header = self.source.read_at(info.header_offset, LOCAL_HEADER_BYTES)
        start = info.header_offset + LOCAL_HEADER_BYTES
        if len(header) == LOCAL_HEADER_BYTES and header.startswith(SIGNATURES[0]):
            start += int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little")
            if info.file_size == info.compress_size and start + info.file_size <= self.source.size:
                return FileSlice(self.source.file, start, info.file_size)
        raise ReadError(
            f"{self.source.path}: the zip's directory and {info.filename} do not fit together",
            hint="the file is damaged or cut short; copy or save it again",
        )


def member_names(source: Source) -> frozenset[str]:
    """What a zip holds, before anything is refused. Raises ReadError for a damaged directory."""
    return frozenset(source.shared("zip", _zip).namelist())


def open_archive(source: Source) -> Archive:
    """A zip whose directory has been looked over.

    Raises ReadError for a damaged directory, HostileFileError for one that names a member twice or encrypts one.
    """
    file = source.shared("zip", _zip)
    members: dict[str, zipfile.ZipInfo] = {}
    for info in file.infolist():
        if info.filename in members:
            raise HostileFileError(f"{source.path}: the zip holds two members named {info.filename!r}")
        if info.flag_bits & 0x1:
            raise HostileFileError(f"{source.path}: the zip's member {info.filename!r} is encrypted")
        if len(members) >= MAX_MEMBERS:
            raise HostileFileError(f"{source.path}: the zip holds more than {MAX_MEMBERS:,} members")
        members[info.filename] = info
    return Archive(source, file, members)


def _zip(source: Source) -> zipfile.ZipFile:
    try:
        found = source.closing(zipfile.ZipFile(FileSlice(source.file, 0, source.size)))
    except _ZIP_ERRORS as error:
        if source.head.startswith(SIGNATURES[0]) and str(error) == "File is not a zip file":
            raise ReadError(
                f"{source.path}: begins as a zip and has no directory at its end, so it is cut short",
                hint="copy, download or save it again",
            ) from None
        raise ReadError(
            f"{source.path}: the zip's directory cannot be read: {error}", hint="copy, download or save it again"
        ) from None
    _refuse_more_than_one(source, found)
    return found


def _refuse_more_than_one(source: Source, file: zipfile.ZipFile) -> None:
    """Raise ReadError for an archive that is only a part of its file: what else is there would be lost without a word.

    `zipfile` looks for the last directory, and reads what that lists wherever the archive begins.
    """
    first = min((info.header_offset for info in file.infolist()), default=0)
    if first > 0:
        several = source.head.startswith(SIGNATURES[0])
        raise ReadError(
            f"{source.path}: holds {'several archives, of which the last begins' if several else 'an archive'} at byte "
            f"{first:,}, behind what is not part of it",
            hint="files that were joined are not a model; cut them apart, or save the model again",
        )
    tail = source.read_at(max(0, source.size - _END_BYTES - 0xFFFF), _END_BYTES + 0xFFFF)
    end = tail.rfind(SIGNATURES[1])
    behind = tail[end + _END_BYTES + int.from_bytes(tail[end + 20 : end + 22], "little") :] if end >= 0 else b""
    if behind.strip(b"\0"):
        raise ReadError(
            f"{source.path}: the last {len(behind):,} bytes stand behind its archive and are not part of it",
            hint="files that were joined are not a model; cut them apart, or save the model again",
        )
