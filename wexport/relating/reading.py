"""The values of many model files, each read by a child process."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wexport.errors import BudgetError, ReadError, UsageError
from wexport.files import shards
from wexport.files.spool import Spool
from wexport.ingestion import inputs
from wexport.ingestion.inputs import Input
from wexport.ingestion.messages import Failed
from wexport.ingestion.reading import BASE_SECONDS, SECOND_BYTES
from wexport.plugins.catalog import absolute, blame_plugins
from wexport.plugins.messages import Setup
from wexport.processes.child import Work
from wexport.processes.pool import Done, Pool
from wexport.relating.results import Floats, ModelOpened, Read, ReadTask
from wexport.stats.canonical import canonical_array

Progress = Callable[[int, int, str], None]
"""Called with how many things are done, of how many, and what the last or the next is called."""
MOST_BYTES = 2 << 30
"""Values of all models that are held at once."""


@dataclass(frozen=True, slots=True)
class Held:
    """A model in memory; values in canonical layout."""

    name: str
    opened: ModelOpened
    values: list[Floats]

    def by_slot(self) -> dict[str, int]:
        return {each.slot: number for number, each in enumerate(self.opened.tensors)}


PRELOAD = ("wexport.relating.child",)
"""What `_worker` imports; see `forkserver.fork`."""


def _worker(setup: Setup) -> tuple[None, Work]:
    """What a child does that hands over values."""
    from wexport.relating.child import ValueReader

    return None, ValueReader(setup).read


def read(
    found: Sequence[Input],
    names: Sequence[str],
    setup: Setup,
    timeout: float | None = None,
    progress: Progress | None = None,
) -> tuple[list[Held], list[tuple[str, str, str]]]:
    """The models that could be read, and of the others name, reason and way out.

    progress: called as each file ends. Files that were met in a folder and hold no weights are passed over.
    Raises BudgetError where all values together are more than 2 GiB.
    """
    with Spool() as spool:
        paths = [item.path if item.remote is None else spool.expect(item.remote) for item in found]
        spool.begin()
        done = itertools.count(1)
        ended = None if progress is None else lambda name: progress(next(done), len(found), name)
        return _read(found, paths, names, setup, timeout, spool, ended)


def _read(
    found: Sequence[Input],
    paths: Sequence[Path],
    names: Sequence[str],
    setup: Setup,
    timeout: float | None,
    spool: Spool,
    ended: Callable[[str], None] | None,
) -> tuple[list[Held], list[tuple[str, str, str]]]:
    tasks = [ReadTask(path, item.part, item.named) for path, item in zip(paths, found, strict=True)]

    def budget(task: ReadTask) -> tuple[ReadTask, float]:
        return task, BASE_SECONDS + shards.total_size(task.path) // SECOND_BYTES if timeout is None else timeout

    def around(task: ReadTask) -> AbstractContextManager[None]:
        return spool.there(task.path)

    pool = Pool(_worker, jobs=min(2, len(tasks)), setup=setup, budget_of=budget, spare=blame_plugins(), around=around)
    held: list[Held] = []
    failed: list[tuple[str, str, str]] = []
    opened: ModelOpened | None = None
    flat: list[list[Any]] = []
    total = 0
    events: Any = pool.run(tasks)
    with contextlib.closing(events):
        for event in events:
            if isinstance(event, Done):
                name, item = names[event.task], found[event.task]
                if event.error is not None:
                    failed.append((name, event.reason, event.error.hint))
                elif event.failure is not None:
                    failed.append((name, event.reason, "copy or save it again, or give it longer with --timeout"))
                elif opened is not None and opened.tensors:
                    held.append(Held(name, opened, _canonical(opened.tensors, flat)))
                elif opened is not None and item.named:
                    failed.append((name, "holds no weights", "name a model file"))
                opened, flat = None, []
                if ended is not None:
                    ended(name)
            elif isinstance(event.value, Failed):
                if found[event.task].named or not event.value.foreign:
                    reason = event.value.reason.replace(str(paths[event.task]), str(found[event.task].origin))
                    failed.append((names[event.task], reason, event.value.hint))
            elif isinstance(event.value, ModelOpened):
                opened, flat = event.value, [[] for _ in event.value.tensors]
            else:
                flat[event.value.tensor].append(event.value.values)
                total += event.value.values.nbytes
                if total > MOST_BYTES:
                    raise BudgetError(
                        f"the values of these models are more than {MOST_BYTES >> 30} GiB together",
                        hint="relate fewer models at once",
                    )
    return held, failed


def read_all(
    paths: Sequence[str | os.PathLike[str]],
    *,
    external_data: bool,
    reader: str | None,
    plugins: Sequence[str],
    timeout: float | None,
    progress: Progress | None = None,
) -> tuple[list[Held], list[tuple[str, str, str]]]:
    """As `read`, for what the user names. Raises UsageError for fewer than two files, ReadError if fewer are read."""
    found = inputs.expand(paths)
    if len(found) < 2:
        raise UsageError(f"{len(found)} file is nothing to relate", hint="name two model files or more, or a folder")
    names = inputs.model_names([item.called for item in found])
    setup = Setup(absolute(plugins), reader, external_data=external_data)
    held, failed = read(found, names, setup, timeout, progress)
    if len(held) < 2:
        told = "; ".join(f"{name}: {reason}" for name, reason, _ in failed[:3])
        raise ReadError(f"fewer than two models could be read{f': {told}' if told else ''}", hint="name model files")
    return held, failed


def _canonical(tensors: Sequence[Read], flat: Sequence[list[Any]]) -> list[Floats]:
    found = []
    for tensor, chunks in zip(tensors, flat, strict=True):
        values = np.concatenate(chunks) if chunks else np.empty(0, np.float32)
        if values.size != tensor.size:
            raise ReadError(f"{tensor.slot}: has {values.size} values where its shape tells of {tensor.size}")
        found.append(canonical_array(values, tensor.shape, tensor.layout))
    return found
