"""Reading many files: options in, rows and how each file ended out."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from wexport.errors import UsageError
from wexport.files import remote, shards
from wexport.files.remote import RemoteFile
from wexport.files.spool import Spool
from wexport.files.stamps import Stamp, stamp
from wexport.ingestion import inputs
from wexport.ingestion.inputs import Input
from wexport.ingestion.messages import Failed, FileOpened, FileTask, Rows
from wexport.model.tensors import Skipped
from wexport.plugins import catalog
from wexport.plugins.catalog import blame_plugins
from wexport.plugins.messages import PluginSummary, Setup
from wexport.processes import child, pool
from wexport.processes.pool import Done, Item

LARGE_BYTES, SHARE_BYTES = 32 << 20, 128 << 20
"""A file of more than the first may be measured by several children, each taking some of its tensors, the share of each
being as large as the second at the most."""
CHILD_BYTES = 256 << 20
"""Memory to count on for one child, when deciding how many there may be."""
MORE_MEMORY, MOST_MEMORY = 16, 256 << 20
"""Bytes that reading a file may take for each of its own, besides what any may, and at the most: a header of tens of
thousands of tensors takes many times its length as objects.
"""
SPECTRAL_SECONDS, SPECTRAL_BYTES, SPECTRAL_MEMORY = 300.0, 200_000, 1 << 30
"""What spectral statistics may take besides: seconds for the largest tensor, one more for each so many bytes of a file,
and memory for a tensor, its Gram matrix and what is worked out of it."""
MAX_SHARES = 16
BASE_SECONDS, SECOND_BYTES = 30.0, 10_000_000
"""What a file may take by default: this many seconds, and one more for each this many bytes on disk."""
DENSE_BYTES, DENSE_SECOND_BYTES = 32 << 20, 40_000
"""Of its first this many bytes, one more second for each this many: they may be tens of thousands of tensors."""
QUIET_SECONDS, QUIET_BYTES = 5.0, 250_000
"""How long a child may work without a word, and one more second for each this many of a file's first bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to ingest.

    detail: "full", or "summary" without sample, grid and units, for mailing.
    spectral: singular values of kernels and what follows from them, in the column `extra`.
    optimizer: rows for the optimizer's state too.
    external_data: read values that a file says stand in others, if these lie in its own folder.
    append: add to the table, replacing models that were read from the same file before.
    prune: leave out what is left of files that are gone, or of models that have other names now.
    name: how models are named, see `inputs.model_names`.
    root: what their names are relative to, absolute; None for what all files of a call have in common.
    series: regular expression with groups `step` and `run`, for checkpoints whose names say it their own way.
    reader: the reader to use for every file.
    plugins: paths of Python files with plugins.
    shard: "i/n": of all models this part alone, chosen by their names.
    jobs: child processes; None is one per core, fewer if memory is short.
    timeout: seconds that one file may take; None is 30, and more for what it has on disk: one for each 10 MB, and of
        its first 32 MiB one for each 40 kB; it is ended sooner if nothing is heard of it.
    memory: bytes that reading one file may take; None is 112 MiB, and 16 for each of its own, up to 256 MiB more.
    """

    detail: str = "full"
    spectral: bool = False
    optimizer: bool = False
    external_data: bool = False
    append: bool = False
    prune: bool = False
    name: str | None = None
    root: str | None = None
    series: str | None = None
    reader: str | None = None
    plugins: tuple[str, ...] = ()
    shard: str | None = None
    jobs: int | None = None
    timeout: float | None = None
    memory: int | None = None

    def checked(self) -> Options:
        """Itself. Raises UsageError for a value that makes no sense."""
        self.takes("")
        if self.detail not in ("full", "summary"):
            raise UsageError(f"detail {self.detail!r} is neither 'full' nor 'summary'")
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(f"jobs {self.jobs} is less than 1")
        if self.memory is not None and self.memory < 1 << 20:
            raise UsageError(f"memory {self.memory} is too few bytes to read a file with", hint="e.g. --memory 1GiB")
        if self.timeout is not None and not self.timeout > 0:
            raise UsageError(f"timeout {self.timeout} is not a positive number of seconds")
        return self

    def takes(self, model: str) -> bool:
        """Whether a model is of this shard: always the same one of n, whatever other models there are.

        Raises UsageError for a shard that is not "i/n".
        """
        if self.shard is None:
            return True
        first, slash, last = self.shard.partition("/")
        number, count = (int(text) if text.isascii() and text.isdigit() else 0 for text in (first, last))
        if not slash or not 1 <= number <= count:
            raise UsageError(
                f"shard {self.shard!r} is not one of several, such as 1/8", hint="--shard 1/8 to --shard 8/8"
            )
        return zlib.crc32(model.encode("utf-8", "surrogateescape")) % count == number - 1


@dataclass(slots=True)
class ModelResult:
    """How one file ended.

    status: "ok"; "partial" (some objects could not be read); "empty" (no numbers in it); "failed"; "unchanged" (its
        part is up to date); "skipped" (met in a folder, and no model).
        aliases: tensors that are second names of others, and the first names.
    failure: "crashed", "killed", "timed out" or "memory" where the process that read it was lost; "" otherwise.
    problems: what could not be read though it should be. left_out: the names of what is no part of the model, by what
        it is; left_out_bytes: of the numbers in these, as far as known.
    run, step: the series that it is a checkpoint of, and its place there, see `ingestion.series`.
    source: where it lies; of what a URI names, what its store says of it.
    stamp: its files as they were before it was read. changed: whether they were others afterwards.
    """

    model: str
    source: Path | RemoteFile
    run: str | None = None
    step: int | None = None
    status: str = "ok"
    reason: str = ""
    hint: str = ""
    failure: str = ""
    format: str = ""
    reader: str = ""
    tensors: int = 0
    parameters: int = 0
    source_bytes: int = 0
    problems: list[Skipped] = field(default_factory=list)
    left_out: dict[str, list[str]] = field(default_factory=dict)
    left_out_bytes: dict[str, int] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    stamp: Stamp = field(default_factory=list)
    changed: bool = False

    @property
    def deserves_another_try(self) -> bool:
        """Whether it was not the file that failed: it was being written, or its process was killed from outside."""
        return self.changed or self.failure == "killed"

    @property
    def readable(self) -> bool:
        """Whether it has ended with rows, or as a file without any."""
        return self.status in ("ok", "partial", "empty")

    def fail(self, reason: str, hint: str = "") -> None:
        """Say why it cannot be read or written; the first reason stays."""
        if self.status != "failed":
            self.status, self.reason, self.hint = "failed", reason, hint

    def begin_again(self) -> None:
        """Forget how it ended; not what it is called, and which checkpoint of which run it is."""
        fresh = ModelResult(self.model, self.source, self.run, self.step)
        for each in fields(self):
            setattr(self, each.name, getattr(fresh, each.name))


OPTIMIZER = "optimizer state"
RUN_STATES = frozenset({OPTIMIZER, "state of random generators", "state of a scheduler", "arguments of a training run"})
"""What readers call what a training run leaves beside its models, and what is not a model on its own."""

Work = list[tuple[Input, ModelResult]]


@dataclass(frozen=True, slots=True)
class Piece:
    """`count` rows of one model by column, of about `size` bytes."""

    count: int
    columns: dict[str, list[Any]]
    size: int


Measured = Iterator[tuple[ModelResult, Piece | None]]


PRELOAD = ("wexport.ingestion.worker",)
"""What `_worker` imports; see `forkserver.fork`."""


def _worker(setup: Setup) -> tuple[tuple[PluginSummary, ...], child.Work]:
    """What a child that measures files is told of the plugins there are, and what it does."""
    from wexport.ingestion.worker import FileWorker

    worker = FileWorker(setup)
    return worker.plugins(), worker.measure


def prepare() -> None:
    """Begin to load what children that measure files need; for `ingest` on the command line, before threads begin."""
    child.prepare(_worker)


def more_memory(task: FileTask) -> int:
    """What a file may take besides what any may: it grows with what is there."""
    return min(MOST_MEMORY, MORE_MEMORY * _size(task.path, on_disk=True))


def more_spectral_memory(task: FileTask) -> int:
    """The same with spectral statistics."""
    return more_memory(task) + SPECTRAL_MEMORY


class Readers:
    """Child processes that read model files; they begin to load at once, while the caller does other things.

    A context manager: leaving it ends the children.
    """

    def __init__(self, options: Options, files: int) -> None:
        self._options = options
        self._jobs = _job_count(options.jobs)
        self._spool = Spool()
        self._pool = self._new_pool()
        self._noted: set[str] = set()
        self._pool.warm(files)

    def _new_pool(self) -> pool.Pool:
        options = self._options
        return pool.Pool(
            _worker,
            jobs=self._jobs,
            setup=Setup(
                plugins=options.plugins,
                reader=options.reader,
                optimizer=options.optimizer,
                detail=options.detail,
                external_data=options.external_data,
                spectral=options.spectral,
            ),
            budget_of=self._budget,
            quiet_of=self._quiet,
            memory=pool.MEMORY_BYTES if options.memory is None else options.memory,
            more=None if options.memory is not None else more_spectral_memory if options.spectral else more_memory,
            spare=blame_plugins(),
            around=lambda task: self._spool.there(task.path),
        )

    def __enter__(self) -> Readers:
        return self

    def __exit__(self, *exc: object) -> None:
        self._spool.close()
        self._pool.close()

    def plugins(self) -> tuple[PluginSummary, ...]:
        """The plugins, as the first child that is ready found them. Waits for it."""
        found: tuple[PluginSummary, ...] = self._pool.greeting()
        return found

    def provenance(self) -> dict[str, Any]:
        """What the table remembers of plugins, see `catalog.provenance`."""
        return catalog.provenance(self.plugins())

    def measure(self, work: Work) -> Measured:
        """Begins to read at once; yields each model's rows in pieces, and then (result, None) when it has ended.

        Large files come first.
        """
        sizes = [_size(item.origin) for item, _ in work]
        tasks, owners = self._tasks(work, sizes)
        for (_, result), size in zip(work, sizes, strict=True):
            result.source_bytes, result.stamp = size, stamp(result.source)
        self._spool.begin()
        return self._collected(self._pool.run(tasks), tasks, [work[number][1] for number in owners])

    def measure_alone(self, work: Work) -> Measured:
        """As `measure`, once that has come to its end: one file at a time, so that each has all memory."""
        self._spool.close()
        self._pool.close()
        self._jobs, self._spool = 1, Spool()
        self._pool = self._new_pool()
        fresh = []
        for item, result in work:
            if item.remote is not None:
                item = replace(item, remote=remote.again(item.remote))
                result.source = item.origin
            fresh.append((item, result))
        return self.measure(fresh)

    def _collected(self, events: Iterator[Item | Done], tasks: list[FileTask], owners: list[ModelResult]) -> Measured:
        """owners: the result that each task belongs to."""
        for event in events:
            result = owners[event.task]
            if not isinstance(event, Done) and isinstance(result.source, RemoteFile):
                said = _by_its_uri(event.value, str(tasks[event.task].path), str(result.source))
                event = replace(event, value=said)
            if isinstance(event, Done):
                if event.error is not None:
                    result.fail(str(event.error), event.error.hint)
                    result.changed = isinstance(event.error, remote.ChangedError)
                elif event.failure is not None:
                    result.fail(f"{result.source}: {event.reason}", _HINTS.get(event.failure, ""))
                    result.failure = result.failure or (event.failure if event.failure in _HINTS else "")
                if tasks[event.task].share + 1 == tasks[event.task].shares:
                    conclude(result)
                    result.changed = result.changed or stamp(result.source) != result.stamp
                    yield result, None
            elif isinstance(event.value, Rows):
                self._take_rows(result, event.value)
                result.notes.extend(self._first_time(event.value.notes))
                if result.status != "failed" and event.value.count:
                    yield result, Piece(event.value.count, event.value.columns, event.size)
            elif isinstance(event.value, FileOpened):
                if not tasks[event.task].share:  # every share opens the file; the first tells
                    result.format, result.reader = event.value.format, event.value.reader
                    note_skipped(result, event.value.skipped)
                    result.aliases = dict(event.value.aliases)
                    result.notes.extend(self._first_time(event.value.notes))
            elif isinstance(event.value, Failed):
                result.fail(event.value.reason, event.value.hint)
                if event.value.foreign:
                    result.status = "skipped"

    def _take_rows(self, result: ModelResult, found: Rows) -> None:
        """Count what was read, and add what only the parent knows."""
        result.problems.extend(found.problems)
        if not found.count:
            return
        count_rows(result, found.columns, found.count)
        place = {"run": result.run, "step": result.step}
        common = {"model": result.model, "source": inputs.source_name(result.source), **place}
        for name, value in {**common, "source_bytes": result.source_bytes}.items():
            found.columns[name] = [value] * found.count

    def _first_time(self, notes: Sequence[str]) -> list[str]:
        """Those of which nothing alike was told in this run: what stands before the colon says whose fault it is."""
        new = {note.partition(":")[0]: note for note in notes if note.partition(":")[0] not in self._noted}
        self._noted |= new.keys()
        return list(new.values())

    def _budget(self, task: FileTask) -> tuple[Path, float]:
        """All shares of a file draw on one budget of seconds."""
        if self._options.timeout is not None:
            return task.path, self._options.timeout
        there = _size(task.path, on_disk=True)
        seconds = BASE_SECONDS + there // SECOND_BYTES + min(there, DENSE_BYTES) // DENSE_SECOND_BYTES
        return task.path, seconds + (SPECTRAL_SECONDS + there // SPECTRAL_BYTES if self._options.spectral else 0)

    def _quiet(self, task: FileTask) -> float | None:
        """What it may work without a word; as long as it likes where the user has said how long it may take."""
        if self._options.timeout is not None:
            return None
        there = _size(task.path, on_disk=True)
        seconds = QUIET_SECONDS + there // SECOND_BYTES + min(there, DENSE_BYTES) // QUIET_BYTES
        return seconds + (SPECTRAL_SECONDS if self._options.spectral else 0)

    def _tasks(self, work: Work, sizes: list[int]) -> tuple[list[FileTask], list[int]]:
        """The tasks in the order to hand them out, and which file of `work` each belongs to."""
        tasks: list[FileTask] = []
        owners: list[int] = []
        left = sum(sizes)
        for number in sorted(range(len(work)), key=lambda number: -sizes[number] if sizes[number] > LARGE_BYTES else 0):
            # Towards the end shares become smaller, so that all children finish at about the same time.
            share_bytes = max(LARGE_BYTES, min(SHARE_BYTES, left // self._jobs))
            shares = min(MAX_SHARES, max(1, -(-sizes[number] // share_bytes))) if self._jobs > 1 else 1
            left -= sizes[number]
            item = work[number][0]
            path = item.path if item.remote is None else self._spool.expect(item.remote, shares)
            tasks.extend(FileTask(path, item.named, share, shares, item.part) for share in range(shares))
            owners.extend([number] * shares)
        return tasks, owners


_HINTS = {
    "timed out": "give it longer with --timeout SECONDS, or leave it out",
    "memory": "if it is made of very many tensors, give it more with --memory 2GiB; else it may be damaged or hostile",
    "killed": "nothing says that the file is to blame; where the system did it for want of memory, --jobs 1 helps",
    "crashed": "the file is damaged or hostile; copy or save it again",
}


def note_skipped(result: ModelResult, skipped: Sequence[Skipped]) -> None:
    """Note what gave no row."""
    for each in skipped:
        if each.problem:
            result.problems.append(each)
        else:
            result.left_out.setdefault(each.what, []).append(each.name)
            result.left_out_bytes[each.what] = result.left_out_bytes.get(each.what, 0) + each.size


def count_rows(result: ModelResult, columns: Mapping[str, Sequence[Any]], count: int) -> None:
    """Count rows that were read. Parameters are what a model has, not what its optimizer or a run of it adds."""
    result.tensors += count
    sizes = zip(columns["value_count"], columns["kind"], strict=True)
    result.parameters += sum(size for size, kind in sizes if kind in ("weight", "array"))


def fail_changed(result: ModelResult) -> None:
    """Say of a model that its files were written while it was read, again."""
    result.status = "ok"
    result.fail(f"{result.source}: was changed while it was read, twice", "ingest it once it is all written")


def conclude(result: ModelResult) -> None:
    """Say how a model ended, once all of its rows are counted."""
    if result.status != "ok":
        return
    if result.tensors:
        result.status = "partial" if result.problems else "ok"
    elif result.problems:
        first = result.problems[0]
        result.fail(
            f"{result.source}: none of its tensors can be read; the first, {first.name}: {first.what}"
            + (f" ({first.detail})" if first.detail else ""),
            "",
        )
    elif result.left_out and result.left_out.keys() <= RUN_STATES:
        what = ", ".join(result.left_out)
        result.status, result.reason = "skipped", f"{result.source}: holds no model but the {what} of a run"
        result.hint = "--optimizer reads it" if OPTIMIZER in result.left_out else "name the model beside it"
    else:
        result.status, result.reason = "empty", "it holds no numbers"


def _by_its_uri(said: FileOpened | Rows | Failed, path: str, uri: str) -> FileOpened | Rows | Failed:
    """What a child says, of the file as the user names it, who never sees where it lay."""
    if isinstance(said, Failed):
        return replace(said, reason=said.reason.replace(path, uri))
    notes = tuple(note.replace(path, uri) for note in said.notes)
    untold = said.problems if isinstance(said, Rows) else said.skipped
    told = tuple(replace(each, detail=each.detail.replace(path, uri)) for each in untold)
    return (
        replace(said, notes=notes, problems=told)
        if isinstance(said, Rows)
        else replace(said, notes=notes, skipped=told)
    )


def _size(path: Path | RemoteFile, *, on_disk: bool = False) -> int:
    """Bytes, with the parts that the file names. on_disk: without its holes, for which nothing is earned."""
    if isinstance(path, RemoteFile):
        return sum(file.size for file in path.whole())
    try:
        return shards.disk_size(path) if on_disk else shards.total_size(path)
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
