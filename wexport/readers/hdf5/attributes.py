"""Values of HDF5 attributes: text and numbers of bounded size, nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np
from h5py import h5s, h5t

MAX_ATTRIBUTE_BYTES = 16 << 20
"""Largest attribute that is read; Keras' whole model config, the largest there is, takes a few MiB."""


def attribute_value(attribute: Any) -> Any:
    """An attribute's value as str, list of str or NumPy array; None if it is neither text nor number.

    attribute: `h5py.h5a.AttrID`. Raises ValueError if it is too large, and whatever h5py raises if it is damaged.
    """
    kind = attribute.get_type().get_class()
    if kind not in (h5t.STRING, h5t.INTEGER, h5t.FLOAT):
        return None
    space = attribute.get_space()
    if space.get_simple_extent_type() == h5s.NULL:
        return None
    shape = space.get_simple_extent_dims()
    if 0 in shape:  # before its storage size, which h5py takes for an error if it is 0
        return np.empty(shape)
    if (size := attribute.get_storage_size()) > MAX_ATTRIBUTE_BYTES:
        raise ValueError(f"{size:,} bytes, more than {MAX_ATTRIBUTE_BYTES:,}")
    values = np.zeros(shape, dtype=attribute.dtype)
    attribute.read(values)
    if kind != h5t.STRING:
        return values
    return _decode(values[()]) if shape == () else [_decode(value) for value in values.reshape(-1)]


def as_texts(value: Any) -> list[str] | None:
    """An attribute's value as a list of texts; None if it is not text. An empty array of any type is an empty list."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return value
    return [] if isinstance(value, np.ndarray) and value.size == 0 else None


def _decode(value: Any) -> str:
    if isinstance(value, bytes):
        return value.rstrip(b"\0").decode("utf-8", "surrogateescape")
    return str(value)
