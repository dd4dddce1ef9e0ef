"""What torch calls the types of its values, and NumPy's counterparts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

_NUMPY: dict[str, Any] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": ml_dtypes.bfloat16,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
    "float8_e4m3fnuz": ml_dtypes.float8_e4m3fnuz,
    "float8_e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "int64": np.int64,
    "int32": np.int32,
    "int16": np.int16,
    "int8": np.int8,
    "uint64": np.uint64,
    "uint32": np.uint32,
    "uint16": np.uint16,
    "uint8": np.uint8,
    "bool": np.bool_,
    "qint8": np.int8,
    "quint8": np.uint8,
    "qint32": np.int32,
}
if hasattr(ml_dtypes, "float8_e8m0fnu"):  # ml_dtypes 0.5
    _NUMPY["float8_e8m0fnu"] = ml_dtypes.float8_e8m0fnu
_OTHER_SIZES = {"complex32": 4, "complex64": 8, "complex128": 16, "quint4x2": 1, "quint2x4": 1, "float4_e2m1fn_x2": 1}
_SYNONYMS = {"double": "float64", "float": "float32", "half": "float16", "long": "int64", "int": "int32"} | {
    "short": "int16",
    "cfloat": "complex64",
    "cdouble": "complex128",
    "chalf": "complex32",
}
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexDoubleStorage": "complex128",
    "ComplexFloatStorage": "complex64",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "QUInt4x2Storage": "quint4x2",
    "QUInt2x4Storage": "quint2x4",
    "UntypedStorage": "uint8",
    "_UntypedStorage": "uint8",
}
_STORAGE_MODULES = frozenset({"torch", "torch.storage", "torch.cuda"})


@dataclass(frozen=True, slots=True)
class ElementType:
    """A type of values. name: torch's, without "torch.". size: bytes of one. dtype: NumPy's; None where it has none."""

    name: str
    size: int
    dtype: np.dtype[Any] | None


def named(name: str) -> ElementType | None:
    """The type that torch calls so, as in "torch.float32"; None for one that is not known."""
    module, _, word = name.rpartition(".")
    word = _SYNONYMS.get(word, word)
    if module != "torch":
        return None
    if word in _NUMPY:
        dtype: np.dtype[Any] = np.dtype(_NUMPY[word])
        return ElementType(word, dtype.itemsize, dtype)
    return ElementType(word, _OTHER_SIZES[word], None) if word in _OTHER_SIZES else None


def of_storage(name: str) -> ElementType | None:
    """The type of the values in a storage of this class, as in "torch.FloatStorage"; None for no class of storages."""
    module, _, word = name.rpartition(".")
    return named(f"torch.{_STORAGES[word]}") if module in _STORAGE_MODULES and word in _STORAGES else None
