"""The pairs of tensors of models and what they are compared with, aligned by all evidence, as a relation for SQL.

`drift.sql` and `freeze.sql` say in SQL which tensors go together, by slot and order; where they are asked through
wexport and against a reference, what stands there between two marks is replaced by these pairs.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from wexport.analysis import fingerprints
from wexport.analysis.matching import align
from wexport.analysis.places import Place
from wexport.sessions.connection import Connection
from wexport.sessions.with_queries import WithQuery

_ALONG = """
WITH signed AS (
    SELECT run, step, model, hash(list(concat_ws(' ', slot, canonical_shape::VARCHAR) ORDER BY slot)) AS sign
    FROM weights WHERE kind = 'weight' AND run IS NOT NULL AND step IS NOT NULL GROUP BY run, step, model
    QUALIFY row_number() OVER (PARTITION BY run, step ORDER BY model) = 1
)
FROM signed QUALIFY min(sign) OVER (PARTITION BY run) <> max(sign) OVER (PARTITION BY run) ORDER BY run, step
"""
_TRACK_SCHEMA = pa.schema([(name, pa.string()) for name in ("model", "slot", "track", "match_method")])
_LIST = """
SELECT
    model, kind, slot, role, canonical_shape, tensor_index, has_order(layer_index) AS ordered, value_count, layer,
    layer_class, CASE WHEN is_evidence(value_count, std, histogram) THEN content_hash END AS content, {sample} AS value
FROM weights WHERE list_contains(getvariable('paired_models'), model) ORDER BY tensor_index, slot
"""
_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("model", "kind", "slot", "against", "kind_before", "slot_before")),
        ("match_method", pa.string()),
        ("confidence", pa.float64()),
        ("value_count", pa.int64()),
    ]
)


def tensor_pairs(connection: Connection, wanted: Sequence[tuple[str, str]]) -> pa.Table:
    """A row a tensor of a model that has its partner in the model that it is compared with.

    wanted: pairs of models, the one and what it is compared with.
    """
    plain = _places(connection, list(dict.fromkeys(name for pair in wanted for name in pair)), with_values=False)
    # Only where the architectures differ do values tell more than slots.
    signs = {name: _signs(places) for name, places in plain.items()}
    others = dict.fromkeys(name for pair in wanted if signs[pair[0]] != signs[pair[1]] for name in pair)
    valued = _places(connection, list(others), with_values=True) if others else {}
    rows = []
    for model, against in wanted:
        places = plain if signs[model] == signs[against] else valued
        left, right = places[model], places[against]
        found = align([place for place, _ in left], [place for place, _ in right])
        taken: set[int] = set()
        for pair in [*found.pairs, *found.repeats]:
            if pair.left in taken:
                continue
            taken.add(pair.left)
            (one, count), (other, _) = left[pair.left], right[pair.right]
            names = (model, one.kind, one.slot, against, other.kind, other.slot)
            rows.append((*names, pair.method, pair.confidence, count))
    if not rows:
        return without_pairs()
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
    return pa.table(arrays, schema=_SCHEMA)


def without_pairs() -> pa.Table:
    """The relation where there is nothing to pair."""
    return _SCHEMA.empty_table()


def _places(connection: Connection, models: Sequence[str], *, with_values: bool) -> dict[str, list[tuple[Place, int]]]:
    text = _LIST.format(sample="sample.value" if with_values else "NULL")
    found: dict[str, list[tuple[Place, int]]] = {model: [] for model in models}
    for batch in connection.batches(text, {"paired_models": list(models)}):
        for row, values in zip(batch.drop_columns(["value"]).to_pylist(), batch.column("value"), strict=True):
            shape = tuple(row["canonical_shape"] or ())
            sample = values.values.to_numpy(zero_copy_only=False) if with_values and values.is_valid else None
            place = Place(
                row["slot"],
                row["kind"],
                row["role"],
                shape,
                row["tensor_index"] or 0,
                row["content"],
                None if sample is None or not len(sample) else fingerprints.of_sample(shape, sample),
                ordered=row["ordered"],
                name=row["layer"],
                layer_class=row["layer_class"],
                values=sample,
            )
            found[row["model"]].append((place, row["value_count"]))
    return found


def _signs(places: Sequence[tuple[Place, int]]) -> set[tuple[Any, ...]]:
    return {(place.kind, place.slot, place.canonical_shape, place.role, place.given_name) for place, _ in places}


def freeze(connection: Connection, text: str, parameters: Mapping[str, Any], memory: int) -> pa.RecordBatchReader:
    """The answer of the query `freeze`. text: of freeze.sql. parameters: those that are given."""
    del memory
    reference = parameters.get("reference") or ""
    if not reference:
        return _along_runs(connection, text, parameters)
    asked = "SELECT DISTINCT model FROM weights WHERE kind = 'weight' AND {} ORDER BY model"
    models = connection.ask(asked.format("asked_for(model, coalesce(getvariable('model'), '*'))"), parameters)
    names = [name for name in models["model"].to_pylist() if name != reference]
    if connection.ask(asked.format("model = getvariable('reference')"), parameters).num_rows == 0:
        return connection.batches(text, parameters)
    given = tensor_pairs(connection, [(name, reference) for name in names])
    matched = "(SELECT model, slot, slot_before, match_method FROM freeze_pairs WHERE kind = 'weight')"
    answered = WithQuery.of(text).replacing(matched=matched)
    return connection.batches(str(answered), parameters, tables={"freeze_pairs": given})


def _along_runs(connection: Connection, text: str, parameters: Mapping[str, Any]) -> pa.RecordBatchReader:
    """Runs whose architecture changes are followed tensor by tensor, all others by slot."""
    changing = connection.ask(_ALONG)
    if not changing.num_rows:
        return connection.batches(text, parameters)
    checkpoints: dict[str, list[str]] = {}
    for run, model in zip(changing["run"].to_pylist(), changing["model"].to_pylist(), strict=True):
        checkpoints.setdefault(run, []).append(model)
    query = WithQuery.of(text)
    tracks = (
        f"(FROM freeze_tracks UNION ALL FROM {query.parts['tracks']} AS tracks_by_slot"
        " WHERE model NOT IN (SELECT model FROM freeze_tracks))"
    )
    tables = {"freeze_tracks": _tracks(connection, list(checkpoints.values()))}
    return connection.batches(str(query.replacing(tracks=tracks)), parameters, tables=tables)


def _tracks(connection: Connection, runs: Sequence[Sequence[str]]) -> pa.Table:
    """For each tensor of the checkpoints of runs, a name that its partners along the run have too."""
    wanted = [(new, old) for run in runs for old, new in itertools.pairwise(run)]
    pairs = tensor_pairs(connection, wanted).to_pylist()
    before = {(row["model"], row["slot"]): row for row in pairs if row["kind"] == row["kind_before"] == "weight"}
    listed = _places(connection, [model for run in runs for model in run], with_values=False)
    rows: list[tuple[str, str, str, str]] = []
    for run in runs:
        tracks: dict[tuple[str, str], str] = {}
        for model in run:
            for place, _ in listed[model]:
                row = before.get((model, place.slot)) if place.kind == "weight" else None
                known = None if row is None else tracks.get((row["against"], row["slot_before"]))
                tracks[model, place.slot] = known or f"aligned {model}: {place.slot}"
                rows.append((model, place.slot, tracks[model, place.slot], row["match_method"] if row else "slot"))
    columns = zip(*rows, strict=True)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, _TRACK_SCHEMA, strict=True)]
    return pa.table(arrays, schema=_TRACK_SCHEMA)
