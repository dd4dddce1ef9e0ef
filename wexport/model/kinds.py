"""What the rows of a table are of, the column `kind`."""

from __future__ import annotations

from collections.abc import Sequence

from wexport.errors import UsageError

KINDS = ("weight", "array", "optimizer", "activation", "gradient")
"""Weights of a model, arrays that may be some (raw HDF5), state of its optimizer; and of a model that was run, outputs
of its layers and gradients."""


def checked(kinds: Sequence[str]) -> list[str]:
    """Kinds that are asked for instead of weights, as a list. Raises UsageError for what is none."""
    if isinstance(kinds, str):
        raise UsageError(f"kinds {kinds!r} is a text", hint=f"give a list, such as {[kinds]}")
    for kind in kinds:
        if kind not in KINDS:
            raise UsageError(f"there is no kind {kind!r}", hint=f"choose of {', '.join(KINDS)}")
    return list(kinds)
