"""What is differentiated: the loss that a model was compiled with, or one that is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

from wexport import UsageError

LossOf = Callable[[Any, Any, Any], Any]
"""Of inputs, targets and prediction, in the model's own structures, a scalar."""


def loss_of(model: Any, name: str | None, *, training: bool = False) -> LossOf:
    """The scalar loss of a batch, with what regularisers and `add_loss` add to it, as training has it.

    name: one of Keras' losses, for every output alike, summed over the outputs; None is what the model was compiled
    with. Raises UsageError if the name is unknown, or the model was not compiled and none is named.
    """
    if name is None:
        if getattr(model, "loss", None) is None:
            raise UsageError(
                "the model was saved without a loss, or with one that Keras does not know",
                hint="name one of Keras' with --loss, such as mse",
            )
        return lambda x, y, prediction: model.compute_loss(
            x=x, y=y, y_pred=prediction, sample_weight=None, training=training
        )
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
