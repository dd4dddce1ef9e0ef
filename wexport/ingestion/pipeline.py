"""The main job: files in, one table out."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wexport.errors import UsageError
from wexport.files import shards
from wexport.files.locks import locked
from wexport.files.outputs import TABLE
from wexport.ingestion import in_memory, inputs, left_overs, places
from wexport.ingestion.inputs import Input
from wexport.ingestion.left_overs import LeftOver
from wexport.ingestion.reading import Measured, ModelResult, Options, Readers, Work
from wexport.plugins.catalog import absolute
from wexport.plugins.messages import PluginSummary


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What an ingest did. out: the table or folder. written: whether it was changed. broken: plugins, if any.

    left: what the table holds of files that are gone or failed now, or under names that they had before.
    """

    out: Path
    models: list[ModelResult]
    rows: int
    seconds: float
    written: bool
    broken: tuple[PluginSummary, ...] = ()
    left: tuple[LeftOver, ...] = ()

    def with_status(self, *status: str) -> list[ModelResult]:
        """The models that ended so."""
        return [model for model in self.models if model.status in status]


Progress = Callable[[ModelResult, int, int], None]
"""Called as files end: the result, how many have ended, how many there are."""


def ingest(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]] | Any,
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    run: str | None = None,
    step: int | None = None,
    source: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
    **options: Any,
) -> IngestResult:
    """Read model files, or a model in memory, into a table.

    paths: a file, folder or glob pattern, or several of them; or a `wexport.Model`, or a model of a framework whose
        plugin is installed. That is read at once, in this process; its name is the option `name`, or its own.
    run, step, source: of a model in memory: the series that it is a checkpoint of, and the file it was loaded from.
    out: a Parquet file, or a folder (an existing one, or a path that ends in "/") for one part per model.
    overwrite: replace a file at `out` that is no table of wexport's, too; never one that is read.
    progress: called as each file ends.
    options: the fields of `Options`.

    Returns how each file ended. A file that cannot be read costs nothing else. If none can be read, nothing is
    written. Raises UsageError for arguments that make no sense, TableError if the table cannot be written or added to.
    """
    begun = time.monotonic()
    chosen = _options(options)
    folder = places.is_folder(out)
    target = Path(out)
    if in_memory.is_living(paths):
        place = {"run": run, "step": step, "source": source}
        result, rows, plugins = _ingest_living(paths, out, folder, chosen, place, overwrite)
        if progress is not None:
            progress(result, 1, 1)
        broken = tuple(plugin for plugin in plugins if plugin.state != "ok")
        return IngestResult(target, [result], rows, time.monotonic() - begun, True, broken)
    if (run, step, source) != (None, None, None):
        raise UsageError("run, step and source are for a model in memory", hint="series=REGEX reads them from names")
    found = inputs.expand([paths] if isinstance(paths, (str, os.PathLike)) else paths)
    found = [item for item in found if not _is_output(item, target, folder)]
    if not found:
        raise UsageError("there is no file to read", hint="name model files, a folder or a quoted pattern")
    known = left_overs.known_names(target) if folder or chosen.append else {}
    names = inputs.model_names([item.path for item in found], chosen.name, known)
    results = [ModelResult(name, item.path) for name, item in zip(names, found, strict=True)]
    files = (file for item in found for file in (item.path, *shards.parts(item.path)))
    places.claim(out, names, [*chosen.plugins, *files], overwrite=overwrite)
    work = [(item, result) for item, result in zip(found, results, strict=True) if not item.unread]
    ended = _Counter(progress, len(results))
    for item, result in zip(found, results, strict=True):
        if item.unread:
            result.status, result.reason = "failed", f"{item.path}: the folder cannot be read: {item.unread}"
            ended(result)
    with contextlib.nullcontext() if folder else locked(target), Readers(chosen, len(work)) as readers:
        if folder:
            from wexport.ingestion.writing import write_parts

            def read(due: Work, tries: int) -> Measured:
                return readers.measure(due) if tries == 1 else readers.measure_alone(due)

            rows, written = write_parts(target, work, chosen, readers.provenance(), read, ended)
        else:
            first = readers.measure(work)
            from wexport.ingestion.writing import write_table  # Arrow loads while the first files are read

            def read(due: Work, tries: int) -> Measured:
                return first if tries == 1 else readers.measure_alone(due)

            rows, written = write_table(target, work, chosen, readers.provenance(), read, ended)
        broken = tuple(plugin for plugin in readers.plugins() if plugin.state != "ok")
    left = left_overs.find(target, results, prune=chosen.prune) if folder or chosen.append else ()
    return IngestResult(target, results, rows, time.monotonic() - begun, written, broken, left)


def _ingest_living(
    given: object,
    out: str | os.PathLike[str],
    folder: bool,
    options: Options,
    place: Mapping[str, Any],
    overwrite: bool,
) -> tuple[ModelResult, int, tuple[PluginSummary, ...]]:
    """How the model ended, the table's number of rows, and the plugins. place: run, step and source, as given."""
    found = in_memory.read(given, options)
    name = in_memory.name_of(given, options)
    source = [] if place["source"] is None else [place["source"]]
    places.claim(out, [name], [*options.plugins, *source], overwrite=overwrite)
    columns = in_memory.place_of(name, options, **place)
    result = ModelResult(name, Path(columns["source"] or name), source_bytes=columns["source_bytes"] or 0)
    from wexport.ingestion.writing import write_living

    measured = in_memory.measure(found, result, options, columns)
    with contextlib.nullcontext() if folder else locked(Path(out)):
        rows = write_living(
            Path(out), name, measured, options, found.provenance, folder=folder, source=columns["source"]
        )
    return result, rows, tuple(info.summary() for info in found.plugins.infos)


def _options(given: dict[str, Any]) -> Options:
    try:
        options = Options(**given)
    except TypeError as error:
        raise UsageError(str(error).replace("Options.__init__()", "ingest()")) from None
    if options.detail not in ("full", "summary"):
        raise UsageError(f"detail {options.detail!r} is neither 'full' nor 'summary'")
    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"jobs {options.jobs} is less than 1")
    if options.timeout is not None and not options.timeout > 0:
        raise UsageError(f"timeout {options.timeout} is not a positive number of seconds")
    return dataclasses.replace(options, plugins=absolute(options.plugins))


def _is_output(item: Input, target: Path, folder: bool) -> bool:
    """The table itself, met again in the folder that is read, is no input."""
    if item.named:
        return False
    path = Path(os.path.realpath(item.path))
    into = Path(os.path.realpath(target))
    if folder:
        return path.suffix == ".parquet" and path.parent == into
    return path == into and (path.suffix == ".parquet" or TABLE.ours(path))


class _Counter:
    """Tells the progress callback how far along we are."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, result: ModelResult) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(result, self._done, self._total)
