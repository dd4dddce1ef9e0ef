"""Chunks made of bytes and of other tensors' chunks, against plain NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wexport.errors import ReadError
from wexport.files.source import Source
from wexport.model import chunks
from wexport.model.tensors import Chunks, Tensor

LIMITS = st.integers(1, 80)
SIZES = st.integers(0, 12)


def values(made: Chunks, limit: int) -> NDArray[Any]:
    found = list(made(limit))
    assert all(chunk.ndim == 1 and chunk.nbytes <= max(limit, chunk.itemsize) for chunk in found)
    return np.concatenate([np.empty(0, np.float32), *found])


def tensor(name: str, array: NDArray[Any], step: int) -> Tensor:
    """A tensor that yields at most `step` values at a time, whatever it is asked for."""
    whole = Tensor.of_array(name, array)
    return Tensor(
        name=name,
        shape=array.shape,
        dtype="float32",
        chunks=lambda limit: whole.chunks(min(limit, step * array.itemsize)),
    )


@given(size=SIZES, offset=SIZES, limit=LIMITS, order=st.sampled_from("<>"))
def test_of_bytes(size: int, offset: int, limit: int, order: str) -> None:
    expected = np.arange(size, dtype=f"{order}f4")
    content = bytes(offset) + expected.tobytes() + b"behind"
    made = chunks.of_bytes(lambda at, count: content[at : at + count], offset, expected.dtype, size, "a file")
    np.testing.assert_array_equal(values(made, limit), expected)


def test_bytes_that_are_not_there_are_told(tmp_path: Path) -> None:
    path = tmp_path / "short.bin"
    path.write_bytes(bytes(10))
    with Source(path) as source:
        made = chunks.of_bytes(source.read_at, 4, np.dtype("<f4"), 2, f"{path}: w")
        with pytest.raises(ReadError, match=r"short\.bin: w: the file ends 2 bytes before"):
            list(made(100))


@given(size=SIZES, start=SIZES, length=SIZES, limit=LIMITS, step=st.integers(1, 5))
def test_part(size: int, start: int, length: int, limit: int, step: int) -> None:
    array = np.arange(size, dtype=np.float32)
    expected = array[start : start + length]
    made = chunks.part(tensor("w", array, step), start, expected.shape, name="w/part")
    assert (made.name, made.shape) == ("w/part", expected.shape)
    np.testing.assert_array_equal(values(made.chunks, limit), expected)


@pytest.mark.parametrize(
    ("make", "oracle", "name"),
    [
        (lambda both, shape: chunks.joined(both, (2, *shape)), np.concatenate, "a, b"),
        (lambda both, shape: chunks.summed(both), lambda arrays: arrays[0] + arrays[1], "a + b"),
    ],
    ids=["joined", "summed"],
)
@given(size=SIZES, limit=LIMITS, steps=st.tuples(st.integers(1, 5), st.integers(1, 5)))
def test_of_several(
    make: Callable[..., Tensor], oracle: Callable[..., Any], name: str, size: int, limit: int, steps: tuple[int, int]
) -> None:
    arrays = [np.arange(size, dtype=np.float32) / 3, np.linspace(5, 6, size, dtype=np.float32)]
    both = [tensor(word, array, step) for word, array, step in zip("ab", arrays, steps, strict=True)]
    made = make(both, (size,))
    assert made.name == name
    np.testing.assert_array_equal(values(made.chunks, limit), oracle(arrays))
