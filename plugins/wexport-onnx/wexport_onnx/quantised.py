"""Values of quantised tensors: what an operator computes of stored integers, given the scale that the file holds.

Sources: https://onnx.ai/onnx/operators/ (DequantizeLinear, QLinearConv, QLinearMatMul, ConvInteger, MatMulInteger) and
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md (MatMulNBits and others).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

import wexport
from wexport.reading import chunks
from wexport_onnx.nodes import Attributes
from wexport_onnx.values import Quantised, Value

Array = NDArray[Any]
MAX_SCALES = 1 << 24

# Numbers of an operator's inputs: codes, scale, zero point, and the axis along which there may be several.
_INPUTS: Mapping[str, tuple[int, int, int, int]] = {
    "QLinearConv": (3, 4, 5, 0),
    "QLinearMatMul": (3, 4, 5, -1),
    "DynamicQuantizeMatMul": (1, 2, 3, -1),
    "MatMulIntegerToFloat": (1, 3, 5, -1),
    "QGemm": (3, 4, 5, -1),
    "QAttention": (1, 4, 7, -1),
}
# Operators that leave the scale to what comes after them: codes, zero point, axis.
_WITHOUT_SCALE: Mapping[str, tuple[int, int, int]] = {"ConvInteger": (1, 3, 0), "MatMulInteger": (1, 3, -1)}
_CODES = "_quantized"
"""How onnxruntime's quantisation ends the names of codes; those of scales end in `_scale` behind the same beginning."""


def of_linear(attributes: Attributes, weights: Mapping[int, Value]) -> Quantised | None:
    """The scale and zero point of a DequantizeLinear, whose inputs 1 and 2 they are; None if they are not stored."""
    if 1 not in weights or attributes.referring:
        return None
    shape = weights[1].shape
    block = attributes.integer("block_size", 0)
    if shape is None or math.prod(shape) > MAX_SCALES:
        return None
    if math.prod(shape) == 1 and not block:
        return Quantised(weights[1], weights.get(2))
    return Quantised(weights[1], weights.get(2), attributes.integer("axis", 1), max(1, block))


def of_operator(
    op: str, attributes: Attributes, weights: Mapping[int, Value], named: Callable[[str], Value | None]
) -> dict[int, Quantised]:
    """What makes values of those inputs of an operator that are codes, by number. named: a constant by its name."""
    found: dict[int, Quantised] = {}
    if op in _INPUTS:
        codes, scale, zero_point, axis = _INPUTS[op]
        if codes in weights and scale in weights:
            if op == "QGemm" and attributes.integer("transB", 0):
                axis = 0
            found[codes] = _along(weights[codes], weights[scale], weights.get(zero_point), axis)
        if op == "QLinearConv" and 8 in weights and 1 in weights and 4 in weights:
            found[8] = Quantised(weights[4], None, 0 if weights[4].stored.tensor.size > 1 else None, factor=weights[1])
    elif op in _WITHOUT_SCALE:
        codes, zero_point, axis = _WITHOUT_SCALE[op]
        if codes in weights and weights[codes].name.endswith(_CODES):
            held = named(weights[codes].name.removesuffix(_CODES) + "_scale")
            if held is not None and held.stored.tensor.dtype.startswith(("float", "bfloat")):
                found[codes] = _along(weights[codes], held, weights.get(zero_point), axis)
    return {number: each for number, each in found.items() if each.scale.stored.tensor.size <= MAX_SCALES}


def _along(codes: Value, scale: Value, zero_point: Value | None, axis: int) -> Quantised:
    return Quantised(scale, zero_point, axis if scale.stored.tensor.size > 1 else None)


def dequantised(
    tensor: wexport.Tensor,
    view: tuple[int, ...] | None,
    axes: tuple[int, ...] | None,
    quantised: Quantised,
    array: Callable[[Value], Array],
) -> wexport.Tensor:
    """A tensor of codes as the values that they stand for; as it is where scale and shape do not fit together.

    view, axes: how the node that dequantises sees it. array: the values of a constant.
    """
    shape = tensor.shape if view is None else view
    scale, zero_point = quantised.scale, quantised.zero_point
    stretch = _stretch(shape, axes, quantised)
    if stretch is None:
        return tensor
    outer, length, inner = stretch
    groups = -(-length // quantised.block)
    due = outer * groups * inner if quantised.block > 1 else groups
    if quantised.axis is None:
        due = 1
    if scale.stored.tensor.size != due or (zero_point is not None and zero_point.stored.tensor.size not in (1, due)):
        return tensor

    def read(limit: int) -> Iterator[Array]:
        scales = array(scale).astype(np.float32).reshape(-1)
        zeros = None if zero_point is None else array(zero_point).astype(np.float32).reshape(-1)
        if quantised.factor is not None:
            scales = scales * array(quantised.factor).astype(np.float32).reshape(-1)
        place = 0
        for chunk in tensor.chunks(max(1, limit // 16)):
            values = chunk.astype(np.float32)
            group: Any = slice(None)
            if due > 1:
                at = np.arange(place, place + chunk.size)
                group = at // inner % length // quantised.block
                if quantised.block > 1:
                    group = (at // (length * inner) * groups + group) * inner + at % inner
            place += chunk.size
            if zeros is not None:
                values -= zeros[group] if zeros.size > 1 else zeros
            yield values * (scales[group] if due > 1 else scales)

    encoding = {"scale": scale.name, "zero_point": zero_point.name if zero_point else None, "axis": quantised.axis}
    if quantised.block > 1:
        encoding["block_size"] = quantised.block
    if quantised.factor is not None:
        encoding["factor"] = quantised.factor.name
    return replace(
        tensor,
        chunks=read,
        value_dtype="float32",
        layer_config={**(tensor.layer_config or {}), "quantised": encoding},
    )


def _stretch(shape: tuple[int, ...], axes: tuple[int, ...] | None, quantised: Quantised) -> tuple[int, int, int] | None:
    """How many values stand before, along and behind the axis that scales run along, as stored."""
    if quantised.axis is None:
        return 1, math.prod(shape), 1
    axis = quantised.axis + len(shape) if quantised.axis < 0 else quantised.axis
    if not 0 <= axis < len(shape) or (quantised.block > 1 and axes is not None):
        return None
    axis = axis if axes is None else axes[axis]
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


# -- several codes in a byte -------------------------------------------------------------------------------------------


def unpacked(
    tensor: wexport.Tensor,
    attributes: Attributes,
    scale: wexport.Tensor,
    zero_point: wexport.Tensor | None,
) -> wexport.Tensor | None:
    """The matrix (N, K) of a MatMulNBits, whose codes stand in blocks of a row; None if the shapes do not fit."""
    count, length = attributes.integer("N", 0), attributes.integer("K", 0)
    bits, block = attributes.integer("bits", 4), attributes.integer("block_size", 0)
    if bits not in (2, 4, 8) or block < 1 or count < 1 or length < 1 or tensor.dtype != "uint8":
        return None
    groups = -(-length // block)
    row_bytes = groups * (block * bits // 8)
    if tensor.size != count * row_bytes or scale.size != count * groups or scale.size > MAX_SCALES:
        return None
    packed_zeros = -(-groups * bits // 8)
    if zero_point is not None and zero_point.size not in (count * packed_zeros, count * groups):
        return None

    def read(limit: int) -> Iterator[Array]:
        scales = _whole(scale).astype(np.float32).reshape(count, groups)
        zeros: Array = np.full((count, groups), float(1 << bits - 1), np.float32)
        if zero_point is not None:
            held = _whole(zero_point)
            if zero_point.dtype == "uint8":
                held = _codes(held.reshape(count, packed_zeros), bits)[:, :groups]
            zeros = held.astype(np.float32).reshape(count, groups)
        row = 0
        for rows in chunks.in_rows(tensor.chunks, row_bytes, max(1, limit // (16 * groups * block))):
            codes = _codes(rows, bits).reshape(len(rows), groups, block).astype(np.float32)
            codes -= zeros[row : row + len(rows), :, None]
            codes *= scales[row : row + len(rows), :, None]
            row += len(rows)
            flat = codes.reshape(len(rows), -1)[:, :length].reshape(-1)
            step = max(1, limit // 4)
            for start in range(0, flat.size, step):
                yield flat[start : start + step]

    encoding = {"scale": scale.name, "zero_point": zero_point.name if zero_point else None, "block_size": block}
    return replace(
        tensor,
        shape=(count, length),
        dtype=f"uint{bits}",
        value_dtype="float32",
        chunks=read,
        layer_config={"quantised": encoding},
    )


def _codes(data: Array, bits: int) -> Array:
    """The codes of bytes, the first in the lowest bits, along the last axis."""
    if bits == 8:
        return data
    parts = [data >> shift & (1 << bits) - 1 for shift in range(0, 8, bits)]
    return np.stack(parts, -1).reshape(*data.shape[:-1], -1)


def _whole(tensor: wexport.Tensor) -> Array:
    parts = [chunk.copy() for chunk in tensor.chunks(1 << 20)]
    return np.concatenate(parts) if parts else np.empty(0, np.float32)
