"""Damaged files through real child processes: through the whole of `ingest`, and strictly through one reader."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wexport.errors import PluginError, UsageError, WexportError
from wexport.files.source import Source
from wexport.ingestion.pipeline import ingest
from wexport.ingestion.results import ModelResult
from wexport.model.tensors import Reader
from wexport.plugins import host as plugins
from wexport.processes.pool import Item, Pool
from wexport.testing import checks
from wexport.testing.mutants import default_count, mutants

MUTANT_SECONDS = 10.0
"""What one mutant may take: a small file is read in milliseconds, and a machine may be busy."""
MOST_BYTES = 2 << 30
"""What all mutants of a run may take on disk."""
READ_BYTES = 1 << 20

STATUSES = frozenset({"ok", "partial", "empty", "failed", "crashed", "timed out", "memory"})


@dataclass(frozen=True, slots=True)
class Trials:
    """How the mutants of a file ended.

    statuses: how many ended "ok", "partial" (some tensors could not be read), "empty", "failed" (the reader, or no
        reader, said why), "crashed" (the child process died), "timed out" and "memory" (the child was stopped).
    results: one for each mutant, in order. changes: what was done to each, in words. rows: of the table.
    """

    statuses: Counter[str]
    results: list[ModelResult]
    changes: list[str]
    rows: int
    seconds: float


def ingest_mutants(
    path: str | os.PathLike[str],
    *,
    count: int | None = None,
    seed: int = 0,
    beside: Sequence[str | os.PathLike[str]] = (),
    folder: str | os.PathLike[str] | None = None,
    timeout: float = MUTANT_SECONDS,
    **options: Any,
) -> Trials:
    """Ingest `count` damaged copies of a model file, as `wexport ingest` does, and return how each ended.

    path: a small file; the mutants of a few KB take about 5 ms each. count: 200, or what the environment variable
    WEXPORT_MUTANTS says, for a long run by hand. seed: the same mutants for the same seed.
    beside: files that it needs beside it, such as shards; they are not changed. folder: where mutants are kept, to
    look at them afterwards; by default they are removed. options: of `wexport.ingest`, such as `reader` and `plugins`.

    Raises AssertionError, naming the mutant and what was done to it, if one does not end in one named status.
    """
    path = Path(path)
    count = default_count() if count is None else count
    if count * path.stat().st_size > MOST_BYTES:
        raise UsageError(f"{path}: {count} mutants would take more than {MOST_BYTES >> 30} GiB", hint="a smaller file")
    with contextlib.ExitStack() as stack:
        place = Path(folder or stack.enter_context(tempfile.TemporaryDirectory(prefix="wexport-mutants-")))
        files, changes = written(path, place, count, seed, [Path(other) for other in beside])
        result = ingest(files, place / "mutants.parquet", timeout=timeout, **options)
    for found, file, change in zip(result.models, files, changes, strict=True):
        assert _status(found) in STATUSES, f"{file} ({change}) ended {found.status!r}"
        if found.status == "failed":
            assert str(file) in found.reason, f"{file} ({change}) is not named in its failure: {found.reason}"
        texts = [found.reason, found.hint, *found.notes, *(problem.detail for problem in found.problems)]
        assert not any("Traceback (most" in text for text in texts), f"{file} ({change}) ended in a traceback: {texts}"
    statuses = Counter(map(_status, result.models))
    return Trials(statuses, result.models, changes, result.rows, result.seconds)


def _status(result: ModelResult) -> str:
    return result.failure or result.status


def written(path: Path, folder: Path, count: int, seed: int, beside: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """Writes the mutants of a file, each under its name in a folder of its own; returns the files and the changes."""
    files, changes = [], []
    for mutant in mutants(path, count, seed):
        own = folder / f"mutant{mutant.number:05}"
        own.mkdir()
        for other in beside:
            shutil.copyfile(other, own / other.name)
        file = own / path.name
        file.write_bytes(mutant.content)
        files.append(file)
        changes.append(mutant.change)
    return files, changes


# -- one reader, strictly ----------------------------------------------------------------------------------------------


def faults(
    reader: Reader, files: Sequence[Path], plugin_files: Sequence[str], timeout: float, tolerated: Sequence[str] = ()
) -> list[tuple[int, str]]:
    """Reads files by one reader, in child processes; returns (place in `files`, what was wrong) of those that broke.

    A file may give a model, whole and well formed, or an error of wexport's that names it; anything else is a fault,
    but for losses of the process (`pool.LOST`) that are tolerated.
    """
    pool = Pool(
        _worker,
        jobs=min(2, os.cpu_count() or 1),
        setup=(reader.name, tuple(plugin_files)),
        budget_of=lambda file: (file, timeout),
    )
    pool.warm(len(files))
    found = []
    for event in pool.run(files):
        if isinstance(event, Item):
            found.append((event.task, event.value))
        elif event.failure is not None and event.failure not in tolerated:
            found.append((event.task, f"the child process is lost ({event.failure!r}): {event.reason}"))
    return found


def reader_named(name: str, plugin_files: Sequence[str]) -> Reader:
    """The reader as a child process finds it. Raises PluginError, saying what to do, where it finds none."""
    loaded = plugins.load(plugin_files)
    for reader in loaded.readers:
        if reader.name == name:
            return reader
    broken = "; ".join(f"{info.name}: {info.reason}" for info in loaded.infos if info.state != "ok")
    raise PluginError(
        f"wexport does not find the reader {name!r}{f' ({broken})' if broken else ''}",
        hint="install its package (pip install -e .), or name its file in the class attribute `plugins`",
    )


def _worker(setup: tuple[str, tuple[str, ...]]) -> tuple[None, Callable[[Path], Iterator[str]]]:
    """What a child does that tries one reader; it finds it by its name."""
    return None, functools.partial(_try_file, reader_named(*setup))


def _try_file(reader: Reader, path: Path) -> Iterator[str]:
    """Reads all of one file; yields what is wrong with how that went, if anything is."""
    try:
        with Source(path, True) as source:
            model = reader.open(source)
            checks.model_is_well_formed(model)
            for tensor in model.tensors:
                for _ in checks.checked_chunks(tensor, READ_BYTES):
                    pass  # nothing is kept: a damaged file may declare more than fits in memory
    except PluginError as error:
        yield f"broke the contract: {error}"
    except WexportError as error:
        if path.name not in str(error):
            yield f"raised {type(error).__name__} without naming the file: {error}"
    except AssertionError as error:
        yield str(error)
    except MemoryError:
        raise
    except Exception as error:  # what a reader must not do, told with the place
        last = traceback.extract_tb(error.__traceback__)[-1]
        at = f"{Path(last.filename).name}:{last.lineno} {last.name}"
        yield f"raised {type(error).__name__}: {error} ({at}); a ReadError that names the file is due"
