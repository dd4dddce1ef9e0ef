"""Tables that URIs name, as files of this machine: fetched once, and again what has changed.

The cache is a folder `wexport` where the system keeps such (XDG_CACHE_HOME). A file of a store lies there under a name
made of its URI, size and etag, so that it never changes. A table is a folder of links to those that it is made of at
one moment: whoever reads it sees all of that moment, whatever is written meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wexport.errors import MissingFileError, MissingTableError, UsageError, unwritable
from wexport.files import remote, uris
from wexport.files.remote import RemoteFile
from wexport.files.spool import FETCHERS, safe_name

KEPT_SECONDS = 30 * 24 * 3600.0
"""What was not read for so long is removed."""
SUFFIX = ".parquet"


def local(table: str | os.PathLike[str]) -> str:
    """Where a table lies on this machine: itself, or what a URI names, fetched. A file, or a folder of parts.

    Raises MissingTableError if there is none, ReadError, UsageError as `remote.listed` does.
    """
    text = os.fspath(table)
    if not uris.is_uri(text):
        return text
    if (path := uris.local_path(text)) is not None:
        return path
    files = parts(text)
    if not files:
        raise MissingTableError(f"{text}: there is no such table", hint="wexport ingest --out makes one")
    folder = snapshot(files)
    single = len(files) == 1 and files[0].uri == text
    return str(folder / safe_name(files[0].name)) if single else str(folder)


def parts(uri: str) -> list[RemoteFile]:
    """The files of a table: one, those in a folder, or those that match a pattern; none where nothing is.

    Raises ReadError, UsageError as `remote.listed` does.
    """
    try:
        if uris.has_magic(uri):
            folder, wanted = uris.pattern(uri)
            return [file for file in remote.listed(folder) if wanted.fullmatch(file.uri)]
        file = None if uri.endswith("/") else remote.head(uri)
        if file is not None or uris.is_web(uri):
            return [] if file is None else [file]
        found = remote.listed(uri.rstrip("/") + "/", below=False)
        return [each for each in found if each.suffix == SUFFIX and not each.name.startswith(".")]
    except MissingFileError as error:  # the bucket
        raise MissingTableError(str(error), hint=error.hint) from None


def snapshot(files: Sequence[RemoteFile]) -> Path:
    """A folder with just these files, fetched as far as they are not there; nobody may write into it."""
    keys = sorted(_key(file) for file in files)
    folder = _root() / "tables" / hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]
    try:
        if not folder.is_dir():
            _sweep()
            with ThreadPoolExecutor(FETCHERS) as pool:
                blobs = list(pool.map(_blob, files))
            making = folder.with_name(f".{uuid.uuid4().hex}")
            making.mkdir(parents=True, mode=0o700)
            for number, (file, blob) in enumerate(zip(files, blobs, strict=True)):
                name = safe_name(file.name)
                link(blob, making / (name if not (making / name).exists() else f"{number}-{name}"))
            with contextlib.suppress(OSError):  # another process was quicker
                making.replace(folder)
            shutil.rmtree(making, ignore_errors=True)
        os.utime(folder)
    except OSError as error:
        raise unwritable(_root(), error) from None
    return folder


def keep(file: RemoteFile, path: Path) -> None:
    """Remember what was just written to a store, so that it need not be fetched."""
    blob = _root() / "files" / _key(file)
    with contextlib.suppress(OSError):
        blob.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        link(path, blob)


def _blob(file: RemoteFile) -> Path:
    blob = _root() / "files" / _key(file)
    if not blob.exists():
        blob.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        making = blob.with_name(f".{uuid.uuid4().hex}")
        try:
            remote.fetch(file, making)
            making.replace(blob)
        finally:
            making.unlink(missing_ok=True)
    return blob


def link(path: Path, name: Path) -> None:
    """Give a file a second name that is free, or make a copy where the file system has none."""
    try:
        os.link(path, name)
    except FileExistsError:
        pass
    except OSError:
        shutil.copyfile(path, name)


def _key(file: RemoteFile) -> str:
    said = f"{file.uri}\n{file.size}\n{file.etag or file.modified}"
    return hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()[:40]


def _root() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    if not home:
        try:
            home = str(Path.home() / ".cache")
        except RuntimeError:
            home = tempfile.gettempdir()
    if not os.path.isabs(home):  # noqa: PTH117
        raise UsageError(f"XDG_CACHE_HOME {home!r} is no absolute path", hint="name a folder to keep tables in")
    return Path(home) / "wexport"


def _sweep() -> None:
    """Remove what nobody has read for long."""
    oldest = time.time() - KEPT_SECONDS
    for folder in ("tables", "files"):
        with contextlib.suppress(OSError):
            for entry in os.scandir(_root() / folder):
                with contextlib.suppress(OSError):
                    known = entry.stat(follow_symlinks=False)
                    if known.st_mtime > oldest or (entry.is_file() and known.st_nlink > 1):
                        continue
                    shutil.rmtree(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)  # noqa: PTH108
