"""One safe walk over an HDF5 file: what all HDF5 readers share.

Plain h5py follows links to other files, resolves virtual datasets, loads filter plugins and recurses without
bound. This walk looks at each link and each dataset's creation properties first, and opens only what lies in the
file itself. It never recurses, and visits each object once.

Names are str; bytes that are not UTF-8 are kept by surrogateescape.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import h5py
import numpy as np
from h5py import h5a, h5d, h5f, h5g, h5l, h5o, h5p, h5s, h5t

from wexport.errors import HostileFileError, ReadError
from wexport.readers.hdf5_values import Budget, Dataset, Window, describe
from wexport.tensors import Skipped, Source

SIGNATURE = b"\x89HDF\r\n\x1a\n"
MAX_OBJECTS = 200_000
MAX_DEPTH = 256
MAX_ATTRIBUTE_BYTES = 64 << 20

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
    return source.shared("hdf5", lambda source: open_window(source, Window(source.file, 0, source.size)))


def open_window(source: Source, window: Window) -> Tree:
    """An HDF5 file that lies in a stretch of another file (a member of a zip), read in place."""
    forget_plugins()
    access = h5p.create(h5p.FILE_ACCESS)
    access.set_fclose_degree(h5f.CLOSE_STRONG)
    access.set_cache(0, 521, 1 << 20, 0.75)
    try:
        if window.start == 0 and window.size == source.size:
            access.set_file_locking(False, True)
            file = h5f.open(os.fsencode(source.path), h5f.ACC_RDONLY, fapl=access)
        else:
            access.set_fileobj_driver(h5py.h5fd.fileobj_driver, window)
            file = h5f.open(b"member", h5f.ACC_RDONLY, fapl=access)
    except H5_ERRORS as error:
        raise ReadError(
            f"{source.path}: the HDF5 library cannot open it: {reason(error)}",
            hint="the file is damaged or cut short; copy or save it again",
        ) from None
    source.closing(file)
    return Tree(file=file, window=window, where=str(source.path), budget=Budget(file_bytes=source.size))


def reason(error: BaseException) -> str:
    """The HDF5 library's own reason, without its call stack."""
    text = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return text[text.find("(") + 1 : -1] if text.endswith(")") and "(" in text else text


@dataclass
class Tree:
    """An open HDF5 file.

    datasets: the numeric datasets by path ("a/b/c"), in name order; filled by `walk`.
    groups: the paths of all groups in name order; the root is "". Filled by `walk`.
    skipped: what gives no tensor, and why. Filled by `walk`.
    """

    file: Any
    window: Window
    where: str
    budget: Budget
    groups: list[str] = field(default_factory=list)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    skipped: list[Skipped] = field(default_factory=list)
    _walked: bool = False

    # -- looking at single things, before or after the walk ------------------------------------------------------

    def is_group(self, path: str) -> bool:
        """Whether `path` is a group of this very file; no link is followed out of it."""
        return isinstance(self.object(path), h5g.GroupID)

    def children(self, path: str) -> list[str]:
        """Names in a group, in name order; empty if it is no group or cannot be listed."""
        group = self.object(path)
        try:
            return [name for name, _ in _links(group)] if isinstance(group, h5g.GroupID) else []
        except H5_ERRORS:
            return []

    def attribute(self, path: str, name: str) -> Any:
        """An attribute as str, list of str or NumPy array; None if absent, unreadable, too large or no text or number."""
        try:
            holder = self.object(path)
            encoded = _encode(name)
            if holder is None or not h5a.exists(holder, encoded):
                return None
            return _attribute_value(h5a.open(holder, encoded))
        except H5_ERRORS:
            return None

    def text(self, path: str, name: str) -> str | None:
        """An attribute that is one text; None otherwise."""
        value = self.attribute(path, name)
        return value if isinstance(value, str) else None

    def texts(self, path: str, name: str) -> list[str] | None:
        """An attribute that is a list of texts, put together from `name0`, `name1`, ... where Keras split it.

        None if the file has neither form. An empty array of whatever type is the empty list.
        """
        whole = _as_texts(self.attribute(path, name))
        if whole is not None:
            return whole
        joined: list[str] | None = None
        number = 0
        while (part := _as_texts(self.attribute(path, f"{name}{number}"))) is not None:
            joined = (joined or []) + part
            number += 1
        return joined

    def object(self, path: str) -> Any:
        """The h5py low-level object at `path`, or None. Only hard links are followed, so it lies in this file."""
        try:
            here = h5o.open(self.file, b"/")
            for name in _parts(path):
                if not isinstance(here, h5g.GroupID):
                    return None
                encoded = _encode(name)
                if encoded not in here or here.links.get_info(encoded).type != h5l.TYPE_HARD:
                    return None
                here = h5o.open(here, encoded)
            return here
        except H5_ERRORS:
            return None

    # -- the walk ------------------------------------------------------------------------------------------------

    def walk(self) -> Tree:
        """Visit every object once, in name order, and fill `groups`, `datasets` and `skipped`.

        Raises HostileFileError for a tree deeper or larger than any model's.
        """
        if self._walked:
            return self
        self._walked = True
        root = h5o.open(self.file, b"/")
        info = h5o.get_info(root)
        seen = {(info.fileno, info.addr)}
        waiting: list[tuple[str, Any, int]] = [("", root, 0)]
        while waiting:
            path, group, depth = waiting.pop()
            self.groups.append(path)
            try:
                links = _links(group)
            except H5_ERRORS as error:
                self.skipped.append(Skipped("unreadable group", path or "/", True, reason(error)))
                continue
            below: list[tuple[str, Any, int]] = []
            for name, link in links:
                child = f"{path}/{name}" if path else name
                if link != h5l.TYPE_HARD:
                    self._skip_link(child, link)
                    continue
                try:
                    info = h5o.get_info(group, _encode(name))
                    if (info.fileno, info.addr) in seen:
                        self.skipped.append(Skipped("second link to the same object", child))
                        continue
                    seen.add((info.fileno, info.addr))
                    if info.type == h5o.TYPE_GROUP:
                        below.append((child, h5g.open(group, _encode(name)), depth + 1))
                    elif info.type == h5o.TYPE_DATASET:
                        self._look_at(child, h5d.open(group, _encode(name)))
                except H5_ERRORS as error:
                    self.skipped.append(Skipped("unreadable object", child, True, reason(error)))
                if len(seen) > MAX_OBJECTS:
                    raise HostileFileError(
                        f"{self.where}: holds more than {MAX_OBJECTS:,} objects",
                        hint="no model is that many pieces",
                    )
            if below and depth + 1 > MAX_DEPTH:
                raise HostileFileError(
                    f"{self.where}: groups are nested more than {MAX_DEPTH} deep",
                    hint="no model is nested like that",
                )
            waiting.extend(reversed(below))
        self.groups.sort()
        self.datasets = dict(sorted(self.datasets.items()))
        return self

    def _look_at(self, path: str, dataset: Any) -> None:
        """Sort one dataset into `datasets` or `skipped`."""
        declared = None
        if dataset.get_type().get_class() == h5t.OPAQUE and h5a.exists(dataset, b"dtype"):
            value = _attribute_value(h5a.open(dataset, b"dtype"))
            declared = value if isinstance(value, str) else None
        found = describe(dataset, path, declared, self)
        if isinstance(found, Skipped):
            self.skipped.append(found)
        else:
            self.datasets[path] = found

    def _skip_link(self, path: str, kind: int) -> None:
        if kind == h5l.TYPE_SOFT:
            # Its target, if it is in the file, is met under its own name.
            self.skipped.append(Skipped("soft link", path))
        elif kind == h5l.TYPE_EXTERNAL:
            self.skipped.append(
                Skipped("external link", path, True, "links to another file are not followed")
            )
        else:
            self.skipped.append(Skipped("user-defined link", path, True, "only HDF5 itself could follow it"))


def _links(group: Any) -> list[tuple[str, int]]:
    """(name, link type) of a group's links in name order; stops at a number no model has."""
    found: list[tuple[str, int]] = []

    def take(name: bytes, info: Any) -> bool | None:
        found.append((name.decode("utf-8", "surrogateescape"), int(info.type)))  # h5py reuses the info object
        return True if len(found) > MAX_OBJECTS else None

    group.links.iterate(take, info=True)
    return found


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part]


def _encode(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _decode(value: Any) -> str:
    if isinstance(value, bytes):
        return value.rstrip(b"\0").decode("utf-8", "surrogateescape")
    return str(value)


def _attribute_value(attribute: Any) -> Any:
    kind = attribute.get_type().get_class()
    if kind not in (h5t.STRING, h5t.INTEGER, h5t.FLOAT) or attribute.get_storage_size() > MAX_ATTRIBUTE_BYTES:
        return None
    space = attribute.get_space()
    if space.get_simple_extent_type() == h5s.NULL:
        return None
    shape = space.get_simple_extent_dims()
    if 0 in shape:
        return np.empty(shape)
    values = np.empty(shape, dtype=attribute.dtype)
    attribute.read(values)
    if kind != h5t.STRING:
        return values
    return _decode(values[()]) if shape == () else [_decode(value) for value in values.reshape(-1)]


def _as_texts(value: Any) -> list[str] | None:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return value
    return [] if isinstance(value, np.ndarray) and value.size == 0 else None
