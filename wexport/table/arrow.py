"""Columns as Arrow arrays, made of their buffers.

`pyarrow.array` would do for most of it, but it imports pandas where that is installed, which takes longer than reading
many a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from wexport.errors import TableError

_NUMPY_NAMES = {"halffloat": "float16", "float": "float32", "double": "float64"}
"""Where they differ from Arrow's."""


def to_table(columns: Mapping[str, Sequence[Any]], schema: pa.Schema) -> pa.Table:
    """Columns of equal length as an Arrow table; lists may be NumPy arrays.

    Raises TableError for values that are none of the column's type: plugins say some of them.
    """
    arrays = []
    for field in schema:
        try:
            arrays.append(to_array(columns[field.name], field.type))
        except (AttributeError, OverflowError, TypeError, ValueError) as error:
            raise TableError(
                f"column {field.name} holds {field.type}, and was given something else: {error}",
                hint="what a plugin says of its tensors has to be corrected",
            ) from None
    return pa.Table.from_arrays(arrays, schema=schema)


def to_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Python values as an Arrow array of type `kind`: numbers, bools, words, lists, maps and structs; None is NULL.

    A list of structs is given as a list of mappings or as one mapping of equally long arrays.
    """
    valid = _bitmap([value is not None for value in values])
    if pa.types.is_struct(kind):
        children = [
            to_array([None if value is None else value[field.name] for value in values], field.type) for field in kind
        ]
        return pa.Array.from_buffers(kind, len(values), [valid], children=children)
    if pa.types.is_map(kind):
        offsets = _offsets(0 if value is None else len(value) for value in values)
        items = [item for value in values if value is not None for item in value.items()]
        pairs = pa.StructArray.from_arrays(
            [
                to_array([key for key, _ in items], kind.key_type),
                to_array([value for _, value in items], kind.item_type),
            ],
            fields=[kind.key_field, kind.item_field],
        )
        return pa.Array.from_buffers(kind, len(values), [valid, offsets], children=[pairs])
    if pa.types.is_list(kind):
        offsets = _offsets(0 if value is None else _length(value) for value in values)
        below = _flattened([value for value in values if value is not None], kind.value_type)
        return pa.Array.from_buffers(kind, len(values), [valid, offsets], children=[below])
    if pa.types.is_string(kind):
        encoded = [b"" if value is None else value.encode() for value in values]
        data = pa.py_buffer(b"".join(encoded))
        return pa.Array.from_buffers(kind, len(values), [valid, _offsets(map(len, encoded)), data])
    filled = [0 if value is None else value for value in values]
    if pa.types.is_boolean(kind):
        return pa.Array.from_buffers(kind, len(values), [valid, _bits(filled)])
    return pa.Array.from_buffers(kind, len(values), [valid, _buffer(np.array(filled, _dtype(kind)))])


def _flattened(lists: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """What lists hold, one after the other."""
    if pa.types.is_struct(kind):
        if not any(isinstance(value, Mapping) for value in lists):
            return to_array([item for value in lists for item in value], kind)
        children = [_flattened([value[field.name] for value in lists], field.type) for field in kind]
        return pa.Array.from_buffers(kind, len(children[0]), [None], children=children)
    if all(isinstance(value, np.ndarray) for value in lists):
        parts = [value.reshape(-1) for value in lists]
        with np.errstate(over="ignore"):  # told apart below
            joined = np.concatenate(parts).astype(_dtype(kind), copy=False) if parts else np.empty(0, _dtype(kind))
    else:
        joined = np.array(list(chain.from_iterable(lists)), _dtype(kind))
    # In figures (stored as float32) NaN means undefined, and infinity too large for it; in samples (float64) they are
    # values that stand in the file.
    valid = _bitmap(np.isfinite(joined)) if pa.types.is_float32(kind) else None
    return pa.Array.from_buffers(kind, joined.size, [valid, _buffer(joined)])


def _length(value: Any) -> int:
    return len(next(iter(value.values()))) if isinstance(value, Mapping) else np.size(value)


def _dtype(kind: pa.DataType) -> np.dtype[Any]:
    """NumPy's name for a type of numbers; Arrow's own `to_pandas_dtype` needs pandas before version 26."""
    return np.dtype(_NUMPY_NAMES.get(str(kind), str(kind)))


def _offsets(lengths: Any) -> pa.Buffer:
    ends = np.cumsum(np.fromiter(chain((0,), lengths), np.int64))
    if ends[-1] > np.iinfo(np.int32).max:
        raise OverflowError("a row group's lists hold more than Arrow can address")
    return _buffer(ends.astype(np.int32))


def _bitmap(valid: Sequence[bool] | NDArray[np.bool_]) -> pa.Buffer | None:
    """Arrow's validity bitmap; None if all are valid."""
    whole = valid.all() if isinstance(valid, np.ndarray) else all(valid)  # of a list, NumPy would make an array first
    return None if whole else _bits(valid)


def _bits(flags: Any) -> pa.Buffer:
    return _buffer(np.packbits(np.asarray(flags, np.bool_), bitorder="little"))


def _buffer(values: NDArray[Any]) -> pa.Buffer:
    return pa.py_buffer(np.ascontiguousarray(values))
