"""The main job: files in, one table out."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wexport.answers.tabular import Part, Tabular, table_of
from wexport.errors import UsageError, WexportError
from wexport.files import shards, uris
from wexport.files.locks import locked
from wexport.files.outputs import TABLE
from wexport.ingestion import in_memory, inputs, left_overs, places, series
from wexport.ingestion.inputs import Input
from wexport.ingestion.left_overs import LeftOver
from wexport.ingestion.options import Options
from wexport.ingestion.reading import Readers
from wexport.ingestion.results import Measured, ModelResult, Work
from wexport.plugins.catalog import absolute
from wexport.plugins.messages import PluginSummary
from wexport.terminal.text import counted

if TYPE_CHECKING:
    import pyarrow as pa

PathLike = str | os.PathLike[str]
_SHOWN = ["model", "status", "reason", "format", "run", "step", "tensors", "parameters"]
"""What a page shows of each file."""


@dataclass(frozen=True, slots=True)
class IngestResult(Tabular):
    """What an ingest did.

    out: the table or folder, a path or URI. models: how each model ended. rows: of the table. seconds: what it took.
    written: whether the table was changed. broken: plugins that could not be used, if any. left: what the table holds
    of files that are gone or failed now, or under names that they had before.
    """

    out: Path | str
    models: list[ModelResult]
    rows: int
    seconds: float
    written: bool
    broken: tuple[PluginSummary, ...] = ()
    left: tuple[LeftOver, ...] = ()

    def with_status(self, *status: str) -> list[ModelResult]:
        """The models that ended so."""
        return [model for model in self.models if model.status in status]

    def to_arrow(self) -> pa.Table:
        """A row a model file, with the plain fields of `ModelResult` as columns."""
        return table_of(ModelResult, self.models)

    def _parts(self) -> Iterable[Part]:
        table = self.to_arrow().select(_SHOWN)
        empty = [name for name in ("run", "step", "reason") if not any(table[name].to_pylist())]
        did = "wrote" if self.written else "left as it was:"
        told = f"{did} {self.out}, {counted(self.rows, 'row')}, in {self.seconds:.1f} seconds"
        return [Part(table, told=[told], left_out=empty)]


Progress = Callable[[ModelResult, int, int], None]
"""Called as files end: the result, how many have ended, how many there are."""


def ingest(
    paths: PathLike | Iterable[PathLike],
    out: PathLike,
    *,
    detail: str = "full",
    spectral: bool = False,
    optimizer: bool = False,
    external_data: bool = False,
    append: bool = False,
    prune: bool = False,
    name: str | None = None,
    root: PathLike | None = None,
    series: str | None = None,
    reader: str | None = None,
    plugins: Sequence[PathLike] = (),
    shard: str | None = None,
    jobs: int | None = None,
    timeout: float | None = None,
    memory: int | None = None,
    progress: Progress | None = None,
    overwrite: bool = False,
    **of_a_model: Any,
) -> IngestResult:
    """Read model files into a table.

    paths: a file, folder or glob pattern, or several of them; URIs (s3://, gs://, az://, https://, file://) of these,
        too, with `wexport[cloud]`. A model in memory is for `ingest_model`; until the next
        version it is taken here too, with a DeprecationWarning.
    out: a Parquet file, or a folder (an existing one, or a path that ends in "/") for one part per model; or a URI of
        one (s3://, gs://, az://), where a file that is there is replaced with `append` or `overwrite` alone.
    detail: "full", or "summary" without sample, grid and units, for mailing.
    spectral: singular values of kernels and what follows from them, in the column `extra`; takes its time.
    optimizer: rows for the optimizer's state too.
    external_data: read values that a file says stand in others, if these lie in its own folder.
    append: add to the table, replacing models that were read from the same file before.
    prune: with append or a folder, remove models whose file is gone or fails now, or which have other names now.
    name: how models are named, with {stem}, {name}, {parent} and {path}; by default by their paths.
    root: the folder or URI that models' names are relative to; the table keeps it, and whoever adds to it need not say
        it again. By default it is what all files of a call have in common.
    series: regular expression with groups `step` and `run`, for checkpoints whose names say it their own way.
    reader: the reader to use for every file. plugins: paths of Python files with plugins.
    shard: "i/n": of all models this part alone, for n jobs that write into one folder side by side; see `compact`.
    jobs: child processes; None is one per core, fewer if memory is short.
    timeout: seconds that one file may take; None is 30, and more for what it has on disk: one for each 10 MB, and of
        its first 32 MiB one for each 40 kB; it is ended sooner if nothing is heard of it.
    memory: bytes that reading one file may take; None is 112 MiB, and 16 for each of its own, up to 256 MiB more.
    overwrite: replace a file at `out` that is not a table of wexport's, too; never one that is read.
    progress: called as each file ends.

    Returns how each file ended. A file that cannot be read costs nothing else. If none can be read, nothing is
    written. Raises UsageError for arguments that make no sense, TableError if the table cannot be written or added to.
    """
    options = Options(
        detail=detail,
        spectral=spectral,
        optimizer=optimizer,
        external_data=external_data,
        append=append,
        prune=prune,
        name=name,
        root=None if root is None else inputs.absolute_root(os.fspath(root)),
        series=series,
        reader=reader,
        plugins=absolute(plugins),
        shard=shard,
        jobs=jobs,
        timeout=timeout,
        memory=memory,
    )
    if in_memory.is_living(paths):
        warnings.warn(
            "ingest: a model in memory is for wexport.ingest_model, and is not taken here from the next version on",
            DeprecationWarning,
            stacklevel=2,
        )
        return _ingest_model(paths, out, options, progress, overwrite, **of_a_model)
    for word in of_a_model:
        if word not in ("run", "step", "source"):
            raise UsageError(f"ingest() has no option {word!r}", hint="see help(wexport.ingest)")
    if any(value is not None for value in of_a_model.values()):
        raise UsageError("run, step and source are for a model in memory", hint="series=REGEX reads them from names")
    given = [paths] if isinstance(paths, (str, os.PathLike)) else paths
    if uris.is_remote(out):
        return _to_store(given, str(out), options, progress, overwrite)
    if uris.is_uri(out):
        out = uris.local_path(str(out)) or out
    return _ingest_files(given, out, options, progress, overwrite)


def ingest_model(
    model: object,
    out: PathLike,
    *,
    name: str | None = None,
    run: str | None = None,
    step: int | None = None,
    source: PathLike | None = None,
    detail: str = "full",
    spectral: bool = False,
    append: bool = False,
    series: str | None = None,
    plugins: Sequence[PathLike] = (),
    progress: Progress | None = None,
    overwrite: bool = False,
) -> IngestResult:
    """Read a model in memory into a table, at once and in this process.

    model: a `wexport.Model`, or a model of a framework whose plugin is installed.
    name: what the model is called; by default as its framework calls it.
    run, step: the series that it is a checkpoint of; by default as its name tells, read by `series` if that is given.
    source: the file that it was loaded from.
    out, detail, spectral, append, plugins, progress, overwrite: as for `ingest`.

    Raises UsageError for arguments that make no sense, or if no plugin knows such a model; PluginError, which names the
    tensor, if it cannot be read: nothing is written then; TableError if the table cannot be written or added to.
    """
    options = Options(
        detail=detail, spectral=spectral, append=append, name=name, series=series, plugins=absolute(plugins)
    )
    return _ingest_model(model, out, options, progress, overwrite, run=run, step=step, source=source)


def _ingest_files(
    paths: Iterable[PathLike], out: PathLike, options: Options, progress: Progress | None, overwrite: bool
) -> IngestResult:
    begun = time.monotonic()
    target, folder = Path(out), places.is_folder(out)
    chosen = left_overs.with_root(target, options.checked())
    found = inputs.expand(paths)
    found = [item for item in found if not _is_output(item, target, folder)]
    if not found:
        raise UsageError("there is no file to read", hint="name model files, a folder or a quoted pattern")
    known = left_overs.known_names(target) if folder or chosen.append else {}
    names = inputs.model_names([item.called for item in found], chosen.name, known, chosen.root)
    steps = series.series(names, None if chosen.series is None else series.series_pattern(chosen.series))
    if chosen.shard is not None:
        if not folder:
            raise UsageError(f"{out}: shards are written into a folder", hint="--out table/, then wexport compact")
        mine = [chosen.takes(name) for name in names]
        names, found = list(itertools.compress(names, mine)), list(itertools.compress(found, mine))
        steps = list(itertools.compress(steps, mine))
    results = [ModelResult(name, item.origin, *step) for name, item, step in zip(names, found, steps, strict=True)]
    local = (item.path for item in found if item.remote is None)
    files = (file for path in local for file in (path, *shards.parts(path)))
    places.claim(out, names, [*chosen.plugins, *files], overwrite=overwrite)
    work = [(item, result) for item, result in zip(found, results, strict=True) if not item.unread]
    ended = _Counter(progress, len(results))
    for item, result in zip(found, results, strict=True):
        if item.unread:
            result.status, result.reason = "failed", f"{item.path}: the folder cannot be read: {item.unread}"
            ended(result)
    if not work:
        return IngestResult(target, results, 0, time.monotonic() - begun, written=False)
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
        # Under the same lock: what is written here is what is looked at, and made anew without what is pruned.
        left = left_overs.find(target, results, prune=chosen.prune) if folder or chosen.append else ()
    return IngestResult(target, results, rows, time.monotonic() - begun, written, broken, left)


def _to_store(
    paths: Iterable[PathLike], uri: str, options: Options, progress: Progress | None, overwrite: bool
) -> IngestResult:
    """A table made here, and put where the URI says."""
    from wexport.ingestion import to_store

    with to_store.written(uri, append=options.append, overwrite=overwrite) as (place, put):
        try:
            result = _ingest_files(paths, place, options, progress, overwrite=False)
            if result.written or any(left.pruned for left in result.left):
                put()
        except WexportError as error:
            raise type(error)(str(error).replace(place, uri), hint=error.hint) from None
        for model in result.models:
            model.reason = model.reason.replace(place, uri)
    return replace(result, out=uri)


def _ingest_model(
    given: object,
    out: PathLike,
    options: Options,
    progress: Progress | None,
    overwrite: bool,
    run: str | None = None,
    step: int | None = None,
    source: PathLike | None = None,
) -> IngestResult:
    begun = time.monotonic()
    chosen = options.checked()
    target, folder = Path(out), places.is_folder(out)
    found = in_memory.read(given, chosen)
    name = in_memory.name_of(given, chosen)
    places.claim(out, [name], [*chosen.plugins, *([] if source is None else [source])], overwrite=overwrite)
    columns = in_memory.place_of(name, chosen, run, step, source)
    result = ModelResult(name, Path(columns["source"] or name), source_bytes=columns["source_bytes"] or 0)
    from wexport.ingestion.writing import make_folder, write_living

    if folder:
        make_folder(target)  # where the lock on the part stands
    measured = in_memory.measure(found, result, chosen, columns)
    source_name = columns["source"]
    with locked(places.part_of(target, name) if folder else target):
        rows = write_living(target, name, measured, chosen, found.provenance, folder=folder, source=source_name)
    if progress is not None:
        progress(result, 1, 1)
    broken = tuple(summary for info in found.plugins.infos if (summary := info.summary()).state != "ok")
    return IngestResult(target, [result], rows, time.monotonic() - begun, True, broken)


def _is_output(item: Input, target: Path, folder: bool) -> bool:
    """The table itself, met again in the folder that is read, is not an input."""
    if item.named or item.remote is not None:
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
