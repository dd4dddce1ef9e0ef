"""The columns of the table: names, types, units and docs.

Column names are final once released. A figure that is undefined is NULL, never 0 or NaN.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from wexport.model.gates import KINDS

SCHEMA_VERSION = 3

_GATE_FIGURES: list[tuple[str, pa.DataType]] = [
    *((name, pa.int64()) for name in ("value_count", "nan_count", "inf_count", "zero_count", "near_zero_count")),
    *(
        (name, pa.float64())
        for name in (
            "q01",
            "q05",
            "q25",
            "q50",
            "q75",
            "q95",
            "q99",
            "skewness",
            "kurtosis",
            "l1_norm",
            "abs_mean",
        )
    ),
    *((name, pa.float64()) for name in ("abs_max", "min", "max", "l2_norm", "mean", "std")),
]

_HISTOGRAM = pa.struct(
    [("lower", pa.list_(pa.float64())), ("upper", pa.list_(pa.float64())), ("count", pa.list_(pa.int64()))]
)
_SAMPLE = pa.struct([("index", pa.list_(pa.int64())), ("value", pa.list_(pa.float64()))])
_GRID = pa.struct([("rows", pa.int32()), ("cols", pa.int32()), ("rms", pa.list_(pa.float32()))])
_UNITS = pa.list_(pa.struct([(name, pa.float32()) for name in ("l2_norm", "abs_max", "max", "zero_fraction")]))
_EXTRA = pa.map_(pa.string(), pa.float64())
_GATES = pa.list_(pa.struct([("gate", pa.string()), *_GATE_FIGURES, ("histogram", _HISTOGRAM)]))


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, Arrow type, unit ("" for words and pure numbers) and what it means."""

    name: str
    type: pa.DataType
    unit: str
    doc: str


def _text(name: str, doc: str) -> Column:
    return Column(name, pa.string(), "", doc)


def _count(name: str, unit: str, doc: str) -> Column:
    return Column(name, pa.int64(), unit, doc)


def _figure(name: str, doc: str, unit: str = "weight") -> Column:
    return Column(name, pa.float64(), unit, doc)


_ORDERS = [f"{' '.join(kind.letters)} ({kind.name})" for kind in KINDS if kind.gates]
_QUANTILE = (
    "over finite values, linear between order statistics; exact for small tensors and 8- and 16-bit types, else within "
    "2^-7 (0.8 %) of the order statistic's magnitude"
)

COLUMNS: tuple[Column, ...] = (
    _text("model", "The model: its path relative to the inputs' common root, or the name given with --name."),
    _text(
        "slot",
        "Place of the tensor in the model, unique per model and kind; the same for models of one architecture.",
    ),
    Column("shape", pa.list_(pa.int64()), "values", "Shape as stored; an empty list is a scalar."),
    Column(
        "canonical_shape",
        pa.list_(pa.int64()),
        "values",
        "Shape in the canonical (Keras 3) layout; as stored where nothing is known to differ.",
    ),
    _text("dtype", "Stored type, without byte order."),
    _count("value_count", "values", "Number of values."),
    _text(
        "role",
        "What the tensor does in its layer, in Keras 3's words; 'unknown' when the file does not tell.",
    ),
    _text("direction", "'forward' or 'backward' in a bidirectional layer, else NULL."),
    _text("gate", "The gate, only where one tensor is one gate (Keras 1), else NULL."),
    _text("layer", "The file's own layer names, outermost first, joined by '/'."),
    _text("layer_class", "Class of the innermost layer; NULL when the file does not tell."),
    Column(
        "layer_index",
        pa.int32(),
        "",
        "Place of the layer in the model's true order, from 0; NULL if unknown.",
    ),
    Column(
        "tensor_index",
        pa.int32(),
        "",
        "Place of the tensor in the model, from 0, in layer order where that is known.",
    ),
    Column(
        "trainable",
        pa.bool_(),
        "",
        "Whether training may change it (moving statistics are not); NULL when the file does not tell.",
    ),
    _text("layer_config", "The layer's config as inert JSON; NULL above 16 KiB."),
    _text("kind", "'weight', 'array' (raw HDF5: it may be data) or 'optimizer'."),
    _text("tensor", "Path inside the file, in the framework's own words."),
    _text("source", "The file that it came from."),
    _count("source_bytes", "bytes", "Size of that file."),
    _text("format", "Container: keras-h5, keras-v3, weights-h5, hdf5, ..."),
    _text("framework", "Who wrote it, as the file says; NULL when it does not."),
    _text("framework_version", "Its version, as the file says."),
    _text("backend", "Its backend, as the file says."),
    _text("run", "The series that a checkpoint belongs to; NULL if the name does not say."),
    _count("step", "steps or epochs", "Number of the checkpoint in its run; NULL if the name does not say."),
    Column(
        "unit_axes",
        pa.list_(pa.int32()),
        "",
        "Canonical axes of the output units; NULL for vectors and where unknown.",
    ),
    _count(
        "unit_count",
        "units",
        "Output units: filters, neurons, hidden units (the gates of a recurrent layer count once).",
    ),
    _count(
        "zero_unit_count",
        "units",
        "Units whose incoming weights are all near zero. Weights alone do not prove a unit dead.",
    ),
    _count("zero_input_count", "inputs", "Inputs whose outgoing weights are all near zero."),
    _text(
        "content_hash",
        "xxh3-128 of dtype, shape and the little-endian values in C order: equal whatever the container.",
    ),
    _count("nan_count", "values", "Values that are NaN."),
    _count("inf_count", "values", "Values that are infinite."),
    _count("zero_count", "values", "Values that are exactly zero."),
    _count("near_zero_count", "values", "Values with |w| < 2^-10, zeros included."),
    Column(
        "gates",
        _GATES,
        "",
        f"The same statistics and the histogram for each gate: {', '.join(_ORDERS)}.",
    ),
    Column(
        "units",
        _UNITS,
        "",
        "Per output unit: L2 norm, largest |w|, largest w and share of zeros of its incoming weights; NULL above 4,096 "
        "units.",
    ),
    Column(
        "histogram",
        _HISTOGRAM,
        "",
        "Finite values in bins whose edges are the same for every tensor, 8 to an octave of |w|; empty ones left out; "
        "the edge nearer zero belongs to a bin; the zero bin has lower = upper = 0.",
    ),
    Column(
        "sample",
        _SAMPLE,
        "",
        "Values at flat positions in the canonical layout: all up to 1,024 (16,384 for convolutions of at most 4 "
        "channels), else 1,024 of them, at positions that depend on the canonical shape alone.",
    ),
    Column(
        "grid",
        _GRID,
        "",
        "Root mean square of blocks: rows are inputs, columns units, at most 32 x 32; NULL where the sample holds all.",
    ),
    Column(
        "extra",
        _EXTRA,
        "as the statistic says",
        "Figures by the statistics of plugins, by name: extra['stable_rank']. NULL where none is defined; the file's "
        "metadata says what each is.",
    ),
    *(
        _figure(f"q{level}", f"{int(level)} % quantile {_QUANTILE}.")
        for level in ("01", "05", "25", "50", "75", "95", "99")
    ),
    _figure("skewness", "Third standardised moment over finite values; NULL for a constant.", ""),
    _figure("kurtosis", "Excess kurtosis (normal = 0) over finite values; NULL for a constant.", ""),
    _figure("l1_norm", "Sum of |w| over finite values."),
    _figure("abs_mean", "Mean of |w| over finite values."),
    _figure("abs_max", "Largest |w| over finite values."),
    _figure("min", "Smallest finite value."),
    _figure("max", "Largest finite value."),
    _figure("zero_fraction", "zero_count / value_count.", "fraction"),
    _figure("near_zero_fraction", "near_zero_count / value_count.", "fraction"),
    _figure("nan_fraction", "nan_count / value_count.", "fraction"),
    _figure("l2_norm", "Square root of the sum of squares over finite values."),
    _figure("mean", "Mean over finite values."),
    _figure("std", "Population standard deviation over finite values; 0 for a constant."),
)

BULKY = ("sample", "grid", "units")
"""Columns that `--detail summary` leaves NULL."""


def arrow_schema(metadata: Mapping[str, Any] | None = None) -> pa.Schema:
    """The table's Arrow schema, each field with its doc and unit; `metadata` goes in as JSON under `wexport`."""
    fields = [
        pa.field(column.name, column.type, metadata={"doc": column.doc, "unit": column.unit}) for column in COLUMNS
    ]
    return pa.schema(fields, metadata=None if metadata is None else {"wexport": json.dumps(metadata, sort_keys=True)})
