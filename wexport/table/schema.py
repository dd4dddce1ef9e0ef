"""The columns of the table: names, types, units and docs.

Column names are final once released. A statistic that is undefined is NULL, never 0 or NaN. Statistics are declared in
`stats.results`; here they get their place among the columns.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from wexport.model.gates import KINDS
from wexport.stats.declared import Statistic
from wexport.stats.results import DISTRIBUTION, FRACTIONS, OF_TENSORS, STATISTICS

SCHEMA_VERSION = 3

_HISTOGRAM = pa.struct(
    [("lower", pa.list_(pa.float64())), ("upper", pa.list_(pa.float64())), ("count", pa.list_(pa.int64()))]
)
_SAMPLE = pa.struct([("index", pa.list_(pa.int64())), ("value", pa.list_(pa.float64()))])
_GRID = pa.struct([("rows", pa.int32()), ("cols", pa.int32()), ("rms", pa.list_(pa.float32()))])
_UNITS = pa.list_(pa.struct([(name, pa.float32()) for name in ("l2_norm", "abs_max", "max", "zero_fraction")]))
_EXTRA = pa.map_(pa.string(), pa.float64())
_TYPES = {True: pa.int64(), False: pa.float64()}
_GATES = pa.list_(
    pa.struct(
        [
            ("gate", pa.string()),
            *((each.name, _TYPES[each.integer]) for each in DISTRIBUTION),
            ("histogram", _HISTOGRAM),
        ]
    )
)


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


def _statistics(wanted: Callable[[Statistic], bool], of: Iterable[Statistic] = DISTRIBUTION) -> Iterator[Column]:
    return (Column(each.name, _TYPES[each.integer], each.unit, each.doc) for each in of if wanted(each))


_ORDERS = [f"{' '.join(kind.letters)} ({kind.name})" for kind in KINDS if kind.gates]

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
    *_statistics(lambda each: each.name == "value_count"),
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
    _text(
        "layer_config",
        "The layer's config as inert JSON; NULL above 16 KiB. Where the file tells the graph, its `feeds` are the "
        "layers with weights that take what the layer gives (null is the model's output), and what lies between.",
    ),
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
    *_statistics(lambda each: True, OF_TENSORS),
    _text(
        "content_hash",
        "xxh3-128 of dtype, shape and the little-endian values in C order: equal whatever the container.",
    ),
    *_statistics(lambda each: each.integer and each.name != "value_count"),
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
        "Numbers by the statistics of plugins, by name: extra['stable_rank']. NULL where none is defined; the file's "
        "metadata says what each is.",
    ),
    *_statistics(lambda each: not each.integer and not each.last),
    *(Column(each.name, pa.float64(), "fraction", each.doc) for each in FRACTIONS),
    *_statistics(lambda each: not each.integer and each.last),
)

NUMBERS: Mapping[str, tuple[str, str]] = {
    **{
        column.name: (column.name, column.unit)
        for column in COLUMNS
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    },
    "rms": ("l2_norm / sqrt(nullif(value_count - nan_count - inf_count, 0))", "weight"),
}
"""SQL and unit of each number of a tensor that can be asked for or drawn: numeric columns, and the root mean square."""

REPORTED = tuple(each.name for each in STATISTICS if each.reported)
"""The statistics that the report shows for each layer."""

BULKY = ("sample", "grid", "units")
"""Columns that `--detail summary` leaves NULL."""


def arrow_schema(metadata: Mapping[str, Any] | None = None) -> pa.Schema:
    """The table's Arrow schema, each field with its doc and unit; `metadata` goes in as JSON under `wexport`."""
    fields = [
        pa.field(column.name, column.type, metadata={"doc": column.doc, "unit": column.unit}) for column in COLUMNS
    ]
    return pa.schema(fields, metadata=None if metadata is None else {"wexport": json.dumps(metadata, sort_keys=True)})
