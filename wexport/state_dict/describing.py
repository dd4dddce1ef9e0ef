"""Each tensor of a state dict with what its module tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

from wexport.model import roles
from wexport.model.tensors import Node, Tensor
from wexport.state_dict import convolutions, recurrent, words
from wexport.state_dict.tree import COUNTER, Module, is_float, modules, natural, split, tree_of

_PARAMETERS = frozenset({"weight", "bias", "running_mean", "running_var", COUNTER, "in_proj_weight", "in_proj_bias"})
_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
    COUNTER: "count",
}
_ROLES = (
    "kernel",
    "embeddings",
    "recurrent_kernel",
    "bias",
    "gamma",
    "beta",
    "moving_mean",
    "moving_variance",
    "count",
)
_WRAPPERS = frozenset({"module", "_orig_mod"})
"""What DataParallel and `torch.compile` put before every name; no layer of the model."""


def looks_like_torch(names: Iterable[str]) -> bool:
    """Whether names are those of a state dict: with dots, and some ending in a word of torch's own."""
    ends = [name.rpartition(".")[2] for name in names if "/" not in name and "." in name]
    return any(end in _PARAMETERS or recurrent.is_parameter(end) for end in ends)


def describe(tensors: Sequence[Tensor], *, ordered: bool) -> list[Tensor]:
    """The tensors of a state dict with layer, lineage, class, role, layout, direction and trainable, as far as known.

    tensors: with names, shapes, types and chunks. ordered: whether they stand in the order of the state dict; only then
    is there a `layer_index`. Else they are given back layer by layer in the order of names, numbers by their value, and
    in each layer as Keras orders its weights.

    Roles, classes and layouts do not depend on the order: the same model in another container is told the same.
    `layer_class` is Keras 3's name of the class that computes the same. The two biases of an LSTM or RNN become one,
    their sum, which is all that counts, and a GRU's become one of two rows; their names are joined.
    """
    everything = list(modules(tree_of(tensors)))
    wrapped = _wrappers(tensors)
    depthwise = not any(convolutions.sees_one_channel(module) for module in everything)
    conv1d = _holds_conv1d(everything)
    place = {tensor.name: number for number, tensor in enumerate(tensors)}
    found: dict[int, Tensor] = {}
    for module in everything:
        stacked = recurrent.infer_roles(module)
        if stacked is not None:
            for layer in stacked:
                for first, tensor in layer.tensors:
                    found[place[first]] = _placed(tensor, module.path, wrapped, layer.sublayer, layer.direction)
            continue
        for tensor in _described(module, depthwise=depthwise, conv1d=conv1d):
            found[place[tensor.name]] = _placed(tensor, module.path, wrapped)
    described = [found[number] for number in sorted(found)]
    return _numbered(described) if ordered else sorted(described, key=_by_name)


def _by_name(tensor: Tensor) -> tuple[object, ...]:
    layer = natural(".".join(node.name for node in tensor.lineage))
    place = _ROLES.index(tensor.role) if tensor.role in _ROLES else len(_ROLES)
    return layer, tensor.direction == "backward", place, natural(tensor.name)


def _wrappers(tensors: Sequence[Tensor]) -> int:
    """How many components all names begin with that are not layers."""
    first = split(tensors[0].name) if tensors else []
    count = next((number for number, part in enumerate(first) if part not in _WRAPPERS), 0)
    return count if all(split(tensor.name)[:count] == first[:count] for tensor in tensors) else 0


def _placed(
    tensor: Tensor, path: tuple[str, ...], wrapped: int, sublayer: str | None = None, direction: str | None = None
) -> Tensor:
    """The tensor with its place in the layer tree. The names are the model's own, so slots take them as they stand."""
    parts = path if sublayer is None else (*path, sublayer)
    trainable = False if tensor.role in roles.NON_TRAINED else tensor.trainable
    leaf = tensor.slot_leaf
    if leaf is None and tensor.role == "unknown":
        leaf = split(tensor.name)[-1]
    return replace(
        tensor,
        layer="/".join(parts) or None,
        lineage=tuple(map(_node, parts[wrapped:])),
        direction=direction,
        trainable=trainable,
        slot_leaf=leaf,
    )


@lru_cache(4096)  # thousands of names have the same few words, and share what is made of them
def _node(part: str) -> Node:
    return Node(part, fixed=True)


def _numbered(tensors: Sequence[Tensor]) -> list[Tensor]:
    """The tensors with the number of their layer, in the order in which layers are met."""
    numbers: dict[str | None, int] = {}
    return [replace(tensor, layer_index=numbers.setdefault(tensor.layer, len(numbers))) for tensor in tensors]


# -- one module --------------------------------------------------------------------------------------------------------


def _described(module: Module, *, depthwise: bool, conv1d: bool) -> Iterator[Tensor]:
    """The tensors of a module that is not recurrent, with role, class and layout."""
    if any(tensor.role != "unknown" for tensor in module.tensors.values()):
        yield from _known(module)
    elif not all(is_float(tensor) for name, tensor in module.tensors.items() if name != COUNTER):
        yield from module.tensors.values()
    elif module.is_batch_norm:
        for name, tensor in module.tensors.items():
            yield _vector(tensor, _BATCH_NORM[name], "BatchNormalization")
    elif convolutions.is_convolution(module):
        yield from convolutions.infer_roles(module, depthwise).values()
    else:
        yield from _of_weight_and_bias(module, conv1d)


def _known(module: Module) -> Iterator[Tensor]:
    """A module of which a decoder has told the kernel, (inputs, units): its bias is known by its length."""
    weight = module.tensors.get("weight")
    for name, tensor in module.tensors.items():
        fits = weight is not None and name == "bias" and tensor.shape == weight.shape[-1:]
        yield _vector(tensor, "bias", "Dense") if fits and tensor.role == "unknown" else tensor


def _of_weight_and_bias(module: Module, conv1d: bool) -> Iterator[Tensor]:
    weight, bias = module.shape("weight"), module.shape("bias")
    whole = module.has("weight", "bias") or module.has("weight")
    roles_found: dict[str, str] = {}
    if not whole or weight is None:
        gamma, beta = module.shape("gamma"), module.shape("beta")
        if module.has("gamma", "beta") and gamma == beta and gamma is not None and len(gamma) == 1:
            roles_found = {"gamma": "gamma", "beta": "beta"}  # LayerNorm of BERT, as it was first converted
    elif len(weight) == 2 and bias is None:
        yield _matrix(module)
        return
    elif len(weight) == 2 and bias is not None and len(bias) == 1:
        yield from _linear(module, conv1d)
        return
    elif weight == bias and (
        len(weight) == 1 or not {0, 1} & set(weight)
    ):  # LayerNorm, GroupNorm, or a BatchNorm that counts nothing
        roles_found = {"weight": "gamma", "bias": "beta"}
    elif len(weight) == 1 and bias is None and words.is_norm(module.path):
        roles_found = {"weight": "gamma"}
    elif len(weight) == 1 and bias is None and words.is_prelu(module.path):
        roles_found = {"weight": "alpha"}
    for name, tensor in module.tensors.items():
        yield _vector(tensor, roles_found[name], None) if name in roles_found else tensor


def _matrix(module: Module) -> Tensor:
    """A two-dimensional weight on its own: of a Linear, (units, inputs), or an Embedding, (words, features)."""
    tensor = module.tensors["weight"]
    if words.is_embedding(module.path) or (words.may_be_embedding(module.path) and _feeds_recurrent(module)):
        layout = roles.layout("Embedding", "embeddings", tensor.shape)
        return replace(tensor, role="embeddings", layer_class="Embedding", layout=layout)
    if words.is_linear(module.path, module.siblings):
        return _kernel(tensor, (1, 0))
    return tensor


def _feeds_recurrent(module: Module) -> bool:
    """Whether a recurrent layer beside it takes as many features as an Embedding would give, and a Linear would not."""
    rows, columns = module.tensors["weight"].shape
    siblings = module.parent.children.values() if module.parent else ()
    kernels = [kernel for sibling in siblings if (kernel := sibling.shape("weight_ih_l0"))]
    return rows != columns and bool(kernels) and all(kernel[1:] == (columns,) for kernel in kernels)


def _linear(module: Module, conv1d: bool) -> Iterator[Tensor]:
    """A matrix and a vector: Linear, unless the names are those of GPT-2, where it may be (inputs, units)."""
    weight, bias = module.tensors["weight"], module.tensors["bias"]
    rows, columns = weight.shape
    count = bias.shape[0]
    turned: bool | None = None
    if module.path and module.path[-1] in words.CONV1D:
        if count == columns and (rows != columns or conv1d):
            turned = False
        elif count == rows != columns:
            turned = True
        elif count != rows:
            yield from module.tensors.values()
            return
    elif count == rows:
        turned = True
    else:
        yield from module.tensors.values()
        return
    if turned is None:
        yield replace(weight, role="kernel")
        yield _vector(bias, "bias", None)
    else:
        yield _kernel(weight, (1, 0) if turned else None)
        yield _vector(bias, "bias", "Dense")


def _holds_conv1d(everything: Iterable[Module]) -> bool:
    """Whether the shapes show that modules of these names hold (inputs, units), and none holds (units, inputs)."""
    found = set()
    for module in everything:
        weight, bias = module.shape("weight"), module.shape("bias")
        named = module.path and module.path[-1] in words.CONV1D and module.has("weight", "bias")
        if named and weight and bias and len(weight) == 2 and weight[0] != weight[1]:
            found.add(bias == weight[1:])
    return found == {True}


def _kernel(tensor: Tensor, permutation: tuple[int, ...] | None) -> Tensor:
    layout = roles.layout("Dense", "kernel", tensor.shape, permutation=permutation)
    return replace(tensor, role="kernel", layer_class="Dense", layout=layout)


def _vector(tensor: Tensor, role: str, layer_class: str | None) -> Tensor:
    return replace(tensor, role=role, layer_class=layer_class, layout=roles.layout(layer_class, role, tensor.shape))
