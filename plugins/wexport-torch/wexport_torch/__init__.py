"""PyTorch's `.pt`, `.pth`, `.bin` and `.ckpt` for wexport: without torch, and without running what is in them.

Such a file holds a pickle, which is a program. `machine` reads it over inert values and calls nothing; `places` walks
through what came of it, `choice` finds the model there, and the bytes of the tensors are read in place.
"""

from __future__ import annotations

from collections.abc import Sequence

import wexport


def sniff(source: wexport.Source) -> float:
    """0.9 for a zip with torch's pickle in its only folder, and for torch's magic number; 0.8 for its tar of old."""
    from wexport_torch import layouts

    if layouts.is_zip(source) or layouts.is_legacy(source):
        return 0.9
    return 0.8 if layouts.is_tar(source) else 0.0


def open_(source: wexport.Source) -> wexport.Model:
    """The model in a file, see `reading.open_`."""
    from wexport_torch import reading

    return reading.open_(source)


READER = wexport.Reader(
    name="torch",
    reads="PyTorch .pt, .pth, .bin and .ckpt: state dicts, checkpoints, whole modules, TorchScript",
    sniff=sniff,
    open=open_,
    suffixes=(".pt", ".pth", ".bin", ".ckpt", ".pt.tar", ".pth.tar"),
)


@wexport.hookimpl
def wexport_readers() -> Sequence[wexport.Reader]:
    return [READER]
