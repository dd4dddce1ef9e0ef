"""GGUF, the format of llama.cpp and ggml, for wexport: its header read with bounds, its values decoded in blocks.

The format is that of `docs/gguf.md` in ggml: a magic word, metadata, an entry for each tensor, then the values.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import wexport

if TYPE_CHECKING:
    from wexport_gguf.header import Header, Metadata

MAGIC = b"GGUF"


def sniff(source: wexport.Source) -> float:
    """0.9 for what begins with the magic word: no other format does."""
    return 0.9 if source.head.startswith(MAGIC) else 0.0


def open_(source: wexport.Source) -> wexport.Model:
    """All tensors of a file, quantised ones decoded to float32 as they are read.

    Raises ReadError for a damaged file, HostileFileError for one whose header asks for too much or whose tensors
    overlap. A tensor that alone cannot be read is named and left out.
    """
    from wexport_gguf import header, names, values  # loaded where a file of this format is met

    read = header.read(source)
    tensors: list[wexport.Tensor] = []
    skipped: list[wexport.Skipped] = []
    for found in values.tensors(source, read):
        if isinstance(found, wexport.Tensor):
            tensors.append(names.with_meaning(found))
        else:
            skipped.append(found)
    return wexport.Model(
        tensors=tensors,
        format="gguf",
        framework="ggml",
        framework_version=_version(read),
        backend=_text(read.metadata, "general.architecture"),
        skipped=skipped,
    )


def _version(read: Header) -> str | None:
    """The one version of ggml's that a file names: that of the layout of its quantised types."""
    version = read.metadata.get("general.quantization_version")
    return None if version is None else f"quantization version {version}"


def _text(metadata: Metadata, key: str) -> str | None:
    value = metadata.get(key)
    return value if isinstance(value, str) else None


READER = wexport.Reader(
    name="gguf", reads="GGUF models of llama.cpp and ggml", sniff=sniff, open=open_, suffixes=(".gguf",)
)


@wexport.hookimpl
def wexport_readers() -> Sequence[wexport.Reader]:
    return [READER]
