"""Parameters that a state dict keeps as something else: codes with their scales, or weights with a mask.

Figures are those of the values that the model computes with, wherever the file holds what it takes to know them. What
goes into such a value is not a parameter of its own, and is named. Codes whose scale is not there stay what they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from wexport.model.tensors import Skipped, Tensor
from wexport.state_dict.encodings import bitsandbytes, blocks, gptq, pruned
from wexport.state_dict.encodings.parts import ACTIVATION_SCALES, OF_ACTIVATIONS, Decoded

_DECODERS = (pruned.decode, gptq.decode, bitsandbytes.decode, blocks.decode)


@dataclass(frozen=True, slots=True)
class Values:
    """The tensors of a state dict as values.

    tensors: in their order, a decoded one in the place of its codes. skipped: what went into them. made_of: the name of
    the tensor that each decoded one takes the place of.
    """

    tensors: list[Tensor]
    skipped: list[Skipped] = field(default_factory=list)
    made_of: Mapping[str, str] = field(default_factory=dict)


def decoded(tensors: Sequence[Tensor]) -> Values:
    """Each parameter as its values, whatever it is stored as."""
    modules: dict[str, dict[str, Tensor]] = {}
    for tensor in tensors:
        module, _, name = tensor.name.rpartition(".")
        modules.setdefault(module, {})[name] = tensor
    found: list[Decoded] = []
    for module, parameters in modules.items():
        for decode in _DECODERS:
            found += decode(module, parameters, modules)
    names = {tensor.name for tensor in tensors}
    found = [each for each in _apart(found) if each.tensor.name == each.codes or each.tensor.name not in names]
    values = {each.codes: each.tensor for each in found}
    parts = {name: (what, each.tensor.name) for each in found for name, what in each.parts.items()}
    for each in found:
        beside = modules[each.codes.rpartition(".")[0]]
        scales = [beside[name].name for name in ACTIVATION_SCALES if name in beside]
        parts |= {name: (OF_ACTIVATIONS, each.tensor.name) for name in scales if name not in parts}
    rows, skipped = [], []
    for tensor in tensors:
        if tensor.name in parts:
            what, of = parts[tensor.name]
            skipped.append(
                Skipped(
                    what,
                    tensor.name,
                    detail=f"{'beside' if what == OF_ACTIVATIONS else 'part of'} {of}",
                    size=tensor.stored_bytes,
                )
            )
        else:
            rows.append(values.get(tensor.name, tensor))
    return Values(rows, skipped, {each.tensor.name: each.codes for each in found})


def _apart(found: Iterable[Decoded]) -> Iterable[Decoded]:
    """Those of which nothing is in one before: a file may say that a scale has a scale."""
    taken: set[str] = set()
    for each in found:
        names = {each.codes, *each.parts}
        if not names & taken:
            taken |= names
            yield each
