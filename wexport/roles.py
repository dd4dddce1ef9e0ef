"""Meaning shared by all frameworks: the words for roles, the canonical layout, and the slot of a tensor.

The canonical layout is Keras 3's: a Dense kernel is (inputs, units), a convolution's (*window, inputs, filters),
gates are equal blocks along the last axis, in the order i f c o (LSTM) and z r h (GRU).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from wexport.tensors import Layout, Node, Tensor

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

STATISTICS = frozenset(
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
    cudnn_kernel: bool = False,
) -> Layout:
    """The layout of a tensor of one of Keras' classes.

    layer_class: Keras 3's name of the class, also for other frameworks' layers that compute the same.
    shape: as stored. view, permutation: how it becomes canonical, as in `Layout`.
    gate_names: in stored order, where the class does not tell or the file's order is not Keras'.
    cudnn_kernel: as in `Layout`.

    Axes that class, role and rank do not tell are left empty. A torch Linear, whose weight is (units, inputs):

    >>> layout("Dense", "kernel", (10, 784), permutation=(1, 0)).unit_axes
    (1,)
    """
    rest = Layout(view=view, permutation=permutation, cudnn_kernel=cudnn_kernel)
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
        cudnn_kernel=cudnn_kernel,
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
    return replace(tensor, role=role, layer=layer or None, trainable=False if role in STATISTICS else None)


def snake_case(class_name: str) -> str:
    """A class name the way Keras 3 writes it in names and groups.

    >>> snake_case("BatchNormalization"), snake_case("Conv2D"), snake_case("PReLU")
    ('batch_normalization', 'conv2d', 'p_re_lu')
    """
    name = re.sub(r"\W+", "", class_name)
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()


# -- slots ---------------------------------------------------------------------------------------------------


def slots(tensors: Sequence[Tensor]) -> list[str]:
    """The slot of each tensor of one model, unique among the tensors of its kind.

    A slot is the path of the layer tree, then the direction, then the leaf. A layer of known class is called by it
    and by its place among the weight-bearing siblings of that class (`dense`, `dense_1`); one of unknown class by its
    name's stem and the rank of its trailing number among the siblings of that stem; so automatic numbers, which
    differ from run to run, do not matter. Two tensors that would still be called the same are told apart by `~2`,
    `~3`, ... in their order.
    """
    found = [""] * len(tensors)
    for kind in dict.fromkeys(tensor.kind for tensor in tensors):
        places = [place for place, tensor in enumerate(tensors) if tensor.kind == kind]
        names = _slots([tensors[place] for place in places])
        for place, name in zip(places, names, strict=True):
            found[place] = name
    return found


class _Branch:
    """A node of the layer tree of all tensors: its children in order of appearance."""

    def __init__(self) -> None:
        self.children: dict[Node, _Branch] = {}
        self.components: dict[Node, str] = {}

    def grow(self, lineage: tuple[Node, ...]) -> None:
        here = self
        for node in lineage:
            here = here.children.setdefault(node, _Branch())

    def name(self) -> None:
        """Give every node below its component, no two children of a node the same."""
        waiting = [self]
        while waiting:
            branch = waiting.pop()
            taken: set[str] = set()
            components = _components(list(branch.children))
            for node, component in zip(branch.children, components, strict=True):
                branch.components[node] = _free(component, taken)
            waiting += branch.children.values()

    def path(self, lineage: tuple[Node, ...]) -> list[str]:
        here, parts = self, []
        for node in lineage:
            parts.append(here.components[node])
            here = here.children[node]
        return parts


def _slots(tensors: list[Tensor]) -> list[str]:
    root = _Branch()
    lineages = [tensor.lineage or _lineage_of_name(tensor.name) for tensor in tensors]
    for lineage in lineages:
        root.grow(lineage)
    root.name()
    taken: set[str] = set()
    found = []
    for tensor, lineage in zip(tensors, lineages, strict=True):
        if tensor.slot is not None:
            found.append(_free(tensor.slot, taken))
            continue
        direction = [tensor.direction] if tensor.direction else []
        found.append(_free("/".join([*root.path(lineage), *direction, _leaf(tensor)]), taken))
    return found


def _lineage_of_name(name: str) -> tuple[Node, ...]:
    return tuple(Node(part) for part in name.split("/")[:-1] if part)


def _leaf(tensor: Tensor) -> str:
    if tensor.slot_leaf is not None:
        return tensor.slot_leaf
    if tensor.role != "unknown":
        return f"{tensor.role}_{tensor.gate}" if tensor.gate else tensor.role
    if tensor.variable_index is not None:
        return str(tensor.variable_index)
    return tensor.name.rsplit("/", 1)[-1]


def _components(siblings: list[Node]) -> list[str]:
    """What siblings are called in a slot; two may still get the same word."""
    numbered: dict[str, list[tuple[int, str]]] = {}
    for node in siblings:
        if not node.fixed and node.class_name is None:
            stem, number = _stem(node.name)
            numbered.setdefault(stem, []).append((number, node.name))
    ranks = {name: (stem, rank) for stem, names in numbered.items() for rank, (_, name) in enumerate(sorted(names))}
    counts: dict[str, int] = {}
    found = []
    for node in siblings:
        if node.fixed:
            found.append(node.name)
            continue
        if node.class_name is None:
            stem, rank = ranks[node.name]
        else:
            stem = snake_case(node.class_name)
            rank = counts.get(stem, 0)
            counts[stem] = rank + 1
        found.append(f"{stem}_{rank}" if rank else stem)
    return found


def _stem(name: str) -> tuple[str, int]:
    """`gru_12` is ("gru", 12), `gru` comes before `gru_0`; a name that is all number is its own stem."""
    match = re.fullmatch(r"(.*[^0-9_]|.+(?=_))_?([0-9]{1,18})", name, re.DOTALL)
    return (match[1], int(match[2])) if match else (name, -1)


def _free(wanted: str, taken: set[str]) -> str:
    name, number = wanted, 2
    while name in taken:
        name, number = f"{wanted}~{number}", number + 1
    taken.add(name)
    return name
