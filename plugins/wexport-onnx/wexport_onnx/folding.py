"""What a graph computes of constants alone: exporters leave slices, joins and products of weights.

A fold is worked out only when its values are read. Small arrays are in memory, large ones in temporary files, so that
memory stays bounded whatever the model's size. What is not folded here stays what it was: its inputs are told as they
are stored.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

import wexport
from wexport_onnx.nodes import Attributes, Node
from wexport_onnx.values import Made, Stored, Value

Array = NDArray[Any]
Shape = tuple[int, ...]

MAX_INTEGERS = 4096
"""Values of a shape, or of indices, that are read while the graph is walked."""
MAX_BYTES = 1 << 30
"""Of what a file's folds may be worked out to, together; beside 8 for each byte of the file."""
IN_MEMORY = 1 << 20
MAX_DEPTH = 64
"""Folds of folds."""
_ARITHMETIC: Mapping[str, np.ufunc] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": np.true_divide,
    "Neg": np.negative,
    "Sqrt": np.sqrt,
    "Reciprocal": np.reciprocal,
}
FOLDED = frozenset({"Slice", "Concat", "Split", "Gather", *_ARITHMETIC})
# Operators that see what is stored in another shape, in the same order.
RESHAPING = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Flatten"})


class Folder:
    """Folds nodes of one file. file_bytes: its size, which bounds what is worked out."""

    def __init__(self, file_bytes: int) -> None:
        self._left = MAX_BYTES + 8 * file_bytes
        self._depths: dict[Stored, int] = {}

    # -- while the graph is walked -------------------------------------------------------------------------------------

    def fold(self, node: Node, attributes: Attributes, values: Sequence[Value | None]) -> list[Stored] | None:
        """What a node makes of constants, one for each of its outputs; None if that is not known.

        values: of all its inputs; None for one that is left out.
        """
        if attributes.referring or any(value is not None and value.quantised is not None for value in values):
            return None
        try:
            found = self._fold(node, attributes, values)
        except (ValueError, IndexError, TypeError, OverflowError):  # attributes that make no sense
            return None
        if found is None or len(found) < len(node.outputs):
            return None
        depth = 1 + max((self._depths.get(value.stored, 0) for value in values if value is not None), default=0)
        size = sum(math.prod(shape) * dtype.itemsize for shape, dtype, _ in found)
        if depth > MAX_DEPTH or size > self._left:
            return None
        self._left -= size
        return [
            self._stored(name, shape, dtype, made, depth)
            for name, (shape, dtype, made) in zip(node.outputs, found, strict=False)
        ]

    def reshaped(self, op: str, attributes: Attributes, values: Sequence[Value | None]) -> Shape | None:
        """The shape that a node sees its first input in; None if that is not known."""
        shape = values[0].shape if values and values[0] is not None else None
        if shape is None or attributes.referring:
            return None
        try:
            return self._reshaped(op, attributes, values, shape)
        except (ValueError, IndexError, TypeError, OverflowError):
            return None

    def in_shape(self, value: Value, shape: Shape, name: str) -> Stored | None:
        """A constant of which axes have changed places, in another shape, so that its values are in another order."""
        depth, dtype = 1 + self._depths.get(value.stored, 0), _dtype(value)
        size = math.prod(shape) * dtype.itemsize
        if depth > MAX_DEPTH or size > self._left:
            return None
        self._left -= size
        made = _moving(value, lambda arrays: self._in_order(arrays[0]).reshape(shape))
        return self._stored(name, shape, dtype, made, depth)

    def integers(self, attributes: Attributes, name: str, values: Sequence[Value | None], number: int) -> list[int]:
        """Integers that older versions of an operator have as an attribute and newer ones as an input.

        Raises ValueError where they are neither.
        """
        if len(values) > number and (value := values[number]) is not None:
            if value.stored.tensor.size > MAX_INTEGERS or value.stored.tensor.dtype not in ("int32", "int64"):
                raise ValueError("no small list of integers")
            return [int(item) for item in self.array(value).reshape(-1)]
        found = attributes.integers(name)
        if found is None:
            raise ValueError(f"no {name}")
        return found

    def _reshaped(self, op: str, attributes: Attributes, values: Sequence[Value | None], shape: Shape) -> Shape | None:
        if op == "Flatten":
            axis = attributes.integer("axis", 1)
            axis += len(shape) if axis < 0 else 0
            return math.prod(shape[:axis]), math.prod(shape[axis:])
        if op == "Reshape":
            asked = self.integers(attributes, "shape", values, 1)
            if not attributes.integer("allowzero", 0):
                asked = [shape[axis] if length == 0 else length for axis, length in enumerate(asked)]
            if asked.count(-1) == 1:
                rest = math.prod(length for length in asked if length != -1)
                asked = [math.prod(shape) // rest if length == -1 else length for length in asked]
            return tuple(asked) if math.prod(asked) == math.prod(shape) and min(asked, default=0) >= 0 else None
        if op == "Unsqueeze":
            axes = self.integers(attributes, "axes", values, 1)
            rank = len(shape) + len(axes)
            places = {axis + rank if axis < 0 else axis for axis in axes}
            if len(places) != len(axes) or not places <= set(range(rank)):
                return None
            rest_ = iter(shape)
            return tuple(1 if axis in places else next(rest_) for axis in range(rank))
        try:
            axes = self.integers(attributes, "axes", values, 1)
        except ValueError:
            axes = [axis for axis, length in enumerate(shape) if length == 1]
        gone = {axis + len(shape) if axis < 0 else axis for axis in axes}
        if any(shape[axis] != 1 for axis in gone):
            return None
        return tuple(length for axis, length in enumerate(shape) if axis not in gone)

    def _fold(
        self, node: Node, attributes: Attributes, values: Sequence[Value | None]
    ) -> list[tuple[Shape, np.dtype[Any], Made]] | None:
        op = node.standard
        if op in _ARITHMETIC:
            return self._arithmetic(_ARITHMETIC[op], [value for value in values if value is not None])
        first = values[0]
        if first is None or (shape := first.shape) is None:
            return None
        dtype = _dtype(first)
        if op == "Concat":
            return self._concat(attributes, [value for value in values if value is not None], dtype)
        if op == "Slice":
            index = self._slices(attributes, values, shape)
            lengths = tuple(len(range(*part.indices(length))) for part, length in zip(index, shape, strict=True))
            return [(lengths, dtype, _moving(first, lambda arrays: arrays[0][index]))]
        axis = attributes.integer("axis", 0)
        axis += len(shape) if axis < 0 else 0
        if not 0 <= axis < len(shape):
            return None
        if op == "Split":
            return [
                ((*shape[:axis], stop - start, *shape[axis + 1 :]), dtype, _moving(first, _cut(axis, start, stop)))
                for start, stop in self._stretches(node, attributes, values, shape[axis])
            ]
        indices = values[1]
        if indices is None or indices.shape is None:
            return None
        numbers = np.asarray(self.integers(attributes, "", values, 1), np.int64).reshape(indices.shape)
        if ((numbers < -shape[axis]) | (numbers >= shape[axis])).any():
            return None
        taken = (*shape[:axis], *numbers.shape, *shape[axis + 1 :])

        def gather(arrays: list[Array]) -> Array:
            return np.take(arrays[0], numbers, axis, out=self._room(taken, arrays[0].dtype), mode="wrap")

        return [(taken, dtype, _moving(first, gather))]

    def _concat(
        self, attributes: Attributes, values: list[Value], dtype: np.dtype[Any]
    ) -> list[tuple[Shape, np.dtype[Any], Made]] | None:
        shapes = [value.shape for value in values]
        first = shapes[0]
        axis = attributes.integer("axis", 1)
        axis += len(first or ()) if axis < 0 else 0
        if first is None or not 0 <= axis < len(first):
            return None
        total = 0
        for shape, value in zip(shapes, values, strict=True):
            if shape is None or len(shape) != len(first) or _dtype(value) != dtype:
                return None
            if shape[:axis] + shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
                return None
            total += shape[axis]
        whole = (*first[:axis], total, *first[axis + 1 :])

        def join(arrays: list[Array]) -> Array:
            return np.concatenate(arrays, axis, out=self._room(whole, arrays[0].dtype))

        return [(whole, dtype, Made(tuple(values), join, tuple(range(len(values))), True))]

    def _slices(self, attributes: Attributes, values: Sequence[Value | None], shape: Shape) -> tuple[slice, ...]:
        starts = self.integers(attributes, "starts", values, 1)
        ends = self.integers(attributes, "ends", values, 2)
        try:
            axes = self.integers(attributes, "axes", values, 3)
        except ValueError:
            axes = list(range(len(starts)))
        try:
            steps = self.integers(attributes, "steps", values, 4)
        except ValueError:
            steps = [1] * len(starts)
        index = [slice(None)] * len(shape)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            length = shape[axis]
            # ONNX clamps to the axis, and -length - 1 is what lies before its beginning.
            low, high = (0, length) if step > 0 else (-1, length - 1)
            begin = min(max(start + length if start < 0 else start, 0), high)
            stop = min(max(end + length if end < 0 else end, low), length)
            index[axis] = slice(begin, None if stop < 0 else stop, step)
        return tuple(index)

    def _stretches(
        self, node: Node, attributes: Attributes, values: Sequence[Value | None], length: int
    ) -> Iterator[tuple[int, int]]:
        try:
            parts = self.integers(attributes, "split", values, 1)
        except ValueError:
            count = len(node.outputs)
            step = -(-length // count)
            parts = [max(0, min(step, length - step * number)) for number in range(count)]
        if sum(parts) != length or min(parts) < 0:
            raise ValueError("parts that are not the whole")
        start = 0
        for part in parts:
            yield start, start + part
            start += part

    def _arithmetic(self, function: np.ufunc, values: list[Value]) -> list[tuple[Shape, np.dtype[Any], Made]] | None:
        shapes = [value.shape for value in values]
        dtypes = [_dtype(value) for value in values]
        if any(shape is None for shape in shapes) or len(values) != function.nin:
            return None
        if not all(dtype.kind in "fV" for dtype in dtypes) or len(set(dtypes)) > 1:
            return None  # of integers they are shapes and places
        shape = np.broadcast_shapes(*(shape or () for shape in shapes))
        size = math.prod(shape)
        main = tuple(number for number, value in enumerate(values) if value.stored.tensor.size == size)[:1]

        def compute(arrays: list[Array]) -> Array:
            return function(*arrays, out=self._room(shape, arrays[0].dtype), casting="same_kind")  # type: ignore[no-any-return]

        return [(shape, dtypes[0], Made(tuple(values), compute, main, False))]

    # -- when values are read ------------------------------------------------------------------------------------------

    def _stored(self, name: str, shape: Shape, dtype: np.dtype[Any], made: Made, depth: int) -> Stored:
        def chunks(limit: int) -> Iterator[Array]:
            array = self._in_order(made.evaluate(self._arrays(made, {})))
            step = max(1, limit // dtype.itemsize)
            for start in range(0, array.size, step):
                yield array[start : start + step]

        tensor = wexport.Tensor(name=name, shape=shape, dtype=dtype.name, chunks=chunks)
        found = Stored(tensor, constant=True, made=made)
        self._depths[found] = depth
        return found

    def array(self, value: Value) -> Array:
        """The values of a constant as a node sees it."""
        return self._array(value, {})

    def places(self, made: Stored, origin: Stored) -> Array:
        """Of each number of a fold, which of an origin's it comes from; -1 where it is of another's."""
        held: dict[Stored, Array] = {}

        def of(stored: Stored) -> Array:
            if stored in held:
                return held[stored]
            found = self._room(stored.tensor.shape, np.dtype(np.int64))
            if stored is origin:
                found.reshape(-1)[...] = np.arange(found.size)
            elif stored.made is None or not stored.made.main:
                found[...] = -1
            else:
                inputs = [self._seen(value, of(value.stored)) for value in stored.made.inputs]
                moved = stored.made.evaluate(inputs) if stored.made.moves else inputs[stored.made.main[0]]
                found[...] = moved.reshape(stored.tensor.shape)
            held[stored] = found
            return found

        return of(made)

    def _arrays(self, made: Made, held: dict[Stored, Array]) -> list[Array]:
        return [self._array(value, held) for value in made.inputs]

    def _array(self, value: Value, held: dict[Stored, Array]) -> Array:
        """held: what was worked out before on the way to the same fold, which may need it often."""
        stored = value.stored
        if stored not in held:
            made = stored.made
            held[stored] = self._read(stored.tensor) if made is None else made.evaluate(self._arrays(made, held))
        found = self._seen(value, held[stored])
        if value.cast is not None and found.dtype != _named(value.cast):
            cast = self._room(found.shape, _named(value.cast))
            cast[...] = found
            found = cast
        return found

    def _seen(self, value: Value, array: Array) -> Array:
        if value.view is not None:
            array = self._in_order(array).reshape(value.view)
        return array if value.axes is None else array.transpose(value.axes)

    def _in_order(self, array: Array) -> Array:
        """The values one after the other."""
        if not array.flags.c_contiguous:
            copy = self._room(array.shape, array.dtype)
            copy[...] = array
            array = copy
        return array.reshape(-1)

    def _read(self, tensor: wexport.Tensor) -> Array:
        found = self._room((tensor.size,), _named(tensor.value_dtype or tensor.dtype))
        place = 0
        for chunk in tensor.chunks(IN_MEMORY):
            found[place : place + chunk.size] = chunk
            place += chunk.size
        return found.reshape(tensor.shape)

    def _room(self, shape: Shape, dtype: np.dtype[Any]) -> Array:
        """An array to fill: in memory if it is small, else in a file without a name, which goes with the array."""
        if math.prod(shape) * dtype.itemsize <= IN_MEMORY:
            return np.empty(shape, dtype)
        plain = np.dtype(f"u{dtype.itemsize}") if dtype.kind == "V" else dtype
        with tempfile.TemporaryFile() as file:
            return np.memmap(file, plain, "w+", shape=shape).view(dtype)


def _moving(value: Value, evaluate: Callable[[list[Array]], Array]) -> Made:
    return Made((value,), evaluate, (0,), True)


def _cut(axis: int, start: int, stop: int) -> Callable[[list[Array]], Array]:
    return lambda arrays: arrays[0][(slice(None),) * axis + (slice(start, stop),)]


def _dtype(value: Value) -> np.dtype[Any]:
    return _named(value.cast or value.stored.tensor.value_dtype or value.stored.tensor.dtype)


def _named(name: str) -> np.dtype[Any]:
    return np.dtype(getattr(ml_dtypes, name, name))
