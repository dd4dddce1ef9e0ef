"""What plugins add besides readers: the meaning of tensors, and statistics of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wexport.model.tensors import Layout, Tensor

if TYPE_CHECKING:  # a plugin that needs these names should not wait for NumPy
    from numpy.typing import NDArray

MAX_VALUES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What a plugin knows of a tensor that its reader does not; what is None is left as it is.

    role: a word of `roles.ROLES`. layout: as in `Tensor`; `roles.layout` makes one. trainable: as in `Tensor`.
    """

    role: str | None = None
    layout: Layout | None = None
    trainable: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """A figure of a tensor, for the column `extra`.

    name: its key there, in snake case. unit: "" for pure numbers. doc: one line that defines it; name, unit and doc go
        into the table's metadata.
    of: called with the values in the canonical layout, a read-only float64 array, and with the tensor; returns a
        number, or None where the figure is not defined for such a tensor.
    max_values: tensors of more values have no such figure; their values are not read a second time. The array and
        what `of` works out of it share the 112 MiB that reading a file may take.
    """

    name: str
    doc: str
    of: Callable[[NDArray[Any], Tensor], float | None]
    unit: str = ""
    max_values: int = MAX_VALUES
