"""Whether targets fit the outputs of a model, by what its loss compares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import keras
import numpy as np

from wexport import UsageError

_OF_CLASSES = frozenset({"sparse_categorical_crossentropy"})
_ALIKE = frozenset(
    {
        "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy",
        "categorical_focal_crossentropy", "categorical_hinge", "cosine_similarity", "dice", "hinge", "huber",
        "kl_divergence", "log_cosh", "mean_absolute_error", "mean_absolute_percentage_error", "mean_squared_error",
        "mean_squared_logarithmic_error", "poisson", "squared_hinge", "tversky",
    }
)  # fmt: skip
"""Losses that take targets of the shape of the output, by the names of their functions."""


class _Output(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int | None, ...]: ...


def check_targets(
    model: Any, loss: str | None, targets: Sequence[np.ndarray[Any, Any]], outputs: Sequence[_Output]
) -> None:
    """Raises UsageError for targets whose shape or classes a loss of Keras' own does not take.

    loss: by name, for all outputs; None is what the model was compiled with. Other losses take what they take.
    """
    for output, array, one in zip(outputs, targets, _losses(model, loss, outputs), strict=True):
        name = _name(one)
        if name in _OF_CLASSES:
            _check_classes(output, array)
        elif name in _ALIKE and not _fit(array.shape, output.shape):
            raise UsageError(
                f"target {output.name}: its shape is {array.shape}, and {name} compares it with {_shape(output)}",
                hint="sparse_categorical_crossentropy takes the number of each class"
                if name == "categorical_crossentropy"
                else "give targets of the shape of the output",
            )


def _check_classes(output: _Output, array: np.ndarray[Any, Any]) -> None:
    due, classes = output.shape[:-1], output.shape[-1]
    if not (_fit(array.shape, due) or _fit(array.shape, (*due, 1))):
        raise UsageError(
            f"target {output.name}: its shape is {array.shape}, and sparse_categorical_crossentropy takes the number "
            f"of a class for each entry of {_shape(output)}",
            hint="for one-hot targets: --loss categorical_crossentropy, or np.argmax(targets, -1)",
        )
    low, high = array.min(), array.max()
    if low < 0 or (classes is not None and high >= classes) or (array != np.floor(array)).any():
        raise UsageError(
            f"target {output.name}: holds classes from {low} to {high}",
            hint=f"the output knows whole numbers from 0 to {(classes or 0) - 1}",
        )


def _fit(shape: Sequence[int], due: Sequence[int | None]) -> bool:
    """Whether all lengths fit; Keras adds or takes a last axis of length one by itself."""
    if len(shape) == len(due) - 1 and due[-1] == 1:
        due = due[:-1]
    elif len(shape) == len(due) + 1 and shape[-1] == 1:
        shape = shape[:-1]
    return len(shape) == len(due) and all(
        want in (None, length) for length, want in zip(shape[1:], due[1:], strict=True)
    )


def _shape(output: _Output) -> str:
    return f"({', '.join('any' if length is None else str(length) for length in output.shape)})"


def _losses(model: Any, loss: str | None, outputs: Sequence[_Output]) -> list[Any]:
    """The loss of each output, None where it cannot be told."""
    if loss is not None:
        return [loss] * len(outputs)
    compiled = getattr(model, "loss", None)
    if isinstance(compiled, Mapping):
        return [compiled.get(output.name) for output in outputs]
    if isinstance(compiled, (list, tuple)):
        return list(compiled) if len(compiled) == len(outputs) else [None] * len(outputs)
    return [compiled] * len(outputs)


def _name(loss: Any) -> str:
    """The name of a loss' function, however it is given; "" if it is not Keras' own."""
    if isinstance(loss, str):
        try:
            loss = keras.losses.get(loss)
        except ValueError:
            return ""
    loss = getattr(loss, "fn", loss)  # of a Loss
    return str(getattr(loss, "__name__", "")) if getattr(loss, "__module__", "").startswith("keras.") else ""
