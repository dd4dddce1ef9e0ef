"""PyTorch's `.pt`, `.pth`, `.bin` and `.ckpt` for wexport: without torch, and without running what is in them.

Such a file holds a pickle, which is a program. `machine` reads it over inert values and calls nothing; `places` walks
through what came of it, `choice` finds the model there, and the bytes of the tensors are read in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import wexport


def sniff(source: wexport.Source) -> float:
    """0.9 for a zip with torch's pickle in its only folder or an exported program, for torch's magic number, an index
    of such files and the metadata of a distributed checkpoint; 0.8 for its tar of old.
    """
    from wexport_torch import distributed, exported, layouts, models

    if layouts.is_legacy(source) or models.is_index(source) or distributed.is_metadata(source):
        return 0.9
    if layouts.is_zip(source) or exported.is_exported(source):
        return 0.9
    return 0.8 if layouts.is_tar(source) else 0.0


def open_(source: wexport.Source) -> wexport.Model:
    """The model in a file, see `models.open_`."""
    from wexport_torch import models

    return models.open_(source)


READER = wexport.Reader(
    name="torch",
    reads="PyTorch .pt, .pth, .bin, .ckpt and .pt2, whole or sharded, and distributed checkpoints",
    sniff=sniff,
    open=open_,
    suffixes=(".pt", ".pth", ".bin", ".ckpt", ".pt2", ".pt.tar", ".pth.tar", ".bin.index.json", ".metadata"),
)


@wexport.hookimpl
def wexport_readers() -> Sequence[wexport.Reader]:
    return [READER]
