"""Models in memory as rows: what `ingest` does with an object that is no path.

Nothing is isolated here: the values are the caller's own, and are measured where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wexport import inputs, roles, worker
from wexport import plugins as plugin_host
from wexport.errors import UsageError
from wexport.reading import Measured, ModelResult, Options, Piece
from wexport.tensors import Model

_ROWS = 256
"""Rows that are handed on at a time."""


def model_of(living: object, options: Options) -> Model:
    """What an object is: a `wexport.Model` itself, or what a plugin says. Raises UsageError if none knows it."""
    return living if isinstance(living, Model) else plugin_host.load(options.plugins).describe(living)


def name_of(living: object, options: Options) -> str:
    """What the model is called: as given, or as its framework calls it. Raises UsageError where neither tells."""
    name = options.name if options.name is not None else getattr(living, "name", None)
    if not isinstance(name, str) or not name:
        raise UsageError("a model in memory needs a name", hint='wexport.ingest(model, "weights.parquet", name="mine")')
    return inputs.printable(name)


def measure(model: Model, result: ModelResult, options: Options, said: Mapping[str, Any]) -> Measured:
    """The rows of a model in pieces, then (result, None). said: columns that are the same in all of its rows."""
    tensors = list(model.tensors)
    slots = roles.slots(tensors)
    result.format = model.format
    for skipped in model.skipped:
        if skipped.problem:
            result.problems.append(skipped)
        else:
            result.left_out.setdefault(skipped.what, []).append(skipped.name)
    run, step = inputs.series(result.model, inputs.series_pattern(options.series) if options.series else None)
    common = {"model": result.model, "run": run, "step": step, **said}
    for start in range(0, len(tensors), _ROWS):
        rows = [
            {**worker.row_of(tensors[place], slots[place], place, model, detail=options.detail == "full"), **common}
            for place in range(start, min(start + _ROWS, len(tensors)))
        ]
        result.tensors += len(rows)
        result.parameters += sum(row["value_count"] for row in rows if row["kind"] in ("weight", "array"))
        yield result, Piece(len(rows), worker.by_column(rows), sum(map(worker.weight_of, rows)))
    result.status = "partial" if result.problems else "ok" if tensors else "empty"
    yield result, None


def is_living(paths: object) -> bool:
    """Whether `ingest` was given a model rather than paths: no text, no path, and nothing that lists some."""
    if isinstance(paths, Model):
        return True
    if isinstance(paths, (str, Path)) or hasattr(paths, "__fspath__"):
        return False
    return isinstance(paths, Mapping) or not hasattr(paths, "__iter__")
