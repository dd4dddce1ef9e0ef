"""Where a command may write: an output is never an input, and replaces only what wexport wrote of that kind.

Every command that writes asks `claim` before it does anything else, so that a slip of the hand, such as a pattern that
the shell made three names of, costs a message and not a model.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import re
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wexport.errors import TableError, UsageError, WexportError
from wexport.files import uris
from wexport.files.atomic import is_stream, real, sweep
from wexport.version import __version__

PathLike = str | os.PathLike[str]

MARK = f"wexport {__version__}"
"""What pictures and pages say that they are made by."""
ANSWER_KEY = b"wexport_answer"
"""The key of an answer's metadata, in Parquet; a table's is `wexport`."""
_LOOKED_AT = 1 << 16
"""Bytes at either end of a file in which its mark stands."""
_PAGE = re.compile(rb'<meta name="generator" content="wexport [^"<>]*">')
_SVG = re.compile(rb"<dc:title>wexport [^<]*</dc:title>")
_PDF = re.compile(rb"/Creator \(wexport [^)]*\)")
_FINDINGS = re.compile(rb"""<\?xml [^>]*\?>\s*<testsuites name="wexport check"[ >]""")
_METRICS = re.compile(rb"run,epoch,([^\n]*,)?epoch_seconds,snapshot_seconds\r?\n")


@dataclass(frozen=True, slots=True)
class Kind:
    """A sort of output. words: what it is called. ours: whether a file is one that wexport wrote.

    streams: whether it may be written into a pipe or device.
    """

    words: str
    ours: Callable[[Path], bool]
    streams: bool = True
    error: type[WexportError] = UsageError


def claim(
    out: PathLike, kind: Kind, *, inputs: Iterable[PathLike] = (), overwrite: bool = False, option: str = "--out"
) -> Path:
    """Where an output may be written, as a path; what killed writers left in its folder is removed.

    inputs: every file that is read. overwrite: whether to replace what stands there, whatever it is; never an input.
    option: what the user named it by.

    Raises UsageError, or TableError for a table, if it may not be written there, or cannot be.
    """
    target = _check(out, kind, identities(inputs), overwrite, option)
    sweep(real(target).parent)
    return target


def claim_all(
    outs: Sequence[Path], kind: Kind, *, inputs: Iterable[PathLike] = (), overwrite: bool = False, option: str = "--out"
) -> None:
    """`claim` for several files of one folder, none of which need be there; nor need the folder."""
    known = identities(inputs)
    for out in outs:
        if os.path.lexists(out):
            _check(out, kind, known, overwrite, option)
    if outs:
        sweep(outs[0].parent)


def table_inputs(table: PathLike) -> list[PathLike]:
    """The files that are read of a table: a file, the parts in a folder, or what a pattern matches."""
    text = os.fspath(table)
    if uris.is_remote(text):
        return []  # no output can be one of them
    if os.path.isdir(text):  # noqa: PTH112
        return list(Path(text).glob("*.parquet"))
    return [text] if os.path.lexists(text) else list(glob.glob(text, recursive=True))  # noqa: PTH207


def identities(paths: Iterable[PathLike]) -> frozenset[tuple[int, int]]:
    """What tells files apart whatever they are called; of those that are there."""
    found = set()
    for path in paths:
        with contextlib.suppress(OSError, ValueError):
            known = os.stat(path)  # noqa: PTH116  there may be many thousands
            found.add((known.st_dev, known.st_ino))
    return frozenset(found)


def _check(out: PathLike, kind: Kind, inputs: frozenset[tuple[int, int]], overwrite: bool, option: str) -> Path:
    other = f"name another {option}"
    if not os.fspath(out):
        raise kind.error(f"{option}: the name is empty", hint=other)
    target = Path(out)
    try:
        there: os.stat_result | None = target.stat()
    except FileNotFoundError:
        there = None
    except (OSError, ValueError) as error:  # ValueError: a NUL
        raise kind.error(f"{str(out)[:300]}: cannot be written: {_reason(error)}", hint=other) from None
    if there is None:
        _check_place(target, kind, other)
        return target
    if stat.S_ISDIR(there.st_mode):
        raise kind.error(f"{out}: is a folder", hint=f"{other}: a file")
    if (there.st_dev, there.st_ino) in inputs:
        raise kind.error(f"{out}: is read, and an output is never an input", hint=other)
    if is_stream(target):
        if not kind.streams or not (stat.S_ISFIFO(there.st_mode) or stat.S_ISCHR(there.st_mode)):
            raise kind.error(f"{out}: is not a file, and {kind.words} cannot be written into it", hint=other)
    elif not overwrite and not kind.ours(target):
        raise kind.error(
            f"{out}: exists already, and is not {kind.words} that wexport wrote",
            hint=f"{other}, or replace it with --overwrite",
        )
    return target


def _check_place(target: Path, kind: Kind, other: str) -> None:
    """The folder of a file that is to be made is there, and the name can be one of a file."""
    folder = real(target).parent
    if not folder.is_dir():
        what = f"cannot be written: the folder {folder} does not exist"
        raise kind.error(f"{target}: {what}", hint=f"make it, or {other}")
    if target.name in ("", ".", ".."):
        raise kind.error(f"{target}: is not a name of a file", hint=other)


def _reason(error: OSError | ValueError) -> str:
    if not isinstance(error, OSError):
        return str(error)
    return "the name is too long" if error.errno == errno.ENAMETOOLONG else error.strerror or str(error)


# -- how each kind is known again --------------------------------------------------------------------------------------


def _head(path: Path, size: int = _LOOKED_AT) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LOOKED_AT))
            return file.read()
    except OSError:
        return b""


def _parquet_keys(path: Path) -> set[bytes]:
    """The keys of a Parquet file's own metadata; none for what is not a Parquet file."""
    if _head(path, 4) != b"PAR1":
        return set()
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file:
            return set(pq.read_metadata(file).metadata or {})
    except (OSError, pa.ArrowException):
        return set()


def _is_table(path: Path) -> bool:
    return b"wexport" in _parquet_keys(path)


def _is_parquet_answer(path: Path) -> bool:
    return ANSWER_KEY in _parquet_keys(path)


def _is_picture(path: Path) -> bool:
    head = _head(path)
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"tEXtSoftware\0wexport " in head
    if head.startswith(b"%PDF-"):
        return bool(_PDF.search(head) or _PDF.search(_tail(path)))
    return head.startswith(b"<?xml") and bool(_SVG.search(head))


def _is_page(path: Path) -> bool:
    head = _head(path).lstrip()
    return head.startswith(b"<!doctype html>") and bool(_PAGE.search(head))


def _begins(pattern: re.Pattern[bytes]) -> Callable[[Path], bool]:
    return lambda path: pattern.match(_head(path)) is not None


_NOTEBOOK = re.compile(rb'\{\s*"metadata": \{\s*"wexport": \{')
"""As it is written; Jupyter sorts the keys when somebody works in it, and then it is theirs."""
TABLE = Kind("a table", _is_table, streams=False, error=TableError)
PAGE = Kind("a page", _is_page)
NOTEBOOK = Kind("a notebook", _begins(_NOTEBOOK))
PICTURE = Kind("a picture", _is_picture)
PARQUET_ANSWER = Kind("an answer", _is_parquet_answer)
TEXT = Kind("a text", lambda path: False)
"""CSV, JSON and the like have no place for a mark, so none of them is replaced unasked."""
EXAMPLE = Kind("an example", lambda path: False)
FINDINGS = Kind("a list of findings", _begins(_FINDINGS))
METRICS = Kind("a file of metrics", _begins(_METRICS))
