"""Convolutions: which of torch's classes a weight of three to five axes may be of.

Sources: torch.nn's documentation. Conv holds (out, in / groups, *window), ConvTranspose (in, out / groups, *window),
both a bias of out; Bilinear, of three axes, holds (out, in1, in2).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from wexport.model import roles
from wexport.model.tensors import Tensor
from wexport.state_dict import words
from wexport.state_dict.tree import Module


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What bears on one convolution.

    first, second: the first axes of its weight. window: how many follow.
    out: channels that come out, by its bias or the batch normalisation that follows; None where neither is there.
    into: channels that go in, by what comes before in a chain; None where nothing does.
    """

    module: Module
    first: int
    second: int
    window: int
    out: int | None
    into: int | None

    def may_be_plain(self) -> bool:
        return self.out in (None, self.first)

    def may_be_transposed(self) -> bool:
        """In groups too: so many as make the second axis the channels that come out."""
        if self.out is None:
            return True
        groups, rest = divmod(self.out, self.second)
        return not rest and groups > 0 and self.first % groups == 0

    def may_be_bilinear(self) -> bool:
        return self.window == 1 and self.out in (None, self.first) and not self.module.in_list


def is_convolution(module: Module) -> bool:
    """Whether a module holds what a convolution, plain or transposed, does, and no LayerNorm of several axes."""
    weight, bias = module.shape("weight"), module.shape("bias")
    if weight is None or len(weight) not in (3, 4, 5) or 0 in weight:
        return False
    if module.has("weight", "bias"):
        assert bias is not None
        return len(bias) == 1 and (bias[0] == weight[0] or bias[0] % weight[1] == 0)
    return module.has("weight")


def sees_one_channel(module: Module) -> bool:
    """Whether it is a convolution of one channel in each group, of which nothing tells how many groups there are."""
    weight = module.shape("weight")
    return (
        is_convolution(module) and weight is not None and weight[1] == 1 < weight[0] and _evidence(module).into is None
    )


def infer_roles(module: Module, depthwise: bool) -> dict[str, Tensor]:
    """The tensors of a convolution with what is known of them.

    depthwise: whether what comes before may tell that one is depthwise.
    """
    seen = _evidence(module)
    if not seen.may_be_plain() and not seen.may_be_transposed():
        return dict(module.tensors)
    name = _class(seen)
    found = {"weight": _kernel(seen, name)}
    if "bias" in module.tensors:
        bias = module.tensors["bias"]
        found["bias"] = replace(bias, role="bias", layer_class=name, layout=roles.layout(name, "bias", bias.shape))
    return _as_depthwise(module, found) if depthwise else found


def _evidence(module: Module) -> _Evidence:
    first, second, *window = module.tensors["weight"].shape
    before, after = module.before(), module.after()
    bias = module.shape("bias")
    out = bias[0] if bias else after.width() if after is not None and after.is_batch_norm else None
    return _Evidence(module, first, second, len(window), out, None if before is None else before.width())


def _class(seen: _Evidence) -> str | None:
    """Keras' class; None if several may be."""
    plain, transposed = seen.may_be_plain(), seen.may_be_transposed()
    path = seen.module.path
    if plain and transposed:
        if words.is_convolution(path):
            transposed = False
        elif words.is_transposed(path):
            plain = False
        elif seen.into == seen.second != seen.first:
            transposed = False  # in one group, for what comes before; a transposed one would see its first axis
    if plain and not transposed and (not seen.may_be_bilinear() or words.says_convolution(path)):
        return f"Conv{seen.window}D"
    # Keras' transposed convolutions know no groups, so their class is told where there is one group only.
    return f"Conv{seen.window}DTranspose" if transposed and not plain and seen.out == seen.second else None


def _kernel(seen: _Evidence, name: str | None) -> Tensor:
    """Keras' kernels are (*window, in / groups, out), transposed ones (*window, out, in): as torch's, turned round."""
    tensor = seen.module.tensors["weight"]
    if name is None:
        # Of a weight alone, a LayerNorm's of several axes or somebody's own module may be called so, too.
        sure = seen.out is not None or words.says_convolution(seen.module.path)
        return replace(tensor, role="kernel") if sure else tensor
    order = (*range(2, seen.window + 2), 1, 0)
    layout = roles.layout(name, "kernel", tensor.shape, permutation=order)
    return replace(tensor, role="kernel", layer_class=name, layout=layout)


def _as_depthwise(module: Module, found: dict[str, Tensor]) -> dict[str, Tensor]:
    """Where each channel that comes in has filters of its own, Keras has a class of that name.

    Its kernel is (*window, channels, filters of each), torch's weight (channels x filters of each, 1, *window). Keras
    has the class for one and two axes.
    """
    weight, into = found["weight"], _evidence(module).into
    first, second, *window = weight.shape
    if weight.layer_class is None or "Transpose" in weight.layer_class or len(window) == 3:
        return found
    if second != 1 or into is None or into < 2 or first % into:
        return found
    name = f"DepthwiseConv{len(window)}D"
    order = (*range(2, len(window) + 2), 0, 1)
    layout = roles.layout(name, "kernel", weight.shape, view=(into, first // into, *window), permutation=order)
    found = {parameter: replace(tensor, layer_class=name) for parameter, tensor in found.items()}
    return found | {"weight": replace(found["weight"], layout=layout)}
