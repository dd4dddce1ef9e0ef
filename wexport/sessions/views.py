"""The SQL that makes a session's views: the parts in queries/views/, and what derives from declarations in Python.

Roles, gates, statistics and findings are declared in Python. What queries need of them is written here from the
declarations, so that no list in SQL has to follow them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wexport import library
from wexport.library.findings import FINDINGS
from wexport.model import gates, roles
from wexport.sessions.statements import literal


def views() -> str:
    """All of it, as one text that also runs in the plain duckdb CLI (`wexport query --views` prints it)."""
    tables, *parts = library.view_parts()
    return "\n".join((tables, declared(), *parts))


def declared() -> str:
    """The macros that derive from declarations."""
    return "\n".join((*_of_roles(), *_of_gates(), *_of_findings()))


def _of_roles() -> Iterable[str]:
    yield "-- Roles that are counted or averaged while training, not trained."
    yield f"CREATE OR REPLACE MACRO is_statistic(role) AS role IN {_words(sorted(roles.NON_TRAINED))};"
    yield ""
    yield "-- Roles that hold the bulk of a layer's weights; biases and scales may rightly be zero or constant."
    yield f"CREATE OR REPLACE MACRO is_kernel(role) AS role IN {_words(sorted(roles.KERNELS))};"
    yield ""


def _of_gates() -> Iterable[str]:
    order = ", ".join(map(literal, gates.LETTERS))
    yield "-- Where a gate stands among those of its layer, from 1."
    yield f"CREATE OR REPLACE MACRO gate_place(gate) AS list_position([{order}], gate);"
    yield ""


def _of_findings() -> Iterable[str]:
    whens = [
        f"    WHEN query = {literal(each.query)} AND finding = {literal(each.name)} THEN {literal(each.advice)}"
        for each in FINDINGS.values()
    ]
    yield "-- What to do about a finding of a query."
    yield "CREATE OR REPLACE MACRO finding_advice(query, finding) AS CASE"
    yield from whens
    yield "    END;"
    yield ""


def _words(words: Sequence[str]) -> str:
    return f"({', '.join(map(literal, words))})"
