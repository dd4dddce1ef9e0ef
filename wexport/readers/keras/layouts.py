"""How Keras' layers lay their variables out in memory, and how that becomes the layout of Keras 3.

Sources: Keras 2's `preprocess_weights_for_loading` and `_convert_rnn_weights`, which turn what older releases and the
CuDNN layers stored into what it uses itself.
"""

from __future__ import annotations

import re

from wexport.model import roles
from wexport.model.cudnn import transposed_by_gate
from wexport.model.tensors import Layout
from wexport.readers.keras.layers import Config, Shape, is_keras1_convolution, modern


def layout(
    class_name: str, config: Config, role: str, shape: Shape, *, part: str = "", gate: str | None = None
) -> Layout | None:
    """How a variable of one of Keras' classes is laid out; None where class and config do not tell.

    part: of an attention layer: "query", "key", "value", "gate" or "attention_output".
    gate: of Keras 1, where each gate has its own variables.
    """
    name = modern(class_name, config)
    if role == "unknown":
        return None
    if gate is not None:
        return _keras1_gate_layout(name, config, role, shape)
    if part:
        return _attention_layout(part, role, shape)
    if name == "EinsumDense":
        return _einsum_layout(config, role, shape)
    if name.startswith("CuDNN"):
        return _cudnn_layout(name, role, shape)
    if role in ("kernel", "depthwise_kernel", "pointwise_kernel") and is_keras1_convolution(class_name, config):
        return _keras1_layout(name, config, role, shape)
    return roles.layout(name, role, shape)


def _attention_layout(part: str, role: str, shape: Shape) -> Layout:
    """query, key, value: (features, heads, size); the output: (heads, size, features)."""
    if role != "kernel" or len(shape) != 3:
        return Layout()
    if part == "attention_output":
        return Layout(unit_axes=(2,), input_axes=(0, 1))
    return Layout(unit_axes=(1, 2), input_axes=(0,))


def _einsum_layout(config: Config, role: str, shape: Shape) -> Layout | None:
    match = re.fullmatch(r"([a-zA-Z.]+),([a-zA-Z]+)->([a-zA-Z.]+)", str(config.get("equation", "")).replace(" ", ""))
    if role != "kernel":
        return Layout()
    if match is None or len(match[2]) != len(shape):
        return None
    inputs, kernel, outputs = match.groups()
    return Layout(
        unit_axes=tuple(axis for axis, letter in enumerate(kernel) if letter in outputs and letter not in inputs),
        input_axes=tuple(axis for axis, letter in enumerate(kernel) if letter in inputs and letter not in outputs),
    )


def _cudnn_layout(name: str, role: str, shape: Shape) -> Layout:
    """CuDNNLSTM and CuDNNGRU of Keras 2: kernels transposed gate by gate, input and recurrent bias one after the other.

    Keras itself turns a block k into `k.T.reshape(k.shape, order="F")` and, for the recurrent kernel, `k.T`, which for
    a square block is the same.
    """
    if role == "bias":
        view = (2, shape[0] // 2) if len(shape) == 1 and shape[0] % 2 == 0 else None
        return roles.layout(name, role, shape, view=view)
    return transposed_by_gate(roles.layout(name, role, shape))


def _keras1_layout(name: str, config: Config, role: str, shape: Shape) -> Layout | None:
    """Keras 1's convolutions: (rows, columns, in, out), or (out, in, rows, columns) under `dim_ordering: th`."""
    theano = config.get("dim_ordering") == "th"
    if name == "Conv1D":
        return _keras1_conv1d(config, role, shape)
    if name == "Conv2DTranspose" and len(shape) == 4:
        return roles.layout(name, role, shape, permutation=(2, 3, 0, 1) if theano else (0, 1, 3, 2))
    if config.get("dim_ordering") not in ("th", "tf"):
        return None
    if not theano:
        return roles.layout(name, role, shape)
    return roles.layout(name, role, shape, permutation=(*range(2, len(shape)), 1, 0))


def _keras1_conv1d(config: Config, role: str, shape: Shape) -> Layout | None:
    """(length, 1, in, out), in Keras 1.0 (out, in, length, 1); told apart as Keras 2 does."""
    length, filters = config.get("filter_length"), config.get("nb_filter")
    if len(shape) != 4:
        return None
    if shape[:2] == (length, 1) and shape[3] == filters:
        return roles.layout("Conv1D", role, shape, view=(shape[0], *shape[2:]))
    if shape[0] == filters and shape[2:] == (length, 1):
        return roles.layout("Conv1D", role, shape, view=shape[:3], permutation=(2, 1, 0))
    return None


def _keras1_gate_layout(name: str, config: Config, role: str, shape: Shape) -> Layout | None:
    """One gate of a recurrent layer of Keras 1: (in, units), or a convolution's kernel in either order."""
    if len(shape) == 4 and config.get("dim_ordering") == "th":
        return roles.layout(name, role, shape, permutation=(2, 3, 1, 0), gate_names=())
    if len(shape) == 4 and config.get("dim_ordering") != "tf":
        return None
    return roles.layout(name, role, shape, gate_names=())
