"""Tensors as the pickle describes them: what would have rebuilt one, with its storage, place, shape and strides."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from wexport import ReadError
from wexport_torch import element_types
from wexport_torch.element_types import ElementType
from wexport_torch.inert import Named, Outside, Record
from wexport_torch.storages import Storage, is_length, storage

MAX_AXES = 64
"""As NumPy has it."""
_WRAPPERS = 8
"""How many makers may stand around a tensor: a parameter of a tensor with attributes has two."""
_PLAIN = frozenset({"_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_tensor_v3", "_rebuild_qtensor"})
_PARAMETERS = frozenset({"_rebuild_parameter", "_rebuild_parameter_with_state"})
_WRAPPED = frozenset({"torch.nn.parameter.Parameter", "torch.autograd.variable.Variable"})
"""Classes that were called with a tensor, before torch 0.4; whether it needs a gradient is set as their state."""
_LEFT_OUT = {
    "_rebuild_sparse_tensor": "sparse tensor",
    "_rebuild_sparse_csr_tensor": "sparse tensor",
    "_rebuild_nested_tensor": "nested tensor",
    "_rebuild_meta_tensor_no_storage": "meta tensor",
    "_rebuild_wrapper_subclass": "tensor of another class",
    "_rebuild_device_tensor_from_numpy": "tensor kept as a NumPy array",
    "_rebuild_xla_tensor": "tensor kept as a NumPy array",
}


class LeftOutError(Exception):
    """A tensor that is not a plain numbers in a storage. what: a class of such things, as in `wexport.Skipped`."""

    def __init__(self, what: str, detail: str = "") -> None:
        super().__init__(what)
        self.what, self.detail = what, detail


@dataclass(frozen=True, slots=True)
class Quantizer:
    """How stored integers become values. scale, zero_point: one of each, or tensors of one for each along `axis`."""

    scheme: str
    scale: Any
    zero_point: Any
    axis: int | None = None


@dataclass(frozen=True, slots=True)
class TorchTensor:
    """A tensor in a storage.

    type: of its values. offset, strides: counted in values. parameter: it is of torch's class Parameter.
    needs_gradient: as it was when it was saved; a state dict holds all of its tensors detached, which is False.
    """

    storage: Storage
    type: ElementType
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    needs_gradient: bool
    parameter: bool = False
    quantizer: Quantizer | None = None

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        """The value of the storage that it ends before."""
        if not self.size:
            return 0
        reach = sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True))
        return self.offset + reach + 1

    @property
    def in_order(self) -> bool:
        """Whether its values stand one after the other, in C order."""
        due = 1
        for length, stride in zip(reversed(self.shape), reversed(self.strides), strict=True):
            if length != 1 and stride != due:
                return False
            due *= length
        return True


def is_tensor(value: Any) -> bool:
    """Whether a value is a record of a tensor, of whatever kind."""
    if not isinstance(value, Record):
        return False
    made_by = value.made_by
    module, _, word = made_by.rpartition(".")
    known = word in _PLAIN or word in _PARAMETERS or word in _LEFT_OUT
    if made_by in _WRAPPED:
        return isinstance(value.args, tuple) and len(value.args) == 1 and is_tensor_record(value.args[0])
    return (module == "torch._utils" and known) or made_by == "torch._tensor._rebuild_from_type_v2"


def is_tensor_record(value: Any) -> bool:
    """Whether it is rebuilt from a storage at once."""
    return isinstance(value, Record) and value.made_by.startswith("torch._utils._rebuild_tensor")


def tensor(value: Any) -> TorchTensor:
    """What the pickle says of a tensor.

    Raises LeftOutError for one that is not plain numbers in a storage, ReadError, without naming the file, for one that
    cannot be.
    """
    parameter, needs_gradient = False, None
    for _ in range(_WRAPPERS):
        if not is_tensor(value) or not isinstance(value.args, tuple):
            break
        word = value.made_by.rpartition(".")[2]
        if value.made_by in _WRAPPED:
            state = value.state
            parameter = word == "Parameter"
            needs_gradient = state[0] is True if isinstance(state, tuple) and state else None
            value = value.args[0]
        elif word == "_rebuild_from_type_v2" and len(value.args) == 4:
            value = Record(value.args[0], value.args[2])
        elif word in _PARAMETERS and len(value.args) in (3, 4):
            parameter, needs_gradient = True, value.args[1] is True
            value = value.args[0]
        elif word in _LEFT_OUT:
            raise LeftOutError(_LEFT_OUT[word], _detail(word, value.args))
        elif word in _PLAIN:
            found = _plain(word, value.args)
            return replace(found, parameter=parameter, needs_gradient=_first(needs_gradient, found.needs_gradient))
        else:
            break
    raise ReadError("it would be rebuilt in an unknown way")


def _first(stated: bool | None, otherwise: bool) -> bool:
    return otherwise if stated is None else stated


def _plain(word: str, args: tuple[Any, ...]) -> TorchTensor:
    least, most = {"_rebuild_tensor": (4, 4), "_rebuild_tensor_v2": (6, 7), "_rebuild_tensor_v3": (7, 8)}.get(
        word, (7, 7)
    )
    if not least <= len(args) <= most:
        raise ReadError(f"it is rebuilt by {word} from {len(args)} things")
    held = storage(args[0])
    shape, strides = _lengths(args[2], "shape"), _lengths(args[3], "strides")
    if len(shape) != len(strides) or len(shape) > MAX_AXES:
        raise ReadError(f"it has {len(shape)} axes and {len(strides)} strides")
    if not is_length(args[1]):
        raise ReadError("it begins at an impossible place of its storage")
    type_, quantizer, gradient = held.type, None, False
    if word == "_rebuild_tensor_v3":
        type_ = _type(args[6])
    if word == "_rebuild_qtensor":
        quantizer, gradient = _quantizer(args[4], shape), args[5] is True
    elif word != "_rebuild_tensor":
        gradient = args[4] is True
    metadata = args[most - 1] if len(args) == most and word in ("_rebuild_tensor_v2", "_rebuild_tensor_v3") else None
    if isinstance(metadata, Record) and metadata.pairs:
        raise LeftOutError("tensor to be conjugated or negated", "its values are not those that are stored")
    if type_.dtype is None:
        raise LeftOutError(f"{'complex' if type_.name.startswith('complex') else type_.name} tensor", type_.name)
    if (type_.name.startswith(("qint", "quint"))) != (quantizer is not None):
        raise ReadError(f"it is of {type_.name}, with{'' if quantizer else 'out'} a scale")
    return TorchTensor(held, type_, args[1], shape, strides, gradient, quantizer=quantizer)


def _lengths(value: Any, what: str) -> tuple[int, ...]:
    """A torch.Size, which pickles write as a tuple or as a call with one."""
    if isinstance(value, Record) and value.made_by == "torch.Size" and isinstance(value.args, tuple) and value.args:
        value = value.args[0]
    if not isinstance(value, tuple | list) or not all(is_length(length) for length in value):
        raise ReadError(f"its {what} are not all counts")
    return tuple(value)


def _type(value: Any) -> ElementType:
    found = element_types.named(value.name) if isinstance(value, Named) else None
    if found is None:
        raise LeftOutError("tensor of an unknown type", value.name if isinstance(value, Named) else "")
    return found


def _quantizer(value: Any, shape: tuple[int, ...]) -> Quantizer:
    if isinstance(value, tuple) and value and isinstance(value[0], Named):
        scheme = value[0].name.removeprefix("torch.")
        if scheme == "per_tensor_affine" and len(value) == 3 and isinstance(value[1], float) and _integer(value[2]):
            return Quantizer(scheme, value[1], value[2])
        if scheme == "per_channel_affine" and len(value) == 4 and is_length(value[3]) and value[3] < len(shape):
            scale, zero_point = _simple(value[1]), _simple(value[2])
            if scale.shape == zero_point.shape == (shape[value[3]],):
                return Quantizer(scheme, scale, zero_point, value[3])
        elif scheme != "per_tensor_affine":
            raise LeftOutError("quantised tensor", scheme)
    raise ReadError("it is quantised in an unknown way")


def _simple(value: Any) -> TorchTensor:
    """A tensor that is rebuilt without another: a file may well say that a tensor is its own scale."""
    if not is_tensor_record(value):
        raise ReadError("its scale is not a plain tensor")
    return tensor(value)


def _integer(value: Any) -> bool:
    return type(value) is int and abs(value) < 1 << 53


def _detail(word: str, args: tuple[Any, ...]) -> str:
    if args and isinstance(args[0], Named):
        return args[0].name.removeprefix("torch.")
    return ""


def count_stored(value: Any, seen: set[int]) -> int:
    """How many storages are named anywhere below a value; what was seen before counts no more."""
    found, waiting = 0, [value]
    while waiting:
        here = waiting.pop()
        if not isinstance(here, Record | Outside | list | tuple) or id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, Outside):
            found += isinstance(here.identity, tuple) and len(here.identity) >= 5
        elif isinstance(here, Record):
            waiting += [here.args, here.state, here.elements, *(item for pair in here.pairs or () for item in pair)]
        else:
            waiting += here
    return found
