"""A table that is written where a URI says: made on this machine, and put there whole or not at all."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from wexport.errors import TableError, UsageError, WexportError
from wexport.files import cached, remote, uris
from wexport.files.remote import RemoteFile
from wexport.files.spool import FETCHERS, safe_name


def is_folder(uri: str) -> bool:
    """Whether a URI of an output is a folder of parts: it ends in a slash, or in no suffix of a table."""
    return uri.endswith("/") or not uri.endswith(cached.SUFFIX)


@contextlib.contextmanager
def written(uri: str, *, append: bool, overwrite: bool) -> Iterator[tuple[str, Callable[[], None]]]:
    """Where to write a table that is to stand at a URI, and what puts it there.

    A file is made only where none stands, but with append (if it is what was added to) or overwrite. Of a folder, parts
    that were changed take the place of what they were made from, and new ones are made where none stands.
    Raises TableError for what may not be written, UsageError, ReadError as `remote` does; OutputError when it is put.
    """
    if uris.is_web(uri):
        raise TableError(f"{uri}: a web server takes no tables", hint="name a file, or s3://, gs:// or az://")
    with tempfile.TemporaryDirectory(prefix="wexport-") as work:
        if is_folder(uri):
            there = cached.parts(uri.rstrip("/") + "/")
            yield _in_folder(uri.rstrip("/"), there, Path(work) / "parts")
        else:
            yield _as_file(uri, Path(work) / safe_name(Path(uri).name), append=append, overwrite=overwrite)


def _as_file(uri: str, path: Path, *, append: bool, overwrite: bool) -> tuple[str, Callable[[], None]]:
    there = remote.head(uri)
    if there is not None and append:
        remote.fetch(there, path)
    elif there is not None and not overwrite:
        raise TableError(
            f"{uri}: exists already", hint="replace it with --overwrite, add with --append, or name another"
        )

    def put() -> None:
        _put(path, uri, there if append else None, overwrite=overwrite and not append)

    return str(path), put


def _in_folder(uri: str, there: list[RemoteFile], folder: Path) -> tuple[str, Callable[[], None]]:
    folder.mkdir()
    before: dict[str, tuple[RemoteFile, tuple[int, int]]] = {}
    if there:
        made = cached.snapshot(there)
        for file in there:
            path = folder / safe_name(file.name)
            cached.link(made / path.name, path)
            before[path.name] = file, _version(path)

    def put() -> None:
        now = {path.name: path for path in folder.glob(f"*{cached.SUFFIX}")}
        due = [path for name, path in now.items() if name not in before or _version(path) != before[name][1]]
        with ThreadPoolExecutor(FETCHERS) as pool:
            for _ in pool.map(lambda path: _put(path, f"{uri}/{path.name}", _file(before.get(path.name))), due):
                pass
            gone = [file.uri for name, (file, _) in before.items() if name not in now]
            for _ in pool.map(remote.delete, gone):
                pass

    return f"{folder}/", put


def _file(known: tuple[RemoteFile, tuple[int, int]] | None) -> RemoteFile | None:
    return None if known is None else known[0]


def _put(path: Path, uri: str, replacing: RemoteFile | None, *, overwrite: bool = False) -> None:
    if not path.exists():
        return  # no file could be read, which is told
    try:
        etag = remote.put(path, uri, replacing=replacing, overwrite=overwrite)
    except UsageError as error:
        raise TableError(str(error), hint=error.hint) from None
    with contextlib.suppress(WexportError):
        cached.keep(RemoteFile(uri, path.stat().st_size, etag), path)


def _version(path: Path) -> tuple[int, int]:
    known = path.stat()
    return known.st_ino, known.st_mtime_ns
