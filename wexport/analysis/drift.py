"""How far tensors moved: the sums of `drift` over pairs of values, for any number of models.

`drift.sql` says which tensors go together, what the figures are and how they are told. Its part `summed` is nearly all
of its time; here NumPy does that, reading each sample once, and the rest of the query is run as it stands.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from wexport.analysis.pairing import tensor_pairs, without_pairs
from wexport.sessions.connection import Connection
from wexport.sessions.with_queries import WithQuery
from wexport.stats import SAMPLE_SIZE

_PAIRS = "SELECT matched.*, value_count FROM matched JOIN listed USING (id)"
_SIGNS = """(
    SELECT model, hash(list(mark ORDER BY mark)) AS sign
    FROM (SELECT model, concat_ws(' ', kind, slot, shape::VARCHAR) AS mark FROM listed) GROUP BY model
)"""
_WANTED = """
SELECT DISTINCT wanted.model, wanted.against
FROM wanted JOIN signs AS new ON new.model = wanted.model JOIN signs AS old ON old.model = wanted.against
WHERE wanted.run IS NULL OR new.sign <> old.sign
ORDER BY ALL
"""
_IDS = """
SELECT
    tensor_id(model, kind, slot) AS id, tensor_id(against, kind_before, slot_before) AS old_id, model, against,
    match_method, value_count
FROM aligned
"""
_READ = """
SELECT tensor_id(model, kind, slot) AS id, abs_max, sample.value AS value FROM weights
WHERE sample.value IS NOT NULL AND model IN (SELECT unnest(getvariable('drift_models')))
"""
_FIGURES = ("x2", "xd", "d2", "y2", "xy", "x4", "x3d", "x2d2", "xd3", "d4", "d_max")
_MOST_VALUES = 1 << 26
"""Values read at once: 512 MiB."""
_TASK_VALUES = 1 << 17
"""What a thread sums at a time: little enough for the cache, and enough that Python's own time does not count."""
_TINY, _HUGE = 1e-60, 1e60
"""Between these the fourth power of a value, and of float32's smallest change of it, is a number."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def drift(connection: Connection, text: str, parameters: Mapping[str, Any], memory: int) -> pa.RecordBatchReader:
    """The answer of the query `drift`.

    text: of drift.sql. parameters: those that are given. memory: bytes for the samples that are read at once.
    """
    query = WithQuery.of(text)
    wanted = connection.ask(str(query.up_to("wanted").asking(_WANTED, signs=_SIGNS)), parameters)
    models = list(zip(*(wanted[name].to_pylist() for name in ("model", "against")), strict=True))
    if parameters.get("reference"):
        pairs = _aligned(connection, models)
    else:
        pairs = connection.ask(str(query.up_to("matched").asking(_PAIRS)), parameters)
        if models:
            pairs = _joined(pairs, _aligned(connection, models), wanted["model"])
    most = max(min(memory // 8, _MOST_VALUES), 1)
    parts = [_summed(connection, part) for part in _portions(pairs, most)]
    sums = pa.concat_tables(parts) if parts else _table(np.empty(0, np.uint64), _Sums.empty(0))
    answered = query.replacing(matched="(FROM drift_pairs)", summed="(FROM drift_sums)")
    return connection.batches(str(answered), parameters, tables={"drift_pairs": pairs, "drift_sums": sums})


def _aligned(connection: Connection, models: Sequence[tuple[str, str]]) -> pa.Table:
    """The pairs of tensors of models and what each is compared with, by all evidence."""
    found = tensor_pairs(connection, models) if models else without_pairs()
    return connection.batches(_IDS, tables={"aligned": found}).read_all()


def _joined(by_slot: pa.Table, aligned: pa.Table, models: pa.ChunkedArray) -> pa.Table:
    """The pairs of these models as they are aligned, and those of all others by slot."""
    others = by_slot.filter(pc.invert(pc.is_in(by_slot["model"], models.combine_chunks())))
    return pa.concat_tables([others, aligned.select(by_slot.column_names).cast(by_slot.schema)]).combine_chunks()


def _portions(pairs: pa.Table, most: int) -> Iterator[pa.Table]:
    """Pairs of which the newer sides' samples are about as many values, models together in the order they are met in.

    What they are compared with is mostly among them, as along a run, or the same for all.
    """
    sizes = np.minimum(_numbers(pairs["value_count"].chunks), SAMPLE_SIZE)
    if sizes.sum() <= most:
        if len(pairs):
            yield pairs
        return
    models = _numbers([pairs["model"].combine_chunks().dictionary_encode().indices])
    order = np.argsort(models, kind="stable")
    begins = np.flatnonzero(np.diff(models[order], prepend=-1))
    portion = np.cumsum(np.add.reduceat(sizes[order], begins)) // most
    cuts = begins[np.flatnonzero(np.diff(portion)) + 1]
    for place in np.split(order, cuts):
        yield pairs.take(place)


def _summed(connection: Connection, pairs: pa.Table) -> pa.Table:
    """The sums of some pairs."""
    models = pa.chunked_array([*pairs["model"].chunks, *pairs["against"].chunks]).unique()
    samples = _Samples.of(connection.ask(_READ, {"drift_models": models.to_pylist()}))
    old, new = (samples.rows(_numbers(pairs[name].chunks)) for name in ("old_id", "id"))
    # Samples of unequal length are of other places.
    known = (old >= 0) & (new >= 0)
    known[known] = (samples.length[old[known]] == samples.length[new[known]]) & (samples.length[new[known]] > 0)
    place = np.flatnonzero(known)
    place = place[np.argsort(new[place], kind="stable")]
    return _table(_numbers(pairs["id"].chunks)[place], _sums(samples, old[place], new[place]))


@dataclass(frozen=True, slots=True)
class _Samples:
    """Samples of tensors: values in pieces, and for each tensor its piece, where it begins there, and its length.

    peak: the largest magnitude of the tensor, NaN if unknown. identity: the tensor's id, sorted, and its row.
    """

    values: list[Floats]
    piece: Integers
    begin: Integers
    length: Integers
    peak: Floats
    identity: tuple[NDArray[np.uint64], Integers]

    @classmethod
    def of(cls, read: pa.Table) -> _Samples:
        lists = read["value"].chunks
        ends = [_numbers([chunk.offsets]).astype(np.int64) for chunk in lists]
        ids = _numbers(read["id"].chunks)
        order = np.argsort(ids)
        return cls(
            [_numbers([chunk.values]) for chunk in lists],
            np.repeat(np.arange(len(lists)), [len(chunk) for chunk in lists]),
            np.concatenate([np.empty(0, np.int64), *(end[:-1] for end in ends)]),
            np.concatenate([np.empty(0, np.int64), *(np.diff(end) for end in ends)]),
            _numbers(read["abs_max"].chunks),
            (ids[order], order),
        )

    def rows(self, ids: NDArray[np.uint64]) -> Integers:
        """Where the tensors of these ids stand; -1 for none."""
        known, order = self.identity
        if not len(known):
            return np.full(len(ids), -1)
        place = np.minimum(np.searchsorted(known, ids), len(known) - 1)
        return np.where(known[place] == ids, order[place], -1)

    def runs(self, rows: Integers) -> Floats:
        """The values of these tensors, one after the other."""
        end = self.begin[rows] + self.length[rows]
        # Those that stand together already are not copied.
        cut = np.flatnonzero((self.begin[rows][1:] != end[:-1]) | (np.diff(self.piece[rows]) != 0))
        first, last = rows[np.append(0, cut + 1)], np.append(cut, len(rows) - 1)
        spans = zip(self.piece[first], self.begin[first], end[last], strict=True)
        found = [self.values[piece][start:stop] for piece, start, stop in spans]
        return found[0] if len(found) == 1 else np.concatenate(found)


@dataclass(frozen=True, slots=True)
class _Sums:
    """What drift.sql sums of pairs of tensors, an array each; `figures` has a row for each of _FIGURES."""

    scale: Floats
    kept: Integers
    changed: Integers
    finite: Integers
    figures: Floats

    @classmethod
    def empty(cls, pairs: int) -> _Sums:
        kept, changed, finite = np.zeros((3, pairs), np.int64)
        return cls(np.ones(pairs), kept, changed, finite, np.empty((len(_FIGURES), pairs)))


def _table(ids: NDArray[np.uint64], sums: _Sums) -> pa.Table:
    """As the CTE `summed` has it: sums over no finite value are NULL."""
    known = sums.finite > 0
    figures = [_column(sums.finite), *(_column(figure, known) for figure in sums.figures)]
    columns = [_column(values) for values in (ids, sums.scale, sums.kept, sums.changed)]
    columns.append(pa.StructArray.from_arrays(figures, ["n", *_FIGURES]))
    return pa.table(columns, ["id", "scale", "kept", "changed", "sums"])


# Arrow's own ways from and to NumPy import pandas wherever that is installed, which takes 0.2 s.


def _numbers(pieces: Sequence[pa.Array]) -> NDArray[Any]:
    """A column's numbers; NULL is NaN."""
    found = [piece.to_numpy(zero_copy_only=False) if piece.null_count else np.from_dlpack(piece) for piece in pieces]
    return found[0] if len(found) == 1 else np.concatenate(found or [np.empty(0)])


def _column(numbers: NDArray[Any], known: NDArray[np.bool_] | None = None) -> pa.Array:
    """Numbers as a column, NULL where they are not known."""
    valid = None if known is None or known.all() else pa.py_buffer(np.packbits(known, bitorder="little"))
    values = pa.py_buffer(np.ascontiguousarray(numbers))
    return pa.Array.from_buffers(pa.from_numpy_dtype(numbers.dtype), len(numbers), [valid, values])


def _sums(samples: _Samples, old: Integers, new: Integers) -> _Sums:
    """The sums over pairs of rows with samples of one length."""
    sums = _Sums.empty(len(new))
    length = samples.length[new]
    sums.kept[:] = length
    scale = np.fmax(samples.peak[old], samples.peak[new])
    # Only where a power would overflow or vanish are values divided by the largest.
    odd = (scale > _HUGE) | ((scale > 0) & (scale < _TINY))
    sums.scale[odd] = scale[odd]
    task = np.cumsum(length) // _TASK_VALUES
    cuts = [0, *(np.flatnonzero(np.diff(task)) + 1), len(new)]

    def add(part: slice) -> None:
        x, y = samples.runs(old[part]), samples.runs(new[part])
        if odd[part].any():
            by = np.repeat(sums.scale[part], length[part])
            x, y = x / by, y / by
        at = np.cumsum(length[part]) - length[part]
        sums.changed[part], sums.finite[part], sums.figures[:, part] = _figures(x, y, at, length[part])

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        parts = (slice(begin, end) for begin, end in itertools.pairwise(cuts) if begin < end)
        list(threads.map(add, parts))
    return sums


def _figures(x: Floats, y: Floats, at: Integers, length: Integers) -> tuple[Integers, Integers, Floats]:
    """How many pairs of values changed, how many are finite, and the sums over these, for each tensor.

    x, y: old and new values, tensor after tensor. at: where each begins.
    """
    finite = length
    with np.errstate(invalid="ignore", over="ignore"):
        d = y - x
    known = np.isfinite(d)
    if not known.all():
        x, y, d = (np.where(known, values, 0.0) for values in (x, y, d))
        finite = np.add.reduceat(known, at, dtype=np.int64)
    changed = np.add.reduceat(d != 0, at, dtype=np.int64)
    x2, xd, d2, product = x * x, x * d, d * d, np.empty_like(d)
    factors = (y, y), (x, y), (x2, x2), (x2, xd), (x2, d2), (xd, d2), (d2, d2)
    sums = [np.add.reduceat(values, at) for values in (x2, xd, d2)]
    sums += [np.add.reduceat(np.multiply(one, other, out=product), at) for one, other in factors]
    return changed, finite, np.array([*sums, np.sqrt(np.maximum.reduceat(d2, at))])
