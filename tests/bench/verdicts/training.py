"""Training: one compiled epoch for each network, whatever the rate, penalty or layers that stay frozen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from numpy.typing import NDArray

from verdicts.tasks import Data, Floats

Weights = dict[str, NDArray[Any]]
"""A model's values by the paths of its variables."""


def path_of(variable: Any) -> str:
    """Such as dense/kernel, whether the model is a Sequential or not."""
    return str(variable.path).removeprefix("sequential/")


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. rate: of Adam, or of plain gradient descent with `descent`. frozen: beginnings of paths.

    l1, l2: penalties of all kernels. inference: normalisations take their stored statistics and do not update them.
    bare: the loss is the logarithm of what a softmax gives, with nothing added: of 0, it is infinite.
    batch: examples of a step. order: seed of the order of the examples.
    """

    epochs: int
    rate: float
    order: int
    batch: int = 32
    descent: bool = False
    frozen: tuple[str, ...] = ()
    l1: float = 0.0
    l2: float = 0.0
    inference: bool = False
    bare: bool = False


class Trainer:
    """Trains one Keras model again and again, each time from weights given."""

    def __init__(self, model: keras.Model, loss: str) -> None:
        self.model = model
        self._loss = loss
        self._trained = [path_of(variable) for variable in model.trainable_variables]
        self._kept = [path_of(variable) for variable in model.non_trainable_variables]
        self._epochs: dict[tuple[bool, ...], Callable[..., Any]] = {}
        self._predict = jax.jit(lambda tv, ntv, x: model.stateless_call(tv, ntv, x, training=False)[0])

    def weights(self) -> Weights:
        """The values that the model has now; the states of random generators are left out."""
        return {path_of(variable): np.array(variable) for variable in self.model.weights}

    def assign(self, weights: Mapping[str, NDArray[Any]]) -> None:
        for variable in self.model.weights:
            variable.assign(weights[path_of(variable)])

    def train(self, weights: Mapping[str, NDArray[Any]], data: Data, recipe: Recipe) -> Iterator[Weights]:
        """The weights after each epoch."""
        rng = np.random.default_rng([recipe.order, 11])
        state = self._state(weights)
        slots = [[jnp.zeros_like(value) for value in state[0]] for _ in range(2)]
        mask = [0.0 if path.startswith(recipe.frozen or ("\0",)) else 1.0 for path in self._trained]
        step = jnp.zeros((), jnp.float32)
        run = self._epoch(recipe.descent, recipe.inference, recipe.bare)
        count = len(data.x) // recipe.batch * recipe.batch
        for _ in range(recipe.epochs):
            order = rng.permutation(len(data.x))[:count].reshape(-1, recipe.batch)
            state, slots, step = run(
                state, slots, step, data.x[order], data.y[order], mask, recipe.rate, recipe.l1, recipe.l2
            )
            yield self._named(state)

    def predict(self, weights: Mapping[str, NDArray[Any]], x: Floats) -> Floats:
        return np.asarray(self._predict(*self._state(weights), x))

    def metric(self, weights: Mapping[str, NDArray[Any]], data: Data) -> float:
        """On the test part: the share of right classes, or minus the mean squared error."""
        given = self.predict(weights, data.x_test)
        if self._loss == "classes":
            return float((given.argmax(-1) == data.y_test.argmax(-1)).mean())
        return -float(((given - data.y_test) ** 2).mean())

    def _state(self, weights: Mapping[str, NDArray[Any]]) -> tuple[list[Any], list[Any]]:
        now = {path_of(variable): variable for variable in self.model.variables}
        kept = [jnp.asarray(weights[path] if path in weights else now[path].value) for path in self._kept]
        return [jnp.asarray(weights[path]) for path in self._trained], kept

    def _named(self, state: tuple[list[Any], list[Any]]) -> Weights:
        found = dict(zip(self._trained + self._kept, map(np.asarray, state[0] + state[1]), strict=True))
        return {path_of(variable): found[path_of(variable)] for variable in self.model.weights}

    def _epoch(self, *key: bool) -> Callable[..., Any]:
        if key not in self._epochs:
            self._epochs[key] = jax.jit(self._compiled(*key))
        return self._epochs[key]

    def _compiled(self, descent: bool, inference: bool, bare: bool) -> Callable[..., Any]:
        least = 0.0 if bare else 1e-7
        kernels = [path.endswith(("kernel", "embeddings")) for path in self._trained]

        def cost(tv: list[Any], ntv: list[Any], x: Any, y: Any, l1: Any, l2: Any) -> tuple[Any, Any]:
            given, ntv = self.model.stateless_call(tv, ntv, x, training=not inference)
            fit = -(y * jnp.log(given + least)).sum(-1) if self._loss == "classes" else (given - y) ** 2
            decay = sum(
                l1 * jnp.abs(value).sum() + l2 * (value**2).sum()
                for value, kernel in zip(tv, kernels, strict=True) if kernel
            )  # fmt: skip
            return fit.mean() + decay, ntv

        def epoch(state: Any, slots: Any, step: Any, xs: Any, ys: Any, mask: Any, rate: Any, l1: Any, l2: Any) -> Any:
            def one(carry: Any, batch: Any) -> tuple[Any, None]:
                (tv, ntv), (first, second), step = carry
                gradients, ntv = jax.grad(cost, has_aux=True)(tv, ntv, *batch, l1, l2)
                step = step + 1
                first = [0.9 * old + 0.1 * new for old, new in zip(first, gradients, strict=True)]
                second = [0.999 * old + 0.001 * new**2 for old, new in zip(second, gradients, strict=True)]
                moves = gradients if descent else [
                    a / (1 - 0.9**step) / (jnp.sqrt(b / (1 - 0.999**step)) + 1e-7)
                    for a, b in zip(first, second, strict=True)
                ]  # fmt: skip
                # A frozen layer stays as it is even where the others diverge: nothing is not 0 times NaN.
                tv = [
                    jnp.where(free > 0, value - rate * move, value)
                    for value, move, free in zip(tv, moves, mask, strict=True)
                ]
                return ((tv, ntv), [first, second], step), None

            return jax.lax.scan(one, (state, slots, step), (xs, ys))[0]

        return epoch
