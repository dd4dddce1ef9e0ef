"""What is asked of a comparison, and what it finds: words and figures, plain enough to go between processes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from wexport.model.tensors import Skipped

IDENTICAL = "identical"
OTHER_DTYPE = "equal but for dtype"
WITHIN = "within tolerance"
ROUNDED = "equal after rounding"
CHANGED = "changed"
ONLY_A, ONLY_B = "only in a", "only in b"
OTHER_SHAPE = "shape differs"
REPEATED = "repeats another"
AMBIGUOUS = "one of several"
NOT_COMPARED = "not compared"

STATUSES = (
    *(NOT_COMPARED, OTHER_SHAPE, AMBIGUOUS, ONLY_A, ONLY_B),
    *(CHANGED, ROUNDED, OTHER_DTYPE, WITHIN, REPEATED, IDENTICAL),
)
"""Every status, what needs looking at first."""
SAME = frozenset({IDENTICAL, OTHER_DTYPE, WITHIN, REPEATED})
"""Those that are not a difference of values."""


@dataclass(frozen=True, slots=True)
class DiffTask:
    """Two files, which of several models in each (None for all there is), and when their values count as equal.

    That is |a - b| <= tolerance + relative_tolerance * max(|a|, |b|).
    """

    a: Path
    b: Path
    part_a: str | None = None
    part_b: str | None = None
    tolerance: float = 0.0
    relative_tolerance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the values of two tensors of equal canonical shape differ.

    status: "identical" (the same type and bits; any NaN equals any NaN), "equal but for dtype" (every value equal),
        "within tolerance", "equal after rounding" (equal once rounded to the narrower of the two floating types), or
        "changed".
    changed_count: values that differ by more than the tolerance.
    max_abs_difference: over pairs of finite values; None if there are none.
    relative_l2: ||a - b|| / max(||a||, ||b||) over pairs of finite values; the same both ways, at most 2. None if both
        are all zero.
    cosine: of a and b over pairs of finite values; None if either is all zero. cosine_distance: 1 - cosine, which keeps
        its digits where a and b are close.
    nonfinite_count: pairs in which a NaN or an infinity stands against another value; they count as changed.
    detail: what else there is to say.
    """

    status: str
    changed_count: int = 0
    max_abs_difference: float | None = None
    relative_l2: float | None = None
    cosine: float | None = None
    cosine_distance: float | None = None
    nonfinite_count: int = 0
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSide:
    """A tensor as one of the files has it.

    name: for people: layer and role, or the path in the file where these are not known. tensor: the path in the file.
    The others as in the table.
    """

    name: str
    tensor: str
    slot: str
    kind: str
    role: str
    layer: str | None
    layer_class: str | None
    shape: tuple[int, ...]
    canonical_shape: tuple[int, ...]
    dtype: str
    value_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDiff:
    """One tensor of either file, or a pair.

    status: one of `STATUSES`. a, b: None where the file does not have it. method: what the pair rests on, "slot",
        "name", "order" or "content"; None without a pair. confidence: of the pair, 0.5 to 1; None without one.
        change: the figures; None if no values were compared.
    detail: what else there is to say of the status. notes: what else the files say of the pair's layer, and differs.
    """

    status: str
    a: TensorSide | None
    b: TensorSide | None
    method: str | None = None
    confidence: float | None = None
    change: Change | None = None
    detail: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What a calls it; what b does, if only b has it."""
        return self.side.name

    @property
    def side(self) -> TensorSide:
        """As a has it; as b does, if only b has it."""
        side = self.a or self.b
        assert side is not None
        return side

    def figures(self) -> dict[str, Any]:
        """The fields of `Change` but for status and detail; None where no values were compared."""
        names = [each.name for each in fields(Change) if each.name not in ("status", "detail")]
        return {name: None if self.change is None else getattr(self.change, name) for name in names}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileSide:
    """What one of the files turned out to be. problems: what could not be read though it should be."""

    path: Path
    reader: str
    format: str
    framework: str | None
    framework_version: str | None
    backend: str | None
    tensor_count: int
    value_count: int
    problems: tuple[Skipped, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Edits:
    """Layers that were put in, left out or made wider, in words."""

    described: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class At:
    """What is being done now, for the message should the process die of it."""

    what: str


@dataclass(frozen=True, slots=True)
class FilesOpened:
    """Both files, and what differs between them that is not values."""

    a: FileSide
    b: FileSide
    notes: tuple[str, ...]
