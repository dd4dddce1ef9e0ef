"""One safe walk over an HDF5 file: what all HDF5 readers share.

Plain h5py follows links to other files, resolves virtual datasets, loads filter plugins and recurses without
bound. This walk looks at each link and each dataset's creation properties first, and opens only what lies in the
file itself. It never recurses, and visits each object once.

Names are str; bytes that are not UTF-8 are kept by surrogateescape.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import h5py
from h5py import h5a, h5d, h5f, h5g, h5l, h5o, h5p, h5t

from wexport.errors import HostileFileError, ReadError
from wexport.files.slices import FileSlice
from wexport.files.source import Source
from wexport.model.tensors import Skipped
from wexport.readers.hdf5.attributes import as_texts, attribute_value
from wexport.readers.hdf5.budget import Budget
from wexport.readers.hdf5.links import links_of, most_links, only_inside
from wexport.readers.hdf5.values import Dataset, describe

SIGNATURE = b"\x89HDF\r\n\x1a\n"
_OPEN_FOR_WRITING, _OPEN_FOR_SWMR = 1, 4
"""Consistency flags of a superblock of version 2 or 3."""
METADATA_CACHE_BYTES, MOST_CACHE_BYTES = 4 << 20, 16 << 20
"""What HDF5 may keep of a file's structure, and at the most, for a large file; it takes several times as much in
memory. All names of a group may be one piece of it, which would be read anew for each of them if it did not fit.
"""
MAX_DEPTH = 256
MAX_KEPT = 64
MAX_PATH = 8192
MAX_LINKED_BYTES = 64 << 20
"""Of values that may be read again under other names, or four times the file where that is more."""
_NO_POSITION = 1 << 62

# What h5py raises on damaged objects; none of these may end the whole file.
H5_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError, AttributeError, MemoryError)


def forget_plugins() -> None:
    """Keep HDF5 from loading filter libraries: a file may name any filter, and a path may hold any code."""
    os.environ["HDF5_PLUGIN_PRELOAD"] = "::"
    while h5py.h5pl.size():
        h5py.h5pl.remove(0)


def signature_offset(source: Source) -> int | None:
    """Where the HDF5 signature stands (0, or 512, 1024, 2048, ... behind a user block); None if nowhere."""
    if source.head.startswith(SIGNATURE):
        return 0
    offset = 512
    while offset + len(SIGNATURE) <= source.size:
        if source.read_at(offset, len(SIGNATURE)) == SIGNATURE:
            return offset
        offset *= 2
    return None


def open_file(source: Source) -> Tree:
    """The HDF5 file that a source is; opened once for all readers that look at it.

    Raises ReadError when the HDF5 library cannot open it.
    """
    return source.shared("hdf5", lambda source: open_window(source, FileSlice(source.file, 0, source.size)))


def open_window(source: Source, window: FileSlice) -> Tree:
    """An HDF5 file that lies in a stretch of another file (a member of a zip), read in place."""
    forget_plugins()
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    access.set_cache(0, 521, 1 << 20, 0.75)
    metadata_cache = access.get_mdc_config()
    metadata_cache.set_initial_size, metadata_cache.initial_size = True, 1 << 20
    metadata_cache.min_size = 1 << 20
    metadata_cache.max_size = min(MOST_CACHE_BYTES, max(METADATA_CACHE_BYTES, window.size))
    access.set_mdc_config(metadata_cache)
    try:
        if window.base is source.file and window.size == source.size:
            access.set_file_locking(False, True)
            file = h5f.open(os.fsencode(source.path), h5f.ACC_RDONLY, fapl=access)
        else:
            access.set_fileobj_driver(h5py.h5fd.fileobj_driver, window)
            file = h5f.open(b"member", h5f.ACC_RDONLY, fapl=access)
    except H5_ERRORS as error:
        if is_being_written(source, window):
            raise ReadError(
                f"{source.path}: is open for writing, so it is not whole yet",
                hint="wait until its writer has closed it; if that was broken off, `h5clear -s` may help",
            ) from None
        why = reason(error)
        what = "is cut short" if why.startswith("truncated file") else "the HDF5 library cannot open it"
        raise ReadError(
            f"{source.path}: {what}: {why}", hint="the file is damaged or cut short; copy or save it again"
        ) from None
    budget = Budget(source.size, window.size)
    return source.closing(Tree(file=file, window=window, where=str(source.path), budget=budget))


def is_being_written(source: Source, window: FileSlice) -> bool:
    """Whether a file says that it is open for writing, or somebody holds the lock that HDF5 takes for that."""
    offset = signature_offset(source) if window.base is source.file and window.size == source.size else None
    if offset is None:
        return False
    superblock = source.read_at(offset + len(SIGNATURE), 4)
    if len(superblock) == 4 and superblock[0] in (2, 3) and superblock[3] & (_OPEN_FOR_WRITING | _OPEN_FOR_SWMR):
        return True
    try:
        import fcntl

        fcntl.flock(source.file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        fcntl.flock(source.file, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    except (ImportError, OSError):  # not every system and file system has locks
        return False
    return False


def reason(error: BaseException) -> str:
    """The HDF5 library's own reason, without its call stack."""
    message = (
        str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    )  # str() of it adds quotes
    text = message.strip().splitlines()[0] if message.strip() else type(error).__name__
    return text[text.find("(") + 1 : -1] if text.endswith(")") and "(" in text else text


@dataclass
class Tree:
    """An open HDF5 file.

    datasets: the numeric datasets by path ("a/b/c"), in name order; filled by `walk`.
    groups: the paths of all groups in name order; the root is "". Filled by `walk`.
    skipped: what gives no tensor, and why. Filled by `walk`.
    links: datasets that are second names of others, and the first names of those; filled by `walk`.
    """

    file: Any
    window: FileSlice
    where: str
    budget: Budget
    groups: list[str] = field(default_factory=list)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    _first: dict[int, str] = field(default_factory=dict, repr=False)
    _linked_bytes: int = 0
    _walked: bool = False
    _refusal: ReadError | None = None
    _link_count: int = 0
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)
    _inside: Any = field(default_factory=lambda: only_inside(), repr=False)

    def close(self) -> None:
        """Close the file and let go of what refers to it, so that HDF5 objects do not wait for garbage collection."""
        self._kept.clear()
        self.datasets = {}
        self.file.close()

    # -- looking at single things, before or after the walk ------------------------------------------------------

    def is_group(self, path: str) -> bool:
        """Whether `path` is a group of this very file; no link is followed out of it."""
        return isinstance(self.object(path), h5g.GroupID)

    def children(self, path: str) -> list[str]:
        """Names in a group, in name order; empty if it is not a group or cannot be listed."""
        group = self.object(path)
        try:
            links = links_of(group) if isinstance(group, h5g.GroupID) else []
            return [link.name for link in links if not link.fault]
        except H5_ERRORS:
            return []

    def attribute(self, path: str, name: str) -> Any:
        """An attribute as str, list of str or NumPy array; None if it is absent or neither text nor number.

        One that is unreadable or too large is None too, and stands in `skipped`.
        """
        try:
            holder = self.object(path)
            encoded = _encode(name)
            if holder is None or not h5a.exists(holder, encoded):
                return None
            return attribute_value(h5a.open(holder, encoded))
        except H5_ERRORS as error:
            mention = Skipped("unreadable attribute", f"{path}@{name}", True, reason(error))
            if mention not in self.skipped:
                self.skipped.append(mention)
            return None

    def text(self, path: str, name: str) -> str | None:
        """An attribute that is one text; None otherwise."""
        value = self.attribute(path, name)
        return value if isinstance(value, str) else None

    def texts(self, path: str, name: str) -> list[str] | None:
        """An attribute that is a list of texts, put together from `name0`, `name1`, ... where Keras split it.

        None if the file has neither form. An empty array of whatever type is the empty list.
        """
        whole = as_texts(self.attribute(path, name))
        if whole is not None:
            return whole
        joined: list[str] | None = None
        number = 0
        while (part := as_texts(self.attribute(path, f"{name}{number}"))) is not None:
            joined = (joined or []) + part
            number += 1
        return joined

    def object(self, path: str) -> Any:
        """The h5py low-level object at `path`, or None. Only hard links are followed, so it lies in this file."""
        parts = [part for part in path.split("/") if part]
        if len(parts) > MAX_DEPTH + 1:  # the walk goes no deeper either, and paths come from attributes too
            return None
        try:
            return self._opened("/".join(parts))
        except H5_ERRORS:
            return None

    def _opened(self, path: str) -> Any:
        """As `object`, but raises what h5py raises. Groups are kept open a while: readers ask again and again."""
        if path in self._kept:
            return self._kept[path]
        above, _, name = path.rpartition("/")
        if not path:
            found = h5o.open(self.file, b"/", lapl=self._inside)
        else:
            parent = self._opened(above)
            encoded = _encode(name)
            if not isinstance(parent, h5g.GroupID):
                return None
            if parent.links.get_info(encoded, lapl=self._inside).type != h5l.TYPE_HARD:
                return None
            found = h5o.open(parent, encoded, lapl=self._inside)
        if isinstance(found, h5g.GroupID):
            if len(self._kept) >= MAX_KEPT:
                self._kept.clear()
            self._kept[path] = found
        return found

    # -- the walk ------------------------------------------------------------------------------------------------

    def walk(self) -> Tree:
        """Visit every object once, in name order, and fill `groups`, `datasets` and `skipped`.

        Raises HostileFileError for a tree deeper or larger than any model's, ReadError if its root cannot be opened.
        """
        if self._refusal is not None:
            raise self._refusal
        if not self._walked:
            self._walked = True
            try:
                self._visit_all()
            except ReadError as refusal:
                self._refusal = refusal
                raise
            self.groups.sort()
            self.datasets = dict(sorted(self.datasets.items()))
        return self

    def _visit_all(self) -> None:
        try:
            seen = {_identity(h5o.get_info(h5o.open(self.file, b"/", lapl=self._inside)))}
        except H5_ERRORS as error:
            raise ReadError(
                f"{self.where}: its root cannot be opened: {reason(error)}",
                hint="the file is damaged or cut short; copy or save it again",
            ) from None
        # A group is opened when its turn comes, through its parent: few are open at a time, however many there are.
        waiting: list[tuple[str, Any, bytes, int]] = [("", self.file, b"/", 0)]
        while waiting:
            path, parent, encoded, depth = waiting.pop()
            if depth > MAX_DEPTH:
                raise HostileFileError(
                    f"{self.where}: groups are nested more than {MAX_DEPTH} deep", hint="no model is nested like that"
                )
            self.groups.append(path)
            below = []
            try:
                group = h5o.open(parent, encoded, lapl=self._inside)
                for child, name in self._hardlinks_of(group, path):
                    info = self._info(group, name, child)
                    if info is None:
                        continue
                    if _identity(info) in seen:
                        self._link_again(child, info)
                        continue
                    seen.add(_identity(info))
                    if info.type == h5o.TYPE_GROUP:
                        below.append((child, group, name, depth + 1))
                    else:
                        self._first[_identity(info)] = child
                        self._look_at(child, group, name, info)
            except H5_ERRORS as error:
                self.skipped.append(Skipped("unreadable group", path or "/", True, reason(error)))
            waiting.extend(reversed(below))

    def _link_again(self, path: str, info: Any) -> None:
        """A second name of something: of a dataset it is one of its own, of a group all below it is met already."""
        first = self._first.get(_identity(info))
        if first is None:
            self.skipped.append(Skipped("second link to the same group", path))
        elif first in self.datasets:
            dataset = self.datasets[first]
            self._linked_bytes += math.prod(dataset.shape) * dataset.type.dtype.itemsize
            if self._linked_bytes > max(MAX_LINKED_BYTES, 4 * self.window.size):
                self.skipped.append(Skipped("link that repeats too much", path, True, f"the values of {first}"))
                return
            # Where it stands in the file says nothing of when this name was written.
            self.datasets[path] = replace(dataset, path=path, position=_NO_POSITION)
            self.links[path] = first
        else:
            self.skipped.append(Skipped("second link to the same object", path, detail=f"the one at {first}"))

    def _hardlinks_of(self, group: Any, path: str) -> Iterator[tuple[str, bytes]]:
        """(path, encoded name) of what a group holds in this file itself; all else goes to `skipped`."""
        most = most_links(self.budget.disk_bytes)
        links = links_of(group, most - self._link_count)
        self._link_count += len(links)
        if self._link_count > most:
            raise HostileFileError(
                f"{self.where}: holds more than {most:,} links", hint="no model of its size is that many pieces"
            )
        for link in links:
            child = f"{path}/{link.name}" if path else link.name
            fault = link.fault or ("too long" if len(child) > MAX_PATH else "")
            if fault:
                self.skipped.append(Skipped("unusable name", child[:MAX_PATH], True, f"its name is {fault}"))
            elif link.kind == h5l.TYPE_HARD:
                yield child, _encode(link.name)
            else:
                self._skip_link(child, link.kind)

    def _info(self, group: Any, name: bytes, path: str) -> Any:
        try:
            return h5o.get_info(group, name, lapl=self._inside)
        except H5_ERRORS as error:
            self.skipped.append(Skipped("unreadable object", path, True, reason(error)))
            return None

    def _look_at(self, path: str, group: Any, name: bytes, info: Any) -> None:
        """Sort one object that is not a group into `datasets` or `skipped`."""
        try:
            thing = h5o.open(group, name, lapl=self._inside)
            if not isinstance(thing, h5d.DatasetID):
                self.skipped.append(Skipped("named type", path))
                return
            declared = None
            if thing.get_type().get_class() == h5t.OPAQUE and h5a.exists(thing, b"dtype"):
                value = attribute_value(h5a.open(thing, b"dtype"))
                declared = value if isinstance(value, str) else None
            found = describe(thing, path, declared, info.addr, self)
        except H5_ERRORS as error:
            found = Skipped("unreadable object", path, True, reason(error))
        if isinstance(found, Skipped):
            self.skipped.append(found)
        else:
            self.datasets[path] = found

    def _skip_link(self, path: str, kind: int) -> None:
        if kind == h5l.TYPE_SOFT:
            # Its target, if it is in the file, is met under its own name.
            self.skipped.append(Skipped("soft link", path))
        elif kind == h5l.TYPE_EXTERNAL:
            self.skipped.append(Skipped("external link", path, True, "links to another file are not followed"))
        else:
            self.skipped.append(Skipped("user-defined link", path, True, "only HDF5 itself could follow it"))


def _identity(info: Any) -> int:
    """What tells an object from all others: one number, as there may be hundreds of thousands."""
    return int(info.fileno) << 64 | int(info.addr)


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")
