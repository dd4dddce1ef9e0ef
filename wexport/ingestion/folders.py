"""The one model that a folder holds, for commands that look at one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from wexport.errors import MissingFileError, MissingModelError, ReadError, UsageError
from wexport.files import uris
from wexport.ingestion import inputs
from wexport.ingestion.inputs import Input
from wexport.ingestion.messages import Failed, FileOpened, FileTask
from wexport.plugins.catalog import absolute, blame_plugins
from wexport.plugins.messages import Setup
from wexport.processes.child import Work
from wexport.processes.pool import Done, Pool

LOOK_SECONDS = 30.0
MAX_FILES = 1_000
SHOWN = 5


def one_model(
    path: str | os.PathLike[str], *, reader: str | None = None, plugins: Sequence[str] = (), external_data: bool = False
) -> Input:
    """A file as it is named, or the one in a folder that a reader finds tensors in.

    Raises ReadError for a path that is not there, and for a folder of no model or of several.
    """
    if uris.is_remote(os.fspath(path)):
        return _one_of_store(os.fspath(path))
    item = inputs.named(path)
    if not item.path.exists():
        raise MissingModelError(f"{Path(path)}: does not exist", hint="check the path")
    if not item.path.is_dir():
        return item
    try:
        found = inputs.expand([item.path])
    except UsageError as error:
        raise ReadError(str(error), hint=error.hint) from None
    if len(found) > MAX_FILES:
        raise ReadError(
            f"{item.path}: is a folder of {len(found):,} files", hint="name a model's own folder, or one file"
        )
    models = [each.path for each in _with_tensors(found, Setup(absolute(plugins), reader, external_data=external_data))]
    if not models:
        raise ReadError(f"{item.path}: no file in this folder is a model", hint="name a model file")
    if len(models) > 1:
        shown = ", ".join(str(model.relative_to(item.path)) for model in models[:SHOWN])
        more = f" and {len(models) - SHOWN:,} more" if len(models) > SHOWN else ""
        raise ReadError(
            f"{item.path}: holds {len(models):,} models: {shown}{more}",
            hint="name one of them; `wexport ingest` and `wexport compare` take folders",
        )
    return Input(models[0], True, item.part)


def _one_of_store(uri: str) -> Input:
    """The file that a URI names, or the one in its folder that may be a model by its name."""
    try:
        found = inputs.expand([uri])
    except MissingFileError as error:
        raise MissingModelError(str(error), hint=error.hint) from None
    except UsageError as error:
        raise ReadError(str(error), hint=error.hint) from None
    if len(found) == 1:
        return found[0]
    shown = ", ".join(str(item.origin) for item in found[:SHOWN])
    more = f" and {len(found) - SHOWN:,} more" if len(found) > SHOWN else ""
    raise ReadError(f"{uri}: holds {len(found):,} files: {shown}{more}", hint="name one of them")


PRELOAD = ("wexport.ingestion.worker",)
"""What `_worker` imports; see `forkserver.fork`."""


def _worker(setup: Setup) -> tuple[None, Work]:
    """What a child does that looks at files and measures none."""
    from wexport.ingestion.worker import FileWorker

    return None, FileWorker(setup).look_at


def _with_tensors(found: Sequence[Input], setup: Setup) -> list[Input]:
    """Those files that hold tensors; each is opened in a child process, and no value is read."""
    if len(found) <= 1:
        return list(found)
    pool = Pool(
        _worker,
        jobs=1,
        setup=setup,
        budget_of=lambda task: (task, LOOK_SECONDS),
        spare=blame_plugins(),
    )
    held: set[int] = set()
    for event in pool.run([FileTask(item.path, item.named) for item in found]):
        if isinstance(event, Done):
            if event.failure is not None:  # whoever reads it will tell why
                held.add(event.task)
        elif isinstance(event.value, FileOpened):
            problems = any(skipped.problem for skipped in event.value.skipped)
            if event.value.tensor_count or problems:
                held.add(event.task)
        elif isinstance(event.value, Failed) and not event.value.foreign:
            held.add(event.task)
    return [item for number, item in enumerate(found) if number in held]
