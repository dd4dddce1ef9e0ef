"""Run by the tests in a process of its own, in float64: gradients beside central differences of the loss."""

from __future__ import annotations

import json
import os
import sys

os.environ.update(KERAS_BACKEND="jax", JAX_ENABLE_X64="1", JAX_PLATFORMS="cpu")

import keras
import numpy as np

keras.config.set_floatx("float64")

import wexport_keras
import zoo

STEP, PLACES = 1e-5, 3


def main(name: str) -> None:
    model, inputs, targets = zoo.MODELS[name]()
    x, y = zoo.packed(inputs), zoo.packed(targets)
    found = wexport_keras.gradients(model, x, y)
    variables = dict(zip(wexport_keras.weights(model), model_variables(model), strict=True))
    rng, rows = np.random.default_rng(0), []
    for slot, gradient in found.items():
        variable = variables[slot]
        value = np.array(keras.ops.convert_to_numpy(variable))
        for place in rng.choice(value.size, min(PLACES, value.size), replace=False):
            losses = []
            for sign in (1, -1):
                moved = value.copy()
                moved.reshape(-1)[place] += sign * STEP
                variable.assign(moved)
                prediction = model(x, training=False)
                losses.append(float(model.compute_loss(x=x, y=y, y_pred=prediction, training=False)))
            variable.assign(value)
            rows.append([slot, float(gradient.reshape(-1)[place]), (losses[0] - losses[1]) / (2 * STEP)])
    print(json.dumps(rows))


def model_variables(model: object) -> list:
    from wexport_keras.describing import described

    return described(model).variables


if __name__ == "__main__":
    main(sys.argv[1])
