"""What is asserted of one model or tensor, wherever it was read; messages name the tensor, the value, what is due."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wexport import stats
from wexport.model import roles
from wexport.model.tensors import Layout, Model, Node, Skipped, Tensor
from wexport.stats.canonical import canonical_array
from wexport.stats.streams import streams_of

KINDS = frozenset({"weight", "array", "optimizer", "activation", "gradient"})
_OPTIONAL_WORDS = ("layer", "layer_class", "gate", "slot_leaf", "value_dtype")
_OPTIONAL_COUNTS = ("layer_index", "variable_index")


def model_is_well_formed(model: object) -> None:
    """A Model of Tensors, with names that are unique and words that are of the closed lists."""
    assert isinstance(model, Model), f"open returned {type(model).__name__} where a wexport.Model is due"
    assert model.format, "Model.format is empty"
    for name in ("format", "framework", "framework_version", "backend"):
        value = getattr(model, name)
        assert value is None or type(value) is str, f"Model.{name} is {value!r} where a str is due"
    for skipped in model.skipped:
        assert isinstance(skipped, Skipped), f"Model.skipped holds {skipped!r} where a wexport.Skipped is due"
    for tensor in model.tensors:
        assert isinstance(tensor, Tensor), f"Model.tensors holds {tensor!r} where a wexport.Tensor is due"
        tensor_is_well_formed(tensor)
    no_two_are_alike([tensor.name for tensor in model.tensors], "tensors are named")


def no_two_are_alike(names: Sequence[object], what: str) -> None:
    """Fails naming what stands twice."""
    twice = [name for name, count in Counter(names).items() if count > 1]
    assert not twice, f"two {what} {twice[0]!r}"


def tensor_is_well_formed(tensor: Tensor) -> None:
    """Types and words of everything that a reader says of a tensor."""
    subject = f"tensor {tensor.name!r}"
    assert type(tensor.name) is str, f"{subject}: its name is {type(tensor.name).__name__} where a str is due"
    assert tensor.name, "a tensor has an empty name"
    # NumPy's integers print otherwise, and the content hash is over the printed shape.
    assert type(tensor.shape) is tuple, f"{subject}: its shape {tensor.shape!r} is not a tuple"
    assert all(type(length) is int and length >= 0 for length in tensor.shape), (
        f"{subject}: its shape {tensor.shape!r} is not of Python ints from 0 on"
    )
    assert tensor.kind in KINDS, f"{subject}: its kind {tensor.kind!r} is none of {', '.join(sorted(KINDS))}"
    assert tensor.role in roles.ROLES, (
        f"{subject}: its role {tensor.role!r} is not a word of wexport.reading.roles.ROLES"
    )
    assert tensor.direction in (None, "forward", "backward"), f"{subject}: its direction is {tensor.direction!r}"
    assert tensor.trainable in (None, True, False), f"{subject}: trainable is {tensor.trainable!r}"
    for name in _OPTIONAL_WORDS:
        value = getattr(tensor, name)
        assert value is None or type(value) is str, f"{subject}: its {name} is {value!r} where a str or None is due"
    for name in _OPTIONAL_COUNTS:
        value = getattr(tensor, name)
        assert value is None or (type(value) is int and value >= 0), f"{subject}: its {name} is {value!r}"
    assert all(isinstance(node, Node) for node in tensor.lineage), f"{subject}: its lineage is not of wexport.Node"
    assert type(tensor.dtype) is str, f"{subject}: its dtype is {tensor.dtype!r} where a name such as 'float32' is due"
    given = tensor.value_dtype or tensor.dtype
    assert value_type(tensor).name == given, (
        f"{subject}: its dtype is {given!r} where {value_type(tensor).name!r} is due"
    )
    if tensor.layout is not None:
        _layout_fits(tensor, tensor.layout)


def _layout_fits(tensor: Tensor, layout: Layout) -> None:
    assert isinstance(layout, Layout), f"tensor {tensor.name!r}: its layout is {layout!r}"
    try:
        streams_of(tensor.shape, layout)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"tensor {tensor.name!r}: shape {tensor.shape} and {layout}: {error}") from None


def value_type(tensor: Tensor) -> np.dtype[Any]:
    """The type of the values that a tensor's chunks hold, in native byte order."""
    name = tensor.value_dtype or tensor.dtype
    dtype = stats.dtype_named(name)
    assert dtype is not None, (
        f"tensor {tensor.name!r}: {name!r} is not a type that statistics are made of; readers yield integers, bools "
        "and floats of at most 64 bits, and say in value_dtype what they yield where the stored type is another"
    )
    return dtype


def values_of(tensor: Tensor, limit: int) -> NDArray[Any]:
    """All values of a tensor, in native byte order; asserts that the chunks are as the contract says."""
    dtype = value_type(tensor)
    parts = [chunk.astype(dtype) for chunk in checked_chunks(tensor, limit)]
    return np.concatenate(parts) if parts else np.empty(0, dtype)


def checked_chunks(tensor: Tensor, limit: int) -> Iterator[NDArray[Any]]:
    """A tensor's chunks; asserts of each, and of all together, what the contract says."""
    subject, dtype = f"tensor {tensor.name!r}", value_type(tensor)
    count = 0
    for chunk in tensor.chunks(limit):
        assert isinstance(chunk, np.ndarray), f"{subject}: a chunk is {type(chunk).__name__} where an array is due"
        assert chunk.ndim == 1, f"{subject}: a chunk has {chunk.ndim} dimensions where 1 is due"
        assert chunk.nbytes <= max(limit, chunk.itemsize), (
            f"{subject}: a chunk of {chunk.nbytes} bytes, asked for {limit}"
        )
        assert chunk.dtype.newbyteorder("=") == dtype, f"{subject}: a chunk of {chunk.dtype} where {dtype} is declared"
        count += chunk.size
        assert count <= tensor.size, f"{subject}: more values than the {tensor.size} of its shape {tensor.shape}"
        yield chunk
    assert count == tensor.size, f"{subject}: {count} values where its shape {tensor.shape} has {tensor.size}"


def canonical_values(tensor: Tensor) -> NDArray[Any]:
    """All values of a tensor in the canonical layout."""
    return canonical_array(values_of(tensor, 1 << 20), tensor.shape, tensor.layout)
