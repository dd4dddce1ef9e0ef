"""The main job: files in, one table out."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wexport import dataset, inputs, isolate
from wexport.dataset import TableWriter
from wexport.errors import TableError, UsageError
from wexport.inputs import Input
from wexport.schema import SCHEMA_VERSION
from wexport.tensors import Skipped
from wexport.worker import Failed, Opened, Rows, Setup, Task

SHARE_BYTES = 64 << 20
"""A file larger than this is measured by several children, each taking some of its tensors."""
CHILD_BYTES = 256 << 20
"""Memory to count on for one child, when deciding how many there may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to ingest.

    detail: "full", or "summary" without sample, grid and units, for mailing.
    optimizer: rows for the optimizer's state too.
    append: add to the table, replacing models that were read from the same file before.
    name: how models are named, see `inputs.model_names`.
    series: regular expression with groups `step` and `run`, for checkpoints whose names say it their own way.
    reader: the reader to use for every file.
    plugins: paths of Python files with readers.
    jobs: child processes; None is one per core, fewer if memory is short.
    timeout: seconds that one file may take.
    """

    detail: str = "full"
    optimizer: bool = False
    append: bool = False
    name: str | None = None
    series: str | None = None
    reader: str | None = None
    plugins: tuple[str, ...] = ()
    jobs: int | None = None
    timeout: float = 600.0

    def metadata(self) -> dict[str, Any]:
        """What the table remembers: the versions, and every option that shaped its rows."""
        from wexport import __version__

        return {
            "wexport_version": __version__,
            "schema_version": SCHEMA_VERSION,
            "options": {"detail": self.detail, "optimizer": self.optimizer},
        }


@dataclass(slots=True)
class ModelResult:
    """How one file ended.

    status: "ok"; "partial" (some objects could not be read); "empty" (no numbers in it); "failed"; "unchanged" (its
        part is up to date); "skipped" (met in a folder, and no model).
    problems: what could not be read though it should be. left_out: how many objects of each sort hold no numbers.
    """

    model: str
    source: Path
    status: str = "ok"
    reason: str = ""
    hint: str = ""
    format: str = ""
    reader: str = ""
    tensors: int = 0
    parameters: int = 0
    source_bytes: int = 0
    problems: list[Skipped] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What an ingest did. out: the table or folder; written: whether it was changed."""

    out: Path
    models: list[ModelResult]
    rows: int
    seconds: float
    written: bool

    def with_status(self, *status: str) -> list[ModelResult]:
        """The models that ended so."""
        return [model for model in self.models if model.status in status]


Progress = Callable[[ModelResult, int, int], None]
"""Called as files end: the result, how many have ended, how many there are."""


def ingest(
    paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    **options: Any,
) -> IngestResult:
    """Read model files into a table.

    paths: a file, folder or glob pattern, or several of them.
    out: a Parquet file, or a folder (an existing one, or a path that ends in "/") for one part per model.
    progress: called as each file ends.
    options: the fields of `Options`.

    Returns how each file ended. A file that cannot be read costs nothing else. If none can be read, nothing is
    written. Raises UsageError for arguments that make no sense, TableError if the table cannot be written or added to.
    """
    begun = time.monotonic()
    chosen = _options(options)
    found = inputs.expand([paths] if isinstance(paths, (str, os.PathLike)) else paths)
    folder = os.fspath(out).endswith(("/", os.sep)) or Path(out).is_dir()
    target = Path(out)
    found = [item for item in found if not _is_output(item, target, folder)]
    if not found:
        raise UsageError("there is no file to read", hint="name model files, a folder or a quoted pattern")
    names = inputs.model_names([item.path for item in found], chosen.name)
    jobs = [ModelResult(name, item.path) for name, item in zip(names, found, strict=True)]
    write = _write_parts if folder else _write_table
    rows, written = write(target, list(zip(found, jobs, strict=True)), chosen, _Counter(progress, len(jobs)))
    return IngestResult(target, jobs, rows, time.monotonic() - begun, written)


def _options(given: dict[str, Any]) -> Options:
    try:
        options = Options(**given)
    except TypeError as error:
        raise UsageError(str(error).replace("Options.__init__()", "ingest()")) from None
    if options.detail not in ("full", "summary"):
        raise UsageError(f"detail {options.detail!r} is neither 'full' nor 'summary'")
    if options.jobs is not None and options.jobs < 1:
        raise UsageError(f"jobs {options.jobs} is less than 1")
    if not options.timeout > 0:
        raise UsageError(f"timeout {options.timeout} is not a positive number of seconds")
    return dataclasses.replace(options, plugins=tuple(os.path.abspath(path) for path in options.plugins))  # noqa: PTH100


def _is_output(item: Input, target: Path, folder: bool) -> bool:
    """The table itself, met again in the folder that is read, is no input."""
    if item.named:
        return False
    path = Path(os.path.realpath(item.path))
    into = Path(os.path.realpath(target))
    return path == into or (folder and path.suffix == ".parquet" and path.parent == into)


class _Counter:
    """Tells the progress callback how far along we are."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, result: ModelResult) -> None:
        self._done += 1
        if self._progress is not None:
            self._progress(result, self._done, self._total)


Work = list[tuple[Input, ModelResult]]


def _write_table(target: Path, work: Work, options: Options, ended: _Counter) -> tuple[int, bool]:
    if not target.parent.is_dir():
        raise TableError(
            f"{target}: the folder {target.parent} does not exist", hint="make it, or name another --out"
        )
    adding = options.append and target.exists()
    if adding:
        _check_addition(target, work, options)
    with TableWriter(target, options.metadata()) as writer:
        for result, rows in measured(work, options):
            if rows is not None:
                writer.add(rows.rows, rows.size)
                continue
            if result.status == "failed":
                writer.take_back(result.model)
            ended(result)
        read = {result.model for _, result in work if result.status in ("ok", "partial", "empty")}
        if not read:
            return 0, False
        if adding:
            for group in dataset.row_groups(target):
                writer.add_table(dataset.without_models(group, read))
        writer.commit()
        return writer.rows, True


def _check_addition(target: Path, work: Work, options: Options) -> None:
    """Refuse to mix what does not belong in one table."""
    before = dataset.read_metadata(target)
    now = options.metadata()
    for key in ("schema_version", "options"):
        if before.get(key) != now[key]:
            raise TableError(
                f"{target}: was written with {key} {before.get(key)}, not {now[key]}",
                hint="use the same options, or name another --out",
            )
    sources = dataset.model_sources(target)
    for item, result in work:
        if sources.get(result.model, _source(item.path)) != _source(item.path):
            raise TableError(
                f"{target}: has a model {result.model!r} already, read from {sources[result.model]}",
                hint=f"give {item.path} another name with --name, e.g. --name '{{parent}}/{{stem}}'",
            )


def _write_parts(folder: Path, work: Work, options: Options, ended: _Counter) -> tuple[int, bool]:
    """One part per model; a part whose source has not changed is left as it is."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise TableError(f"{folder}: cannot be made: {error.strerror}", hint="name another --out") from None
    due: Work = []
    for item, result in work:
        if dataset.is_current(
            dataset.part_path(folder, result.model), _stamp(item.path, result.model, options)
        ):
            result.status = "unchanged"
            ended(result)
        else:
            due.append((item, result))
    total = 0
    written = False
    writer: TableWriter | None = None
    try:
        for result, rows in measured(due, options):
            if writer is None and (rows is not None or result.status in ("ok", "partial", "empty")):
                stamp = _stamp(result.source, result.model, options)
                writer = TableWriter(dataset.part_path(folder, result.model), stamp)
            if rows is not None:
                assert writer is not None
                writer.add(rows.rows, rows.size)
                continue
            if writer is not None:
                if result.status in ("ok", "partial", "empty"):
                    writer.commit()
                    total += writer.rows
                    written = True
                writer.discard()
                writer = None
            ended(result)
    finally:
        if writer is not None:
            writer.discard()
    return total, written


def _stamp(path: Path, model: str, options: Options) -> dict[str, Any]:
    """What a part remembers, so that the next run sees whether it is up to date."""
    try:
        stat = path.stat()
    except OSError:
        return options.metadata()  # reading it will fail and say why
    source = {"path": _source(path), "bytes": stat.st_size, "modified_ns": stat.st_mtime_ns, "model": model}
    return {
        **options.metadata(),
        "source": source,
        "naming": {"series": options.series, "reader": options.reader},
    }


def _source(path: Path) -> str:
    return inputs.printable(os.path.abspath(path))  # noqa: PTH100  # resolve() would follow links


# -- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of one model, of about `size` bytes."""

    rows: list[dict[str, Any]]
    size: int


def measured(work: Work, options: Options) -> Iterator[tuple[ModelResult, Piece | None]]:
    """Each model's rows in pieces, and then (result, None) when it has ended. Large files come first."""
    pattern = inputs.series_pattern(options.series) if options.series is not None else None
    jobs = _job_count(options.jobs)
    sizes = [_size(item.path) for item, _ in work]
    order = sorted(range(len(work)), key=lambda number: -sizes[number] if sizes[number] > SHARE_BYTES else 0)
    tasks: list[Task] = []
    owners: list[int] = []
    for number in order:
        shares = min(16, -(-sizes[number] // SHARE_BYTES)) if jobs > 1 and sizes[number] > SHARE_BYTES else 1
        tasks.extend(
            Task(work[number][0].path, work[number][0].named, share, shares) for share in range(shares)
        )
        owners.extend([number] * shares)
    pool = isolate.Pool(
        "wexport.worker:measure_file",
        jobs=jobs,
        timeout=options.timeout,
        prepare="wexport.worker:prepare",
        setup=Setup(options.plugins, options.reader, options.optimizer, options.detail),
        budget_of=lambda task: task.path,
    )
    for event in pool.run(tasks):
        number = owners[event.task]
        result = work[number][1]
        if isinstance(event, isolate.Done):
            if event.failure is not None and result.status != "failed":
                _fail(result, f"{result.source}: {event.reason}", _HINTS.get(event.failure, ""))
            if event.task + 1 == len(tasks) or owners[event.task + 1] != number:
                _conclude(result)
                yield result, None
        elif isinstance(event.value, Rows):
            result.problems.extend(event.value.problems)
            result.tensors += len(event.value.rows)
            result.parameters += sum(
                row["value_count"] for row in event.value.rows if row["kind"] != "optimizer"
            )
            run, step = inputs.series(result.model, pattern)
            common = {
                "model": result.model,
                "source": _source(result.source),
                "source_bytes": sizes[number],
                "run": run,
                "step": step,
            }
            for row in event.value.rows:
                row.update(common)
            if result.status != "failed" and event.value.rows:
                yield result, Piece(event.value.rows, event.size)
        elif isinstance(event.value, Opened):
            _note_opening(result, event.value, tasks[event.task], sizes[number])
        elif isinstance(event.value, Failed):
            _fail(result, event.value.reason, event.value.hint)
            if event.value.foreign:
                result.status = "skipped"


_HINTS = {
    "timed out": "give it longer with --timeout SECONDS, or leave it out",
    "memory": "the file asks for more than any of its tensors should; it may be damaged or hostile",
    "crashed": "the file is damaged or hostile; copy or save it again",
}


def _fail(result: ModelResult, reason: str, hint: str) -> None:
    if result.status != "failed":
        result.status, result.reason, result.hint = "failed", reason, hint


def _note_opening(result: ModelResult, opened: Opened, task: Task, size: int) -> None:
    if task.share:
        return  # every share opens the file; the first has told already
    result.format, result.reader, result.source_bytes = opened.format, opened.reader, size
    result.notes.extend(opened.notes)
    for skipped in opened.skipped:
        if skipped.problem:
            result.problems.append(skipped)
        else:
            result.left_out.setdefault(skipped.what, []).append(skipped.name)


def _conclude(result: ModelResult) -> None:
    if result.status != "ok":
        return
    if result.tensors:
        result.status = "partial" if result.problems else "ok"
    elif result.problems:
        first = result.problems[0]
        _fail(
            result,
            f"{result.source}: none of its tensors can be read; the first, {first.name}: {first.what}"
            + (f" ({first.detail})" if first.detail else ""),
            "",
        )
    else:
        result.status, result.reason = "empty", "it holds no numbers"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _job_count(asked: int | None) -> int:
    """One child per core, fewer where memory would not hold them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_AVPHYS_PAGES")
    except (ValueError, OSError, AttributeError):  # not every platform tells
        memory = 1 << 62
    return max(1, min(asked or cores, memory // CHILD_BYTES))
