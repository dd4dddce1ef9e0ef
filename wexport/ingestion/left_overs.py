"""What a table that is added to still holds, though its file is gone, has another name now, or could not be read."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from wexport.errors import TableError, UsageError
from wexport.files import uris
from wexport.files.locks import locked
from wexport.ingestion.options import Options
from wexport.ingestion.results import ModelResult


@dataclass(frozen=True, slots=True)
class LeftOver:
    """A model that the table holds from before. why: in words. pruned: whether it was removed."""

    model: str
    source: str
    why: str
    pruned: bool = False


def known_names(target: Path) -> dict[str, str]:
    """The names that files have in the table or folder, if there is one; so they keep them when others come."""
    if not (target.is_file() or target.is_dir()):
        return {}  # to read a pipe would wait for a writer for ever
    from wexport.table import stored

    try:
        return stored.model_names(target)
    except (TableError, OSError, ValueError):
        return {}  # what is not a table is told when it is to be written


def with_root(target: Path, options: Options) -> Options:
    """The options with the root that a table's names have, where it is added to and none is given.

    Raises UsageError where another is given.
    """
    if not (target.is_dir() or (options.append and target.is_file())):
        return options
    from wexport.table import stored

    try:
        kept = stored.root(target)
    except (TableError, OSError, ValueError):
        return options  # what is no table is told when it is to be written
    if kept is None or options.root == kept:
        return options
    if options.root is not None:
        raise UsageError(
            f"{target}: names its models from {kept}, not from {options.root}",
            hint="leave --root out, or name another --out",
        )
    return replace(options, root=kept)


def find(target: Path, results: Sequence[ModelResult], *, prune: bool) -> tuple[LeftOver, ...]:
    """What is left in a table after models were added; who asks holds the lock on a file. prune: remove it."""
    if not (target.is_file() or target.is_dir()):
        return ()
    from wexport.table import stored

    if target.is_dir():
        parts = {model: (part, source) for part, (source, model) in stored.part_sources(target).items()}
        held = {model: source for model, (_, source) in parts.items()}
    else:
        held = {model: source for source, model in stored.model_names(target).items()}
    ended = {result.model for result in results}
    now = {source: model for model, source in held.items() if model in ended}
    found = _found(held, results, now if target.is_dir() else {})
    if prune and found:
        if target.is_dir():
            found = [replace(each, pruned=_removed(*parts[each.model])) for each in found]
        else:
            _rewrite(target, {each.model for each in found})
            found = [replace(each, pruned=True) for each in found]
    return tuple(found)


def _removed(part: Path, source: str) -> bool:
    """Remove a part, unless another process writes it, or has just written it from another file."""
    from wexport.table import stored

    try:
        with locked(part):
            if stored.read_metadata(part).get("source", {}).get("path") != source:
                return False
            part.unlink(missing_ok=True)
    except TableError:
        return False
    return True


def _found(held: dict[str, str], results: Sequence[ModelResult], now: dict[str, str]) -> list[LeftOver]:
    """held: the models in the table, with their files. now: the files that were read, by the models that they are."""
    ended = {result.model: result for result in results}
    found = []
    for model, source in held.items():
        if model in ended:
            if ended[model].status == "failed":
                found.append(LeftOver(model, source, "it cannot be read now, and is there as it was before"))
        elif source in now:
            found.append(LeftOver(model, source, f"its file is there as {now[source]} now, so it is there twice"))
        elif uris.is_uri(source):
            continue  # whether it is still there, the store would have to be asked
        elif not (os.path.lexists(source) or os.path.lexists(source.rpartition("#")[0])):
            found.append(LeftOver(model, source, "its file is gone"))
    return found


def _rewrite(table: Path, models: set[str]) -> None:
    """Write a table anew without some models."""
    from wexport.table import stored
    from wexport.table.writer import TableWriter

    with TableWriter(table, stored.read_metadata(table)) as writer:
        for group in stored.row_groups(table):
            writer.add_table(stored.without_models(group, models))
        for model, stamp in stored.read_stamps(table).items():
            if model not in models:
                writer.remember(model, stamp)
        writer.commit()
