"""What derives from declarations in Python says in SQL what it says there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import wexport
from tests.conftest import EXAMPLES
from wexport import library
from wexport.library.findings import FINDINGS, FindingKind
from wexport.model import gates, roles
from wexport.sessions.session import Session
from wexport.stats.declared import Fraction, Statistic
from wexport.stats.results import DISTRIBUTION, STATISTICS
from wexport.table.schema import NUMBERS


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    table = tmp_path_factory.mktemp("views") / "t.parquet"
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"], table)
    with Session(table) as found:
        yield found


@pytest.mark.parametrize("name", roles.ROLES)
def test_roles(session: Session, name: str) -> None:
    (found,) = session.ask(f"SELECT is_statistic('{name}') AS counted, is_kernel('{name}') AS kernel").to_pylist()
    assert found == {"counted": not roles.ROLES[name].trained, "kernel": roles.ROLES[name].kernel}


@pytest.mark.parametrize("kind", gates.KINDS, ids=lambda kind: kind.name)
def test_gates_stand_in_canonical_order(session: Session, kind: gates.RecurrentKind) -> None:
    places = [session.ask(f"SELECT gate_place('{letter}') AS place").to_pylist()[0]["place"] for letter in kind.letters]
    assert places == sorted(places)
    assert len(set(places)) == len(places)


@pytest.mark.parametrize("kind", list(FINDINGS.values()), ids=lambda kind: f"{kind.query}-{kind.name}")
def test_findings_have_their_advice(session: Session, kind: FindingKind) -> None:
    answer = session.ask(f"SELECT finding_advice('{kind.query}', '{kind.name}') AS advice")
    assert answer.to_pylist() == [{"advice": kind.advice}]


def test_every_statistic_is_known_by_name_to_the_queries(session: Session) -> None:
    rows = session.ask("FROM weights ORDER BY model, tensor_index").to_pylist()
    for name in NUMBERS:
        found = session.ask(f"SELECT value FROM tensor_statistic('{name}') ORDER BY model, tensor_index").to_pylist()
        if name != "rms":
            assert [row["value"] for row in found] == [row[name] for row in rows]
        for query in ("tensors", "layers"):
            assert session.ask(library.get(query).sql, {"statistic": name}).num_rows


def test_every_statistic_is_there_by_slot_and_where_declared_for_the_model(session: Session) -> None:
    (names,) = {tuple(each.name for each in STATISTICS)}
    found = session.ask("FROM weight_statistics('weights', getvariable('names'))", {"names": list(names)}).to_pylist()
    assert {row["statistic"] for row in found if row["slot"] != "(all)"} == set(names)
    of_model = {each.name: each for each in STATISTICS if each.of_model}
    assert {row["statistic"] for row in found if row["slot"] == "(all)"} == set(of_model)
    for row in (row for row in found if row["slot"] == "(all)"):
        sql = f"SELECT {of_model[row['statistic']].of_model} AS value FROM weights WHERE model = '{row['model']}'"
        assert session.ask(sql).to_pylist() == [{"value": pytest.approx(row["value"])}]


def test_the_gates_have_all_statistics_of_a_distribution(session: Session) -> None:
    names = session.ask("FROM gates LIMIT 0").column_names
    assert [name for name in names if name in {each.name for each in DISTRIBUTION}] == [e.name for e in DISTRIBUTION]


@pytest.mark.parametrize("each", STATISTICS, ids=lambda each: each.name)
def test_a_statistic_has_its_doc_and_is_a_column(each: Statistic | Fraction) -> None:
    assert each.doc.endswith(".")
    assert each.name in NUMBERS
