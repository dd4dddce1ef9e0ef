"""Which HDF5 types hold numbers, and what wexport calls them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np
from h5py import h5t

_NO_NUMBERS = {
    h5t.STRING: "string",
    h5t.COMPOUND: "compound",
    h5t.REFERENCE: "reference",
    h5t.ENUM: "enum",
    h5t.BITFIELD: "bitfield",
    h5t.OPAQUE: "opaque",
    h5t.VLEN: "variable-length",
    h5t.ARRAY: "array type",
    h5t.TIME: "time",
}
if hasattr(h5t, "COMPLEX"):  # HDF5 2
    _NO_NUMBERS[h5t.COMPLEX] = "complex"

# (bytes, exponent bits, mantissa bits, exponent bias) of the small floats that NumPy lacks.
_SMALL_FLOATS = {
    (2, 8, 7, 127): "bfloat16",
    (1, 4, 3, 7): "float8_e4m3fn",
    (1, 5, 2, 15): "float8_e5m2",
}

_DOUBLE_EXPONENT_BITS, _DOUBLE_MANTISSA_BITS = 11, 52

NAMED = {
    name: np.dtype(getattr(ml_dtypes, name))
    for name in (
        "bfloat16",
        "float8_e4m3fn",
        "float8_e5m2",
        "float8_e4m3fnuz",
        "float8_e5m2fnuz",
        "float8_e4m3b11fnuz",
    )
}
"""ml_dtypes' types that Keras stores as opaque bytes with the attribute `dtype` naming them."""


@dataclass(frozen=True, slots=True)
class NumericType:
    """How to read a numeric HDF5 type.

    name: the type as the table names it, without byte order.
    dtype: NumPy type of the values that reading yields.
    memory: the HDF5 type that describes those values.
    raw: True if the file's bytes are those values as they stand (after filters), so HDF5 need not convert.
    """

    name: str
    dtype: np.dtype[Any]
    memory: Any
    raw: bool


def numeric_type(type_id: Any, declared: str | None) -> NumericType | str:
    """The numeric reading of an HDF5 type, or the word for what it is instead.

    type_id: the dataset's `h5py.h5t.TypeID`.
    declared: the dataset's attribute `dtype`, if any (Keras 3 stores bfloat16 as opaque with this beside it).

    A float that neither NumPy nor ml_dtypes has is read as float64, to which HDF5 rounds it; if float64 holds all its
    values it is named so too, else by its width (float128).
    """
    kind = type_id.get_class()
    if kind == h5t.ENUM and _is_bool(type_id):
        return "bool"
    if kind in _NO_NUMBERS and not (kind == h5t.OPAQUE and declared in NAMED):
        return _NO_NUMBERS[kind]
    return _by_encoding(type_id.encode(), declared)


@lru_cache(maxsize=64)
def _by_encoding(encoded: bytes, declared: str | None) -> NumericType | str:
    """A file has few types and many datasets: each type is looked at, and held open, once."""
    type_id = h5t.decode(encoded)
    kind, size = type_id.get_class(), type_id.get_size()
    if kind == h5t.OPAQUE:
        dtype = NAMED[str(declared)]
        return NumericType(str(declared), dtype, type_id, raw=True) if size == dtype.itemsize else _NO_NUMBERS[kind]
    if kind == h5t.INTEGER:
        return _standard(type_id, type_id.dtype) if size in (1, 2, 4, 8) else f"{8 * size}-bit integer"
    return _float(type_id, size) if kind == h5t.FLOAT else "unknown type"


def _float(type_id: Any, size: int) -> NumericType | str:
    _, _, exponent_bits, _, mantissa_bits = type_id.get_fields()
    small = _SMALL_FLOATS.get((size, exponent_bits, mantissa_bits, type_id.get_ebias()))
    if small is not None and type_id.get_norm() == h5t.NORM_IMPLIED:
        memory = type_id.copy()
        memory.set_order(h5t.ORDER_LE)
        return NumericType(small, NAMED[small], memory, raw=size == 1 or bool(type_id.equal(memory)))
    for dtype in (np.dtype(f"{order}f{size}") for order in "<>" if size in (2, 4, 8)):
        if type_id.equal(h5t.py_create(dtype)):
            return _standard(type_id, dtype)
    if exponent_bits <= _DOUBLE_EXPONENT_BITS and mantissa_bits <= _DOUBLE_MANTISSA_BITS:
        return _standard(type_id, np.dtype(np.float64))
    return NumericType(f"float{8 * size}", np.dtype(np.float64), h5t.NATIVE_DOUBLE, raw=False)


def _standard(type_id: Any, dtype: np.dtype[Any]) -> NumericType:
    """A type of NumPy's own; HDF5 must convert to it where the file's type has unused bits or is no such type."""
    memory = h5t.py_create(dtype)
    return NumericType(dtype.newbyteorder("=").name, dtype, memory, raw=bool(type_id.equal(memory)))


def _is_bool(type_id: Any) -> bool:
    """Whether this is the enumeration as which h5py stores booleans."""
    if type_id.get_size() != 1 or type_id.get_nmembers() != 2:
        return False
    return {type_id.get_member_name(number) for number in range(2)} == {b"FALSE", b"TRUE"}
