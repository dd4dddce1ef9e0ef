"""The models of a table: pairs that it cannot tell to be strangers are read from their files, all others are not."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import dataclass

from wexport.analysis.candidates import candidates
from wexport.errors import UsageError, WexportError
from wexport.ingestion import inputs
from wexport.ingestion.inputs import Input
from wexport.plugins.catalog import absolute
from wexport.plugins.messages import Setup
from wexport.relating import reading
from wexport.relating.reading import Held


@dataclass(frozen=True, slots=True)
class Staged:
    """held: the models that were read. failed: as in `Related`. pairs: of them, those that the table leaves open.

    compared: all pairs of models in the table.
    """

    held: list[Held]
    failed: list[tuple[str, str, str]]
    pairs: list[tuple[Held, Held]]
    compared: int


def of_table(
    table: str | os.PathLike[str],
    *,
    external_data: bool,
    reader: str | None,
    plugins: Sequence[str],
    timeout: float | None,
    progress: reading.Progress | None,
) -> Staged:
    """The candidates of a table, read from the files that it names. Raises UsageError for fewer than two models."""
    found = candidates(table)
    count = len(found.models)
    if count < 2:
        raise UsageError(f"{count} model is nothing to relate", hint="name a table of two models or more")
    wanted = sorted(set(itertools.chain(*found.pairs)))
    items: list[Input] = []
    names: list[str] = []
    failed: list[tuple[str, str, str]] = []
    for number in wanted:
        try:
            (item,) = inputs.expand([found.sources[number]])
        except (WexportError, ValueError) as error:
            hint = error.hint if isinstance(error, WexportError) else ""
            failed.append((found.models[number], f"{found.sources[number]}: {error}", hint))
        else:
            items.append(item)
            names.append(found.models[number])
    held: list[Held] = []
    if items:
        setup = Setup(absolute(plugins), reader, external_data=external_data)
        held, unread = reading.read(items, names, setup, timeout, progress)
        failed += unread
    by_name = {each.name: each for each in held}
    named = ((found.models[a], found.models[b]) for a, b in found.pairs)
    pairs = [(by_name[a], by_name[b]) for a, b in named if a in by_name and b in by_name]
    return Staged(held, failed, pairs, count * (count - 1) // 2)


def is_table(paths: Sequence[str | os.PathLike[str]]) -> bool:
    """Whether one thing is named, and is a table by its name."""
    return len(paths) == 1 and str(paths[0]).endswith(".parquet")
