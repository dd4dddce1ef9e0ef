"""What the names of variables in a legacy file tell: exact words of Keras' own, and what shapes prove beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from wexport.model import gates, roles
from wexport.model.cudnn import transposed_by_gate
from wexport.model.tensors import Layout
from wexport.readers.keras.layers import Shape, cell_gate_count

_KERAS1_ROLES = {
    "W": "kernel",
    "U": "recurrent_kernel",
    "b": "bias",
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    # Keras 1 kept the variance under this name: it hands it to `K.batch_normalization` as `var`.
    "running_std": "moving_variance",
    "alphas": "alpha",
    "depthwise_kernel": "depthwise_kernel",
    "pointwise_kernel": "pointwise_kernel",
}
_KERAS1_NAME = re.compile(
    rf"(?:(?P<layer>.*)_)?(?P<word>[WUb]_[{''.join(gates.LETTERS)}]"
    r"|running_mean|running_std|depthwise_kernel|pointwise_kernel|alphas|gamma|beta|[WUb])",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class ParsedName:
    """A variable by its name in a layer's `weight_names`.

    inside: names of the layers between the file's layer and the variable, outermost first.
    direction: "forward" or "backward" where a Bidirectional's two copies stand side by side.
    role: "unknown" if the last word is none of Keras' own.
    keras1: the name is of Keras 1's form, `dense_1_W`, whose kernels may be in Theano's order.
    depthwise: Keras 2's `depthwise_kernel` without a pointwise one, which Keras 3 calls `kernel`.
    """

    inside: tuple[str, ...]
    direction: str | None
    role: str
    gate: str | None
    keras1: bool
    depthwise: bool = False


def read(layer: str, weight_names: Sequence[str]) -> list[ParsedName]:
    """What each name of one layer tells, seen together with its siblings."""
    split = [_split(layer, name) for name in weight_names]
    paths = _without_prefix(layer, [path for path, _ in split])
    directions = _directions(paths)
    found = []
    for path, (_, word), direction in zip(paths, split, directions, strict=True):
        inside = path
        role, gate, keras1 = _role(word)
        found.append(ParsedName(inside, direction, role, gate, keras1))
    return _without_cells(_checked(found))


def _split(layer: str, name: str) -> tuple[tuple[str, ...], str]:
    """The path of layers and the last word; Keras 1 joins the two by `_`."""
    *path, last = name.partition(":")[0].split("/")
    match = _KERAS1_NAME.fullmatch(last)
    if match is None or last in roles.ROLES:
        return tuple(path), last
    word = "keras1 " + match["word"]
    whole = "/".join([*path, match["layer"]]) if match["layer"] else "/".join(path)
    if whole == layer or not match["layer"]:
        return (), word
    return (tuple(path), last) if path else ((match["layer"],), word)


def _role(word: str) -> tuple[str, str | None, bool]:
    bare = word.removeprefix("keras1 ")
    if bare == word:
        return (word if word in roles.ROLES else "unknown"), None, False
    head, _, gate = bare.partition("_")
    if head in ("W", "U", "b"):
        return _KERAS1_ROLES[head], gate or None, True
    return _KERAS1_ROLES[bare], None, True


def _without_prefix(layer: str, paths: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Cut off what leads to the layer itself: the models around it and its own name, or its name in an earlier run.

    Keras 3 repeats both (`model/dense/kernel` in layer `dense`); Keras 2 leaves `dense_2` in layer `dense`.
    """
    own = tuple(layer.split("/"))
    first = {path[0] for path in paths if path}
    if len(first) == 1 and all(paths) and re.fullmatch(re.escape(layer) + r"_\d+", next(iter(first))):
        return [path[1:] for path in paths]
    return [path[_end_of(own, path) :] for path in paths]


def _end_of(own: tuple[str, ...], path: tuple[str, ...]) -> int:
    """Where the first run of `own` in `path` ends; 0 if there is none."""
    end = next((k + len(own) for k in range(len(path)) if path[k : k + len(own)] == own), 0)
    while end and path[end : end + len(own)] == own:
        end += len(own)
    return end


def _directions(paths: list[tuple[str, ...]]) -> list[str | None]:
    """A part `forward_x` beside a part `backward_x` is a Bidirectional's: Keras names its copies so."""
    parts = {part for path in paths for part in path}
    found: list[str | None] = []
    for path in paths:
        direction = None
        for part in path:
            for here, there in (("forward", "backward"), ("backward", "forward")):
                if part.startswith(f"{here}_") and f"{there}_{part.removeprefix(f'{here}_')}" in parts:
                    direction = direction or here
        found.append(direction)
    return found


def _checked(named: list[ParsedName]) -> list[ParsedName]:
    """Take back what a word alone does not tell: Keras 1's `W` is an Embedding's too, without `b` or `U` beside it."""
    siblings: dict[tuple[str, ...], set[str]] = {}
    for here in named:
        siblings.setdefault(here.inside, set()).add(here.role)
    found = []
    for here in named:
        roles_here = siblings[here.inside]
        if here.role == "depthwise_kernel" and not here.keras1 and "pointwise_kernel" not in roles_here:
            here = replace(here, role="kernel", depthwise=True)
        elif here.keras1 and here.role == "kernel" and not here.gate and not roles_here & {"bias", "recurrent_kernel"}:
            here = replace(here, role="unknown")
        found.append(here)
    return found


def _without_cells(named: list[ParsedName]) -> list[ParsedName]:
    """Drop the name of a recurrent layer's own cell, which is not a layer that a user made."""
    below: dict[tuple[str, ...], set[tuple[str, ...]]] = {}
    for here in named:
        if here.inside:
            below.setdefault(here.inside[:-1], set()).add(here.inside)
    direct = {here.inside for here in named}
    cells = {
        here.inside
        for here in named
        if here.role == "recurrent_kernel"
        and len(here.inside) > (0 if here.direction is None else 1)
        and below[here.inside[:-1]] == {here.inside}
        and here.inside[:-1] not in direct
    }
    return [replace(here, inside=here.inside[:-1]) if here.inside in cells else here for here in named]


def layout(named: ParsedName, shape: Shape, siblings: Mapping[str, Shape]) -> Layout | None:
    """The layout that words and shapes prove without a config; None otherwise.

    siblings: shape by role of the variables of the same layer.

    kernel, recurrent_kernel and bias of exactly (d, 4u), (u, 4u), (4u) are an LSTM's, with 3 in place of 4 a GRU's: in
    Keras' own classes no other does that. A bias of twice the length is that of the CuDNN classes, whose
    kernels are transposed (Keras 2 tells them apart in the same way).
    """
    role = named.role
    if role == "unknown":
        return None
    if named.gate:
        return roles.layout("SimpleRNN", role, shape) if len(shape) <= 2 else None
    if role in ("kernel", "recurrent_kernel", "bias") and {"kernel", "recurrent_kernel"} <= siblings.keys():
        return _recurrent_layout(role, shape, siblings)
    if named.depthwise:
        return roles.layout(f"DepthwiseConv{len(shape) - 2}D", role, shape)
    if role == "kernel":
        return _kernel_layout(named, shape, siblings.get("bias"))
    if role in ("depthwise_kernel", "pointwise_kernel") and len(shape) in (3, 4) and not named.keras1:
        return roles.layout(f"SeparableConv{len(shape) - 2}D", role, shape)
    return roles.layout(None, role, shape) if len(shape) < 2 or role == "embeddings" else None


def _recurrent_layout(role: str, shape: Shape, siblings: Mapping[str, Shape]) -> Layout | None:
    kernel, recurrent, bias = siblings["kernel"], siblings["recurrent_kernel"], siblings.get("bias")
    if bias is not None and len(bias) == 1 and len(recurrent) == 2 and bias[0] == 2 * recurrent[1]:
        count = cell_gate_count([kernel, recurrent])
        kind = gates.kind_of_blocks(count)
        if kind and kind.gates:
            name = f"CuDNN{kind.name}"
            view = (2, bias[0] // 2) if role == "bias" else None
            found = roles.layout(name, role, shape, view=view)
            return found if role == "bias" else transposed_by_gate(found)
        return None
    count = cell_gate_count([kernel, recurrent] if bias is None else [kernel, recurrent, bias])
    kind = gates.kind_of_blocks(count)
    if kind is None:
        return None
    known = kind.name if len(recurrent) == 2 else dict(kind.convolutions).get(len(recurrent) - 2)
    return roles.layout(known, role, shape) if known else None


def _kernel_layout(named: ParsedName, shape: Shape, bias: Shape | None) -> Layout | None:
    """A kernel whose bias shows which axis the units are on."""
    if bias is None or len(bias) != 1 or len(shape) < 2:
        return None
    count = bias[0]
    if len(shape) == 2:
        return roles.layout("Dense", "kernel", shape) if shape[1] == count else None
    if named.keras1:
        if len(shape) == 4 and shape[3] == count != shape[0]:
            return roles.layout("Conv2D", "kernel", shape)
        if len(shape) == 4 and shape[0] == count != shape[3]:
            return roles.layout("Conv2D", "kernel", shape, permutation=(2, 3, 1, 0))
        return None
    if len(shape) <= 5 and shape[-1] == count != shape[-2]:
        return roles.layout(f"Conv{len(shape) - 2}D", "kernel", shape)
    return None
