"""What Keras' layer classes are: their variables in order, with their roles.

Sources: the classes' `build` methods in Keras 1.2 to 3 and, for what is stored, `save_own_variables` (Keras 3) and
`preprocess_weights_for_loading` (Keras 2), which says how Keras itself reads older layouts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wexport.model import roles
from wexport.model.gates import CELLS, kind_of_blocks
from wexport.model.gates import LAYERS as RECURRENT

Shape = tuple[int, ...]
Config = Mapping[str, Any]

ATTENTION = frozenset({"MultiHeadAttention", "GroupedQueryAttention"})

_ALIASES = {
    "GroupQueryAttention": "GroupedQueryAttention",  # Keras 3's config has the first, its groups the second
    "BatchNormalizationV1": "BatchNormalization",  # TensorFlow 1.13 to 2.0
    "BatchNormalizationV2": "BatchNormalization",
    "UnifiedLSTM": "LSTM",
    "UnifiedGRU": "GRU",
}
_KERAS1_CLASSES = {
    "Convolution1D": "Conv1D",
    "Convolution2D": "Conv2D",
    "Convolution3D": "Conv3D",
    "AtrousConvolution1D": "Conv1D",
    "AtrousConvolution2D": "Conv2D",
    "AtrousConv1D": "Conv1D",
    "AtrousConv2D": "Conv2D",
    "Deconvolution2D": "Conv2DTranspose",
    "Deconv2D": "Conv2DTranspose",
    "Convolution2DTranspose": "Conv2DTranspose",
    "Convolution3DTranspose": "Conv3DTranspose",
    "SeparableConvolution1D": "SeparableConv1D",
    "SeparableConvolution2D": "SeparableConv2D",
}
_KERNEL_BIAS = frozenset(
    {f"Conv{n}D{t}" for n in (1, 2, 3) for t in ("", "Transpose")}
    | {"Dense", "EinsumDense", "LocallyConnected1D", "LocallyConnected2D", "DepthwiseConv1D"}
)
_WITHOUT_OWN = frozenset({"TimeDistributed", "Bidirectional", "RNN", "StackedRNNCells", "InputLayer"})
_BATCH_NORMALIZATION = frozenset({"BatchNormalization", "SyncBatchNormalization"})


def modern(class_name: str, config: Config) -> str:
    """Keras 3's name for a class: `Convolution2D` of Keras 1 is `Conv2D`; a registered package is cut off."""
    bare = class_name.rsplit(">", 1)[-1]
    return _KERAS1_CLASSES[bare] if is_keras1_convolution(bare, config) else _ALIASES.get(bare, bare)


def is_keras1_convolution(class_name: str, config: Config) -> bool:
    """Whether a layer is one of Keras 1's convolutions, not somebody's own class of that name."""
    return class_name in _KERAS1_CLASSES and "nb_filter" in config


def variables(class_name: str, config: Config) -> tuple[str, ...] | None:
    """Roles of a layer's own variables in `layer.weights` order, or None for a class or option that is not known.

    A recurrent layer's are those of its cell. A layer without variables has the empty tuple only where that is known.
    """
    name = modern(class_name, config)
    if name in _WITHOUT_OWN:
        return ()
    if config.get("lora_rank"):
        return None
    if name in _KERNEL_BIAS or name == "Embedding":
        return _with_scale(_kernel_bias(name, config), config)
    if name in RECURRENT or name in CELLS:
        bias = _flag(config, "use_bias") or name.startswith("CuDNN")
        return ("kernel", "recurrent_kernel", "bias") if bias else ("kernel", "recurrent_kernel")
    if name == "DepthwiseConv2D":
        return ("kernel", "bias") if _flag(config, "use_bias") else ("kernel",)
    if name in ("SeparableConv1D", "SeparableConv2D"):
        bias = _flag(config, "use_bias", "bias")
        return ("depthwise_kernel", "pointwise_kernel", "bias") if bias else ("depthwise_kernel", "pointwise_kernel")
    return _other_variables(name, config)


def _kernel_bias(name: str, config: Config) -> tuple[str, ...]:
    if name == "Embedding":
        return ("embeddings",)
    bias = config.get("bias_axes") is not None if name == "EinsumDense" else _flag(config, "use_bias", "bias")
    return ("kernel", "bias") if bias else ("kernel",)


def _with_scale(plain: tuple[str, ...], config: Config) -> tuple[str, ...] | None:
    """A layer quantised to int8 has a scale behind its variables, for which there is no role; other modes vary."""
    mode = quantization(config)
    if mode is None:
        return plain
    return (*plain, "unknown") if mode == "int8" else None


QUANTIZABLE = frozenset({"Dense", "EinsumDense", "Embedding"})


def quantization(config: Config) -> str | None:
    """The mode in which Keras 3 quantised a layer (`int8`), None if it did not."""
    name = dtype_policy(config)
    return name.partition("_from_")[0] if name is not None and "_from_" in name else None


def dtype_policy(config: Config) -> str | None:
    """The name of a layer's dtype policy, such as `float32` or `mixed_float16`."""
    dtype = config.get("dtype")
    if isinstance(dtype, Mapping) and isinstance(dtype.get("config"), Mapping):
        inner = dtype["config"]
        dtype = inner.get("name") or f"{inner.get('mode')}_from_{inner.get('source_name')}"
    return dtype if isinstance(dtype, str) else None


def _other_variables(name: str, config: Config) -> tuple[str, ...] | None:
    scale = ("gamma",) if _flag(config, "scale") else ()
    center = ("beta",) if _flag(config, "center") else ()
    if name in _BATCH_NORMALIZATION:
        return None if config.get("renorm") else (*scale, *center, "moving_mean", "moving_variance")
    if name in ("LayerNormalization", "GroupNormalization"):
        return ("gamma",) if config.get("rms_scaling") else (*scale, *center)
    if name == "PReLU":
        return ("alpha",)
    if name == "RMSNormalization":
        return ("scale",)
    if name == "SpectralNormalization":
        return ("vector_u",)
    if name == "AdditiveAttention":
        return ("scale",) if _flag(config, "use_scale") else ()
    if name == "Attention":
        score = ("concat_score_weight",) if config.get("score_mode") == "concat" else ()
        return (("scale",) if config.get("use_scale") else ()) + score
    return None


def _flag(config: Config, *names: str) -> bool:
    """An option of a config under any of its names; all of those asked for here default to True."""
    return all(config.get(name, True) is not False for name in names)


# -- what a Keras 3 group tells without a config -----------------------------------------------------------------


def infer_roles(group_class: str | None, shapes: Sequence[Shape]) -> tuple[str, ...] | None:
    """Roles that a group's class word, its number of variables and their shapes tell alone; None if they do not.

    group_class: the snake-case class, `cell` for a cell of whatever class, `attention part` for a
        dense part of an attention layer.
    This is what every container of one model knows, hence what slots are made of.
    """
    count = len(shapes)
    if group_class is None or not count:
        return None
    if group_class == "cell" or group_class in SNAKE_RECURRENT:
        return _told_cell(shapes)
    known = _TOLD.get(group_class, {}).get(count)
    if known and known[:2] == ("kernel", "bias") and not _bias_fits(group_class, shapes):
        return None
    return known


def _told_cell(shapes: Sequence[Shape]) -> tuple[str, ...] | None:
    if len(shapes) not in (2, 3):
        return None
    return ("kernel", "recurrent_kernel", "bias")[: len(shapes)] if cell_gate_count(shapes) else None


def cell_gate_count(shapes: Sequence[Shape]) -> int | None:
    """Gates of a recurrent cell by the shapes of kernel, recurrent kernel and, if any, bias; None if they do not fit.

    A recurrent kernel is (..., u, g x u); 4 gates are an LSTM's, 3 a GRU's, 1 a simple cell's.
    """
    kernel, recurrent = shapes[0], shapes[1]
    if len(recurrent) < 2 or len(kernel) != len(recurrent) or kernel[-1] != recurrent[-1] or not recurrent[-2]:
        return None
    count, rest = divmod(recurrent[-1], recurrent[-2])
    if rest or kind_of_blocks(count) is None:
        return None
    fits = [(recurrent[-1],), (2, recurrent[-1])]
    return count if len(shapes) < 3 or shapes[2] in fits else None


def _bias_fits(group_class: str, shapes: Sequence[Shape]) -> bool:
    kernel, bias = shapes
    if group_class in ("attention part", "einsum_dense") or group_class.startswith("locally"):
        return len(bias) <= len(kernel)
    if group_class.endswith("transpose"):
        return bias == kernel[-2:-1]
    if group_class.startswith("depthwise"):
        return len(kernel) > 1 and bias == (kernel[-2] * kernel[-1],)
    return bias == kernel[-1:]


SNAKE_RECURRENT = frozenset(roles.snake_case(name) for name in RECURRENT | CELLS)
_TOLD: dict[str, dict[int, tuple[str, ...]]] = {
    **{roles.snake_case(name): {1: ("kernel",), 2: ("kernel", "bias")} for name in _KERNEL_BIAS | {"DepthwiseConv2D"}},
    "batch_normalization": {
        2: ("moving_mean", "moving_variance"),
        4: ("gamma", "beta", "moving_mean", "moving_variance"),
    },
    "layer_normalization": {2: ("gamma", "beta")},
    "group_normalization": {2: ("gamma", "beta")},
    "rms_normalization": {1: ("scale",)},
    "embedding": {1: ("embeddings",)},
    "p_re_lu": {1: ("alpha",)},
    "separable_conv1d": {
        2: ("depthwise_kernel", "pointwise_kernel"),
        3: ("depthwise_kernel", "pointwise_kernel", "bias"),
    },
    "separable_conv2d": {
        2: ("depthwise_kernel", "pointwise_kernel"),
        3: ("depthwise_kernel", "pointwise_kernel", "bias"),
    },
    "attention part": {1: ("kernel",), 2: ("kernel", "bias")},
    "normalization": {2: ("mean", "variance"), 3: ("mean", "variance", "count")},
    "additive_attention": {1: ("scale",)},
    # It holds its layer's kernel a second time, under its own name.
    "spectral_normalization": {1: ("vector_u",), 2: ("kernel", "vector_u")},
}
CLASS_OF_GROUP = {
    roles.snake_case(name): name
    for name in (
        *_KERNEL_BIAS,
        *RECURRENT,
        *CELLS,
        *("BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization", "Embedding", "PReLU"),
        *("SeparableConv1D", "SeparableConv2D", "DepthwiseConv2D", "Normalization", "AdditiveAttention"),
        *("MultiHeadAttention", "GroupedQueryAttention", "SpectralNormalization"),
    )
    if not name.startswith("CuDNN")
}
"""Keras' own class behind a group's word."""
