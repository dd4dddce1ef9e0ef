"""Whether the files of a model are what they were: of each its size, times and inode, not its content.

Of a file that a URI names, what its store says of it: its size, when it was modified, and its etag.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from wexport.files import shards
from wexport.files.remote import RemoteFile

Stamp = list[list[Any]]
"""Of each file that a model is read from: path, bytes, when it was modified and changed [ns], and inode; or URI, bytes,
when it was modified, and etag."""


def stamp(path: Path | RemoteFile) -> Stamp:
    """The stamp of a model: of its file, and of those that an index names; empty if the file is not there.

    A file with other content may have the size and the time of modification that it had, since programs set that as
    they like; but not the time of change as well, which the system sets, in the same place on disk.
    """
    if isinstance(path, RemoteFile):
        return [[file.uri, file.size, file.modified, file.etag] for file in path.whole()]
    found = []
    for file in (path, *shards.parts(path)):
        try:
            known = os.stat(file)  # noqa: PTH116  there may be many thousands
        except OSError:
            if file == path:
                return []
            known = None
        times = [0, 0, 0, 0] if known is None else [known.st_size, known.st_mtime_ns, known.st_ctime_ns, known.st_ino]
        name = os.path.abspath(file)  # noqa: PTH100  links are not followed
        found.append([name.encode("utf-8", "backslashreplace").decode("utf-8"), *times])
    return found
