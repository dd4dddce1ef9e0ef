"""Which HDF5 types hold numbers, and what wexport calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
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

    name: the stored type as the table names it, without byte order.
    dtype: NumPy type of the values that reading yields.
    raw: True if the file's bytes are those values as they stand (after filters), so HDF5 need not convert.
    """

    name: str
    dtype: np.dtype[Any]
    raw: bool


def numeric_type(type_id: Any, declared: str | None) -> NumericType | str:
    """The numeric reading of an HDF5 type, or the word for what it is instead.

    type_id: the dataset's `h5py.h5t.TypeID`.
    declared: the dataset's attribute `dtype`, if any (Keras 3 stores bfloat16 as opaque with this beside it).
    """
    kind = type_id.get_class()
    if kind == h5t.OPAQUE and declared in NAMED and type_id.get_size() == NAMED[declared].itemsize:
        return NumericType(declared, NAMED[declared], raw=True)
    if kind in _NO_NUMBERS:
        return _NO_NUMBERS[kind]
    size = type_id.get_size()
    if kind == h5t.INTEGER:
        if size not in (1, 2, 4, 8):
            return f"{8 * size}-bit integer"
        return _standard(type_id)
    if kind == h5t.FLOAT:
        _, _, exponent_bits, _, mantissa_bits = type_id.get_fields()
        key = (size, exponent_bits, mantissa_bits, type_id.get_ebias())
        if key in _SMALL_FLOATS and type_id.get_order() == h5t.ORDER_LE:
            name = _SMALL_FLOATS[key]
            return NumericType(name, NAMED[name], raw=True)
        if size in (2, 4, 8) and (exponent_bits, mantissa_bits) in ((5, 10), (8, 23), (11, 52)):
            return _standard(type_id)
        if exponent_bits <= 11 and mantissa_bits <= 52:
            return NumericType(f"float{8 * size}", np.dtype(np.float64), raw=False)
        # Wider than float64: HDF5 rounds the values to the nearest float64.
        return NumericType(f"float{8 * size}", np.dtype(np.float64), raw=False)
    return "unknown type"


def _standard(type_id: Any) -> NumericType:
    """A type of NumPy's own, in either byte order, possibly with unused bits (then HDF5 must convert)."""
    dtype = type_id.dtype
    return NumericType(
        dtype.newbyteorder("=").name, dtype, raw=bool(type_id.equal(h5py.h5t.py_create(dtype)))
    )
