"""What derives from declarations in Python says in SQL what it says there."""

from __future__ import annotations

import duckdb
import pytest

from wexport.model import gates, roles
from wexport.sessions import views


@pytest.fixture(scope="module")
def duck() -> duckdb.DuckDBPyConnection:
    found = duckdb.connect()
    found.execute(views.declared())
    return found


@pytest.mark.parametrize("name", roles.ROLES)
def test_roles(duck: duckdb.DuckDBPyConnection, name: str) -> None:
    found = duck.execute("SELECT is_statistic($1), is_kernel($1)", [name]).fetchall()
    assert found == [(not roles.ROLES[name].trained, roles.ROLES[name].kernel)]


@pytest.mark.parametrize("kind", gates.KINDS, ids=lambda kind: kind.name)
def test_gates_stand_in_canonical_order(duck: duckdb.DuckDBPyConnection, kind: gates.RecurrentKind) -> None:
    places = [duck.execute("SELECT gate_place(?)", [letter]).fetchall()[0][0] for letter in kind.letters]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
