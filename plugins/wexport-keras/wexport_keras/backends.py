"""Running a model and differentiating it, on whichever backend Keras was started with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import keras

from wexport import UsageError
from wexport_keras.capturing import Seen, capturing
from wexport_keras.places import Place

F = TypeVar("F", bound=Callable[..., Any])
Tensors = list[Any]
Values = Sequence[tuple[Any, Any]]
"""Variables, each with a tensor to stand for it."""


class Backend(Protocol):
    """One backend's way to run. `seen` names the tensors of the answers and is filled at the first run."""

    seen: list[Seen]

    def outputs(self, x: Any) -> Tensors:
        """What the layers give for a batch, in the order of `seen`."""

    def gradients(self, x: Any, y: Any) -> tuple[Tensors, Tensors]:
        """Of the loss of a batch: with respect to the variables, and to the tensors in `seen`."""


class Run:
    """What is to be run: shared by all backends.

    places: the layers to watch. training: whether layers behave as in training. loss: of (x, y, prediction).
    variables: to differentiate by. wanted: which of the tensors that pass by are wanted.
    """

    def __init__(
        self,
        model: Any,
        places: Sequence[Place],
        *,
        training: bool = False,
        loss: Callable[[Any, Any, Any], Any] | None = None,
        variables: Sequence[Any] = (),
        wanted: Callable[[Seen], bool] = lambda seen: True,
        inputs: bool = False,
    ) -> None:
        self.model, self.places, self.training, self.loss = model, places, training, loss
        self.variables, self.wanted, self.inputs = list(variables), wanted, inputs

    def call(self, x: Any, y: Any, touch: Callable[[Seen, Any], Any], values: Values = ()) -> Any:
        """The loss, where it is wanted, else None; `touch` as for `capturing`.

        values: of variables, where they are not their own. What the model would change in its variables (moving
        statistics, states, seeds, metrics) is forgotten.
        """
        # Regularisers ask the scope for their variables, and find none that it was not given.
        values = values or [(variable, variable.value) for variable in self.variables]
        with keras.StatelessScope(values, collect_losses=True), capturing(self.places, touch, inputs=self.inputs):
            prediction = self.model(x, training=self.training)
            return None if self.loss is None or y is None else self.loss(x, y, prediction)


def backend(run: Run) -> Backend:
    """The backend that Keras was started with. Raises UsageError for one that cannot run here."""
    name = keras.backend.backend()
    made: dict[str, Callable[[Run], Backend]] = {
        "jax": _Jax,
        "torch": _Torch,
        "tensorflow": _TensorFlow,
        "numpy": _NumPy,
    }
    if name not in made:
        raise UsageError(f"the backend {name} is not known here", hint=f"set KERAS_BACKEND to one of {', '.join(made)}")
    return made[name](run)


def outside_traces(method: F) -> F:
    """Variables that losses, metrics and layers make when they are first called come to be after the call.

    Made while a compiler traces, they would keep its symbols as their values, and break whatever uses them later.
    """

    @functools.wraps(method)
    def scoped(*args: Any) -> Any:
        with keras.StatelessScope():  # the outermost scope gives such variables their values when it is left
            return method(*args)

    return scoped  # type: ignore[return-value]


def is_float(tensor: Any) -> bool:
    """Whether a tensor can be differentiated by."""
    return "float" in keras.backend.standardize_dtype(tensor.dtype)


class _Collected:
    """The tensors that pass by, in order."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.seen: list[Seen] = []
        self.tensors: Tensors = []

    def __call__(self, seen: Seen, tensor: Any) -> Any:
        if self._run.wanted(seen):
            self.seen.append(seen)
            self.tensors.append(tensor)
        return tensor


class _NumPy:
    """Also the plain way in which every eager backend runs."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.seen: list[Seen] = []

    def outputs(self, x: Any) -> Tensors:
        collected = _Collected(self._run)
        self._run.call(x, None, collected)
        self.seen = collected.seen
        return collected.tensors

    def gradients(self, x: Any, y: Any) -> tuple[Tensors, Tensors]:
        raise UsageError(
            "the numpy backend of Keras gives outputs only, no gradients",
            hint="KERAS_BACKEND=jax, torch or tensorflow has gradients: pip install 'jax[cpu]' is the lightest",
        )


class _Torch(_NumPy):
    def outputs(self, x: Any) -> Tensors:
        import torch

        with torch.no_grad():
            return super().outputs(x)

    def gradients(self, x: Any, y: Any) -> tuple[Tensors, Tensors]:
        import torch

        run = self._run
        self.seen, watched = [], []

        def touch(seen: Seen, tensor: Any) -> Any:
            if not run.wanted(seen) or not is_float(tensor):
                return tensor
            # A tensor of its own: what is given to two layers would else be one, with the sum of their gradients.
            tensor = tensor.view_as(tensor) if tensor.requires_grad else tensor.detach().requires_grad_(True)
            self.seen.append(seen)
            watched.append(tensor)
            return tensor

        with torch.enable_grad():
            loss = run.call(x, y, touch)
            by = [*(variable.value for variable in run.variables), *watched]
            found = torch.autograd.grad(loss, by, allow_unused=True)
        found = [torch.zeros_like(tensor) if one is None else one for one, tensor in zip(found, by, strict=True)]
        return found[: len(run.variables)], found[len(run.variables) :]


class _TensorFlow(_NumPy):
    def __init__(self, run: Run) -> None:
        import tensorflow as tf

        super().__init__(run)
        self._refused: UsageError | None = None
        self._outputs = tf.function(super().outputs, reduce_retracing=True)
        self._gradients = tf.function(self._differentiate, reduce_retracing=True)

    @outside_traces
    def outputs(self, x: Any) -> Tensors:
        return list(self._outputs(keras.tree.map_structure(keras.ops.convert_to_tensor, x)))

    @outside_traces
    def gradients(self, x: Any, y: Any) -> tuple[Tensors, Tensors]:
        x, y = keras.tree.map_structure(keras.ops.convert_to_tensor, (x, y))
        try:
            by_variables, by_seen = self._gradients(x, y)
        except Exception:
            if self._refused is not None:  # TensorFlow makes an error of its own of it
                raise self._refused from None
            raise
        return list(by_variables), list(by_seen)

    def _differentiate(self, x: Any, y: Any) -> tuple[Tensors, Tensors]:
        import tensorflow as tf

        run = self._run
        self.seen, watched = [], []
        with tf.GradientTape() as tape:

            def touch(seen: Seen, tensor: Any) -> Any:
                if not run.wanted(seen) or not is_float(tensor):
                    return tensor
                tensor = tf.identity(tensor)
                tape.watch(tensor)
                self.seen.append(seen)
                watched.append(tensor)
                return tensor

            try:
                loss = run.call(x, y, touch)
            except UsageError as error:
                self._refused = error
                raise
        variables = [variable.value for variable in run.variables]
        found = tape.gradient(loss, [*variables, *watched], unconnected_gradients=tf.UnconnectedGradients.ZERO)
        found = [tf.convert_to_tensor(one) for one in found]  # of an embedding it is a list of rows
        return found[: len(variables)], found[len(variables) :]


class _Jax:
    def __init__(self, run: Run) -> None:
        import jax

        self._run = run
        self.seen: list[Seen] = []
        self._others = [variable for variable in run.model.variables if not _among(variable, run.variables)]
        self._outputs = jax.jit(self._forward)
        self._gradients = jax.jit(jax.grad(self._objective, argnums=(0, 1)))

    @outside_traces
    def outputs(self, x: Any) -> Tensors:
        found: Tensors = self._outputs(*self._values(), x)
        return found

    @outside_traces
    def gradients(self, x: Any, y: Any) -> tuple[Tensors, Tensors]:
        import jax
        import jax.numpy as jnp

        mine, others = self._values()
        # A shift of zero is added to each tensor, since JAX differentiates by arguments only.
        shapes = jax.eval_shape(self._forward, mine, others, x)
        floats = [jnp.issubdtype(one.dtype, jnp.floating) for one in shapes]
        kept = [seen for seen, float_ in zip(self.seen, floats, strict=True) if float_]
        shifts = [jnp.zeros(one.shape, one.dtype) for one, float_ in zip(shapes, floats, strict=True) if float_]
        found: tuple[Tensors, Tensors] = self._gradients(mine, shifts, others, x, y)
        self.seen = kept
        return found

    def _values(self) -> tuple[Tensors, Tensors]:
        return [variable.value for variable in self._run.variables], [variable.value for variable in self._others]

    def _mapped(self, mine: Tensors, others: Tensors) -> Values:
        return [*zip(self._run.variables, mine, strict=True), *zip(self._others, others, strict=True)]

    def _forward(self, mine: Tensors, others: Tensors, x: Any) -> Tensors:
        collected = _Collected(self._run)
        self._run.call(x, None, collected, self._mapped(mine, others))
        self.seen = collected.seen
        return collected.tensors

    def _objective(self, mine: Tensors, shifts: Tensors, others: Tensors, x: Any, y: Any) -> Any:
        waiting = iter(shifts)
        run = self._run

        def touch(seen: Seen, tensor: Any) -> Any:
            return tensor + next(waiting) if run.wanted(seen) and is_float(tensor) else tensor

        return run.call(x, y, touch, self._mapped(mine, others))


def _among(variable: Any, variables: Sequence[Any]) -> bool:
    return any(variable is other for other in variables)
