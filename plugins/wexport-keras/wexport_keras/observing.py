"""What a model does on given inputs, as tensors of the table: outputs of its layers, and gradients.

Inputs pass through in batches; figures are made while they pass, so that memory does not grow with their number.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from wexport import Layout, Tensor, UsageError
from wexport.measuring import Pass
from wexport_keras import describing
from wexport_keras.backends import Run, backend
from wexport_keras.capturing import Seen
from wexport_keras.describing import Described, chunks_of, to_numpy
from wexport_keras.inputs import Batches
from wexport_keras.losses import loss_of
from wexport_keras.places import Place, chosen, places

BATCH_BYTES = 64 << 20
"""What the outputs of all layers for one batch may take."""
LARGEST_BATCH, USUAL_BATCH = 256, 32

Array = np.ndarray[Any, Any]


class Observer:
    """Watches one model; what its backend compiles is kept from one look to the next.

    layers: patterns of layers' paths or slots; their outputs give rows. output_gradients: whether gradients with
    respect to these outputs are wanted beside those of the weights. loss: a name of Keras' losses; as compiled if None.
    training: whether layers behave as in training (dropout, statistics of the batch). batch_size: as fits by default.
    detail: whether sample, grid and units are wanted.
    Raises UsageError for a pattern that fits no layer.
    """

    def __init__(
        self,
        model: Any,
        *,
        layers: Sequence[str] = ("*",),
        output_gradients: bool = False,
        loss: str | None = None,
        training: bool = False,
        batch_size: int | None = None,
        detail: bool = True,
        described: Described | None = None,
    ) -> None:
        self.model = model
        self._described = described or describing.described(model)
        self._slots = self._described.slots()
        every = places(model, self._described)
        self.places = chosen(every, layers)
        self._detail, self._batch_size = detail, batch_size
        self._loss, self._training = loss, training
        self._outputs = backend(Run(model, self.places, training=training))
        self._every, self._output_gradients = every, output_gradients
        self._gradients: Any = None

    def outputs(self, batches: Batches) -> list[Tensor]:
        """A tensor of kind "activation" for each output of the layers, with its figures."""
        passing = _Passing(len(batches), self._detail)
        for seen, array in self.each_output(batches):
            passing.add(seen, array)
        return passing.tensors("activation")

    def each_output(self, batches: Batches) -> Iterator[tuple[Seen, Array]]:
        """The outputs themselves, batch by batch; the next batch is on its way while one is looked at."""
        for count, found in self._run(batches):
            for seen, tensor in zip(self._outputs.seen, found, strict=True):
                yield seen, _array(seen, tensor, count)

    def gradients(self, batches: Batches) -> list[Tensor]:
        """Tensors of kind "gradient": of the loss over all inputs by each trainable weight, under the weight's slot;
        by the inputs of recurrent layers; and by the outputs of the layers, if these are wanted.

        The loss is the mean of the batches', each with the weight of its inputs: that of all inputs, but for masks,
        penalties of outputs, and statistics of the batch in training, which depend on the batches.
        """
        passing = _Passing(len(batches), self._detail)
        weights = self.differentiate(batches, passing.add)
        return [*weights, *passing.tensors("gradient")]

    def differentiate(self, batches: Batches, take: Callable[[Seen, Array], None]) -> list[Tensor]:
        """The gradients by weights; those by what passes between layers are handed to `take`, batch by batch."""
        if self._gradients is None or self._gradients[2] != len(batches):
            self._gradients = *self._differentiating(len(batches)), len(batches)
        run, variables, _ = self._gradients
        sums = [np.zeros(variable.shape) for variable in variables]
        for x, y, count in batches.pairs(self._size(batches)):
            share = count / len(batches)
            by_variables, by_seen = run.gradients(x, y)
            for total, one in zip(sums, by_variables, strict=True):
                total += np.asarray(keras.ops.convert_to_numpy(one), np.float64) * share
            for seen, one in zip(run.seen, by_seen, strict=True):
                array = _array(seen, one, count)
                take(seen, array * array.dtype.type(share))
        return list(self._by_weights(variables, sums))

    # -- how ----------------------------------------------------------------------------------------------------------

    def _differentiating(self, count: int) -> tuple[Any, list[Any]]:
        wanted = {id(place) for place in self.places} if self._output_gradients else set()
        variables = list(self.model.trainable_variables)
        run = Run(
            self.model,
            self._every,
            training=self._training,
            loss=loss_of(self.model, self._loss, count, training=self._training),
            variables=variables,
            wanted=lambda seen: seen.role == "input" or id(seen.place) in wanted,
            inputs=True,
        )
        return backend(run), variables

    def _by_weights(self, variables: Sequence[Any], sums: Sequence[Array]) -> Iterator[Tensor]:
        of_variable = {id(variable): total for variable, total in zip(variables, sums, strict=True)}
        for tensor, slot, variable in zip(
            self._described.model.tensors, self._slots, self._described.variables, strict=True
        ):
            total = of_variable.get(id(variable))
            if total is None:
                continue
            # Float32, also where the weight itself is shorter: it is not stored, so nothing is gained by rounding.
            array = total.astype(np.float64 if tensor.dtype == "float64" else np.float32)
            measured = replace(tensor, kind="gradient", slot=slot, dtype=array.dtype.name, value_dtype=None)
            yield replace(measured, chunks=Tensor.of_array("", array).chunks)

    def _run(self, batches: Batches) -> Iterator[tuple[int, list[Any]]]:
        with ThreadPoolExecutor(1) as pool:
            waiting: tuple[int, Future[list[Any]]] | None = None
            for x, count in batches.inputs(self._size(batches)):
                coming = count, pool.submit(self._outputs.outputs, x)
                if waiting is not None:
                    yield waiting[0], waiting[1].result()
                waiting = coming
            if waiting is not None:
                yield waiting[0], waiting[1].result()

    def _size(self, batches: Batches) -> int:
        """How many inputs go through at a time: as many as memory has room for, in equal batches if that works out."""
        if batches.fixed is not None:
            if self._batch_size not in (None, batches.fixed):
                raise UsageError(
                    f"the model takes batches of {batches.fixed}, and {self._batch_size} are asked for",
                    hint=f"leave the batch size out, or say {batches.fixed}",
                )
            return batches.fixed
        if self._batch_size is not None:
            return self._batch_size
        most = max(1, min(LARGEST_BATCH, BATCH_BYTES // max(1, self._bytes_each())))
        return next((size for size in range(most, most // 2, -1) if len(batches) % size == 0), most)

    def _bytes_each(self) -> int:
        """What the outputs for one input take, as far as shapes tell."""
        total = 0
        for place in self.places:
            try:
                shapes = keras.tree.flatten(place.layer.output)
            except (AttributeError, ValueError):  # called often, or never yet
                return BATCH_BYTES // USUAL_BATCH
            for tensor in shapes:
                total += 4 * math.prod(int(length or 1) for length in tensor.shape[1:])
        return total


def observe(model: Any, inputs: Any, targets: Any = None, **options: Any) -> list[Tensor]:
    """What a model does on some inputs, as tensors that `wexport.ingest` writes.

    inputs: an array, or a list or mapping by name of arrays, one for each input of the model; targets: likewise, one
    for each output; gradients come with them. options: as of `Observer`.

    Raises UsageError for inputs that do not fit the model, or gradients on a backend that has none.
    """
    from wexport_keras.inputs import batches_of

    batches = batches_of(model, inputs, targets, options.get("loss"))
    observer = Observer(model, **options)
    found = observer.outputs(batches)
    return [*found, *observer.gradients(batches)] if targets is not None else found


class _Passing:
    """Statistics of tensors that come batch by batch, one pass each."""

    def __init__(self, count: int, detail: bool) -> None:
        self._count, self._detail = count, detail
        self._passes: dict[str, tuple[Seen, Tensor, Pass]] = {}
        self._workspaces: dict[Any, Any] = {}

    def add(self, seen: Seen, array: Array) -> None:
        if seen.slot not in self._passes:
            tensor = _tensor(seen, (self._count, *array.shape[1:]), array.dtype.name)
            passing = Pass(tensor, detail=self._detail, workspaces=self._workspaces)
            self._passes[seen.slot] = seen, tensor, passing
        _, tensor, passing = self._passes[seen.slot]
        if array.shape[1:] != tensor.shape[1:]:
            raise UsageError(
                f"{seen.place.path}: the shape of its output changes from {tensor.shape[1:]} to {array.shape[1:]}",
                hint="leave it out with --layers",
            )
        passing.add(np.ascontiguousarray(array).reshape(-1))

    def tensors(self, kind: str) -> list[Tensor]:
        return [replace(tensor, kind=kind, figures=passing.figures()) for _, tensor, passing in self._passes.values()]


def _array(seen: Seen, value: Any, count: int) -> Array:
    """What passed by, with its dtype. Raises UsageError if it does not hold an entry for each input."""
    array = to_numpy(value, keras.backend.standardize_dtype(value.dtype))
    if not array.ndim or array.shape[0] != count:
        raise UsageError(
            f"{seen.place.path}: its output has the shape {array.shape} for {count} inputs",
            hint="an output that does not have an entry for each input has no figures; leave it out with --layers",
        )
    return array


def _tensor(seen: Seen, shape: tuple[int, ...], dtype: str) -> Tensor:
    place = seen.place
    return Tensor(
        name=f"{place.path}.{seen.leaf}",
        shape=shape,
        dtype=dtype,
        chunks=lambda limit: chunks_of(np.empty(0), limit),
        layer=place.path,
        layer_class=place.class_name,
        layer_index=place.index,
        layer_config=place.config,
        direction=place.direction,
        role=seen.role,
        slot=seen.slot,
        layout=_layout(place, len(shape)),
    )


def _layout(place: Place, rank: int) -> Layout:
    """Inputs first, units last; a channel-first image becomes a channel-last one."""
    if rank < 2:
        return Layout(pooled_axes=(0,))
    units = (rank - 2, rank - 1) if place.part in ("query", "key", "value") and rank > 3 else (rank - 1,)
    order = (0, *range(2, rank), 1) if place.channels_first and rank > 2 else None
    return Layout(pooled_axes=(0,), unit_axes=units, permutation=order)
