"""What decoders share: what they give back, and ways to read codes a block at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from wexport.errors import ReadError
from wexport.model.tensors import Tensor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Modules = Mapping[str, Mapping[str, Tensor]]
"""The parameters of each module by name, by the module's path."""

MAX_WHOLE = 16 << 20
"""Values of a scale or zero point that are held in memory at most."""
SCALE, ZERO_POINT, INDEX = "scale of codes", "zero point of codes", "order of codes"
TABLE = "table of the values of codes"
OF_ACTIVATIONS = "scale of activations"
ACTIVATION_SCALES = (
    "input_scale",
    "input_global_scale",
    "input_zero_point",
    "activation_scale",
    "output_scale",
    "k_scale",
    "v_scale",
)
"""By which a module that computes with codes scales what it is given, gives, or keeps in a cache."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A tensor of values.

    codes: the name of the one it takes the place of. parts: the names of others that are in it, and what they are.
    """

    tensor: Tensor
    codes: str
    parts: Mapping[str, str]


def values_of(
    codes: Tensor,
    chunks: Callable[[int], Iterator[NDArray[Any]]],
    encoding: Mapping[str, Any],
    **meaning: Any,
) -> Tensor:
    """The tensor of the values of codes. said: how they are stored, for the config. meaning: fields that differ."""
    config = {**(codes.layer_config or {}), "quantised": dict(encoding)}
    return replace(codes, chunks=chunks, value_dtype="float32", layer_config=config, **meaning)


def whole(tensor: Tensor) -> NDArray[Any]:
    """All values of a small tensor, in its shape. Raises ReadError for a large one."""
    import numpy as np

    if tensor.size > MAX_WHOLE:
        raise ReadError(f"{tensor.name}: holds {tensor.size:,} values where scales are due, {MAX_WHOLE:,} are allowed")
    parts = [chunk.astype(chunk.dtype.newbyteorder("=")) for chunk in tensor.chunks(1 << 20)]
    return np.concatenate(parts).reshape(tensor.shape) if parts else np.empty(tensor.shape, np.float32)


def floats(tensor: Tensor) -> NDArray[np.float32]:
    """All values of a small tensor as float32."""
    import numpy as np

    return whole(tensor).astype(np.float32)


class InStep:
    """The values of a tensor, as many as asked for at a time."""

    def __init__(self, tensor: Tensor, limit: int) -> None:
        self._name = tensor.name
        self._chunks = tensor.chunks(limit)
        self._held: NDArray[Any] | None = None

    def take(self, count: int) -> NDArray[Any]:
        """The next values. Raises ReadError where there are no more."""
        import numpy as np

        parts: list[NDArray[Any]] = []
        left = count
        while left:
            if self._held is None or not self._held.size:
                self._held = next(self._chunks, None)
                if self._held is None:
                    raise ReadError(f"{self._name}: holds fewer values than its shape says")
                continue
            parts.append(self._held[:left])
            self._held = self._held[left:]
            left -= parts[-1].size
        if len(parts) == 1:
            return parts[0]
        return np.concatenate(parts) if parts else np.empty(0, np.float32)


def unpacked(data: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """The codes in unsigned integers, the first in the lowest bits, along the last axis."""
    import numpy as np

    width = 8 * data.dtype.itemsize
    mask = data.dtype.type((1 << bits) - 1)
    parts = [(data >> data.dtype.type(shift) & mask).astype(np.uint8) for shift in range(0, width, bits)]
    return np.stack(parts, -1).reshape(*data.shape[:-1], -1)


def pieces(values: NDArray[np.float32], limit: int) -> Iterator[NDArray[np.float32]]:
    """An array's values in C order, as `Tensor.chunks` gives them."""
    flat = values.reshape(-1)
    step = max(1, limit // 4)
    for start in range(0, flat.size, step):
        yield flat[start : start + step]


def joined(module: str, name: str) -> str:
    """The name of a parameter."""
    return f"{module}.{name}" if module else name
