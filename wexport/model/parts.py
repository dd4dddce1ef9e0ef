"""One of several models in a file: the model and its running average, teacher and student."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wexport.errors import ReadError
from wexport.model.tensors import Model, Tensor

MAX_SHOWN = 8


def part_of(model: Model, part: str, where: Path) -> Model:
    """The tensors below a name, called as if they were the whole model: so that two parts are alike.

    part: of their names (`model_ema`, `encoder.layers`) or their layers (`teacher`). where: the file. Raises ReadError
    where nothing is called so.
    """
    if model.part == part:
        return model  # its reader has seen to it
    path = part.replace(".", "/").strip("/").split("/")
    found = [taken for tensor in model.tensors if (taken := _taken(tensor, path)) is not None]
    if not found:
        raise ReadError(f"{where}: has no part {part!r}", hint=_there(model.tensors))
    # The graph speaks of layers by their names in the whole.
    return replace(
        model, tensors=found, part=part, graph=None, skipped=[each for each in model.skipped if each.problem]
    )


def _taken(tensor: Tensor, path: Sequence[str]) -> Tensor | None:
    """A tensor without the path before its name; None if it is not below it."""
    depth = len(path)
    name = _split(tensor.name)
    layer = tensor.layer.split("/") if tensor.layer else []
    by_name, by_layer = name[:depth] == path and len(name) > depth, layer[:depth] == path
    if not by_name and not by_layer:
        return None
    lineage = tensor.lineage
    if (by_layer and len(lineage) > depth) or (by_name and [node.name for node in lineage[:depth]] == path):
        lineage = lineage[depth:]
    return replace(
        tensor,
        name=tensor.name[len("/".join(path)) + 1 :] if by_name else tensor.name,
        layer=("/".join(layer[depth:]) or None) if by_layer else tensor.layer,
        lineage=lineage,
    )


def _split(name: str) -> list[str]:
    return name.replace(".", "/").split("/")


def _there(tensors: Sequence[Tensor]) -> str:
    first = list(dict.fromkeys(_split(tensor.layer or tensor.name)[0] for tensor in tensors))
    shown = ", ".join(first[:MAX_SHOWN])
    return f"its parts are {shown}{', ...' if len(first) > MAX_SHOWN else ''}" if first else "it holds no tensors"
