"""Reading many files in child processes, within what each may take."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from wexport.files import remote, shards
from wexport.files.remote import RemoteFile
from wexport.files.spool import Spool
from wexport.files.stamps import stamp
from wexport.ingestion import inputs
from wexport.ingestion.messages import Failed, FileOpened, FileTask, RowBatch
from wexport.ingestion.options import Options
from wexport.ingestion.results import Measured, ModelResult, Work, conclude, count_rows, note_skipped
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
        """Begins to read at once; yields each model's rows in batches, and then (result, None) when it has ended.

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
            elif isinstance(event.value, RowBatch):
                self._take_rows(result, event.value)
                result.notes.extend(self._first_time(event.value.notes))
                if result.status != "failed" and event.value.count:
                    yield result, replace(event.value, size=event.size)
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

    def _take_rows(self, result: ModelResult, found: RowBatch) -> None:
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


def _by_its_uri(said: FileOpened | RowBatch | Failed, path: str, uri: str) -> FileOpened | RowBatch | Failed:
    """What a child says, of the file as the user names it, who never sees where it lay."""
    if isinstance(said, Failed):
        return replace(said, reason=said.reason.replace(path, uri))
    notes = tuple(note.replace(path, uri) for note in said.notes)
    untold = said.problems if isinstance(said, RowBatch) else said.skipped
    told = tuple(replace(each, detail=each.detail.replace(path, uri)) for each in untold)
    return (
        replace(said, notes=notes, problems=told)
        if isinstance(said, RowBatch)
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
