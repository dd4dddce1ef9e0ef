"""The two layouts of a file that `torch.save` writes: a zip, and before torch 1.6 pickles and bytes in a row.

Both hold one pickle of the object that was saved, and beside it the bytes of the storages that it names.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

from wexport import BudgetError, HostileFileError, ReadError, Source
from wexport.reading import FileSlice, archives
from wexport_torch.inert import Outside
from wexport_torch.machine import Machine, Program
from wexport_torch.storages import LegacyStorages, Storages, ZipStorages, storage

MAX_PICKLE_BYTES = 32 << 20
PICKLE = "/data.pkl"
PROTOCOL = 1001
TAR_BLOCK = 512
MAGIC = 0x1950A86A20F9469CFC6C
# A pickle, of protocol 2 to 5, of the magic number; protocols from 4 on frame it.
_MAGIC_PICKLE = re.compile(
    rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\x0a" + re.escape(MAGIC.to_bytes(10, "little")), re.DOTALL
)
_TAR_MEMBERS = (b"sys_info\0", b"pickle\0", b"tensors\0", b"storages\0")


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a file holds. root: the object that was saved, inert. format: the layout, as the table calls it."""

    root: Any
    storages: Storages
    format: str


def is_zip(source: Source) -> bool:
    """Whether a zip holds the pickle of a torch file: exactly one, in a folder at the top."""
    if not source.head.startswith(archives.SIGNATURES):
        return False
    try:
        return len(_roots(archives.member_names(source))) > 0
    except ReadError:
        return False


def is_legacy(source: Source) -> bool:
    return _MAGIC_PICKLE.match(source.head) is not None


def is_tar(source: Source) -> bool:
    """Whether it is the tar archive that torch wrote before 0.2, by its first member, behind headers of tar's own."""
    blocks = (source.head[start : start + TAR_BLOCK] for start in range(0, 4 * TAR_BLOCK, TAR_BLOCK))
    return source.head[257:262] == b"ustar" and any(block.startswith(_TAR_MEMBERS) for block in blocks)


def load(source: Source) -> Loaded:
    """The pickle of a file as inert values, and where its storages are.

    Raises ReadError for a damaged file and for the layouts that are not read, HostileFileError and BudgetError for one
    past the bounds.
    """
    if source.head.startswith(archives.SIGNATURES):
        return _load_zip(source)
    if is_legacy(source):
        return _load_legacy(source)
    if is_tar(source):
        raise ReadError(
            f"{source.path}: is a tar archive, as torch wrote them before version 0.2",
            hint="load it with a torch of its age (its way needs code to be run) and save its state dict anew",
        )
    raise ReadError(f"{source.path}: does not begin as a file of torch does", hint="it may be of another format")


def _load_zip(source: Source) -> Loaded:
    archive = archives.open_archive(source)
    roots = _roots(archive.members)
    if len(roots) != 1:
        found = "no pickle" if not roots else f"{len(roots)} pickles"
        raise ReadError(f"{source.path}: the zip holds {found} of torch's where there is one in each", hint=_SAVE_AGAIN)
    (root,) = roots
    data = archive.read(root + PICKLE, MAX_PICKLE_BYTES)
    assert data is not None
    value = Machine(str(source.path)).run(Program(io.BytesIO(data), len(data)))
    script = f"{root}/constants.pkl" in archive.members
    return Loaded(value, ZipStorages(archive, root), "torch-script" if script else "torch-zip")


def _roots(names: Any) -> list[str]:
    return [name.removesuffix(PICKLE) for name in names if name.endswith(PICKLE) and name.count("/") == 1]


def _load_legacy(source: Source) -> Loaded:
    """Five pickles in a row: magic number, protocol, system, the object, the storages' names; then their bytes."""
    where = str(source.path)
    _, at = _pickle(source, 0)
    protocol, at = _pickle(source, at)
    if type(protocol) is not int or protocol != PROTOCOL:
        shown = protocol if type(protocol) is int and abs(protocol) < 1 << 32 else "no number"
        raise ReadError(f"{where}: its protocol is {shown}, {PROTOCOL} is known", hint=_SAVE_AGAIN)
    _, at = _pickle(source, at)
    machine = Machine(where)
    value, at = _pickle(source, at, machine)
    keys, at = _pickle(source, at)
    return Loaded(value, LegacyStorages(_whole(source), _places(source, machine.stored, keys, at)), "torch-legacy")


def _pickle(source: Source, at: int, machine: Machine | None = None) -> tuple[Any, int]:
    """The value of the pickle at an offset, and the offset behind it."""
    size = min(MAX_PICKLE_BYTES, max(0, source.size - at))
    program = Program(FileSlice(source.file, at, size), size)
    try:
        value = (machine or Machine(str(source.path))).run(program)
    except ReadError:
        if size == program.at == MAX_PICKLE_BYTES:
            raise BudgetError(
                f"{source.path}: its pickle has more than {MAX_PICKLE_BYTES >> 20} MiB",
                hint="save the model's state dict alone",
            ) from None
        raise
    return value, at + program.at


def _places(source: Source, stored: list[Outside], keys: Any, at: int) -> dict[str, tuple[int, int]]:
    """Offset and size of each storage: a count of values, then the values, for each name in order."""
    known: dict[str, tuple[int, int]] = {}
    for outside in stored:
        try:
            found = storage(outside)
        except ReadError:  # a class, or what the tensors that need it are refused for
            continue
        size, count = known.setdefault(found.key, (found.type.size, found.count))
        if size * count != found.type.size * found.count:
            raise HostileFileError(f"{source.path}: its storage {found.key!r} is said to be of two lengths")
    if not isinstance(keys, list) or not all(isinstance(key, str | int) for key in keys):
        raise ReadError(f"{source.path}: its list of storages is none", hint=_SAVE_AGAIN)
    places: dict[str, tuple[int, int]] = {}
    for key in map(str, keys):
        size, count = known.get(key, (0, 0))
        header = source.read_at(at, 8)
        if key in places or not size:
            raise HostileFileError(f"{source.path}: its storage {key!r} is listed twice, or belongs to no tensor")
        if len(header) == 8 and int.from_bytes(header, "little", signed=True) != count:
            raise HostileFileError(
                f"{source.path}: its storage {key!r} is said to hold {count:,} values, and "
                f"{int.from_bytes(header, 'little', signed=True):,} where it stands"
            )
        places[key] = (at + 8, size * count)
        at = min(source.size, at + 8 + size * count)
    return places


def _whole(source: Source) -> FileSlice:
    return FileSlice(source.file, 0, source.size)


_SAVE_AGAIN = "the file is damaged, or no model; save it again with torch.save"
