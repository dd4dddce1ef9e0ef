"""Meaning shared by all frameworks: the words for roles, the canonical layout, and the slot of a tensor.

The canonical layout is Keras 3's: a Dense kernel is (inputs, units), a convolution's (*window, inputs, filters),
gates are equal blocks along the last axis, in the order i f c o (LSTM) and z r h (GRU).
"""

from __future__ import annotations

import re
from dataclasses import replace

from wexport.model.tensors import Layout, Tensor

ROLES = frozenset(
    {
        "kernel",
        "recurrent_kernel",
        "bias",
        "recurrent_bias",
        "gamma",
        "beta",
        "moving_mean",
        "moving_variance",
        "moving_stddev",
        "renorm_mean",
        "renorm_stddev",
        "embeddings",
        "depthwise_kernel",
        "pointwise_kernel",
        "alpha",
        "scale",
        "concat_score_weight",
        "vector_u",
        "mean",
        "variance",
        "count",
        "input",
        "output",
        "unknown",
    }
)
"""Every word that `Tensor.role` may be."""

NON_TRAINED = frozenset(
    {"moving_mean", "moving_variance", "moving_stddev", "renorm_mean", "renorm_stddev", "mean", "variance"}
    | {"count", "vector_u"}
)
"""Roles that are counted or averaged while training, not trained."""

_LSTM, _GRU = ("i", "f", "c", "o"), ("z", "r", "h")
_GATES = {
    **dict.fromkeys(("LSTM", "LSTMCell", "CuDNNLSTM"), _LSTM),
    **dict.fromkeys(("ConvLSTM1D", "ConvLSTM2D", "ConvLSTM3D"), _LSTM),
    **dict.fromkeys(("ConvLSTM1DCell", "ConvLSTM2DCell", "ConvLSTM3DCell"), _LSTM),
    **dict.fromkeys(("GRU", "GRUCell", "CuDNNGRU"), _GRU),
}

# (rank of the kernel, unit axes, input axes), the axes counted from the end, for each class and role.
_Axes = tuple[int, tuple[int, ...], tuple[int, ...]]
_LAST: tuple[tuple[int, ...], tuple[int, ...]] = ((-1,), (-2,))
_AXES: dict[tuple[str, str], _Axes] = {("Dense", "kernel"): (2, *_LAST), ("Embedding", "embeddings"): (2, *_LAST)}
for _n in (1, 2, 3):
    _AXES |= {
        (f"Conv{_n}D", "kernel"): (_n + 2, *_LAST),
        (f"Conv{_n}DTranspose", "kernel"): (_n + 2, (-2,), (-1,)),
        (f"DepthwiseConv{_n}D", "kernel"): (_n + 2, (-2, -1), (-2,)),
        (f"DepthwiseConv{_n}D", "depthwise_kernel"): (_n + 2, (-2, -1), (-2,)),
        (f"SeparableConv{_n}D", "depthwise_kernel"): (_n + 2, (-2, -1), (-2,)),
        (f"SeparableConv{_n}D", "pointwise_kernel"): (_n + 2, *_LAST),
    }
    for _cell in ("", "Cell"):
        for _role in ("kernel", "recurrent_kernel"):
            _AXES[f"ConvLSTM{_n}D{_cell}", _role] = (_n + 2, *_LAST)
for _class in ("LSTM", "GRU", "SimpleRNN", "LSTMCell", "GRUCell", "SimpleRNNCell", "CuDNNLSTM", "CuDNNGRU"):
    for _role in ("kernel", "recurrent_kernel"):
        _AXES[_class, _role] = (2, *_LAST)
# What the role alone tells, whatever the class.
_ROLE_AXES: dict[str, _Axes] = {"embeddings": (2, *_LAST)}


def gates(layer_class: str | None) -> tuple[str, ...]:
    """Keras' order of the gates of a layer class; empty for a class without gates.

    >>> gates("GRU")
    ('z', 'r', 'h')
    """
    return _GATES.get(layer_class or "", ())


def layout(
    layer_class: str | None,
    role: str,
    shape: tuple[int, ...],
    *,
    view: tuple[int, ...] | None = None,
    permutation: tuple[int, ...] | None = None,
    gate_names: tuple[str, ...] | None = None,
) -> Layout:
    """The layout of a tensor of one of Keras' classes.

    layer_class: Keras 3's name of the class, also for other frameworks' layers that compute the same.
    shape: as stored. view, permutation: how it becomes canonical, as in `Layout`.
    gate_names: in stored order, where the class does not tell or the file's order is not Keras'.

    Axes that class, role and rank do not tell are left empty. A torch Linear, whose weight is (units, inputs):

    >>> layout("Dense", "kernel", (10, 784), permutation=(1, 0)).unit_axes
    (1,)
    """
    rest = Layout(view=view, permutation=permutation)
    canonical = rest.canonical_shape(shape)
    rank, units, inputs = _AXES.get((layer_class or "", role), _ROLE_AXES.get(role, (-1, (), ())))
    if rank != len(canonical):
        units, inputs = (), ()
    names = gates(layer_class) if gate_names is None else gate_names
    if role not in ("kernel", "recurrent_kernel", "bias", "recurrent_bias"):
        names = ()
    gated = bool(names) and bool(canonical) and canonical[-1] % len(names) == 0
    return Layout(
        view=view,
        permutation=permutation,
        unit_axes=tuple(axis % rank for axis in units),
        input_axes=tuple(axis % rank for axis in inputs),
        gates=names if gated else (),
        gate_axis=len(canonical) - 1 if gated else None,
    )


def by_name(tensor: Tensor) -> Tensor:
    """A tensor with what its name alone tells, in formats that hold names and arrays only.

    The role is the last part of the name, split at "/", if that is exactly a word of the vocabulary (`kernel`, also as
    `kernel:0`); what stands before is the layer. A tensor whose name ends in another word is left as it is.
    """
    layer, _, last = tensor.name.rpartition("/")
    role = last.removesuffix(":0")
    if role not in ROLES or role == "unknown":
        return tensor
    return replace(tensor, role=role, layer=layer or None, trainable=False if role in NON_TRAINED else None)


def snake_case(class_name: str) -> str:
    """A class name the way Keras 3 writes it in names and groups.

    >>> snake_case("BatchNormalization"), snake_case("Conv2D"), snake_case("PReLU")
    ('batch_normalization', 'conv2d', 'p_re_lu')
    """
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


# -- slots ---------------------------------------------------------------------------------------------------
