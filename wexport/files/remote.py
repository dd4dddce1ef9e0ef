"""Files on object storage and web servers: what is there, and how bytes come and go.

The only module that knows `obstore`, which `pip install "wexport[cloud]"` brings. Credentials, regions and endpoints
are those of its usual variables, such as AWS_ACCESS_KEY_ID, AWS_REGION, AWS_ENDPOINT_URL, AZURE_STORAGE_ACCOUNT_NAME
or GOOGLE_APPLICATION_CREDENTIALS. What fails for a moment is tried again, with pauses that grow.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from wexport.errors import MissingFileError, OutputError, ReadError, UsageError, WexportError
from wexport.files.uris import as_path, is_web, split

if TYPE_CHECKING:
    from obstore.store import ObjectStore

SMALL_BYTES = 64 << 20
"""A file of at most this many bytes comes in one request."""
RANGE_BYTES = 16 << 20
"""Of a larger one, what is asked for at a time."""
RANGES = 4
"""How many of these are under way at a time."""
_PIECE_BYTES = 1 << 20
"""What is written to disk at a time."""
TRIES = 3
"""How often a stretch is asked for whose bytes stop in the middle; requests that fail are tried again below this."""
RETRIES, RETRY_SECONDS, CONNECT_SECONDS, REQUEST_SECONDS = 4, 30.0, 5.0, 60.0

_VARIABLES = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION and, for other services, AWS_ENDPOINT_URL",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
    "abfss": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}

T = TypeVar("T")


class ChangedError(ReadError):
    """A file is not the one that was listed."""


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file that a URI names, as its store lists it.

    uri: without escapes. size: bytes. etag: what its store changes with its content; empty where it has none.
    modified: when that was, in ISO 8601. parts: the other files of the same model, which an index names. beside: small
    ones that tell of it. part: which of several models in it is meant.
    """

    uri: str
    size: int
    etag: str = ""
    modified: str = ""
    parts: tuple[RemoteFile, ...] = ()
    beside: tuple[RemoteFile, ...] = ()
    part: str | None = None

    def __str__(self) -> str:
        return self.uri if self.part is None else f"{self.uri}#{self.part}"

    @property
    def name(self) -> str:
        """Behind the last slash."""
        return self.uri.rpartition("/")[2]

    @property
    def suffix(self) -> str:
        return PurePosixPath(self.name).suffix

    @property
    def path(self) -> Path:
        """The URI as if its scheme were the root of all files: where its name begins to differ from others'."""
        return as_path(str(self))

    def whole(self) -> tuple[RemoteFile, ...]:
        """It and its parts."""
        return (self, *self.parts)


# -- what is there -----------------------------------------------------------------------------------------------------


def head(uri: str) -> RemoteFile | None:
    """The file of just this name; None if there is none. One request. Raises ReadError, UsageError."""
    obstore = _obstore()
    base, path = split(uri)
    if not path:
        return None
    try:
        found: Any = _asked(uri, lambda: obstore.head(_store(base), path))
    except MissingFileError:
        return None
    return _file(base, found)


def listed(uri: str, *, below: bool = True) -> Iterator[RemoteFile]:
    """The files below a folder; a request for each thousand. below: not only those that lie in it directly.

    Raises UsageError where there is no such bucket, or the server knows no lists; ReadError where it does not answer.
    """
    obstore = _obstore()
    if is_web(uri):
        raise UsageError(f"{uri}: a web server does not list its files", hint="name each, or give a list with -")
    base, path = split(uri)
    folder = path.rstrip("/") + "/" if path.strip("/") else None
    store = _store(base)
    if not below:
        for each in _asked(uri, lambda: obstore.list_with_delimiter(store, folder))["objects"]:
            yield _file(base, each)
        return
    last: str | None = None
    for tries in range(1, TRIES + 1):
        try:
            pages = iter(obstore.list(store, folder, offset=last, chunk_size=1000))
            while (page := _asked(uri, functools.partial(next, pages, None))) is not None:
                for each in page:
                    yield _file(base, each)
                    last = each["path"]
            return
        except ReadError:  # a page that stopped in the middle; what was refused is not to be had by asking again
            if tries == TRIES:
                raise


def again(file: RemoteFile) -> RemoteFile:
    """A file with its parts, as they are now; as it was where it is gone, which is told when it is fetched."""
    try:
        parts, beside = ([head(each.uri) or each for each in others] for others in (file.parts, file.beside))
        return replace(head(file.uri) or file, parts=tuple(parts), beside=tuple(beside), part=file.part)
    except WexportError:
        return file


# -- bytes -------------------------------------------------------------------------------------------------------------


def fetch(file: RemoteFile, into: Path) -> None:
    """Write a file's bytes to a path that is not there yet: in one request, or a large one in ranges side by side.

    Raises ChangedError if it is another file by now, ReadError if it cannot be read, or stops in the middle.
    """
    into.open("xb").close()
    if file.size <= SMALL_BYTES:
        _fetch_range(file, into, 0, file.size, whole=True)
        return
    ends = [(start, min(start + RANGE_BYTES, file.size)) for start in range(0, file.size, RANGE_BYTES)]
    with ThreadPoolExecutor(RANGES) as pool:
        for _ in pool.map(lambda ends: _fetch_range(file, into, *ends), ends):
            pass


def _fetch_range(file: RemoteFile, into: Path, start: int, end: int, *, whole: bool = False) -> None:
    """The bytes from `start` to `end`, written where they belong."""
    obstore = _obstore()
    base, path = split(file.uri)
    options: Any = {} if whole or start == end else {"range": (start, end)}
    if file.etag:
        options["if_match"] = file.etag
    for tries in range(1, TRIES + 1):
        done = start
        try:
            answer = _asked(file.uri, lambda: obstore.get(_store(base), path, options=options))
            if answer.meta["size"] != file.size:
                raise ChangedError(f"{file}: was changed since it was listed")
            with into.open("r+b", buffering=0) as out:
                out.seek(start)
                for piece in _pieces(file.uri, answer):
                    if done + len(piece) > end:
                        raise ChangedError(f"{file}: is longer than its store says")
                    done += out.write(piece)
            if done == end:
                return
            raise ReadError(f"{file}: stopped after {done - start:,} of {end - start:,} bytes", hint=_TRY_AGAIN)
        except ChangedError:
            raise
        except ReadError:
            if tries == TRIES:
                raise


def _pieces(uri: str, answer: Any) -> Iterator[memoryview]:
    pieces = iter(answer.stream(min_chunk_size=_PIECE_BYTES))
    while (piece := _asked(uri, lambda: next(pieces, None))) is not None:
        yield memoryview(piece)


def put(path: Path, uri: str, *, replacing: RemoteFile | None = None, overwrite: bool = False) -> str:
    """Make a local file one of the store's: whole or not at all, and only where none stands. Returns its etag.

    replacing: the file that it takes the place of, unless that is another by now. overwrite: whatever stands there.
    Raises OutputError if it cannot be written, UsageError if another stands there.
    """
    obstore = _obstore()
    base, name = split(uri)
    mode: Any = "overwrite" if overwrite else "create"
    if replacing is not None and not overwrite:
        mode = {"e_tag": replacing.etag}
    # A put in one request is conditional on all stores; one in parts is so on none.
    parts = path.stat().st_size > (SMALL_BYTES if overwrite else 4 << 30)
    with path.open("rb") as file:
        answer: Any = _asked(
            uri, lambda: obstore.put(_store(base), name, file, mode=mode, use_multipart=parts), writing=True
        )
    return answer["e_tag"] or ""


def delete(uri: str) -> None:
    """Remove a file. Raises OutputError, UsageError."""
    obstore = _obstore()
    base, name = split(uri)
    with contextlib.suppress(MissingFileError):
        _asked(uri, lambda: obstore.delete(_store(base), name), writing=True)


# -- stores, and what they say -----------------------------------------------------------------------------------------


def _file(base: str, entry: Any) -> RemoteFile:
    modified = entry.get("last_modified")
    return RemoteFile(
        f"{base}/{entry['path']}", entry["size"], entry.get("e_tag") or "", modified.isoformat() if modified else ""
    )


def _obstore() -> Any:
    try:
        import obstore
        import obstore.store
    except ImportError:
        raise UsageError("what reads object storage is not installed", hint="pip install 'wexport[cloud]'") from None
    return obstore


@functools.cache
def _store(base: str) -> ObjectStore:
    stores = _obstore().store
    scheme = base.partition("://")[0]
    plain = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://") or os.environ.get("AZURE_STORAGE_USE_EMULATOR")
    client: Any = {
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "timeout": timedelta(seconds=REQUEST_SECONDS),
        "allow_http": scheme == "http" or bool(plain),
        "user_agent": "wexport",
    }
    retry: Any = {
        "max_retries": RETRIES,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=5), "base": 2},
    }
    try:
        if is_web(base):
            store: ObjectStore = stores.HTTPStore.from_url(base, client_options=client, retry_config=retry)
        else:
            store = stores.from_url(base, client_options=client, retry_config=retry)
    except Exception as error:  # as obstore tells of variables that make no sense
        raise UsageError(f"{base}: {_first_line(error)}", hint=_rights(base)) from None
    return store


def _asked(uri: str, request: Callable[[], T], *, writing: bool = False) -> T:
    """What a store answers; what it refuses is told in one line. writing: whether something is to be changed there."""
    try:
        return request()
    except WexportError:
        raise
    except Exception as error:  # obstore's, and the Python ones that it borrows
        raise _error_of(uri, error, writing) from None


_TRY_AGAIN = "try again; if it stays so, the network or the server is at fault"


def _error_of(uri: str, error: Exception, writing: bool) -> WexportError:
    """What to raise for what a store said."""
    kind, text = type(error).__name__, str(error)
    failed: type[WexportError] = OutputError if writing else ReadError
    if "NoSuchBucket" in text or "NoSuchContainer" in text or "ContainerNotFound" in text:
        base = split(uri)[0]
        return MissingFileError(f"{uri}: there is no bucket {base}", hint="check the name and the endpoint")
    if kind == "AlreadyExistsError":
        return UsageError(f"{uri}: exists already", hint="name another --out, or replace it with --overwrite")
    if kind == "PreconditionError":
        if writing:
            return OutputError(f"{uri}: was changed by another writer meanwhile", hint="run the same command again")
        return ChangedError(f"{uri}: was changed since it was listed")
    if isinstance(error, FileNotFoundError) or kind == "NotFoundError":
        return MissingFileError(f"{uri}: does not exist", hint="check the name")
    if kind in ("PermissionDeniedError", "UnauthenticatedError") or re.search(r"\b40[13] (Forbidden|Unauth)", text):
        what = "written" if writing else "read"
        return failed(f"{uri}: the store does not let it be {what}: {_reason(text)}", hint=_rights(uri))
    if re.search(r"Kind: Connect|kind: Connect|error sending request|dns error|Connect,", text):
        return failed(f"{uri}: the store cannot be reached: {_reason(text)}", hint=f"check the network; {_rights(uri)}")
    return failed(f"{uri}: {_reason(text)}", hint=_TRY_AGAIN)


def _reason(text: str) -> str:
    """What a store said, without the request and what is for its developers."""
    code = re.search(r"<Code>([^<]{1,80})</Code>", text)
    status = re.search(r"status code: (\d{3} [A-Za-z ]+)", text)
    if status or code:
        return " ".join(found[1].strip() for found in (status, code) if found)
    line = text.splitlines()[0] if text else "no reason given"
    return re.sub(r"^.* in [\d.]+[mµn]?s\b.*? - ", "", line)[:200]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _rights(uri: str) -> str:
    names = _VARIABLES.get(uri.partition("://")[0].lower())
    return f"its access is told by {names}" if names else "check the address"
