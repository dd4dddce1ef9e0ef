"""Text as a table can hold it."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Text that any table can hold: bytes that were not UTF-8, kept as surrogates, are written as \\udcNN."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
