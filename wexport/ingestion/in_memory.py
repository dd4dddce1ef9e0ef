"""Models in memory as rows: what `ingest_model` writes.

Nothing is isolated here: the values are the caller's own, and are measured where they are. So nothing is half done
either: a tensor that cannot be read is an error, and the table stays as it was.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wexport.errors import MissingFileError, PluginError, UsageError, WexportError
from wexport.files import shards
from wexport.ingestion import inputs, series, worker
from wexport.ingestion.messages import RowBatch
from wexport.ingestion.options import Options
from wexport.ingestion.results import Measured, ModelResult, conclude, count_rows, note_skipped
from wexport.model.feeding import Feed
from wexport.model.slots import slot_names
from wexport.model.tensors import Model, Tensor
from wexport.plugins import catalog
from wexport.plugins import host as plugin_host
from wexport.plugins.guard import ForeignError, foreign_code
from wexport.plugins.host import Plugins
from wexport.plugins.statistics import Extra
from wexport.table import text

_BYTES = 4 << 20
"""Of rows that are handed on at a time, about."""


@dataclass(frozen=True, slots=True)
class InMemoryModel:
    """A model in memory. plugins: those that had, or have, a say in its rows. said_by: who described it, in words."""

    model: Model
    tensors: list[Tensor]
    slots: list[str]
    plugins: Plugins
    said_by: str

    @property
    def provenance(self) -> dict[str, Any]:
        """What the table remembers of plugins, see `catalog.provenance`."""
        return catalog.provenance([info.summary() for info in self.plugins.infos])


def is_living(paths: object) -> bool:
    """Whether `ingest` was given a model rather than paths: no text, no path, and nothing that lists some."""
    if isinstance(paths, (Model, Mapping)):
        return True
    return not isinstance(paths, (str, bytes, os.PathLike)) and not hasattr(paths, "__iter__")


def read(given: object, options: Options) -> InMemoryModel:
    """What an object is: a `wexport.Model` itself, or what a plugin says; with what plugins know of its meaning.

    Raises UsageError if none knows it, PluginError if what it was described as cannot be.
    """
    if options.reader is not None:
        raise UsageError(f"reader {options.reader!r} is for files", hint="a model in memory has none: leave it out")
    plugins = plugin_host.load(options.plugins)
    model, said_by = given, "the wexport.Model given"
    if not isinstance(model, Model):
        model, name = plugins.describe(given)
        said_by = f"plugin {name}"
    try:
        with foreign_code():  # `tensors` may be anything, and so may their fields
            tensors = list(model.tensors)
            for tensor in tensors:
                if not isinstance(tensor, Tensor):
                    raise TypeError(f"its tensors hold a {type(tensor).__name__}, where a wexport.Tensor is due")
            tensors = plugins.completed(model)
            slots = slot_names(tensors)
    except ForeignError as error:
        raise PluginError(f"{said_by} makes no sense: {error}") from None
    return InMemoryModel(model, tensors, slots, plugins, said_by)


def name_of(given: object, options: Options) -> str:
    """What the model is called: as given, or as its framework calls it. Raises UsageError where neither tells."""
    name = options.name if options.name is not None else getattr(given, "name", None)
    if not isinstance(name, str) or not name:
        hint = 'wexport.ingest_model(model, "weights.parquet", name="mine")'
        raise UsageError("a model in memory needs a name", hint=hint)
    return text.printable(name)


def place_of(
    name: str, options: Options, run: str | None, step: int | None, source: str | os.PathLike[str] | None
) -> dict[str, Any]:
    """The columns that say where a model belongs; run and step are from its name where they are not given.

    Raises UsageError for a run that is not text, a step that is not a whole number, and a source that is not there.
    """
    (place,) = series.series([name], None if options.series is None else series.series_pattern(options.series))
    if run is not None and not isinstance(run, str):
        raise UsageError(f"run {run!r} is not text", hint='run="first" names the series that the model belongs to')
    try:
        number = place[1] if step is None else series.checked_step(operator.index(step), "step")
    except TypeError:
        raise UsageError(
            f"step {step!r} is not a whole number", hint="step=3 is the third checkpoint of a run"
        ) from None
    found = {"model": name, "run": place[0] if run is None else text.printable(run), "step": number}
    if source is None:
        return {**found, "source": None, "source_bytes": None}
    path = Path(source)
    if not path.exists():
        raise MissingFileError(f"{path}: does not exist", hint="source is the file that the model was loaded from")
    return {**found, "source": inputs.source_name(path), "source_bytes": shards.total_size(path)}


def measure(living: InMemoryModel, result: ModelResult, options: Options, place: Mapping[str, Any]) -> Measured:
    """The rows of a model in batches, then (result, None). place: the columns of `place_of`.

    Raises PluginError, which names the tensor, if one cannot be read, or if none of them could be described.
    """
    result.format = living.model.format
    note_skipped(result, living.model.skipped)
    extra = Extra(living.plugins.statistics)
    feeds = worker.feeds_of(living.model, living.tensors)
    rows: list[dict[str, Any]] = []
    size = 0
    for number in range(len(living.tensors)):
        rows.append({**_row(living, number, options, extra, feeds), **place})
        size += worker.weight_of(rows[-1])
        if size >= _BYTES or number + 1 == len(living.tensors):
            columns = worker.by_column(rows)
            count_rows(result, columns, len(rows))
            yield result, RowBatch(len(rows), columns, size=size)
            rows, size = [], 0
    result.notes += [*living.plugins.notes, *extra.notes]
    conclude(result)
    if result.status == "failed":  # it has problems and no tensor
        raise PluginError(result.reason, hint="nothing was written")
    yield result, None


def _row(
    living: InMemoryModel, number: int, options: Options, extra: Extra, feeds: Mapping[str, Sequence[Feed]]
) -> dict[str, Any]:
    tensor = living.tensors[number]
    try:
        with foreign_code():
            detail = options.detail == "full"
            row = worker.row_of(
                tensor, living.slots[number], number, living.model, detail=detail, extra=extra, feeds=feeds
            )
            if options.spectral:
                worker.add_spectral(row, tensor)
            return row
    except (WexportError, ForeignError) as error:
        raise PluginError(
            f"tensor {tensor.name} of {living.said_by} cannot be read: {error}",
            hint="nothing was written; leave the tensor out, or mend what yields its values",
        ) from None
