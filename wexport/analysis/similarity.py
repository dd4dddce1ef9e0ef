"""How alike models are, every one with every other, from the table's samples."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from wexport.analysis import fingerprints, similarity_sums
from wexport.analysis.cosines import Floats, Rows
from wexport.analysis.matching import Method, Place
from wexport.analysis.matching_many import by_order_or_content
from wexport.analysis.similarity_sums import PairSums
from wexport.compatibility import renamed
from wexport.errors import UsageError

if TYPE_CHECKING:
    from wexport.sessions.connection import PathLike
    from wexport.sessions.session import Session

MOST_MODELS = 4_000
"""Every pair of models has several figures: of more models, they would not fit in 2 GiB."""
MIN_COVERAGE = 0.5
_PASS_VALUES = 1 << 26
"""Values read at once: 512 MiB."""
_BLOCK_ROWS, _BLOCK_COLUMNS = 128, 512
"""Pairs are worked on in tiles that fit in cache."""

_LIST = """
SELECT
    model, kind, slot, role, canonical_shape, tensor_index, layer_index IS NOT NULL AS ordered, value_count,
    content_hash, l2_norm
FROM weights WHERE asked_for(model, getvariable('model')) AND NOT is_statistic(role)
ORDER BY model, tensor_index, slot, kind
"""
_READ = """
SELECT model, kind, slot, sample.value AS value FROM weights
WHERE asked_for(model, getvariable('model')) AND NOT is_statistic(role) AND sample IS NOT NULL
"""
_READ_MODELS = _READ + "AND list_contains(getvariable('models'), model)"
_READ_SLOTS = _READ + "AND list_contains(getvariable('slots'), slot)"

_Key = tuple[str, str, tuple[int, ...]]
_Texts = list[str | None]


@dataclass(frozen=True, slots=True)
class Similarity:
    """Models by models; each matrix is float64, symmetric, and in the order of `models` (names, sorted).

    matrix: mean of the cosines of matched tensors, weighted by their sizes; 1 on the diagonal, NaN where a pair cannot
    be compared. standard_error: of that mean; 0 where all values were known. coverage: share of the larger model's
    parameters that have a partner. relative_l2: length of the difference of the matched tensors by the root mean
    square of the two lengths. tensors, by_order, by_content: how many tensors were matched, and how many of them by
    order or content, not by slot.
    """

    models: list[str]
    matrix: Floats
    standard_error: Floats
    coverage: Floats
    relative_l2: Floats
    tensors: Floats
    by_order: Floats
    by_content: Floats
    min_coverage: float = MIN_COVERAGE

    def pairs(self) -> pa.Table:
        """A row a pair, the most similar first, as the query `similarity` answers."""
        i, j = np.triu_indices(len(self.models), 1)
        similarity = self.matrix[i, j]
        order = np.lexsort((j, i, np.where(np.isnan(similarity), np.inf, -similarity)))
        i, j = i[order], j[order]
        names = pa.array(self.models, pa.string())
        figures = (self.matrix, self.standard_error, self.relative_l2, self.coverage)
        similarity, error, distance, coverage = (_column(figure[i, j]) for figure in figures)
        tensors, by_order, by_content = self.tensors[i, j], self.by_order[i, j], self.by_content[i, j]
        return pa.table(
            {
                "model_a": names.take(pa.array(i)),
                "model_b": names.take(pa.array(j)),
                "similarity": similarity,
                "standard_error": error,
                "relative_l2": distance,
                "coverage": coverage,
                "tensors": pa.array(tensors.astype(np.int64)),
                "match_method": _words(tensors - by_order - by_content, by_order, by_content),
                "reason": pa.array(self._reasons(i, j), pa.string()),
            }
        )

    def _reasons(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> _Texts:
        reasons: _Texts = [None] * len(i)
        for place in np.flatnonzero(np.isnan(self.matrix[i, j])):
            coverage = self.coverage[i[place], j[place]]
            if coverage == 0:
                reasons[place] = "no tensor in common, or no samples of it"
            elif coverage < self.min_coverage:
                reasons[place] = f"{math.floor(coverage * 100 + 0.5):d} % of the parameters match"
            else:
                reasons[place] = "nothing but zeros"
        return reasons


@renamed(seconds="timeout")
def similarity(table: PathLike, model: str = "*", *, min_coverage: float = MIN_COVERAGE, **limits: Any) -> Similarity:
    """How alike models are, every one with every other.

    table: a file that `ingest` wrote, a folder of parts, or a pattern. model: which models, a name or a pattern.
    min_coverage: pairs of which less than this share of parameters match are not compared. limits: `timeout` and
    `memory` of each query.

    Statistics that are counted and not trained (moving means, ...) are left out. Raises TableError if there is no such
    table, UsageError for more than 4,000 models.
    """
    from wexport.sessions.session import Session

    with Session(table, **limits) as session:
        return measure(session, model, min_coverage)


def similar_pairs(session: Session, parameters: Mapping[str, Any]) -> pa.Table:
    """The answer to the query `similarity`."""
    return measure(session, parameters["model"], parameters["min_coverage"]).pairs()


def measure(session: Session, model: str, min_coverage: float) -> Similarity:
    """Similarity over a session that is open."""
    listing = _Listing(session.ask(_LIST, {"model": model}))
    sums = PairSums(len(listing.models))
    matched = _matched(session, model, listing)
    # A thread a tile, and none within a product: much of the work is not the products'.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        for keys, tasks in _passes(listing, matched):
            samples = _read(session, model, listing, keys)
            for left, right, method in tasks:
                # Each tile has a part of the sums of its own.
                tiles = _tiles(listing, samples, left, right)
                for done in [threads.submit(sums.add, one, other, method) for one, other in tiles]:
                    done.result()
            del samples
    return Similarity(listing.models, *sums.figures(listing.parameters, min_coverage), min_coverage)


class _Listing:
    """The tensors of the models without their values, and which go together."""

    def __init__(self, rows: pa.Table) -> None:
        columns = [column.to_pylist() for column in rows.columns]
        names, kinds, slots, roles, shapes, indices, ordered, sizes, hashes, norms = columns
        self.models: list[str] = sorted(set(names))
        if len(self.models) > MOST_MODELS:
            raise UsageError(
                f"{len(self.models):,} models are too many to compare every one with every other",
                hint=f"choose at most {MOST_MODELS:,} by the parameter model",
            )
        number = {name: place for place, name in enumerate(self.models)}
        codes: dict[str | None, int] = {}
        self.keys: list[_Key] = []
        self.size: list[int] = []
        self.tensors: list[dict[int, tuple[int, float]]] = []
        """For each key: model to (hash as a number, L2 norm)."""
        self.parameters = np.zeros(len(self.models))
        self._key_numbers: dict[_Key, int] = {}
        self.places: list[list[tuple[int, Place]]] = [[] for _ in self.models]
        places = self.places
        for name, kind, slot, role, shape, index, in_order, size, content, norm in zip(
            names, kinds, slots, roles, shapes, indices, ordered, sizes, hashes, norms, strict=True
        ):
            key = self._key((kind, slot, tuple(shape or ())), size)
            code = (
                codes.setdefault(content, len(codes))
                if content is not None
                else -1 - len(places[number[name]]) - len(rows) * number[name]
            )
            self.tensors[key][number[name]] = (code, math.nan if norm is None else norm)
            self.parameters[number[name]] += size
            place = Place(slot, kind, role, tuple(shape or ()), index or 0, ordered=in_order)
            places[number[name]].append((key, place))

    def _key(self, key: _Key, size: int) -> int:
        number = self._key_numbers.setdefault(key, len(self.keys))
        if number == len(self.keys):
            self.keys.append(key)
            self.size.append(size)
            self.tensors.append({})
        return number

    def by_slot(self) -> Mapping[tuple[str, str], list[int]]:
        """The keys of each slot; more than one where its shape differs."""
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, (kind, slot, _) in enumerate(self.keys):
            found[kind, slot].append(number)
        return found


_Side = tuple[int, Sequence[int]]
"""A key and models."""
_Task = tuple[_Side, _Side | None, Method]
"""Models of one key with each other, or with models that have another key for the same tensor; and what tells it."""


def _matched(session: Session, model: str, listing: _Listing) -> list[_Task]:
    """Tensors that match though they are not of one slot and shape."""

    def contents(models: set[int]) -> dict[tuple[int, int], str]:
        names = [listing.models[number] for number in models]
        found = {}
        for name, key, values in _samples(session, _READ_MODELS, {"model": model, "models": names}, listing):
            fingerprint = fingerprints.of_sample(listing.keys[key][2], values)
            if fingerprint is not None:
                found[name, key] = fingerprint
        return found

    return [
        ((pair.left, pair.left_models), (pair.right, pair.right_models), pair.method)
        for pair in by_order_or_content(listing.places, contents)
    ]


def _passes(listing: _Listing, matched: Sequence[_Task]) -> Iterator[tuple[set[int], list[_Task]]]:
    """What is compared, in portions whose samples fit in memory together."""
    tasks: list[_Task] = [
        ((key, sorted(tensors)), None, "slot") for key, tensors in enumerate(listing.tensors) if len(tensors) > 1
    ]
    keys: set[int] = set()
    portion: list[_Task] = []
    values = 0
    for task in [*tasks, *matched]:
        new = {task[0][0], *([task[1][0]] if task[1] else [])}
        more = _values(listing, new - keys)
        if portion and values + more > _PASS_VALUES:
            yield keys, portion
            keys, portion, values = set(), [], 0
            more = _values(listing, new)
        keys |= new
        values += more
        portion.append(task)
    if portion:
        yield keys, portion


def _values(listing: _Listing, keys: set[int]) -> int:
    return sum(len(listing.tensors[key]) * min(listing.size[key], 1024) for key in keys)


def _read(session: Session, model: str, listing: _Listing, keys: set[int]) -> dict[int, dict[int, Floats]]:
    """Samples by key and model."""
    text, parameters = _READ, dict[str, Any](model=model)
    if len(keys) < len(listing.keys):
        text, parameters = _READ_SLOTS, {"model": model, "slots": sorted({listing.keys[key][1] for key in keys})}
    samples: dict[int, dict[int, Floats]] = {key: {} for key in keys}
    for name, key, values in _samples(session, text, parameters, listing):
        if key in keys:
            samples[key][name] = values
    return samples


def _samples(
    session: Session, text: str, parameters: Mapping[str, Any], listing: _Listing
) -> Iterator[tuple[int, int, Floats]]:
    """Model, key and sample of what a query reads."""
    number = {name: place for place, name in enumerate(listing.models)}
    by_slot = listing.by_slot()
    for batch in session.batches(text, parameters):
        values = batch.column("value")
        flat = values.flatten().to_numpy(zero_copy_only=False)
        ends = np.cumsum([0, *values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)])
        names = (batch.column(name).to_pylist() for name in ("model", "kind", "slot"))
        for row, (name, kind, slot) in enumerate(zip(*names, strict=True)):
            for key in by_slot.get((kind, slot), []):
                if number[name] in listing.tensors[key]:
                    yield number[name], key, flat[ends[row] : ends[row + 1]]


def _tiles(
    listing: _Listing, samples: Mapping[int, Mapping[int, Floats]], left: _Side, right: _Side | None
) -> Iterator[tuple[similarity_sums.Side, similarity_sums.Side]]:
    """One tensor of all its models, or of some and others, in portions to be compared."""
    groups = _by_length(samples[left[0]], left[1])
    others = groups if right is None else _by_length(samples[right[0]], right[1])
    for length, models in groups.items():
        partners = others.get(length, [])
        if not partners:
            continue
        one = _side(listing, left[0], models, samples[left[0]], length)
        other = one if right is None else _side(listing, right[0], partners, samples[right[0]], length)
        for top in _portions(len(models), 0, _BLOCK_ROWS):
            # What is before was met from the other side.
            for side in _portions(len(partners), top.start if right is None else 0, _BLOCK_COLUMNS):
                yield one.part(top), other.part(side)


def _portions(length: int, begin: int, step: int) -> list[slice]:
    return [slice(start, min(start + step, length)) for start in range(begin, length, step)]


def _by_length(samples: Mapping[int, Floats], models: Sequence[int]) -> dict[int, list[int]]:
    """Models by the length of their samples, 0 for none: only samples of one length are of the same places."""
    groups: dict[int, list[int]] = defaultdict(list)
    for model in models:
        groups[len(samples[model]) if model in samples else 0].append(model)
    return groups


def _side(
    listing: _Listing, key: int, models: Sequence[int], samples: Mapping[int, Floats], length: int
) -> similarity_sums.Side:
    values = np.stack([samples[model] for model in models]) if length else np.zeros((len(models), 0))
    known = [listing.tensors[key][model] for model in models]
    hashes = np.array([code for code, _ in known], np.int64)
    norms = np.array([norm for _, norm in known])
    return similarity_sums.Side(models, Rows.of(values, listing.size[key]), hashes, norms)


def _words(by_slot: Floats, by_order: Floats, by_content: Floats) -> pa.Array:
    """Which methods there are of each, as words."""
    kinds = sum((counts > 0) << place for place, counts in enumerate((by_slot, by_order, by_content)))
    words = [
        ", ".join(word for place, word in enumerate(("slot", "order", "content")) if kind >> place & 1) or None
        for kind in range(8)
    ]
    return pa.array(words, pa.string()).take(pa.array(kinds))


def _column(figure: Floats) -> pa.Array:
    return pa.array(figure, pa.float64(), from_pandas=True)  # NaN is NULL
