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
from wexport.stats.results import DISTRIBUTION, STATISTICS
from wexport.table.schema import NUMBERS

_PLACE = "model, run, step, kind, slot, layer, layer_class, role"


def views() -> str:
    """All of it, as one text that also runs in the plain duckdb CLI (`wexport query --views` prints it)."""
    tables, *parts = library.view_parts()
    return "\n".join((tables, declared(), *parts))


def declared() -> str:
    """The macros that derive from declarations."""
    return "\n".join((*_of_roles(), *_of_gates(), *_of_statistics(), *_of_findings()))


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
    names = ", ".join([*(each.name for each in DISTRIBUTION), "histogram"])
    yield f"""-- A row a gate. Where one tensor is one gate (Keras 1), its own statistics.
CREATE OR REPLACE VIEW gates AS
WITH listed AS (
    SELECT {_PLACE}, direction, unnest(gates) AS statistics
    FROM tensors WHERE gates IS NOT NULL
)
SELECT {_PLACE}, direction, statistics.*
FROM listed
UNION ALL BY NAME
SELECT {_PLACE}, direction, gate, {names}
FROM tensors WHERE gate IS NOT NULL AND gates IS NULL;
"""


def _of_statistics() -> Iterable[str]:
    whens = "\n".join(f"        WHEN {literal(name)} THEN {sql}" for name, (sql, _) in NUMBERS.items())
    yield f"""-- The tensors that are weights, with one of their numbers as `value`. The name is a constant, so
-- that DuckDB reads the column that it names, and of the others those that are asked for.
CREATE OR REPLACE MACRO tensor_statistic(name) AS TABLE
SELECT
    *,
    CASE name
{whens}
        ELSE error('there is no statistic ''' || name
            || '''; it is a numeric column of a tensor, such as std, abs_max, kurtosis or zero_fraction')
        END::DOUBLE AS value
FROM weights;
"""
    names = ", ".join(literal(each.name) for each in STATISTICS)
    of_tensors = ", ".join(f"{each.name}::DOUBLE AS {each.name}" for each in STATISTICS)
    of_models = ", ".join(f"({each.of_model})::DOUBLE AS {each.name}" for each in STATISTICS if each.of_model)
    yield f"""-- The names of statistics that can be tried, or an error that names the others.
CREATE OR REPLACE MACRO known_statistics(names) AS CASE
    WHEN len(list_filter(names, lambda name: NOT list_contains([{names}], name))) = 0 THEN names
    ELSE error('not all of these are statistics that can be tried: ' || array_to_string(names, ', ')) END;

-- A row a statistic of the weights, by slot, and for whole models with the slot '(all)'.
-- models: a table with the column model. statistics: the names of those that are wanted.
CREATE OR REPLACE MACRO weight_statistics(models, statistics) AS TABLE
WITH chosen AS (
    SELECT * FROM weights WHERE model IN (SELECT model FROM query_table(models)) AND NOT is_statistic(role)
),
wide AS (
    SELECT model, slot, {of_tensors} FROM chosen
    UNION ALL BY NAME
    SELECT model, '(all)' AS slot, {of_models} FROM chosen GROUP BY model
)
SELECT model, slot, statistic, value
FROM (UNPIVOT wide ON COLUMNS(* EXCLUDE (model, slot)) INTO NAME statistic VALUE value)
WHERE list_contains(known_statistics(statistics), statistic);
"""


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
