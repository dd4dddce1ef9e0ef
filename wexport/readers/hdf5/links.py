"""A group's links, and which of them may be followed: hard links, which lead to objects of the same file."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from h5py import h5fd, h5p

MAX_LINKS, LINK_BYTES = 50_000, 64
"""How many links a file may hold, or one for this many of its bytes, where those are more: a dataset takes hundreds."""


@dataclass(slots=True)
class Link:
    """A link of a group. kind: `h5l.TYPE_HARD` etc. fault: why HDF5 cannot be asked for it by its name; else empty."""

    name: str
    kind: int
    fault: str = ""


def most_links(file_bytes: int) -> int:
    """How many links a file of that size may hold."""
    return max(MAX_LINKS, file_bytes // LINK_BYTES)


def links_of(group: Any, most: int = MAX_LINKS) -> list[Link]:
    """A group's links in name order, `most` and one more at most.

    HDF5 opens by name only. A name with a slash would be taken for a path, which may lead through a link to another
    file; of two links with one name, another than the one that was looked at may be opened.
    """
    found: dict[str, Link] = {}
    met = 0

    def take(name: bytes, info: Any) -> bool | None:
        nonlocal met
        met += 1
        text = name.decode("utf-8", "surrogateescape")
        if text in found:
            found[text].fault = "given twice"
        else:
            fault = "a path" if "/" in text or text in ("", ".") else ""
            found[text] = Link(text, int(info.type), fault)  # h5py reuses the info object
        return True if met > most else None

    group.links.iterate(take, info=True)
    return list(found.values())


def only_inside() -> Any:
    """Access to links that could not open another file even if one were followed: it would be empty memory."""
    nothing = h5p.create(h5p.FILE_ACCESS)
    nothing.set_fileobj_driver(h5fd.fileobj_driver, io.BytesIO())
    access = h5p.create(h5p.LINK_ACCESS)
    access.set_elink_fapl(nothing)
    return access
