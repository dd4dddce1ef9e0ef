"""What an operator's inputs are: kernel, bias, gamma, ..., their layout, and which layer of Keras' computes the same.

Source: the operators' definitions, https://onnx.ai/onnx/operators/. Convolutions are (out, in, *window), their
transposed form (in, out, *window), and a Gemm's matrix is (in, out), or (out, in) with transB.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import wexport
from wexport_onnx.nodes import Attributes
from wexport_onnx.nouns import Meaning, Part, Shape, Shapes
from wexport_onnx.quantised import unpacked
from wexport_onnx.recurrent import recurrent
from wexport_onnx.values import Value


def meaning(op: str, attributes: Attributes, shapes: Shapes, inputs: int) -> Meaning | None:
    """What a node of one of ONNX's own operators is; None if none of its inputs is a weight by definition.

    inputs: how many inputs the node has.
    """
    if op in _RECURRENT and not attributes.referring:
        return recurrent(op, attributes, shapes)
    if op in _CONVOLUTIONS:
        return _convolution(op, attributes, shapes, inputs)
    if op in _MATRIX:
        return _matrix(op, attributes, shapes, inputs)
    if op in _NORMALIZATIONS:
        roles = _NORMALIZATIONS[op]
        vectors = {number: (Part(role=role),) for number, role in roles.items() if number in shapes}
        return Meaning(layer_class=op, parts=vectors) if vectors else None
    if op == "PRelu" and 1 in shapes:
        return Meaning(layer_class="PReLU", parts={1: (_slope(shapes[1]),)})
    if op == "Gather" and 0 in shapes and 1 not in shapes and attributes.integer("axis", 0) == 0:
        shape = shapes[0]
        if shape is None or len(shape) == 2:
            return Meaning(layer_class="Embedding", parts={0: (Part(role="embeddings", known=shape is not None),)})
    return None


_RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
# Numbers of the inputs: kernel, bias and the kernel's scale.
_CONVOLUTIONS: dict[str, tuple[int, int | None, int | None]] = {
    "Conv": (1, 2, None),
    "ConvTranspose": (1, 2, None),
    "QLinearConv": (3, 8, 4),
    "ConvInteger": (1, None, None),
}
# Numbers of the inputs: left and right matrix, and the right one's scale.
_MATRIX: dict[str, tuple[int, int, int | None]] = {
    "Gemm": (0, 1, None),
    "MatMul": (0, 1, None),
    "QLinearMatMul": (0, 3, 4),
    "MatMulInteger": (0, 1, None),
}
_NORMALIZATIONS = {
    "BatchNormalization": {1: "gamma", 2: "beta", 3: "moving_mean", 4: "moving_variance"},
    "InstanceNormalization": {1: "gamma", 2: "beta"},
    "LayerNormalization": {1: "gamma", 2: "beta"},
    "GroupNormalization": {1: "gamma", 2: "beta"},
    "RMSNormalization": {1: "scale"},
}


def _convolution(op: str, attributes: Attributes, shapes: Shapes, inputs: int) -> Meaning | None:
    kernel, bias, scale = _CONVOLUTIONS[op]
    if kernel not in shapes:
        return None
    shape = shapes[kernel]
    quantised = op in ("QLinearConv", "ConvInteger")
    name = op
    part = Part(role="kernel", known=False)
    units = trailing = 0
    if shape is not None and 3 <= len(shape) <= 5 and not attributes.referring:
        trailing = len(shape) - 2
        name, part = _kernel(op, attributes.integer("group", 1), shape)
        units = shape[1] if op == "ConvTranspose" else shape[0]
    parts = {kernel: (part,)}
    if bias is not None and bias in shapes:
        parts[bias] = (Part(role="bias"),)
    if scale is not None and scale in shapes:
        parts[scale] = (Part(role="scale"),)
    separate = inputs > (bias or inputs)
    return Meaning(
        layer_class=op if quantised else name,
        parts=parts,
        computes=name,
        units=0 if separate or quantised else units,
        trailing=trailing,
    )


def _kernel(op: str, groups: int, shape: Shape) -> tuple[str, Part]:
    """The class and the kernel of a convolution, whose window has from one to three axes."""
    window = len(shape) - 2
    if op == "ConvTranspose":
        if groups != 1:  # which Keras has not
            return op, Part(role="kernel", known=False)
        return f"Conv{window}DTranspose", Part(role="kernel", permutation=(*range(2, len(shape)), 1, 0))
    if groups > 1 and shape[1] == 1 and shape[0] % groups == 0 and window < 3:
        # Each input channel has its own filters, which stand one after the other.
        view = (groups, shape[0] // groups, *shape[2:])
        return f"DepthwiseConv{window}D", Part(role="kernel", view=view, permutation=(*range(2, len(view)), 0, 1))
    return f"Conv{window}D", Part(role="kernel", permutation=(*range(2, len(shape)), 1, 0))


def _matrix(op: str, attributes: Attributes, shapes: Shapes, inputs: int) -> Meaning | None:
    left, right, scale = _MATRIX[op]
    if (left in shapes) == (right in shapes):
        return None  # two constants, or two results
    if left in shapes:
        return Meaning(layer_class=op, parts={left: (Part(role="kernel", known=False),)})
    shape = shapes[right]
    if shape is None or len(shape) != 2 or attributes.referring:
        return Meaning(layer_class=op, parts={right: (Part(role="kernel", known=False),)})
    turned = op == "Gemm" and attributes.integer("transB", 0) != 0
    units = shape[0] if turned else shape[1]
    parts = {right: (Part(role="kernel", permutation=(1, 0) if turned else None),)}
    if scale is not None and scale in shapes:
        parts[scale] = (Part(role="scale"),)
    plain = op in ("Gemm", "MatMul")
    if op == "Gemm":
        vector = shapes.get(2)
        if vector is not None and vector in ((units,), (1, units)):
            parts[2] = (Part(role="bias", view=(units,)),)
        scaled = attributes.number("alpha", 1.0) != 1.0 or (inputs > 2 and attributes.number("beta", 1.0) != 1.0)
        plain = not scaled and not attributes.integer("transA", 0)
    open_ = plain and (op == "MatMul" or inputs == 2)
    return Meaning(layer_class="Dense" if plain else op, parts=parts, computes="Dense", units=units if open_ else 0)


def matrix_of_codes(op: str, attributes: Attributes, weights: Mapping[int, Value]) -> Meaning | None:
    """What a matrix product of onnxruntime's is, whose right matrix is stored as integers, with scales beside it."""
    if op == "MatMulNBits" and {1, 2} <= weights.keys() and 4 not in weights:
        zero_point = weights.get(3)
        scale = weights[2].stored.tensor
        zeros = zero_point.stored.tensor if zero_point is not None else None
        if unpacked(weights[1].stored.tensor, attributes, scale, zeros) is None or attributes.referring:
            return None

        def take(tensor: wexport.Tensor) -> wexport.Tensor:
            found = unpacked(tensor, attributes, scale, zeros)
            return tensor if found is None else found

        parts = {1: (Part(role="kernel", permutation=(1, 0), take=take),), 2: _scale(), 3: _zero_point()}
        return _codes(weights, parts, attributes.integer("N", 0), 5)
    if op not in _CODES or _CODES[op][0] not in weights:
        return None
    codes, scale_number, zero_number, bias = _CODES[op]
    shape = weights[codes].shape
    if shape is None or len(shape) != 2:
        return None
    turned = op == "QGemm" and attributes.integer("transB", 0) != 0
    kernel = Part(role="kernel", permutation=(1, 0) if turned else None)
    parts = {codes: (kernel,), scale_number: _scale(), zero_number: _zero_point()}
    return _codes(weights, parts, shape[0] if turned else shape[1], bias)


# Numbers of the inputs: codes, scale, zero point, bias.
_CODES: dict[str, tuple[int, int, int, int]] = {
    "DynamicQuantizeMatMul": (1, 2, 3, 4),
    "MatMulIntegerToFloat": (1, 3, 5, 6),
    "QGemm": (3, 4, 5, 6),
}


def _scale() -> tuple[Part, ...]:
    return (Part(role="scale", leaf="kernel_scale"),)


def _zero_point() -> tuple[Part, ...]:
    return (Part(leaf="kernel_zero_point"),)


def _codes(weights: Mapping[int, Value], parts: dict[int, tuple[Part, ...]], units: int, bias: int) -> Meaning:
    parts = {number: part for number, part in parts.items() if number in weights}
    if bias in weights and vector_length(weights[bias].shape) == units:
        parts[bias] = (Part(role="bias"),)
    return Meaning(layer_class="Dense", parts=parts, computes="Dense", units=0 if bias in weights else units)


def _slope(shape: Shape | None) -> Part:
    """A slope of its own for each channel is (channels, 1, 1) or (1, channels, 1, 1); Keras has (1, 1, channels)."""
    if shape is None:
        return Part(role="alpha", known=False)
    if len(shape) < 2:
        return Part(role="alpha")
    batch = len(shape) > 2 and shape[0] == 1
    channels, *rest = shape[1:] if batch else shape
    if any(length != 1 for length in rest):
        return Part(role="alpha", known=False)
    return Part(role="alpha", view=(*rest, channels))


def vector_length(shape: Shape | None) -> int | None:
    """The length of the one axis that is not 1; None for what is not a vector."""
    if shape is None or not shape or sum(length != 1 for length in shape) > 1:
        return None
    return math.prod(shape)


def one_dimensional(found: Meaning, name: str, shapes: Shapes) -> Meaning:
    """TensorFlow's Conv1D is exported as a convolution of windows one high, under its own name."""
    shape = shapes.get(1)
    called = {part.partition("_")[0].partition(":")[0] for part in name.split("/")}
    if found.layer_class != "Conv2D" or "Conv1D" not in called or shape is None or shape[2] != 1:
        return found
    kernel = Part(role="kernel", view=(*shape[:2], shape[3]), permutation=(2, 1, 0))
    return replace(found, layer_class="Conv1D", computes="Conv1D", parts={**found.parts, 1: (kernel,)})
