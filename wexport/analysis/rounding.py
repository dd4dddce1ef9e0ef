"""Which samples are those of others in a smaller type, whatever type they are stored in now."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def _bfloat16(values: NDArray[np.float32]) -> NDArray[Any]:
    """To nearest, ties to even, as bits."""
    bits = values.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def _cut(values: NDArray[np.float32]) -> NDArray[Any]:
    """bfloat16 as its upper half, as bits."""
    return (values.view(np.uint32) >> 16).astype(np.uint16)


def _half(values: NDArray[np.float32]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return values.astype(np.float16).view(np.uint16)


_Cast = tuple[Callable[[NDArray[np.float32]], NDArray[Any]], Callable[[NDArray[Any]], NDArray[np.float32]]]


def _of_half(bits: NDArray[Any]) -> NDArray[np.float32]:
    return bits.view(np.float16).astype(np.float32)


def _of_bfloat16(bits: NDArray[Any]) -> NDArray[np.float32]:
    return (bits.astype(np.uint32) << 16).view(np.float32)


_CASTS: tuple[_Cast, ...] = ((_half, _of_half), (_bfloat16, _of_bfloat16), (_cut, _of_bfloat16))
"""To a smaller type, as bits, and back: float16, and bfloat16 as most write it and by cutting."""


@dataclass(frozen=True, slots=True)
class Casts:
    """Rows of values in smaller types. codes: of what each row gives in a type, types by rows. is_cast: whether the row
    had that type's values already.
    """

    codes: NDArray[np.int64]
    is_cast: NDArray[np.bool_]

    @classmethod
    def of(cls, values: Floats) -> Casts:
        """values: a row a tensor; rows without values are equal to none."""
        count = len(values)
        if not values.shape[1]:
            return cls(np.arange(count * len(_CASTS)).reshape(-1, count), np.zeros((len(_CASTS), count), np.bool_))
        with np.errstate(over="ignore"):
            single = np.ascontiguousarray(values, np.float32)
        codes = np.array([list(_codes(cast(single))) for cast, _ in _CASTS], np.int64)
        is_cast = np.array([(back(cast(single)) == single).all(axis=1) for cast, back in _CASTS])
        return cls(codes, is_cast)

    @property
    def smaller(self) -> NDArray[np.bool_]:
        """Which rows have values of one of these types."""
        found: NDArray[np.bool_] = np.logical_or.reduce(self.is_cast, axis=0)
        return found

    def part(self, rows: slice) -> Casts:
        return Casts(self.codes[:, rows], self.is_cast[:, rows])


def _codes(rows: NDArray[Any]) -> Iterator[int]:
    return (hash(row.tobytes()) for row in np.ascontiguousarray(rows))


def cast_of(left: Casts, right: Casts) -> NDArray[np.bool_]:
    """Where one of the two rows is the other in a smaller type."""
    found = np.zeros((left.codes.shape[1], right.codes.shape[1]), np.bool_)
    for one, other, is_one, is_other in zip(left.codes, right.codes, left.is_cast, right.is_cast, strict=True):
        found |= (one[:, None] == other[None, :]) & (is_one[:, None] | is_other[None, :])
    return found
