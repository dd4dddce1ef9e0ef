"""What plugins know of tensors that a reader could not tell all about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from wexport.model import roles
from wexport.model.extensions import Meaning
from wexport.model.tensors import Layout, Model, Tensor
from wexport.plugins.guard import ForeignError, foreign_code
from wexport.plugins.info import PluginInfo
from wexport.stats.streams import streams_of


def completed(tensor: Tensor, model: Model, asked: Sequence[PluginInfo], notes: list[str]) -> Tensor:
    """The tensor with what plugins fill in of role, layout and trainable; what the reader said stays.

    Where several know, the first one in `asked` counts. What is wrong with an answer is put into `notes`.
    """
    for info in asked:
        if tensor.role != "unknown" and tensor.layout is not None and tensor.trainable is not None:
            break
        assert info.meaning is not None
        try:
            with foreign_code(passing=(MemoryError,)):
                for meaning in info.meaning(tensor=tensor, model=model):
                    tensor = replace(tensor, **_new(tensor, meaning))
        except ForeignError as error:  # the reader's word is still good
            notes.append(f"plugin {info.name} cannot tell meanings: {error} ({tensor.name})")
    return tensor


def _new(tensor: Tensor, meaning: object) -> dict[str, Any]:
    """The fields that an answer fills in. Raises ValueError if it is none, or has a word that there is not."""
    if not isinstance(meaning, Meaning):
        raise ValueError(f"wexport_meaning returned {type(meaning).__name__} where a wexport.Meaning is due")
    if meaning.role is not None and meaning.role not in roles.ROLES:
        raise ValueError(f"role {meaning.role!r} is not a word of wexport.reading.roles.ROLES")
    if meaning.layout is not None and not isinstance(meaning.layout, Layout):
        raise ValueError(f"layout is {type(meaning.layout).__name__} where a wexport.Layout is due")
    if meaning.layout is not None and tensor.layout is None:
        streams_of(tensor.shape, meaning.layout)  # raises ValueError if it does not fit the shape
    if meaning.trainable not in (None, True, False):
        raise ValueError(f"trainable is {meaning.trainable!r}")
    found: dict[str, Any] = {}
    if tensor.role == "unknown" and meaning.role is not None:
        found["role"] = meaning.role
    if tensor.layout is None and meaning.layout is not None:
        found["layout"] = meaning.layout
    if tensor.trainable is None and meaning.trainable is not None:
        found["trainable"] = bool(meaning.trainable)
    return found
