"""What a file is that no reader reads: one line that says so, and the way out."""

from __future__ import annotations

import re
from collections.abc import Callable

from wexport.errors import ReadError
from wexport.files import archives
from wexport.files.shards import DISTRIBUTED_PART
from wexport.files.source import Source

_TAIL_BYTES = 1 << 16
_REPLACED = b"\xef\xbf\xbd"
"""What a conversion to UTF-8 makes of each byte that is none."""
_CONVERTED = (
    _REPLACED + b"HDF",
    _REPLACED + b"NUMPY",
    b"\x89HDF\n\x1a\n",
    b"\x89HDF\r\r\n\x1a\r\n",
    b"\x89HDF\r\n\x1a\r\n",
    b"\xc2\x89HDF",
    b"\tHDF\r\n",
    b"\xc2\x93NUMPY",
    b"\x13NUMPY",
)
"""Signatures of binary files after their line ends or bytes were taken for text."""
_SAVE_ARRAYS = "load it with the library that wrote it and save its arrays: numpy.savez('weights.npz', **arrays)"
_DOWNLOAD = "download the file itself again; the address may need a login or another path"
_UNPACK = "unpack it and name the model that is in it"

Explanation = tuple[str, str]
"""What a file is, behind "is", and the way out."""


def what_it_is(source: Source) -> Explanation | None:
    """(what the file is, the way out), or None where nothing tells."""
    return next((explanation for look in _LOOKS if (explanation := look(source)) is not None), None)


def _pointer(source: Source) -> Explanation | None:
    if not source.head.startswith(b"version https://git-lfs.github.com/spec/"):
        return None
    size = re.search(rb"\nsize (\d{1,18})", source.head)
    whole = f" to a file of {int(size[1]):,} bytes" if size else ""
    return f"a Git LFS pointer{whole}, not the file itself", "`git lfs pull` in its repository fetches it"


def _web_page(source: Source) -> Explanation | None:
    begin = source.head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if begin.startswith((b"<!doctype html", b"<html", b"<head", b"<body", b"<?xml", b"<error")):
        return "a web page, not a model", _DOWNLOAD
    return None


def _converted(source: Source) -> Explanation | None:
    replaced = source.head.count(_REPLACED)
    if source.head.startswith(_CONVERTED) or replaced > max(4, len(source.head) // 64):
        return (
            "a binary file that was converted as if it were text, so its bytes are lost",
            "transfer it anew in binary mode; in Git, mark such files `binary` in .gitattributes",
        )
    return None


def _zeros(source: Source) -> Explanation | None:
    if source.head and not source.head.strip(b"\0"):
        return (
            f"a file that begins with {len(source.head):,} zero bytes, as downloads do that were broken off",
            _DOWNLOAD,
        )
    return None


def _zip(source: Source) -> Explanation | None:
    """A zip that is not a model's, cut short, or only a part of its file."""
    begins = source.head.startswith(archives.SIGNATURES)
    if source.path.name.endswith(DISTRIBUTED_PART) and begins:
        return "a part of a checkpoint of torch.distributed, which `.metadata` beside it tells of", "name its folder"
    if not begins:
        tail = source.read_at(max(0, source.size - _TAIL_BYTES), _TAIL_BYTES)
        if archives.SIGNATURES[1] not in tail:
            return None
    try:
        names = sorted(archives.member_names(source))
    except ReadError as error:
        reason = str(error).removeprefix(f"{source.path}: ")
        if "cut short" in reason:
            reason = "begins as a zip and has no directory at its end"
            return f"cut short: it {reason}", error.hint
        return (f"no archive alone: it {reason}", error.hint) if begins or "holds" in reason else None
    if not begins:
        return None
    shown = ", ".join(name[:60] for name in names[:3]) or "nothing"
    return f"a zip of no known model; it holds {shown}{', ...' if len(names) > 3 else ''}", _UNPACK


def _paddle(source: Source) -> Explanation | None:
    named = source.path.name.lower().endswith((".pdparams", ".pdopt"))
    if source.head[:1] == b"\x80" and (named or b"StructuredToParameterName@@" in source.head):
        return (
            "a pickle of PaddlePaddle's, which is a program and is never run",
            "numpy.savez('weights.npz', **{name: value.numpy() for name, value in paddle.load(path).items()})",
        )
    return None


def _pickle(source: Source) -> Explanation | None:
    head = source.head
    binary = head[:1] == b"\x80" and head[1:2] in (b"\x01", b"\x02", b"\x03", b"\x04", b"\x05")
    if not binary and not re.match(rb"(\(dp?\d|\(lp?\d|ccopy_reg\n|c[\w.]{1,80}\n\w{1,80}\n)", head):
        return None
    by = next(
        (
            word
            for word in ("sklearn", "xgboost", "lightgbm", "joblib", "keras", "numpy", "pandas")
            if word.encode() in head
        ),
        "",
    )
    return f"a pickle{f', with objects of {by}' if by else ''}, which is a program and is never run", _SAVE_ARRAYS


def _msgpack(source: Source) -> Explanation | None:
    """A map whose first key is a text, as flax writes its parameters."""
    found = re.match(rb"(?:[\x81-\x8f]|\xde..|\xdf....)(?:[\xa1-\xbf]|\xd9.)([\w./-]{2,})", source.head, re.DOTALL)
    if found is None:
        return None
    return (
        "a msgpack file, as flax writes its parameters",
        "safetensors.flax.save_file(flax.traverse_util.flatten_dict(params, sep='.'), 'model.safetensors')",
    )


def _darknet(source: Source) -> Explanation | None:
    """Version 0.1 or 0.2, revision, images seen; then float32 without names or shapes."""
    major, minor = (int.from_bytes(source.head[at : at + 4], "little") for at in (0, 4))
    if source.path.suffix.lower() == ".weights" and major == 0 and minor in (1, 2) and source.size % 4 == 0:
        return (
            "a weights file of darknet's, which has neither names nor shapes without its .cfg",
            "convert both to ONNX or PyTorch and name that",
        )
    return None


def _core_ml(source: Source) -> Explanation | None:
    if source.path.suffix.lower() == ".mlmodel" and re.match(rb"\x08[\x01-\x20]\x12", source.head):
        return "a Core ML model", "name the model that it was converted from, or read its weights with coremltools"
    return None


def _begins(pattern: bytes, what: str, way: str) -> Callable[[Source], Explanation | None]:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda source: (what, way) if compiled.match(source.head) else None


def _text(source: Source) -> Explanation | None:
    """A short text where a model should be: the message of a server."""
    if source.size > 2048 or source.path.suffix.lower() in (".json", ".txt", ".csv", ".md"):
        return None
    try:
        text = " ".join(source.head.decode().split())
    except UnicodeDecodeError:
        return None
    return (f"a short text: {text[:80]!r}", _DOWNLOAD) if text.isprintable() and len(text) > 8 else None


_LOOKS: tuple[Callable[[Source], Explanation | None], ...] = (
    _pointer,
    _web_page,
    _converted,
    _zeros,
    _zip,
    _paddle,
    _core_ml,
    _darknet,
    _begins(rb".{4}TFL3", "a TFLite model", "name the model that it was converted from, or convert it to ONNX"),
    _begins(rb"\x1f\x8b", "a file compressed with gzip", "unpack it with gunzip"),
    _begins(rb"BZh[1-9]1AY", "a file compressed with bzip2", "unpack it with bunzip2"),
    _begins(rb"\xfd7zXZ\0", "a file compressed with xz", "unpack it with unxz"),
    _begins(rb"\x28\xb5\x2f\xfd", "a file compressed with zstd", "unpack it with unzstd"),
    _begins(rb"7z\xbc\xaf|Rar!\x1a", "an archive", _UNPACK),
    _begins(rb".{257}ustar", "a tar archive", _UNPACK),
    _begins(
        rb"ggml|lmgg|ggjt|tjgg|fmgg",
        "a model of ggml in a format before GGUF",
        "convert it to GGUF with llama.cpp's scripts",
    ),
    _begins(rb"MATLAB 5\.0", "a MATLAB file", "save it as version 7.3, which is HDF5"),
    _begins(rb"PAR1", "a Parquet table", "tables go to `wexport query`, `plot`, `check` and `report`"),
    _begins(rb"\x89PNG|\xff\xd8\xff|GIF8", "a picture", "name a model file"),
    _begins(rb"%PDF", "a PDF", "name a model file"),
    _begins(rb"\x7fELF|MZ", "a program", "name a model file"),
    _begins(rb"SQLite format 3", "a SQLite database", "name a model file"),
    _pickle,
    _msgpack,
    _text,
)
