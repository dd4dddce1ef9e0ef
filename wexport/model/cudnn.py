"""The order that CuDNNLSTM and CuDNNGRU of Keras 2 keep their kernels in, which no other class has."""

from __future__ import annotations

from dataclasses import dataclass, fields

from wexport.model.tensors import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class CudnnLayout(Layout):
    """Each gate's block of an (inputs, gates x units) matrix holds the transposed block in row-major order."""


def transposed_by_gate(layout: Layout) -> CudnnLayout:
    """The layout of a kernel whose gates lie so."""
    return CudnnLayout(**{field.name: getattr(layout, field.name) for field in fields(Layout)})
