"""Codes with a scale for the tensor, for each row, or for each block of it: fp8, int8, MXFP4, NVFP4, packed integers.

Sources: https://huggingface.co/deepseek-ai/DeepSeek-V3 (weight_scale_inv), https://github.com/openai/gpt-oss
(torch/weights.py: blocks and scales), https://github.com/vllm-project/compressed-tensors (compressors), and
https://www.opencompute.org/documents/ocp-microscaling-formats-mx-v1-0-spec-final-pdf.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from wexport.errors import ReadError
from wexport.model.tensors import Tensor
from wexport.state_dict.encodings.parts import (
    MAX_WHOLE,
    SCALE,
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

_FP4 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)
"""The values of the lower eight codes of float4_e2m1fn; the others are their negatives."""
_SCALES = ("weight_scale_inv", "weight_scale")
_EIGHT_BITS = ("float8", "int8")
_USUAL = 128
"""Rows and columns of a block of DeepSeek's, the last of which may be cut short."""


def decode(module: str, parameters: Mapping[str, Tensor], modules: Modules) -> Iterator[Decoded]:
    """The values of each parameter that has scales beside it; nothing where their shapes do not fit together."""
    yield from _microscaling(module, parameters)
    yield from _packed_integers(module, parameters)
    yield from _nvfp4(module, parameters)
    codes = parameters.get("weight")
    scale = next((parameters[name] for name in _SCALES if name in parameters), None)
    if codes is None or scale is None or not codes.dtype.startswith(_EIGHT_BITS) or scale.size > MAX_WHOLE:
        return
    stretches = _stretches(codes.shape, scale.shape)
    if stretches is None or scale.dtype in ("int8", "uint8"):
        return
    encoding = {"method": "scaled", "scale": scale.name, "block": list(stretches)}
    yield Decoded(values_of(codes, _scaled(codes, scale, stretches), encoding), codes.name, {scale.name: SCALE})


# -- eight bits --------------------------------------------------------------------------------------------------------


def _stretches(shape: tuple[int, ...], scales: tuple[int, ...]) -> tuple[int, ...] | None:
    """How many values along each axis share a scale; None where the shapes do not fit together."""
    if math.prod(scales) == 1:
        return shape
    if len(scales) == 1 and len(shape) > 1:
        scales = (*scales, *[1] * (len(shape) - 1))
    if len(scales) != len(shape):
        return None
    found = []
    for length, count in zip(shape, scales, strict=True):
        if not count:
            return None
        stretch = _USUAL if -(-length // _USUAL) == count else -(-length // count)
        if -(-length // max(1, stretch)) != count:
            return None
        found.append(max(1, stretch))
    return tuple(found)


def _scaled(codes: Tensor, scale: Tensor, stretches: tuple[int, ...]) -> Any:
    """Each code times its scale."""

    def chunks(limit: int) -> Iterator[NDArray[np.float32]]:
        import numpy as np

        factors = floats(scale).reshape(-1)
        if factors.size == 1:
            for chunk in codes.chunks(max(1, limit // 4)):
                yield chunk.astype(np.float32) * factors[0]
            return
        counts = [-(-length // stretch) for length, stretch in zip(codes.shape, stretches, strict=True)]
        place = 0
        for chunk in codes.chunks(max(1, limit // 32)):
            at, of = np.arange(place, place + chunk.size), np.zeros(chunk.size, np.int64)
            places = np.unravel_index(at, codes.shape)
            for index, stretch, count in zip(places, stretches, counts, strict=True):
                of = of * count + index // stretch
            place += chunk.size
            yield chunk.astype(np.float32) * factors[of]

    return chunks


# -- four bits ---------------------------------------------------------------------------------------------------------


def _microscaling(module: str, parameters: Mapping[str, Tensor]) -> Iterator[Decoded]:
    """MXFP4: `x_blocks` of 16 bytes, 32 codes, each with a power of two in `x_scales`."""
    for name, codes in parameters.items():
        own = name.removesuffix("_blocks")
        scale = parameters.get(f"{own}_scales")
        if own == name or scale is None or codes.dtype != "uint8" or scale.dtype != "uint8" or own in parameters:
            continue
        if len(codes.shape) < 2 or codes.shape[:-1] != scale.shape or codes.shape[-1] != 16:
            continue
        shape = (*codes.shape[:-2], codes.shape[-2] * 32)
        tensor = values_of(
            codes,
            _lockstep(codes, scale, 16, _power_of_two),
            {"method": "mxfp4", "scale": scale.name, "block": 32},
            name=joined(module, own),
            shape=shape,
            dtype="float4_e2m1fn",
        )
        yield Decoded(tensor, codes.name, {scale.name: SCALE})


def _nvfp4(module: str, parameters: Mapping[str, Tensor]) -> Iterator[Decoded]:
    """NVFP4: 8 bytes, 16 codes, share a scale in fp8, and all share one more, or its reciprocal."""
    codes = parameters.get("weight_packed", parameters.get("weight"))
    scale = parameters.get("weight_scale")
    factor, divisor = parameters.get("weight_scale_2"), parameters.get("weight_global_scale")
    outer = factor if factor is not None else divisor
    if codes is None or scale is None or outer is None or outer.size != 1 or codes.dtype != "uint8":
        return
    if len(codes.shape) < 2 or not scale.dtype.startswith("float8") or codes.shape[:-1] != scale.shape[:-1]:
        return
    if codes.shape[-1] != 8 * scale.shape[-1]:
        return

    def of(codes: NDArray[Any]) -> NDArray[np.float32]:
        import numpy as np

        single: Any = floats(outer).reshape(-1)[0]
        found: NDArray[np.float32] = codes.astype(np.float32) * (single if factor is not None else 1 / single)
        return found

    tensor = values_of(
        codes,
        _lockstep(codes, scale, 8, of),
        {"method": "nvfp4", "scale": scale.name, "block": 16},
        name=joined(module, "weight"),
        shape=(*codes.shape[:-1], 2 * codes.shape[-1]),
        dtype="float4_e2m1fn",
    )
    yield Decoded(tensor, codes.name, {scale.name: SCALE, outer.name: SCALE})


def _power_of_two(codes: NDArray[Any]) -> NDArray[np.float32]:
    """e8m0: 2^(code - 127); 255 is not a number."""
    import numpy as np

    found = np.ldexp(np.ones(codes.size, np.float32), codes.astype(np.int32) - 127)
    return np.where(codes == 255, np.float32(np.nan), found).astype(np.float32)


def _lockstep(codes: Tensor, scale: Tensor, group: int, meaning: Any) -> Any:
    """Values of float4 codes, two in a byte and the first in the lower bits, of which a group of bytes has a scale."""

    def chunks(limit: int) -> Iterator[NDArray[np.float32]]:
        import numpy as np

        table = np.array([*_FP4, *(-value for value in _FP4)], np.float32)
        stored, scales = InStep(codes, limit), InStep(scale, limit)
        step = max(1, limit // (32 * group))
        for start in range(0, scale.size, step):
            count = min(step, scale.size - start)
            data = unpacked(stored.take(count * group).astype(np.uint8), 4)
            yield from pieces(table[data].reshape(count, -1) * meaning(scales.take(count))[:, None], limit)

    return chunks


def _packed_integers(module: str, parameters: Mapping[str, Tensor]) -> Iterator[Decoded]:
    """compressed-tensors: rows of symmetric codes in 32-bit integers, `weight_shape` beside them."""
    codes, scale, shape = (parameters.get(name) for name in ("weight_packed", "weight_scale", "weight_shape"))
    if (
        codes is None
        or scale is None
        or shape is None
        or shape.dtype not in ("int32", "int64")
        or codes.dtype != "int32"
        or "weight" in parameters
    ):
        return
    if {"weight_zero_point", "weight_g_idx"} & parameters.keys() or len(codes.shape) != 2 or shape.size != 2:
        return  # asymmetric, or in an order of its own
    try:
        rows, columns = (int(length) for length in whole(shape).reshape(-1))
    except ReadError:  # it is told when the rows are made
        return
    bits = next((bits for bits in (4, 8) if codes.shape == (rows, -(-columns * bits // 32))), None)
    if bits is None or scale.size > MAX_WHOLE:
        return
    stretches = _stretches((rows, columns), scale.shape)
    if stretches is None or stretches[0] not in (1, rows):
        return

    def chunks(limit: int) -> Iterator[NDArray[np.float32]]:
        import numpy as np

        factors = floats(scale)
        factors = np.broadcast_to(
            factors.reshape(1, 1) if factors.size == 1 else factors.reshape(rows, -1),
            (
                rows,
                max(1, factors.size // rows) if factors.size > 1 else 1,
            ),
        )
        stored = InStep(codes, limit)
        step = max(1, limit // (16 * max(1, columns)))
        for start in range(0, rows, step):
            count = min(step, rows - start)
            packed = stored.take(count * codes.shape[1]).astype(np.int32).view(np.uint32).reshape(count, -1)
            values = unpacked(packed, bits)[:, :columns].astype(np.float32) - np.float32(1 << bits - 1)
            by_column = np.repeat(factors[start : start + count], stretches[1], axis=1)[:, :columns]
            yield from pieces(values * by_column, limit)

    tensor = values_of(
        codes,
        chunks,
        {"method": "compressed-tensors", "bits": bits, "scale": scale.name},
        name=joined(module, "weight"),
        shape=(rows, columns),
        dtype=f"int{bits}",
    )
    yield Decoded(tensor, codes.name, {scale.name: SCALE, shape.name: "shape of codes"})
