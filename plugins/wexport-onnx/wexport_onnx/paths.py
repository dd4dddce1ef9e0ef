"""Which layer a node belongs to, in the file's own words.

Exporters carry names over in their own ways: torch names initialisers as in the state dict (`layer1.0.conv1.weight`)
and nodes by module (`/layer1/layer1.0/conv1/Conv`); tf2onnx names both by TensorFlow's scopes
(`sequential/conv2d/BiasAdd/ReadVariableOp:0`). Names that are only numbered (`onnx::MatMul_50`, `const_fold_opt__133`)
tell nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

Path = tuple[str, ...]

_PARAMETER = re.compile(
    r"weight|bias|running_mean|running_var|in_proj_(weight|bias)|gamma|beta|alpha"
    r"|(weight|bias)_(ih|hh)_l\d+(_reverse)?"
)
_CALLS = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
_ACCESS = re.compile(r"(ReadVariableOp|resource|Const|Identity|Cast|ExpandDims|\d+)(_\d+)?")
_OPERATION = re.compile(
    r"(Conv[123]D|Conv[23]DBackpropInput(V[23])?|MatMul|BiasAdd|FusedBatchNorm(V[23])?|Tensordot|GatherV2"
    r"|embedding_lookup|batchnorm)(_\d+)?"
)
_LAYER_LIKE = re.compile(r"(separable_conv2d|conv[123]d_transpose|conv_transpose|add|mul|sub|Neg)(_\d+)?")
"""Operations whose scopes might be a layer's name too."""


def of_parameters(names: Iterable[str]) -> Path:
    """The module of a parameter named as in torch's state dicts; () where no name is like that."""
    for name in names:
        *path, last = name.split(".")
        if path and is_parameter(name) and _PARAMETER.fullmatch(last):
            return tuple(part for part in path if part)
    return ()


def is_parameter(name: str) -> bool:
    """Whether a name is a torch parameter's, with its module's before it."""
    return "." in name and not set("/:") & set(name)


def parameter(name: str, path: Path) -> str | None:
    """What a torch module calls a parameter that is named by that module's path."""
    *module, last = name.split(".")
    return last if module and tuple(module) == path else None


def of_module_scope(name: str) -> Path:
    """The module of a node that torch's older exporter named: each part may repeat the one before it."""
    if not name.startswith("/"):
        return ()
    path: list[str] = []
    before = ""
    for part in name.split("/")[1:-1]:
        path += part.removeprefix(f"{before}.").split(".") if before else part.split(".")
        before = part
    return tuple(part for part in path if part)


def of_scopes(names: Sequence[str]) -> Path:
    """The layer in names made of TensorFlow's scopes, the first that tells one, behind the model's own scope."""
    for name in names:
        if "/" not in name or name.startswith("/"):
            continue
        path = [part for part in name.partition(":")[0].split("/") if part and not _CALLS.fullmatch(part)]
        if found := _without_operation([re.sub(r"__\d+$", "", part) for part in path]):
            return tuple(found)
    return ()


def _without_operation(path: list[str]) -> list[str]:
    """Scopes of a layer, of those of a variable or an operation in it; empty if no operation is told apart."""
    layer = list(path)
    while len(layer) > 1 and _ACCESS.fullmatch(layer[-1]):
        layer.pop()
    inner = len(layer) > 1 and layer[-1] == "depthwise"  # separable_conv2d/depthwise
    if inner:
        layer.pop()
    within = len(layer) > 1 and layer[-2] == "batchnorm"  # batchnorm/mul
    if within:
        layer.pop()
    apart = False
    while len(layer) > 1 and _OPERATION.fullmatch(layer[-1]):
        layer.pop()
        apart = True
    if not apart and len(layer) > 2 and _LAYER_LIKE.fullmatch(layer[-1]):
        layer.pop()
    return layer if len(layer) < len(path) else []


def common_root(paths: Iterable[Path]) -> str | None:
    """The model's own scope: what all paths begin with, if all have more than that."""
    roots = {path[0] if len(path) > 1 else None for path in paths}
    return roots.pop() if len(roots) == 1 else None
