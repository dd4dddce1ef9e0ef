"""Run by the tests in a process of its own: gradients beside central differences of the loss that the model has."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import jax
import keras
import numpy as np
import wexport_keras
import zoo
from oracle import loss_by_weights
from wexport_keras.describing import described

STEP, PLACES = 1e-2, 3
"""Keras on JAX computes in float32 whatever the type of the weights, so smaller steps drown in rounding."""


def main(name: str) -> None:
    keras.config.set_floatx("float64")
    model, inputs, targets = getattr(zoo, name)()
    x, y = zoo.packed(inputs), zoo.packed(targets)
    found = wexport_keras.gradients(model, x, y)
    slot_of = {
        id(variable): slot
        for slot, variable in zip(wexport_keras.weights(model), described(model).variables, strict=True)
    }
    loss, values, others = loss_by_weights(model, x, y)
    loss = jax.jit(loss)
    rng, rows = np.random.default_rng(0), []
    for number, variable in enumerate(model.trainable_variables):
        gradient = found.pop(slot_of[id(variable)])
        for place in rng.choice(gradient.size, min(PLACES, gradient.size), replace=False):

            def at(shift: float, number: int = number, place: int = place) -> float:
                moved = values[number].reshape(-1).at[place].add(shift).reshape(values[number].shape)
                return float(loss([*values[:number], moved, *values[number + 1 :]], others))

            rows.append([slot_of[id(variable)], float(gradient.reshape(-1)[place]), extrapolated(at)])
    assert not found
    print(json.dumps(rows))


def extrapolated(at: Callable[[float], float]) -> float:
    """Richardson's extrapolation of central differences: its error is of the fourth order in the step."""
    one, two = ((at(step) - at(-step)) / (2 * step) for step in (STEP, 2 * STEP))
    return (4 * one - two) / 3


if __name__ == "__main__":
    main(sys.argv[1])
