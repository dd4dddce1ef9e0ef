"""The statistics of a tensor: `measure` makes them in one pass over its chunks."""

from wexport.stats.one_pass import BLOCK_BYTES, SAMPLE_SIZE, SORTED, Pass, dtype_named, measure
from wexport.stats.results import (
    PROBABILITIES,
    Distribution,
    GateStatistics,
    Grid,
    Histogram,
    Sample,
    TensorStatistics,
    Units,
)

__all__ = [
    "BLOCK_BYTES",
    "PROBABILITIES",
    "SAMPLE_SIZE",
    "SORTED",
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
