"""The statistics of a tensor: what `ingest` works out of its values, for who has the values and no file.

measure(tensor, detail=True): the `TensorStatistics` of a tensor, in one pass over its chunks.
Pass(tensor): the same, for values that pass by and are never held whole: `add` each block, then `result`.
dtype_named(name): the NumPy type that a name of `Tensor.dtype` stands for, None for one that is not read.
"""

from wexport.stats import (
    Distribution,
    GateStatistics,
    Grid,
    Histogram,
    Pass,
    Sample,
    TensorStatistics,
    Units,
    dtype_named,
    measure,
)

__all__ = [
    "Distribution",
    "GateStatistics",
    "Grid",
    "Histogram",
    "Pass",
    "Sample",
    "TensorStatistics",
    "Units",
    "dtype_named",
    "measure",
]
