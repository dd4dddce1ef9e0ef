"""How alike models are, every one with every other, from the table's samples."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from wexport.analysis import relations, similarity_sums
from wexport.analysis.cosines import Floats, Rows
from wexport.analysis.matching import METHODS, Place
from wexport.analysis.matching_many import Partners, partners
from wexport.analysis.similarity_sums import PairSums
from wexport.answers.tabular import Tabular
from wexport.compatibility import renamed
from wexport.errors import UsageError
from wexport.sessions.session import MEMORY_BYTES, SECONDS, Session, opened
from wexport.stats import SAMPLE_SIZE

if TYPE_CHECKING:
    from wexport.sessions.session import TableLike

MOST_MODELS = 4_000
"""Every pair of models has several figures: of more models, they would not fit in 2 GiB."""
MIN_COVERAGE = 0.5
_PASS_VALUES = 1 << 26
"""Values read at once: 512 MiB."""
_BLOCK_ROWS, _BLOCK_COLUMNS = 128, 512
"""Pairs are worked on in tiles that fit in cache."""

_COMPARED = "role NOT IN ('count', 'vector_u')"
"""Counters and the vectors of a power iteration say nothing of what a model has learnt."""
_LIST = f"""
SELECT
    model, kind, slot, role, canonical_shape, tensor_index, has_order(layer_index) AS ordered, value_count,
    is_evidence(value_count, std, histogram) AS is_evidence, content_hash, l2_norm, layer, layer_class, dtype, shape,
    is_statistic(role) AS statistic, run
FROM weights WHERE asked_for(model, getvariable('model')) AND {_COMPARED}
ORDER BY model, tensor_index, slot, kind
"""
_READ = f"""
SELECT model, kind, slot, sample.value AS value FROM weights
WHERE asked_for(model, getvariable('model')) AND {_COMPARED} AND sample IS NOT NULL
"""
_READ_MODELS = _READ + "AND list_contains(getvariable('models'), model)"
_READ_SLOTS = _READ + "AND list_contains(getvariable('slots'), slot)"

_Key = tuple[str, str, tuple[int, ...]]
_Texts = list[str | None]


@dataclass(frozen=True, slots=True)
class Similarity(Tabular):
    """Models by models; each matrix is float64, symmetric, and in the order of `models` (names, sorted).

    matrix: mean of the cosines of matched tensors, weighted by their sizes; 1 on the diagonal, NaN where a pair cannot
    be compared. standard_error: of that mean; 0 where all values were known. coverage: share of the larger model's
    parameters that have a partner. relative_l2: length of the difference of the matched tensors by the root mean
    square of the two lengths. tensors: how many were matched. methods: how, as bits in the order of `matching.METHODS`.
    confidence: of the least sure of these pairs.
    worst_relative_l2: of the tensor that differs most, moving statistics included. worst: its number in `slots`, -1 for
    none. changed: tensors that differ by more than rounding; differing: the first of them, as numbers in `slots`.
    correlation: of the values of matrices, weighted by size. null: the upper end of what independent models give.
    relation: the place in `relations.RELATIONS`.
    """

    models: list[str]
    slots: list[str]
    matrix: Floats
    standard_error: Floats
    coverage: Floats
    relative_l2: Floats
    tensors: Floats
    methods: NDArray[np.int8]
    confidence: Floats
    worst_relative_l2: Floats
    worst: NDArray[np.int32]
    changed: NDArray[np.int32]
    differing: NDArray[np.int32]
    correlation: Floats
    null: Floats
    relation: NDArray[np.int8]
    min_coverage: float = MIN_COVERAGE

    def pairs(self) -> pa.Table:
        """A row a pair, the most similar first, as the query `similarity` answers."""
        i, j = np.triu_indices(len(self.models), 1)
        similarity = self.matrix[i, j]
        order = np.lexsort((j, i, np.where(np.isnan(similarity), np.inf, -similarity), self.relation[i, j]))
        i, j = i[order], j[order]
        names, slots = pa.array(self.models, pa.string()), pa.array([*self.slots, None], pa.string())
        some = self.tensors[i, j] > 0
        column = {
            name: _column(getattr(self, name)[i, j])
            for name in ("matrix", "standard_error", "relative_l2", "coverage", "worst_relative_l2", "null")
        }
        worst = self.worst[i, j]
        return pa.table(
            {
                "model_a": names.take(pa.array(i)),
                "model_b": names.take(pa.array(j)),
                "relation": pa.array(relations.WORDS, pa.string()).take(pa.array(self.relation[i, j])),
                "similarity": column["matrix"],
                "standard_error": column["standard_error"],
                "correlation": _column(self.correlation[i, j]),
                "null_similarity": column["null"],
                "relative_l2": column["relative_l2"],
                "worst_relative_l2": column["worst_relative_l2"],
                "worst_slot": slots.take(pa.array(np.where(worst < 0, len(self.slots), worst))),
                "changed": pa.array(self.changed[i, j].astype(np.int64)),
                "differs": pa.array(
                    [self.named(a, b) for a, b in zip(i.tolist(), j.tolist(), strict=True)], pa.list_(pa.string())
                ),
                "coverage": column["coverage"],
                "tensors": pa.array(self.tensors[i, j].astype(np.int64)),
                "match_method": _words(self.methods[i, j]),
                "confidence": _column(np.where(some, self.confidence[i, j], np.nan)),
                "reason": pa.array(self._reasons(i, j), pa.string()),
            }
        )

    def to_arrow(self) -> pa.Table:
        """The same as `pairs`."""
        return self.pairs()

    def named(self, a: int, b: int) -> list[str]:
        """The first slots that differ by more than rounding."""
        return [self.slots[key] for key in self.differing[:, a, b] if key >= 0]

    def _reasons(self, i: NDArray[np.intp], j: NDArray[np.intp]) -> _Texts:
        reasons: _Texts = [None] * len(i)
        for place in np.flatnonzero(np.isnan(self.matrix[i, j])):
            coverage = self.coverage[i[place], j[place]]
            if coverage == 0:
                reasons[place] = "no tensor in common, or no samples of it"
            elif self.relation[i[place], j[place]] == 0:
                reasons[place] = "equal, and nothing but zeros"
            elif coverage < self.min_coverage:
                reasons[place] = f"{math.floor(coverage * 100 + 0.5):d} % of the parameters match"
            else:
                reasons[place] = "nothing but zeros"
        return reasons


@renamed(seconds="timeout")
def similarity(
    table: TableLike,
    model: str = "*",
    *,
    min_coverage: float = MIN_COVERAGE,
    timeout: float = SECONDS,
    memory: int = MEMORY_BYTES,
) -> Similarity:
    """How alike models are, every one with every other.

    table: a file that `ingest` wrote, a folder of parts, or a pattern; or what `connect` gives.
    model: which models, a name or a pattern.
    min_coverage: pairs of which less than this share of parameters match are not compared.
    timeout, memory: seconds and bytes that each query may take.

    Statistics that are counted and not trained (moving means, ...) are left out. Raises TableError if there is no such
    table, UsageError for more than 4,000 models.
    """
    with opened(table, timeout=timeout, memory=memory) as session:
        return measure(session, model, min_coverage)


def similar_pairs(session: Session, parameters: Mapping[str, Any]) -> pa.Table:
    """The answer to the query `similarity`."""
    return measure(session, parameters["model"], parameters["min_coverage"], parameters["close"]).pairs()


def measure(session: Session, model: str, min_coverage: float, close: float = relations.CLOSE) -> Similarity:
    """Similarity over a session that is open. close: the worst tensor's relative L2 up to which models are close."""
    listing = _Listing(session.ask(_LIST, {"model": model}))
    sums = PairSums(len(listing.models))
    matched = partners(listing.places, lambda models: _samples_of(session, model, listing, models))
    # A thread a tile, and none within a product: much of the work is not the products'.
    with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(os.cpu_count()) as threads:
        for keys, parts in _passes(listing, matched):
            samples = _read(session, model, listing, keys)
            for part in parts:
                # Each tile has a part of the sums of its own.
                done = [
                    threads.submit(sums.add, one, other, part.method, part.confidence)
                    for one, other in _tiles(listing, samples, part)
                ]
                for each in done:
                    each.result()
            del samples
    counts = np.array([len(places) for places in listing.places], np.int64)
    figures = sums.figures(listing.parameters, counts, listing.runs, min_coverage, close)
    return Similarity(listing.models, [slot for _, slot, _ in listing.keys], *figures, min_coverage)


class _Tensor(NamedTuple):
    """Hash, type and stored shape as numbers, and the L2 norm."""

    content: int
    norm: float
    dtype: int
    layout: int
    evidence: bool


class _Listing:
    """The tensors of the models without their values, and which go together."""

    def __init__(self, rows: pa.Table) -> None:
        listed = rows.to_pylist()
        self.models: list[str] = sorted({row["model"] for row in listed})
        if len(self.models) > MOST_MODELS:
            raise UsageError(
                f"{len(self.models):,} models are too many to compare every one with every other",
                hint=f"choose at most {MOST_MODELS:,} by the parameter model",
            )
        number = {name: place for place, name in enumerate(self.models)}
        codes: dict[Hashable, int] = {}
        self.keys: list[_Key] = []
        self.size: list[int] = []
        self.statistic: list[bool] = []
        self.tensors: list[dict[int, _Tensor]] = []
        """For each key, what is known of the tensor of each model."""
        self.parameters = np.zeros(len(self.models))
        self.runs = np.full(len(self.models), -1, np.int64)
        self._key_numbers: dict[_Key, int] = {}
        self.places: list[list[tuple[int, Place]]] = [[] for _ in self.models]
        for count, row in enumerate(listed):
            model, shape = number[row["model"]], tuple(row["canonical_shape"] or ())
            key = self._key((row["kind"], row["slot"], shape), row["value_count"], bool(row["statistic"]))
            content = row["content_hash"]
            self.tensors[key][model] = _Tensor(
                -1 - count if content is None else codes.setdefault(content, len(codes)),
                math.nan if row["l2_norm"] is None else row["l2_norm"],
                codes.setdefault(("dtype", row["dtype"]), len(codes)),
                codes.setdefault(("shape", tuple(row["shape"] or ())), len(codes)),
                row["is_evidence"] or False,
            )
            if not row["statistic"]:
                self.parameters[model] += row["value_count"]
            if row["run"] is not None:
                self.runs[model] = codes.setdefault(("run", row["run"]), len(codes))
            place = Place(
                row["slot"],
                row["kind"],
                row["role"],
                shape,
                row["tensor_index"] or 0,
                content if row["is_evidence"] else None,
                ordered=row["ordered"],
                name=row["layer"],
                layer_class=row["layer_class"],
            )
            self.places[model].append((key, place))

    def _key(self, key: _Key, size: int, statistic: bool) -> int:
        number = self._key_numbers.setdefault(key, len(self.keys))
        if number == len(self.keys):
            self.keys.append(key)
            self.size.append(size)
            self.statistic.append(statistic)
            self.tensors.append({})
        return number

    def by_slot(self) -> Mapping[tuple[str, str], list[int]]:
        """The keys of each slot; more than one where its shape differs."""
        found: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, (kind, slot, _) in enumerate(self.keys):
            found[kind, slot].append(number)
        return found


def _samples_of(session: Session, model: str, listing: _Listing, models: set[int]) -> dict[tuple[int, int], Floats]:
    """Samples of some models, by model and key."""
    names = [listing.models[number] for number in models]
    found = _samples(session, _READ_MODELS, {"model": model, "models": names}, listing)
    return {(name, key): values for name, key, values in found}


def _passes(listing: _Listing, matched: Sequence[Partners]) -> Iterator[tuple[set[int], list[Partners]]]:
    """What is compared, in portions whose samples fit in memory together."""
    keys: set[int] = set()
    portion: list[Partners] = []
    values = 0
    for part in sorted(matched, key=lambda part: (part.left, part.right)):
        new = {part.left, part.right}
        more = _values(listing, new - keys)
        if portion and values + more > _PASS_VALUES:
            yield keys, portion
            keys, portion, values = set(), [], 0
            more = _values(listing, new)
        keys |= new
        values += more
        portion.append(part)
    if portion:
        yield keys, portion


def _values(listing: _Listing, keys: set[int]) -> int:
    return sum(len(listing.tensors[key]) * min(listing.size[key], SAMPLE_SIZE) for key in keys)


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
    listing: _Listing, samples: Mapping[int, Mapping[int, Floats]], part: Partners
) -> Iterator[tuple[similarity_sums.Side, similarity_sums.Side]]:
    """One tensor of all its models, or of some and others, in portions to be compared."""
    alone = part.right_models is None
    groups = _by_length(samples[part.left], part.left_models)
    others = groups if part.right_models is None else _by_length(samples[part.right], part.right_models)
    same_shape = listing.keys[part.left][2] == listing.keys[part.right][2]
    for length, models in groups.items():
        partners = others.get(length, [])
        # Samples of another shape are of other places: of these only hashes tell.
        kept = length if same_shape else 0
        if not partners:
            continue
        one = _side(listing, part.left, models, samples[part.left], kept)
        other = one if alone else _side(listing, part.right, partners, samples[part.right], kept)
        for top in _portions(len(models), 0, _BLOCK_ROWS):
            # What is before was met from the other side.
            for side in _portions(len(partners), top.start if alone else 0, _BLOCK_COLUMNS):
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
    hashes, dtypes, layouts = (
        np.array([getattr(each, name) for each in known], np.int64) for name in ("content", "dtype", "layout")
    )
    norms = np.array([each.norm for each in known])
    evidence = np.array([each.evidence for each in known])
    rows = Rows.of(values, listing.size[key])
    matrix, statistic = len(listing.keys[key][2]) > 1, listing.statistic[key]
    return similarity_sums.Side(
        key, models, rows, hashes, norms, dtypes, layouts, _distinct(rows.values), evidence, matrix, statistic
    )


def _distinct(values: Floats) -> NDArray[np.int64]:
    """How many different values each row has, at least 1."""
    if not values.shape[1]:
        return np.ones(len(values), np.int64)
    found: NDArray[np.int64] = 1 + np.count_nonzero(np.diff(np.sort(values, axis=1)), axis=1)
    return found


def _words(methods: NDArray[np.int8]) -> pa.Array:
    """Which methods there are of each, as words."""
    words = [
        ", ".join(word for place, word in enumerate(METHODS) if kind >> place & 1) or None
        for kind in range(1 << len(METHODS))
    ]
    return pa.array(words, pa.string()).take(pa.array(methods))


def _column(figure: Floats) -> pa.Array:
    return pa.array(figure, pa.float64(), from_pandas=True)  # NaN is NULL
