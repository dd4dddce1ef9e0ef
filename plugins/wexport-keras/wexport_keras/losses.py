"""What is differentiated: the loss that a model was compiled with, or one that is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from wexport import UsageError

LossOf = Callable[[Any, Any, Any], Any]
"""Of inputs, targets and prediction, in the model's own structures, a scalar."""
_NAME = "name one of Keras' with --loss, such as mse"


def loss_of(model: Any, name: str | None, count: int, *, training: bool = False) -> LossOf:
    """The scalar loss of a batch, with what regularisers and `add_loss` add to it, as training has it; the mean over
    all batches, each with the weight of its inputs, is that of all inputs.

    name: one of Keras' losses, for every output alike, summed over the outputs; None is what the model was compiled
    with. count: of all inputs.
    Raises UsageError if the name is unknown, or the model was not compiled and none is named.
    """
    loss = _compiled(model, count, training) if name is None else _named(model, name)

    def scalar(x: Any, y: Any, prediction: Any) -> Any:
        found = loss(x, y, prediction)
        if len(found.shape):
            raise UsageError(
                f"the loss is not a single value: it has the shape {tuple(found.shape)} for a batch",
                hint="compile the model with a loss whose reduction is not None, or name one, such as --loss mse",
            )
        return found

    return scalar


def _compiled(model: Any, count: int, training: bool) -> LossOf:
    if not getattr(model, "compiled", False):
        raise UsageError(
            "the model has no loss: it was saved without, or with one that Keras does not know", hint=_NAME
        )
    adds_up = _adds_up(model)

    def loss(x: Any, y: Any, prediction: Any) -> Any:
        plain = type(model).compute_loss is keras.Model.compute_loss
        if plain and getattr(model, "loss", None) is None and not model.losses:
            raise UsageError("the model was compiled without a loss", hint=_NAME)
        # Keras' own way to the method, which may be a subclass' own, without `training`.
        found = model._compute_loss(x=x, y=y, y_pred=prediction, sample_weight=None, training=training)
        if not adds_up:
            return found
        # Of sums, the mean over batches is that of all inputs if each stands for as many; penalties stand for all.
        times = count / keras.ops.cast(keras.ops.shape(keras.tree.flatten(prediction)[0])[0], found.dtype)
        return found * times - sum(model.losses) * (times - 1)

    return loss


def _adds_up(model: Any) -> bool:
    """Whether the loss of a batch is a sum over its inputs, and no mean."""
    losses = [one for one in keras.tree.flatten(getattr(model, "loss", None)) if one is not None]
    return bool(losses) and all(getattr(one, "reduction", None) == "sum" for one in losses)


def _named(model: Any, name: str) -> LossOf:
    try:
        loss = keras.losses.get(name)
    except (ValueError, TypeError):
        loss = None
    if loss is None:
        some = "mse, mae, binary_crossentropy, categorical_crossentropy, sparse_categorical_crossentropy"
        raise UsageError(f"Keras has no loss {name!r}", hint=f"such as {some}")

    def named(x: Any, y: Any, prediction: Any) -> Any:
        pairs = zip(keras.tree.flatten(y), keras.tree.flatten(prediction), strict=True)
        parts = [keras.ops.mean(loss(target, one)) for target, one in pairs]
        return sum(parts[1:], start=parts[0]) + sum(model.losses)

    return named
