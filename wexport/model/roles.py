"""Meaning shared by all frameworks: the words for roles, each declared once, and the canonical layout.

The canonical layout is Keras 3's: a Dense kernel is (inputs, units), a convolution's (*window, inputs, filters),
gates are equal blocks along the last axis, in the order that `model.gates` declares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from wexport.model.gates import CELLS, CONVOLUTIONS, KINDS
from wexport.model.gates import gates as gates  # to readers, the gates of a class are a thing of roles
from wexport.model.tensors import Layout, Tensor


@dataclass(frozen=True, slots=True)
class Role:
    """What a tensor does in its layer.

    name: the word, Keras 3's. doc: what it is.
    trained: False for what is counted or averaged while training, not trained: it is not part of similarity and drift.
    kernel: True for what holds the bulk of a layer's weights. Others may rightly be zero or constant, so that the
        health of kernels alone is judged.
    gated: whether a layer with gates has one block of it for each gate.
    """

    name: str
    doc: str
    trained: bool = True
    kernel: bool = False
    gated: bool = False


ROLES: Mapping[str, Role] = {
    role.name: role
    for role in (
        Role("kernel", "Weights from the inputs of a layer to its units.", kernel=True, gated=True),
        Role("recurrent_kernel", "Weights from the state of a recurrent layer to its units.", kernel=True, gated=True),
        Role("bias", "What is added to each unit.", gated=True),
        Role("recurrent_bias", "What is added to each unit with the state, where a class keeps it apart.", gated=True),
        Role("gamma", "Scale of a normalisation, a value a channel."),
        Role("beta", "Offset of a normalisation, a value a channel."),
        Role("moving_mean", "Mean of the inputs that a normalisation has seen while training.", trained=False),
        Role("moving_variance", "Variance of the inputs that a normalisation has seen while training.", trained=False),
        Role("moving_stddev", "Standard deviation of them, which renormalisation keeps.", trained=False),
        Role("renorm_mean", "Mean that batch renormalisation corrects by.", trained=False),
        Role("renorm_stddev", "Standard deviation that batch renormalisation corrects by.", trained=False),
        Role("embeddings", "A vector for each token.", kernel=True),
        Role("depthwise_kernel", "The window of each channel of a depthwise or separable convolution.", kernel=True),
        Role("pointwise_kernel", "Weights across the channels of a separable convolution.", kernel=True),
        Role("alpha", "Slopes of a PReLU below zero."),
        Role("scale", "Scale of a normalisation without offset, or of an attention."),
        Role("concat_score_weight", "Weight of the score of an attention that adds query and key."),
        Role(
            "vector_u", "Estimate of the first singular vector, by which spectral normalisation divides.", trained=False
        ),
        Role("mean", "Mean of the data that a Normalization layer was adapted to.", trained=False),
        Role("variance", "Variance of the data that a Normalization layer was adapted to.", trained=False),
        Role("count", "Number of values or batches seen.", trained=False),
        Role("input", "What a model that was run was given."),
        Role("output", "What a layer of a model that was run gave."),
        Role("unknown", "The file does not tell."),
    )
}
"""Every word that `Tensor.role` may be, with what it means."""

NON_TRAINED = frozenset(name for name, role in ROLES.items() if not role.trained)
"""Roles that are counted or averaged while training, not trained."""
KERNELS = frozenset(name for name, role in ROLES.items() if role.kernel)
"""Roles that hold the bulk of a layer's weights."""
GATED = tuple(name for name, role in ROLES.items() if role.gated)
"""Roles that have a block for each gate in a layer with gates."""

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
for _role in ("kernel", "recurrent_kernel"):
    for _n, _class in CONVOLUTIONS:
        _AXES[_class, _role] = _AXES[f"{_class}Cell", _role] = (_n + 2, *_LAST)
    for _class in (*CELLS, *(name for kind in KINDS for name in kind.layers)):
        _AXES[_class, _role] = (2, *_LAST)
# What the role alone tells, whatever the class.
_ROLE_AXES: dict[str, _Axes] = {"embeddings": (2, *_LAST)}


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
    if role not in GATED:
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
