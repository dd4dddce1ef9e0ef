"""What JAX and Keras say by themselves, to hold gradients against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def loss_by_weights(model: Any, x: Any, y: Any) -> tuple[Callable[[list[Any], list[Any]], Any], list[Any], list[Any]]:
    """The loss that Keras computes over all inputs, as a function of the trainable weights and of the other variables,
    and what both are now.
    """

    def loss(trainable: list[Any], others: list[Any]) -> Any:
        prediction, _, losses = model.stateless_call(trainable, others, x, return_losses=True, training=False)
        return model._compile_loss(y, prediction) + sum(losses)

    values = (
        [variable.value for variable in group] for group in (model.trainable_variables, model.non_trainable_variables)
    )
    return loss, *values
