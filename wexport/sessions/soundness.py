"""Whether what a table holds makes sense, so that nothing that reads it meets what does not.

A table may come from strangers, or be damaged. What queries, plots and the report rely on is checked before they get
it: the few columns that nearly all of them read when the table is opened, the nested ones, which are larger, when a
query first names them. Each check is one pass over its columns, once in a session.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import duckdb

from wexport.errors import TableError
from wexport.sessions.statements import first_line

_WORD = re.compile(r"\w+")
_HELD = "{0}value_count - {0}nan_count - {0}inf_count"
_BINS = """len({0}.lower) = len({0}.count) AND len({0}.upper) = len({0}.count)
    AND len(list_filter({0}.lower, lambda low, place: low <= {0}.upper[place] AND {0}.count[place] > 0
        AND isfinite(low) AND isfinite({0}.upper[place])
        AND (place = 1 OR {0}.upper[place - 1] <= low))) = len({0}.count)
    AND coalesce(list_sum({0}.count), 0) = coalesce({1}, list_sum({0}.count), 0)"""
"""As many edges as counts, ascending, finite; no bin is empty, and together they hold the finite values."""
_SHAPE = """list_aggregate({0}, 'count') = len({0}) AND coalesce(list_min({0}), 0) >= 0
    AND coalesce(list_product({0}), 1) = coalesce(value_count, list_product({0}), 1)"""


class Check(NamedTuple):
    """sound: what is true of each row that has a value there, as SQL. meaning: the same in words."""

    sound: str
    meaning: str


KEYS: Mapping[str, Check] = {
    "model, slot and kind": Check("model IS NOT NULL AND slot IS NOT NULL AND kind IS NOT NULL", "all given"),
    "counts": Check(
        "least(value_count, zero_count, near_zero_count, nan_count, inf_count, unit_count, source_bytes, 0) = 0 AND "
        "greatest(near_zero_count, zero_count, zero_count + nan_count + inf_count) <= coalesce(value_count, 1 << 62)",
        "none below zero, and no more counted than there is",
    ),
}
"""What is checked when a table is opened."""
NESTED: Mapping[str, Check] = {
    "shape": Check(_SHAPE.format("shape"), "lengths whose product is the number of values"),
    "canonical_shape": Check(_SHAPE.format("canonical_shape"), "lengths whose product is the number of values"),
    "unit_axes": Check(
        "list_unique(unit_axes) = len(unit_axes) AND coalesce(list_min(unit_axes), 0) >= 0 "
        "AND coalesce(list_max(unit_axes), -1) < len(canonical_shape)",
        "axes of the canonical shape",
    ),
    "histogram": Check(
        _BINS.format("histogram", _HELD.format("")), "ascending bins, none empty, that hold all finite values"
    ),
    "gates": Check(
        "len(list_filter(gates, lambda each: each.gate IS NOT NULL AND (each.histogram IS NULL OR "
        f"{_BINS.format('each.histogram', _HELD.format('each.'))}))) = len(gates)",
        "names, and ascending bins that hold all finite values",
    ),
    "sample": Check(
        "len(sample.index) = len(sample.value) AND list_aggregate(sample.index, 'count') = len(sample.value) "
        "AND coalesce(list_min(sample.index), 0) >= 0 "
        "AND coalesce(list_max(sample.index), -1) < coalesce(value_count, 1 << 62)",
        "as many positions as values, none of them beyond the last value",
    ),
    "grid": Check(
        "grid.rows > 0 AND grid.cols > 0 AND len(grid.rms) = grid.rows::BIGINT * grid.cols",
        "rows times columns values",
    ),
    "units": Check(
        "list_aggregate(units, 'count') = len(units) AND len(units) = coalesce(unit_count, len(units))",
        "one of each unit",
    ),
}
"""What is checked when a query first names it, by column; where it is NULL, it makes sense."""


class Soundness:
    """The checks of one session. files: patterns of the table's files. said: what each file is called."""

    def __init__(self, duck: duckdb.DuckDBPyConnection, files: Sequence[str], said: Mapping[str, str]) -> None:
        self._duck, self._files, self._said = duck, list(files), dict(said)
        self._due = dict(NESTED)

    def check_keys(self) -> None:
        """What nearly all queries read. Raises TableError, naming file, row and column."""
        self._check(KEYS)

    def check_named(self, text: str) -> None:
        """What is named, and was not before. Raises TableError, as `check_keys` does.

        text: a query without its comments, and the views and macros that it needs.
        """
        if self._due:
            words = set(_WORD.findall(text.lower()))
            wanted = {name: check for name, check in self._due.items() if name in words}
            self._check(wanted)
            for name in wanted:
                self._due.pop(name, None)

    def _check(self, checks: Mapping[str, Check]) -> None:
        if not checks:
            return
        whens = " ".join(f"WHEN {_unsound(name, check)} THEN '{name}'" for name, check in checks.items())
        with self._duck.cursor() as cursor:
            try:
                found = cursor.execute(
                    f"SELECT what, filename, model, slot FROM (SELECT *, CASE {whens} END AS what "
                    "FROM read_parquet(?, filename = true)) WHERE what IS NOT NULL LIMIT 1",
                    [self._files],
                ).fetchall()
            except duckdb.Error as error:
                raise TableError(f"the table cannot be read: {first_line(error)}", hint=_AGAIN) from None
        for what, file, model, slot in found:
            raise TableError(
                f"{self._said.get(file, file)}: makes no sense: {what} of {slot or '(no slot)'} in "
                f"{model or '(no model)'} should be {checks[what].meaning}",
                hint=_AGAIN,
            )


_AGAIN = "it is damaged, or was not written by wexport: write it anew with `wexport ingest`"


def _unsound(name: str, check: Check) -> str:
    if name in KEYS:
        return f"NOT coalesce({check.sound}, true)"
    return f"{name} IS NOT NULL AND NOT coalesce({check.sound}, false)"
