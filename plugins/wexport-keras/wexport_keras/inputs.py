"""The user's arrays: read from files, held against what the model expects, and cut into batches.

Everything is checked before anything runs.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import ml_dtypes
import numpy as np

from wexport import UsageError
from wexport.measuring import dtype_named
from wexport_keras.targets import check_targets

Array = np.ndarray[Any, Any]
STRING = "string"
CHECKED_BYTES = 16 << 20
"""Values are looked at in pieces of about this size, since files may be larger than memory."""


@dataclass(frozen=True)
class Expected:
    """One of a model's inputs or outputs. shape: None where any length will do."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str

    def __str__(self) -> str:
        lengths = ", ".join("any" if length is None else str(length) for length in self.shape)
        return f"{self.name}: ({lengths}) {self.dtype}"


class Batches:
    """Inputs, and targets if there are any, in the model's own structures, some at a time."""

    def __init__(self, model: Any, inputs: Sequence[Array], targets: Sequence[Array] | None) -> None:
        self._model, self._inputs, self._targets = model, inputs, targets
        dtypes = [one.dtype for one in _inputs(model)] if _built(model) else [None] * len(inputs)
        self._dtypes = [
            _native(array) if dtype in (None, STRING) else dtype for array, dtype in zip(inputs, dtypes, strict=True)
        ]

    def __len__(self) -> int:
        return len(self._inputs[0])

    @property
    def fixed(self) -> int | None:
        """How many inputs a batch has to have, where the model says so."""
        return _fixed(self._model)

    def inputs(self, size: int) -> Iterator[tuple[Any, int]]:
        """The inputs of a batch, and how many they are."""
        for start in range(0, len(self), size):
            cut = [
                np.ascontiguousarray(array[start : start + size], dtype=dtype)
                for array, dtype in zip(self._inputs, self._dtypes, strict=True)
            ]
            yield _packed(self._model, cut), len(cut[0])

    def pairs(self, size: int) -> Iterator[tuple[Any, Any, int]]:
        """Inputs and targets of a batch, and how many they are."""
        assert self._targets is not None
        for start, (x, count) in zip(range(0, len(self), size), self.inputs(size), strict=True):
            cut = [np.ascontiguousarray(array[start : start + size], _native(array)) for array in self._targets]
            yield x, _packed_targets(self._model, cut), count


def batches_of(model: Any, inputs: Any, targets: Any = None, loss: str | None = None) -> Batches:
    """Arrays in memory, checked against the model. Raises UsageError, saying what the model expects.

    loss: the name of the one that the targets are for; that of the model by default.
    """
    built = _built(model)
    x = _checked(inputs, _inputs(model) if built else None, "input")
    if built:
        _check_tokens(model, x)
        _check_count(model, len(x[0]))
    if targets is None:
        return Batches(model, x, None)
    outputs = _expected(model, model.outputs, "_outputs_struct") if built else None
    y = _checked(targets, outputs, "target")
    if outputs is not None:
        check_targets(model, loss, y, outputs)
    if len(y[0]) != len(x[0]):
        raise UsageError(f"there are {len(y[0]):,} targets for {len(x[0]):,} inputs", hint="give one for each input")
    return Batches(model, x, y)


def read(paths: Sequence[str | os.PathLike[str]]) -> list[Array] | dict[str, Array]:
    """Arrays from .npy files, one each and not loaded yet, or by name from one .npz. Pickled objects are refused."""
    archives = [path for path in paths if Path(path).suffix.lower() == ".npz"]
    if archives and len(paths) > 1:
        raise UsageError(f"{archives[0]}: a .npz holds all inputs, and there are {len(paths)} files")
    try:
        with np.errstate(all="ignore"):  # lengths of a damaged header
            return _archive(archives[0]) if archives else [_array(path) for path in paths]
    except (OSError, ValueError, TypeError, EOFError, OverflowError, MemoryError, zipfile.BadZipFile) as error:
        named = next((path for path in paths if str(path) in str(error)), paths[0])
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UsageError(
            f"{named}: cannot be read as arrays: {reason[:200]}", hint="np.save and np.savez write them"
        ) from None


def _array(path: str | os.PathLike[str]) -> Array:
    found = np.load(path, mmap_mode="r", allow_pickle=False)
    if not isinstance(found, np.ndarray):
        raise ValueError(f"{path} is a .npz by another name")
    return found


def _archive(path: str | os.PathLike[str]) -> dict[str, Array]:
    found = np.load(path, allow_pickle=False)
    if isinstance(found, np.ndarray):
        raise ValueError(f"{path} is a .npy by another name")
    with found as archive:
        arrays = {name: archive[name] for name in archive.files}
    if not arrays:
        raise ValueError(f"{path} holds no arrays")
    return arrays


def _built(model: Any) -> bool:
    """Whether the model tells its inputs: functional and sequential ones do."""
    try:
        return bool(model.inputs)
    except (AttributeError, ValueError):
        return False


def _fixed(model: Any) -> int | None:
    """Layers that keep a state have one for each input of a batch; to others, the number is all one."""
    if not _built(model) or not any(getattr(layer, "stateful", False) for layer in model._flatten_layers()):
        return None
    return next((one.shape[0] for one in model.inputs if one.shape[0] is not None), None)


def _native(array: Array) -> np.dtype[Any]:
    """Its type with the bytes in this machine's order, which backends want."""
    native: np.dtype[Any] = array.dtype.newbyteorder("=")
    return native


def _inputs(model: Any) -> list[Expected]:
    return _expected(model, model.inputs, "_inputs_struct")


def _expected(model: Any, tensors: Sequence[Any], structure: str) -> list[Expected]:
    """What a model takes or gives, by the keys of its structure, where it has such, else by the layers' names."""
    found = getattr(model, structure, None)
    count = _fixed(model)
    keys = {id(tensor): str(key) for key, tensor in found.items()} if isinstance(found, Mapping) else {}
    return [
        Expected(
            keys.get(id(tensor), _name(tensor)),
            (count, *tensor.shape[1:]),
            keras.backend.standardize_dtype(tensor.dtype),
        )
        for tensor in tensors
    ]


def _name(tensor: Any) -> str:
    """What users call one of a model's inputs or outputs: the layer that gives it, as Keras' own messages do."""
    history = getattr(tensor, "_keras_history", None)
    return str(tensor.name if history is None else history.operation.name)


def _listed(expected: Sequence[Expected]) -> str:
    return "; ".join(map(str, expected))


def _checked(given: Any, expected: Sequence[Expected] | None, what: str) -> list[Array]:
    arrays = _ordered(given, expected, what)
    hint = f"the model expects {_listed(expected)}" if expected else ""
    for number, array in enumerate(arrays):
        due = expected[number] if expected else None
        name = f"{what} {due.name if due else number}"
        if isinstance(array, np.ma.MaskedArray):
            raise UsageError(f"{name}: is a masked array", hint="fill it first, array.filled(0)")
        texts = what == "input" and due is not None and due.dtype == STRING
        numbers = array.dtype.kind in "fiub" or array.dtype.name == "bfloat16"
        if not (array.dtype.kind in "US" if texts else numbers):
            raise UsageError(f"{name}: holds {array.dtype}, which is not {'text' if texts else 'a number'}", hint=hint)
        if not array.ndim or not len(array):
            raise UsageError(f"{name}: holds nothing to run", hint=hint)
        if due is not None and what == "input":
            _check_shape(name, array, due, hint)
        if not texts:
            _check_values(name, array, due.dtype if due is not None and what == "input" else None, hint)
    if len({len(array) for array in arrays}) > 1:
        counts = ", ".join(f"{len(array):,}" for array in arrays)
        raise UsageError(f"the {what}s differ in number: {counts}", hint="each must have as many entries")
    return arrays


def _ordered(given: Any, expected: Sequence[Expected] | None, what: str) -> list[Array]:
    """The arrays in the model's order."""
    hint = f"the model expects {_listed(expected)}" if expected else ""
    if isinstance(given, Mapping):
        names = [one.name for one in expected] if expected else list(given)
        if set(given) != set(names):
            # Archives without names of their own are in order; one array needs no name.
            if len(given) == len(names) and (len(names) == 1 or all(name.startswith("arr_") for name in given)):
                return [np.asanyarray(array) for array in given.values()]
            raise UsageError(f"the {what}s are named {', '.join(given)}", hint=hint)
        return [np.asanyarray(given[name]) for name in names]
    arrays = [np.asanyarray(array) for array in (given if isinstance(given, (list, tuple)) else [given])]
    if expected is not None and len(arrays) != len(expected):
        raise UsageError(f"there are {len(arrays)} arrays for {len(expected)} {what}s of the model", hint=hint)
    return arrays


def _check_shape(name: str, array: Array, due: Expected, hint: str) -> None:
    fits = len(array.shape) == len(due.shape) and all(
        want in (None, length) for length, want in zip(array.shape[1:], due.shape[1:], strict=True)
    )
    if not fits:
        raise UsageError(f"{name}: its shape is {tuple(array.shape)}", hint=hint)


def _check_values(name: str, array: Array, due: str | None, hint: str) -> None:
    """due: the type that they will have."""
    integral = due is not None and "int" in due
    if array.dtype.kind in "iub" and not integral:
        return
    step = max(1, CHECKED_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), step):
        piece = np.asarray(array[start : start + step])
        _check_range(name, piece, due, hint)
        if array.dtype.kind in "iub":
            continue
        piece = piece.astype(np.float64, copy=False)
        bad = ~np.isfinite(piece)
        if bad.any():
            first = start + int(np.argwhere(bad)[0][0])
            raise UsageError(
                f"{name}: NaN or infinite values ({int(bad.sum()):,}), the first of them in entry {first:,}",
                hint="clean them first: every figure would be NaN",
            )
        if integral and (piece != np.floor(piece)).any():
            raise UsageError(f"{name}: holds fractions where whole numbers are due", hint=hint)


def _check_range(name: str, piece: Array, due: str | None, hint: str) -> None:
    wanted = None if due is None else dtype_named(due)
    if wanted is None or piece.dtype == wanted or wanted.kind == "b":
        return
    limits = np.iinfo(wanted) if wanted.kind in "iu" else ml_dtypes.finfo(wanted)  # type: ignore[no-untyped-call]
    finite = piece[np.isfinite(piece)] if piece.dtype.kind not in "iub" else piece
    if finite.size and (finite.max() > limits.max or finite.min() < limits.min):
        low, high = finite.min(), finite.max()
        raise UsageError(f"{name}: holds values from {low} to {high}, which {due} does not hold", hint=hint)


def _check_tokens(model: Any, arrays: Sequence[Array]) -> None:
    """Tokens that an Embedding at the model's input has no row for: some backends would give NaN, others crash."""
    for layer in model.layers:
        if not isinstance(layer, keras.layers.Embedding):
            continue
        for node in layer._inbound_nodes:
            for tensor in node.input_tensors:
                for given, array in zip(model.inputs, arrays, strict=True):
                    if given is tensor and (array.max() >= layer.input_dim or array.min() < 0):
                        raise UsageError(
                            f"input {_name(given)}: holds tokens from {array.min()} to {array.max()}",
                            hint=f"the layer {layer.name} knows tokens from 0 to {layer.input_dim - 1}",
                        )


def _check_count(model: Any, count: int) -> None:
    fixed = _fixed(model)
    if fixed is not None and count % fixed:
        raise UsageError(
            f"the model takes batches of {fixed}, and there are {count:,} inputs",
            hint=f"give a multiple of {fixed}; a model for any number has no batch_size or batch_shape in its Input",
        )


def _packed(model: Any, arrays: list[Array]) -> Any:
    structure = getattr(model, "_inputs_struct", None)
    if structure is not None:
        return keras.tree.pack_sequence_as(structure, arrays)
    return arrays[0] if len(arrays) == 1 else arrays


def _packed_targets(model: Any, arrays: list[Array]) -> Any:
    structure = getattr(model, "_outputs_struct", None)
    if structure is not None and len(arrays) > 1:
        return keras.tree.pack_sequence_as(structure, arrays)
    return arrays[0] if len(arrays) == 1 else arrays
