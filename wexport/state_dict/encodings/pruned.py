"""Weights that torch.nn.utils.prune took apart: `weight_orig` and `weight_mask`, of which the module uses the product.

Source: https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.BasePruningMethod.html
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from wexport.model.tensors import Tensor
from wexport.state_dict.encodings.parts import Decoded, InStep, Modules, joined

if TYPE_CHECKING:
    from numpy.typing import NDArray

ORIGINAL, MASK = "_orig", "_mask"


def decode(module: str, parameters: Mapping[str, Tensor], modules: Modules) -> Iterator[Decoded]:
    """The product of each pair, under the name that it has without pruning."""
    for name, original in parameters.items():
        pruned = name.removesuffix(ORIGINAL)
        mask = parameters.get(pruned + MASK)
        if pruned == name or mask is None or mask.shape != original.shape or pruned in parameters:
            continue
        tensor = replace(original, name=joined(module, pruned), chunks=_product(original, mask))
        yield Decoded(tensor, original.name, {mask.name: "mask of pruned weights"})


def _product(original: Tensor, mask: Tensor) -> Any:
    def chunks(limit: int) -> Iterator[NDArray[Any]]:
        factors = InStep(mask, limit)
        for chunk in original.chunks(limit):
            yield chunk * factors.take(chunk.size).astype(chunk.dtype)

    return chunks
