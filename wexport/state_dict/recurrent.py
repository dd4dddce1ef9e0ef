"""Recurrent layers and cells: LSTM, GRU, RNN of torch.nn, by the names that no other module has.

torch's gates stand in the order i f g o (LSTM; g is Keras' c) and r z n (GRU; n is Keras' h) along the first axis. The
recurrent weight is (gates x units, units), so that its shape tells which class it is. Both frameworks compute
h' = (1 - z) n + z h, and torch resets the candidate as Keras does with `reset_after`.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from wexport.model import chunks, roles
from wexport.model.gates import kind_of_blocks
from wexport.model.tensors import Tensor
from wexport.state_dict.tree import Module, is_float

_NAME = re.compile(r"(weight_ih|weight_hh|weight_hr|bias_ih|bias_hh)(?:_l([0-9]{1,4})(_reverse)?)?")
_STORED_GATES = {"LSTM": ("i", "f", "c", "o"), "GRU": ("r", "z", "h"), "SimpleRNN": ()}
_WEIGHTS = {"weight_ih", "weight_hh"}
_BIASES = {"bias_ih", "bias_hh"}


@dataclass(frozen=True, slots=True)
class Stacked:
    """The tensors of one layer of a module, in one direction.

    sublayer: what tells this layer from the others of the module ("l1"); None if there is one only.
    tensors: each with the name of the first tensor of the file that is in it.
    """

    sublayer: str | None
    direction: str | None
    tensors: list[tuple[str, Tensor]]


def is_parameter(name: str) -> bool:
    """Whether a parameter is called as those of the recurrent modules are, and no others."""
    return _NAME.fullmatch(name) is not None


def infer_roles(module: Module) -> list[Stacked] | None:
    """A recurrent module's layers; None if it is none."""
    groups: dict[tuple[int | None, bool], dict[str, Tensor]] = defaultdict(dict)
    for name, tensor in module.tensors.items():
        match = _NAME.fullmatch(name)
        if match is None:
            return None
        groups[None if match[2] is None else int(match[2]), match[3] is not None][match[1]] = tensor
    if not groups or module.children or (len(groups) > 1 and any(number is None for number, _ in groups)):
        return None
    several = len({number for number, _ in groups}) > 1
    both = any(backward for _, backward in groups)
    return [
        Stacked(
            f"l{number}" if several else None,
            ("backward" if backward else "forward") if both else None,
            list(_tensors(parts, "Cell" if number is None else "")),
        )
        for (number, backward), parts in groups.items()
    ]


def _tensors(parts: dict[str, Tensor], cell: str) -> Iterator[tuple[str, Tensor]]:
    name = _class(parts)
    if name is None:
        yield from ((tensor.name, replace(tensor, slot_leaf=part)) for part, tensor in parts.items())
        return
    # Keras has no layer with a projection of the hidden state.
    layer_class = None if "weight_hr" in parts else name + cell
    for part, role in (("weight_ih", "kernel"), ("weight_hh", "recurrent_kernel")):
        tensor = parts[part]
        layout = roles.layout(name, role, tensor.shape, permutation=(1, 0), gate_names=_STORED_GATES[name])
        yield tensor.name, replace(tensor, role=role, layout=layout, layer_class=layer_class)
    if "weight_hr" in parts:
        yield parts["weight_hr"].name, replace(parts["weight_hr"], slot_leaf="weight_hr")
    if parts.keys() >= _BIASES:
        both = [parts["bias_ih"], parts["bias_hh"]]
        shape = both[0].shape if name != "GRU" else (2, *both[0].shape)
        layout = roles.layout(name, "bias", shape, gate_names=_STORED_GATES[name])
        meaning: dict[str, Any] = {"role": "bias", "layout": layout, "layer_class": layer_class}
        one = chunks.joined(both, shape, **meaning) if name == "GRU" else chunks.summed(both, **meaning)
        yield both[0].name, one


def _class(parts: dict[str, Tensor]) -> str | None:
    """Keras' name of the layer whose parameters have these names and shapes; None if none has."""
    if not all(is_float(tensor) for tensor in parts.values()):
        return None
    if not parts.keys() >= _WEIGHTS or len(parts.keys() & _BIASES) == 1:
        return None
    kernel, recurrent = parts["weight_ih"].shape, parts["weight_hh"].shape
    if len(kernel) != 2 or len(recurrent) != 2 or kernel[0] != recurrent[0] or 0 in recurrent:
        return None
    units = recurrent[1]
    if "weight_hr" in parts:
        projection = parts["weight_hr"].shape
        if len(projection) != 2 or projection[0] != units or recurrent[0] != 4 * projection[1]:
            return None
        units = projection[1]
    count, rest = divmod(recurrent[0], units)
    biases = [parts[name] for name in sorted(_BIASES & parts.keys())]
    if rest or any(bias.shape != (recurrent[0],) for bias in biases):
        return None
    if len({(bias.dtype, bias.value_dtype) for bias in biases}) > 1:
        return None
    kind = kind_of_blocks(count)
    return kind.name if kind else None
