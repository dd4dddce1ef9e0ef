"""What torch's own classes tell of their tensors, where a file names the class: modules that were saved whole.

A class proves what names and shapes leave open: a matrix of a Linear or an Embedding, the groups of a convolution.
Source of the shapes: torch.nn's documentation. `layer_class` is Keras 3's name of the class that computes the same.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from wexport import Tensor
from wexport.reading import roles
from wexport_torch.inert import Record, get
from wexport_torch.places import SCRIPT

MAX_WORDS = 40
"""Attributes that a layer's config holds at most."""
_MODULES = "torch.nn.modules."
_MANGLED = re.compile(r"\.?___torch_mangle_\d+")
_NORMS = {
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", "SyncBatchNorm"), "BatchNormalization"),
    "LayerNorm": "LayerNormalization",
    "GroupNorm": "GroupNormalization",
    "RMSNorm": "RMSNormalization",
}
_LINEAR = frozenset({"Linear", "NonDynamicallyQuantizableLinear"})
_CONVOLUTION = re.compile(r"Conv(Transpose)?([123])d")


def name_of(module: Record) -> str:
    """The class of a module, with its own module, as in "torch.nn.modules.conv.Conv2d"."""
    return _MANGLED.sub("", module.class_name.removeprefix(SCRIPT))


def described(tensor: Tensor, module: Record, parameter: str) -> Tensor:
    """A tensor with what the class of its module proves; what is known of it already stays where that is silent.

    parameter: what the module calls it.
    """
    name = name_of(module)
    config = {"class": name, **_config(module), **(tensor.layer_config or {})}
    tensor = replace(tensor, layer_config=config)
    if not name.startswith(_MODULES):
        return tensor if tensor.layer_class else replace(tensor, layer_class=name.rpartition(".")[2] or None)
    word = name.rpartition(".")[2]
    if word in _LINEAR and parameter in ("weight", "bias") and len(tensor.shape) == (2 if parameter == "weight" else 1):
        return _of(tensor, "Dense", "kernel" if parameter == "weight" else "bias", (1, 0))
    if word == "Embedding" and parameter == "weight":
        return _of(tensor, "Embedding", "embeddings", None)
    if word in _NORMS and parameter in ("weight", "bias"):
        return _of(tensor, _NORMS[word], "gamma" if parameter == "weight" else "beta", None)
    if word == "PReLU" and parameter == "weight":
        return _of(tensor, "PReLU", "alpha", None)
    convolution = _CONVOLUTION.fullmatch(word)
    if convolution and parameter in ("weight", "bias"):
        return _convolution(tensor, module, int(convolution[2]), bool(convolution[1]))
    return tensor if tensor.layer_class else replace(tensor, layer_class=word)


def _of(tensor: Tensor, layer_class: str, role: str, permutation: tuple[int, ...] | None) -> Tensor:
    order = permutation if permutation and len(permutation) == len(tensor.shape) else None
    layout = roles.layout(layer_class, role, tensor.shape, permutation=order)
    return replace(tensor, role=role, layer_class=layer_class, layout=layout, slot_leaf=None)


def _convolution(tensor: Tensor, module: Record, window: int, transposed: bool) -> Tensor:
    """Keras' transposed convolutions know no groups; where each channel has a filter of its own, it is depthwise."""
    groups, channels = (get(module.state, word) for word in ("groups", "in_channels"))
    known = type(groups) is int  # TorchScript keeps it in the code
    depthwise = known and groups == channels and groups > 1 and not transposed and window < 3
    layer_class: str | None = f"Conv{window}D{'Transpose' if transposed else ''}"
    if depthwise:
        layer_class = f"DepthwiseConv{window}D"
    elif transposed and (not known or groups != 1):
        layer_class = None
    if len(tensor.shape) != window + 2:
        role = "bias" if len(tensor.shape) == 1 else tensor.role
        return replace(tensor, role=role, layer_class=layer_class)
    first, second, *rest = tensor.shape
    if not known and second == 1 < first:
        return tensor  # it may be depthwise
    if not depthwise:
        return (
            _of(tensor, layer_class or "", "kernel", (*range(2, window + 2), 1, 0))
            if layer_class
            else replace(tensor, role="kernel", layer_class=None, layout=None, slot_leaf=None)
        )
    if second != 1 or first % groups:
        return tensor
    return replace(
        tensor,
        role="kernel",
        layer_class=layer_class,
        slot_leaf=None,
        layout=roles.layout(
            layer_class,
            "kernel",
            tensor.shape,
            view=(groups, first // groups, *rest),
            permutation=(*range(2, window + 2), 0, 1),
        ),
    )


def _config(module: Record) -> dict[str, Any]:
    """Its plain attributes: strides, groups, eps and the like."""
    found: dict[str, Any] = {}
    for key, value in module.attributes:
        if isinstance(key, str) and not key.startswith("_") and _is_plain(value) and len(found) < MAX_WORDS:
            found[key[:100]] = value
    return found


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return len(value) <= 8 and all(_is_number(item) for item in value)
    return value is None or (isinstance(value, str) and len(value) <= 100) or _is_number(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | float) or (isinstance(value, int) and value.bit_length() <= 64)
