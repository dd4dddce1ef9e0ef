"""Matrices of GPTQ and AWQ: codes packed into 32-bit integers, with a scale and a zero point for each group of inputs.

Of a matrix (inputs, units), GPTQ packs codes along the inputs, AWQ along the units and in an order of its own.
Sources: https://github.com/ModelCloud/GPTQModel (nn_modules/qlinear) and
https://github.com/casper-hansen/AutoAWQ (utils/packing_utils).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wexport.model import roles
from wexport.model.tensors import Tensor
from wexport.state_dict.encodings.parts import (
    INDEX,
    SCALE,
    ZERO_POINT,
    Decoded,
    InStep,
    Modules,
    floats,
    joined,
    pieces,
    unpacked,
    values_of,
    whole,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_AWQ_ORDER = (0, 4, 1, 5, 2, 6, 3, 7)
"""Which of eight packed codes each of eight units has."""


def decode(module: str, parameters: Mapping[str, Tensor], modules: Modules) -> Iterator[Decoded]:
    """The matrix, as (inputs, units); nothing where the shapes of its parts do not fit together."""
    parts = [parameters.get(name) for name in ("qweight", "qzeros", "scales")]
    index = parameters.get("g_idx")
    if any(part is None or len(part.shape) != 2 for part in parts) or "weight" in parameters:
        return
    codes, zeros, scales = (part for part in parts if part is not None)
    groups, units = scales.shape
    bits = _bits(zeros, units)
    if (
        bits is None
        or codes.dtype != "int32"
        or zeros.dtype != "int32"
        or zeros.shape[0] != groups
        or not groups * units
    ):
        return
    per_integer = 32 // bits
    awq = codes.shape[1] * per_integer == units != codes.shape[1] and bits == 4 and index is None
    if not awq and codes.shape[1] != units:
        return
    inputs = codes.shape[0] if awq else codes.shape[0] * per_integer
    if (index is not None and index.shape != (inputs,)) or (inputs % groups and index is None):
        return
    read = _awq(codes, zeros, scales) if awq else _gptq(codes, zeros, scales, index, bits)
    encoding = {"method": "awq" if awq else "gptq", "bits": bits, "group_size": inputs // groups}
    tensor = values_of(
        codes,
        read,
        encoding,
        name=joined(module, "weight"),
        shape=(inputs, units),
        dtype=f"uint{bits}",
        role="kernel",
        layer_class="Dense",
        layout=roles.layout("Dense", "kernel", (inputs, units)),
    )
    others = {zeros.name: ZERO_POINT, scales.name: SCALE}
    if index is not None:
        others[index.name] = INDEX
    yield Decoded(tensor, codes.name, others)


def _bits(zeros: Tensor, units: int) -> int | None:
    return next((bits for bits in (2, 4, 8) if zeros.shape[1] * (32 // bits) == units), None)


def _gptq(codes: Tensor, zeros: Tensor, scales: Tensor, index: Tensor | None, bits: int) -> Any:
    """(code - zero point) x scale. Zero points are stored less one, but by the format's second version."""
    per_integer = 32 // bits

    def chunks(limit: int) -> Iterator[NDArray[np.float32]]:
        import numpy as np

        factors = floats(scales)
        units = factors.shape[1]
        offsets = unpacked(whole(zeros).view(np.uint32), bits).reshape(factors.shape).astype(np.float32)
        if not (offsets == 1 << bits - 1).all():  # symmetric, as the second version stores it
            offsets = (offsets + 1) % (1 << bits) if bits < 8 else offsets + 1
        inputs = codes.shape[0] * per_integer
        group = whole(index).astype(np.int64) if index is not None else np.arange(inputs) // (inputs // len(factors))
        if group.size and not 0 <= group.min() <= group.max() < len(factors):
            group = group % len(factors)
        stored = InStep(codes, limit)
        rows = max(1, limit // (16 * units * per_integer))
        for start in range(0, codes.shape[0], rows):
            count = min(rows, codes.shape[0] - start)
            packed = stored.take(count * units).astype(np.int32).view(np.uint32).reshape(count, units)
            block = unpacked(packed[..., None], bits).reshape(count, units, per_integer)
            values = block.transpose(0, 2, 1).reshape(count * per_integer, units).astype(np.float32)
            of = group[start * per_integer : (start + count) * per_integer]
            yield from pieces((values - offsets[of]) * factors[of], limit)

    return chunks


def _awq(codes: Tensor, zeros: Tensor, scales: Tensor) -> Any:
    def chunks(limit: int) -> Iterator[NDArray[np.float32]]:
        import numpy as np

        factors = floats(scales)
        offsets = _ordered(whole(zeros).view(np.uint32)).astype(np.float32)
        inputs, columns = codes.shape
        size = inputs // len(factors)
        stored = InStep(codes, limit)
        rows = max(1, limit // (16 * factors.shape[1]))
        for start in range(0, inputs, rows):
            count = min(rows, inputs - start)
            packed = stored.take(count * columns).astype(np.int32).view(np.uint32).reshape(count, columns)
            of = np.arange(start, start + count) // size
            yield from pieces((_ordered(packed).astype(np.float32) - offsets[of]) * factors[of], limit)

    return chunks


def _ordered(packed: NDArray[np.uint32]) -> NDArray[np.uint8]:
    codes = unpacked(packed, 4).reshape(*packed.shape, 8)
    return codes[..., list(_AWQ_ORDER)].reshape(len(packed), -1)
