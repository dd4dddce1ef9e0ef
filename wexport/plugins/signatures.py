"""Formats that are known by their first bytes, and the package that reads each: a hint where it is not installed."""

from __future__ import annotations

import re
from collections.abc import Callable

from wexport.files.source import Source

_TABLE_MAGIC = bytes.fromhex("57fb808b247547db")
"""The last bytes of a table as LevelDB defines it, in which TensorFlow keeps the index of a checkpoint."""


def _matches(pattern: bytes) -> Callable[[Source], bool]:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda source: compiled.match(source.head) is not None


def _is_checkpoint(source: Source) -> bool:
    """Such a table, whose first key is empty: behind it stands a header, whose first field is a number."""
    return source.head[:2] == b"\0\0" and source.head[3:4] == b"\x08" and _ends_as_table(source)


def _ends_as_table(source: Source) -> bool:
    return source.size >= 48 and source.read_at(source.size - len(_TABLE_MAGIC), len(_TABLE_MAGIC)) == _TABLE_MAGIC


def _is_onnx(source: Source) -> bool:
    """A protocol buffer whose first field is `ir_version` and whose next is a name, domain, version or graph."""
    return re.match(rb"\x08[\x01-\x14](?:[\x12\x1a\x22\x32]|\x28[\x00-\x7f]|\x3a)", source.head) is not None


_KNOWN: tuple[tuple[Callable[[Source], bool], str, str], ...] = (
    (_matches(rb"\x93NUMPY"), "a NumPy array", "wexport-npz"),
    (_matches(rb"GGUF"), "a GGUF model", "wexport-gguf"),
    (_matches(rb".{7}\0\{\s*\""), "a safetensors model", "wexport-safetensors"),
    (_matches(rb"\s*\{.{0,4000}\"weight_map\"\s*:"), "the index of a sharded model", "wexport-safetensors"),
    (
        _matches(rb"PK\x03\x04.{26}[^\0]{1,200}?/(data\.pkl|data/0|code/__torch__|\.format_version|\.data/|byteorder)"),
        "a PyTorch file",
        "wexport-torch",
    ),
    (_matches(rb"PK\x03\x04.{26}[^\0]{1,200}?\.npy"), "a NumPy archive", "wexport-npz"),
    # The first thing in it is a number that says so, in the protocol of the time.
    (
        _matches(rb"\x80[\x02-\x05](?:\x95.{8})?\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"),
        "a PyTorch file",
        "wexport-torch",
    ),
    (_is_checkpoint, "the index of a TensorFlow checkpoint", "wexport-tf"),
    (_is_onnx, "an ONNX model", "wexport-onnx"),
)


def looks_like(source: Source) -> tuple[str, str] | None:
    """(what the file is, the package that reads it), or None where its first bytes tell nothing."""
    return next(((what, package) for tells, what, package in _KNOWN if tells(source)), None)
