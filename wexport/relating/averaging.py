"""Which models are averages of others: from their files, or from a table's samples."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from wexport.analysis.averages import MOST_MODELS, Average
from wexport.analysis.averages import averages as of_values
from wexport.answers.tabular import Tabular, table_of
from wexport.errors import UsageError
from wexport.model.roles import NON_TRAINED
from wexport.relating import reading
from wexport.relating.weight_matching import assignment
from wexport.sessions.session import opened

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLES = """
SELECT model, slot, canonical_shape, sample.value AS value FROM weights
WHERE sample IS NOT NULL AND kind = 'weight' AND NOT coalesce(is_statistic(role), false)
ORDER BY model, slot
"""
_Named = tuple[str, dict[Hashable, Any]]


@dataclass(frozen=True, slots=True)
class Averages(Tabular):
    """found: a row for each model that is an average. compared: how many could be one. failed: as in `Related`."""

    found: Sequence[Average]
    compared: int
    failed: Sequence[tuple[str, str, str]]

    def to_arrow(self) -> pa.Table:
        """A row a model that is an average, with the fields of `Average` as columns."""
        return table_of(Average, self.found)


def averages(
    paths: Sequence[str | os.PathLike[str]],
    *,
    external_data: bool = False,
    reader: str | None = None,
    plugins: Sequence[str] = (),
    timeout: float | None = None,
) -> Averages:
    """Which of some models are averages of others of them: means, mixes, moving averages, soups.

    paths: model files, folders and patterns; or one table that `ingest` wrote, whose samples then stand for the values.
    The others as in `diff`. Only models of one architecture are held against each other, and only what is trained.

    Raises UsageError for more than 64 models of one architecture, and as `relate` does.
    """
    assignment(np.zeros((1, 1)))  # what is missing is told before anything is read
    given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
    if len(given) == 1 and Path(given[0]).suffix == ".parquet":
        named = list(_of_table(given[0]))
        failed: list[tuple[str, str, str]] = []
    else:
        held, failed = reading.read_all(
            given, external_data=external_data, reader=reader, plugins=plugins, timeout=timeout
        )
        named = [(each.name, _trained(each)) for each in held]
    groups: dict[Hashable, list[_Named]] = defaultdict(list)
    for each in named:
        groups[frozenset((key, values.size) for key, values in each[1].items())].append(each)
    found: list[Average] = []
    compared = 0
    for members in groups.values():
        if len(members) > MOST_MODELS:
            raise UsageError(
                f"{len(members)} models of one architecture are too many", hint=f"name {MOST_MODELS} or fewer"
            )
        if len(members) > 2:
            compared += len(members)
            keys = sorted(members[0][1], key=str)
            found += of_values([name for name, _ in members], [[values[key] for key in keys] for _, values in members])
    return Averages(found, compared, failed)


def _trained(model: reading.Held) -> dict[Hashable, Any]:
    return {
        (each.slot, each.canonical_shape): values
        for each, values in zip(model.opened.tensors, model.values, strict=True)
        if each.role not in NON_TRAINED and values.size
    }


def _of_table(table: str | os.PathLike[str]) -> Iterator[_Named]:
    found: dict[str, dict[Hashable, Any]] = defaultdict(dict)
    with opened(table) as session:
        for row in session.ask(_SAMPLES).to_pylist():
            found[row["model"]][row["slot"], tuple(row["canonical_shape"])] = np.array(row["value"], np.float64)
    yield from found.items()
