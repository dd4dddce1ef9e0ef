"""Ways to make the chunks of a tensor: from bytes in a file, of a part of another's, of several ones'.

Each function returns what `Tensor.chunks` has to be: called with a limit in bytes, it yields one-dimensional arrays in
C order, each of at most that many bytes (or one value, where that is more).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wexport.errors import ReadError
from wexport.model.tensors import Chunks, Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ReadAt = Callable[[int, int], bytes]
"""Given an offset and a count, up to this many bytes; fewer only where there are no more."""


@dataclass(frozen=True, slots=True)
class _OfBytes:
    """See `of_bytes`. No closure, which would take five times the memory: a model may have 90,000 tensors."""

    read_at: ReadAt
    offset: int
    dtype: np.dtype[Any]
    size: int
    file: str
    name: str

    def __call__(self, limit: int) -> Iterator[NDArray[Any]]:
        import numpy as np

        width = self.dtype.itemsize
        step = max(1, limit // width)
        for start in range(0, self.size, step):
            count = min(step, self.size - start)
            data = self.read_at(self.offset + start * width, count * width)
            if len(data) != count * width:
                where = f"{self.file}: {self.name}" if self.name else self.file
                raise ReadError(
                    f"{where}: the file ends {count * width - len(data):,} bytes before the values do",
                    hint="the file is cut short; copy or save it again",
                )
            yield np.frombuffer(data, self.dtype)


def of_bytes(read_at: ReadAt, offset: int, dtype: np.dtype[Any], size: int, where: str, name: str = "") -> Chunks:
    """`size` values of `dtype`, of either byte order, that stand one after the other from byte `offset` on.

    where: the file, and name: the tensor in it, as an error should name them; `where` may name both. The chunks raise
    ReadError if the bytes are not all there.
    """
    return _OfBytes(read_at, offset, dtype, size, where, name)


def in_rows(chunks: Chunks, length: int, rows: int) -> Iterator[NDArray[Any]]:
    """Values as blocks of whole rows of this length, this many rows at a time but for the last.

    Raises ReadError where the values end within a row.
    """
    import numpy as np

    held: list[NDArray[Any]] = []
    size, due = 0, length * rows
    for chunk in chunks(due * 8):
        held.append(chunk)
        size += chunk.size
        if size >= due:
            whole = np.concatenate(held) if len(held) > 1 else held[0]
            for start in range(0, size - due + 1, due):
                yield whole[start : start + due].reshape(rows, length)
            rest = whole[size - size % due :]
            held, size = [rest.copy()] if rest.size else [], size % due
    if size % length:
        raise ReadError("its values end within a row", hint="the file is damaged; copy or save it again")
    if size:
        yield np.concatenate(held).reshape(-1, length)


def part(tensor: Tensor, start: int, shape: tuple[int, ...], **meaning: Any) -> Tensor:
    """The values of a tensor from position `start` on (in C order), as a tensor of `shape`.

    meaning: fields of the new tensor that are not the old one's. All values before the part are read, too.
    """
    size = math.prod(shape)

    def chunks(limit: int) -> Iterator[NDArray[Any]]:
        before = 0
        for chunk in tensor.chunks(limit):
            piece = chunk[max(0, start - before) : max(0, start + size - before)]
            before += chunk.size
            if piece.size:
                yield piece
            if before >= start + size:
                return

    if tensor.storage_bytes is not None:
        meaning = {"storage_bytes": tensor.storage_bytes * size // max(1, tensor.size)} | meaning
    return replace(tensor, shape=shape, chunks=chunks, **meaning)


def joined(tensors: Sequence[Tensor], shape: tuple[int, ...], **meaning: Any) -> Tensor:
    """The values of several tensors of one type, one after the other, as a tensor of `shape`.

    meaning: fields of the new tensor that are not the first one's.
    """

    def chunks(limit: int) -> Iterator[NDArray[Any]]:
        for tensor in tensors:
            yield from tensor.chunks(limit)

    if any(tensor.storage_bytes is not None for tensor in tensors):
        meaning = {"storage_bytes": sum(tensor.stored_bytes for tensor in tensors)} | meaning
    return replace(tensors[0], name=names(tensors, ", "), shape=shape, chunks=chunks, **meaning)


def summed(tensors: Sequence[Tensor], **meaning: Any) -> Tensor:
    """The sum of several tensors of one shape and type, in that type.

    meaning: fields of the new tensor that are not the first one's.
    """

    def chunks(limit: int) -> Iterator[NDArray[Any]]:
        rest = [tensor.chunks(limit) for tensor in tensors]
        held: list[NDArray[Any] | None] = [None] * len(rest)
        while True:
            for number, more in enumerate(rest):
                if held[number] is None:
                    held[number] = next((chunk for chunk in more if chunk.size), None)
            ready = [chunk for chunk in held if chunk is not None]
            if len(ready) < len(held):
                return  # all end together, as they are of one shape
            count = min(chunk.size for chunk in ready)
            total = ready[0][:count].copy()
            for chunk in ready[1:]:
                total += chunk[:count]
            yield total
            held = [chunk[count:] if chunk.size > count else None for chunk in ready]

    meaning = {"storage_bytes": sum(tensor.stored_bytes for tensor in tensors)} | meaning
    return replace(tensors[0], name=names(tensors, " + "), chunks=chunks, **meaning)


def names(tensors: Sequence[Tensor], between: str) -> str:
    """The names of several tensors as one."""
    return between.join(tensor.name for tensor in tensors)
