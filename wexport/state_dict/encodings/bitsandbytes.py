"""Matrices of bitsandbytes: 4-bit codes of a table with a scale for each block, or bytes with a scale for each row.

Source: https://github.com/bitsandbytes-foundation/bitsandbytes (functional.py, QuantState.from_dict and as_dict).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from wexport.errors import ReadError
from wexport.model.tensors import Tensor
from wexport.state_dict.encodings.parts import (
    SCALE,
    TABLE,
    Decoded,
    InStep,
    Modules,
    floats,
    joined,
    pieces,
    values_of,
    whole,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STATE = "quant_state.bitsandbytes__"
MAX_STATE_BYTES = 1 << 16


def decode(module: str, parameters: Mapping[str, Tensor], modules: Modules) -> Iterator[Decoded]:
    """The values of each parameter that has a state beside it; nothing where they do not fit together."""
    for name, codes in parameters.items():
        siblings = _state_of(module, name, modules)
        if siblings and codes.dtype == "uint8":
            yield from _of_four_bits(codes, siblings)
    scale = parameters.get("SCB")
    codes_8 = parameters.get("weight")
    if scale is not None and codes_8 is not None and codes_8.dtype == "int8" and scale.shape == codes_8.shape[:1]:
        parts = {scale.name: SCALE}
        if (layout := parameters.get("weight_format")) is not None:
            parts[layout.name] = "how codes are laid out"
        stated = {"method": "bitsandbytes", "bits": 8}
        yield Decoded(values_of(codes_8, _rows(codes_8, scale), stated), codes_8.name, parts)


def _state_of(module: str, name: str, modules: Modules) -> dict[str, Tensor]:
    """What stands under a parameter's own name: `weight.absmax`, `weight.quant_state.bitsandbytes__nf4`."""
    own = joined(module, name)
    found = dict(modules.get(own, {}))
    for key, tensor in modules.get(f"{own}.quant_state", {}).items():
        found[f"quant_state.{key}"] = tensor
    return found


def _of_four_bits(codes: Tensor, siblings: Mapping[str, Tensor]) -> Iterator[Decoded]:
    state = next((key for key in siblings if key.startswith(STATE)), None)
    absmax, table = siblings.get("absmax"), siblings.get("quant_map")
    if state is None or absmax is None or table is None or table.shape != (16,):
        return
    stated = _stated(siblings[state])
    if stated is None:
        return
    shape, block, nested_block, offset = stated
    size = math.prod(shape)
    nested, nested_table = siblings.get("nested_absmax"), siblings.get("nested_quant_map")
    if codes.size != -(-size // 2) or absmax.size != -(-size // block):
        return
    if nested is not None and (
        nested_table is None or nested_table.shape != (256,) or nested.size != -(-absmax.size // nested_block)
    ):
        return
    scales = _Scales(absmax, nested, nested_table, nested_block, offset)
    method = state.removeprefix(STATE)
    tensor = values_of(
        codes,
        _four_bits(codes, size, block, table, scales),
        {"method": "bitsandbytes", "type": method, "block_size": block},
        shape=shape,
        dtype=method if method in ("nf4", "fp4") else "uint4",
    )
    parts = {absmax.name: SCALE, table.name: TABLE, siblings[state].name: "how codes are laid out"}
    if nested is not None and nested_table is not None:
        parts |= {nested.name: SCALE, nested_table.name: TABLE}
    yield Decoded(tensor, codes.name, parts)


def _stated(state: Tensor) -> tuple[tuple[int, ...], int, int, float] | None:
    """Shape, values of a block, scales of a block, and offset of the scales, from the JSON in a tensor of bytes."""
    if state.size > MAX_STATE_BYTES or state.dtype != "uint8":
        return None
    try:
        stated = json.loads(whole(state).tobytes())
        shape = tuple(int(length) for length in stated["shape"])
        block, nested = int(stated["blocksize"]), int(stated.get("nested_blocksize") or 1)
        offset = float(stated.get("nested_offset") or 0.0)
    except (ReadError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
        return None
    if block < 2 or nested < 1 or len(shape) > 32 or not all(0 <= length < 1 << 40 for length in shape):
        return None
    return shape, block, nested, offset


@dataclass(frozen=True, slots=True)
class _Scales:
    """The scale of each block, which may itself be a code: table[code] x scale of `block` of them + offset."""

    absmax: Tensor
    nested: Tensor | None
    table: Tensor | None
    block: int
    offset: float

    def start(self, limit: int) -> Callable[[int], NDArray[np.float32]]:
        """A function that gives the next this many."""
        import numpy as np

        stored = InStep(self.absmax, limit)
        if self.nested is None or self.table is None:
            return lambda count: stored.take(count).astype(np.float32)
        outer, table = floats(self.nested).reshape(-1), floats(self.table)
        place = 0

        def take(count: int) -> NDArray[np.float32]:
            nonlocal place
            of = np.arange(place, place + count) // self.block
            place += count
            return table[stored.take(count).astype(np.uint8)] * outer[of] + np.float32(self.offset)

        return take


def _four_bits(codes: Tensor, size: int, block: int, table: Tensor, scales: _Scales) -> Any:
    def chunks(limit: int) -> Iterator[NDArray[np.float32]]:
        import numpy as np

        meanings = floats(table)
        stored, take_scales = InStep(codes, limit), scales.start(limit)
        blocks = max(1, limit // (16 * block)) * 2  # whole bytes, whatever the size of a block
        for start in range(0, size, blocks * block):
            count = min(blocks * block, size - start)
            data = stored.take(-(-count // 2))
            both = np.stack([data >> 4, data & 15], -1).reshape(-1)[:count]  # the first in the high bits
            by_block = take_scales(-(-count // block))
            yield from pieces(meanings[both] * np.repeat(by_block, block)[:count], limit)

    return chunks


def _rows(codes: Tensor, scale: Tensor) -> Any:
    """Each code times the greatest value of its row, over 127."""

    def chunks(limit: int) -> Iterator[NDArray[np.float32]]:
        import numpy as np

        factors = floats(scale) / np.float32(127)
        length = max(1, codes.size // max(1, len(factors)))
        place = 0
        for chunk in codes.chunks(max(1, limit // 16)):
            yield chunk.astype(np.float32) * factors[np.arange(place, place + chunk.size) // length]
            place += chunk.size

    return chunks
