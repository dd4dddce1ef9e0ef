"""Whatever a query can find is declared once, and what is declared can be found."""

from __future__ import annotations

import re

import pytest

from wexport import library
from wexport.errors import UsageError
from wexport.library.findings import FINDINGS, NO_FINDINGS, QUERIES, SEVERITIES, FindingKind, finding_kind

_COLUMN = r"(?:finding|verdict)"
_WORD = r"'([a-z][a-z_ ]*)'"


def words_of(sql: str) -> set[str]:
    """The words that a statement gives to its column `finding` or `verdict`, or asks it for."""
    text = "\n".join(line.partition("--")[0] for line in sql.splitlines())
    found = set(re.findall(rf"{_WORD} AS {_COLUMN}\b", text))
    found |= set(re.findall(rf"\b{_COLUMN} (?:=|<>) {_WORD}", text))
    for group in re.findall(rf"\b{_COLUMN} (?:NOT )?IN \(([^)]*)\)", text):
        found |= set(re.findall(_WORD, group))
    for case in re.findall(rf"\bCASE {_COLUMN}\b(.*?)\bEND\b", text, re.S):
        found |= set(re.findall(rf"\bWHEN {_WORD} THEN", case))
    for case in re.findall(rf"((?:(?:WHEN|ELSE)\b(?:(?!\bCASE\b|\bEND\b).)*)+)\bEND AS {_COLUMN}\b", text, re.S):
        found |= set(re.findall(rf"(?:THEN|ELSE) {_WORD}", case))
    # A row of a UNION ALL gives its finding in the place where the first one names it.
    for part in re.split(r"\bUNION ALL\s+SELECT\b", text)[1:]:
        head = re.split(r"\bFROM\b", part)[0]
        if match := re.match(rf"\s*(?:{_WORD}, {_WORD}|model, slot, {_WORD})", head):
            found.add(match[2] or match[3])
    return found


def defects() -> set[str]:
    """The words of the macro that `health` and others judge tensors by."""
    text = "\n".join(library.view_parts())
    macro = re.search(r"MACRO tensor_defects\(.*?;\n", text, re.S)
    assert macro
    return set(re.findall(rf"THEN {_WORD} END", macro[0]))


def found_by(query: str) -> set[str]:
    sql = library.get(query).sql
    return words_of(sql) | (defects() | set(re.findall(rf"THEN \[{_WORD}\]", sql)) if query == "health" else set())


def queries_with_severity() -> list[str]:
    return [name for name, query in library.load().items() if "severity" in {each.name for each in query.columns}]


def test_each_query_that_tells_a_severity_is_asked() -> None:
    assert set(QUERIES) == set(queries_with_severity())


@pytest.mark.parametrize("query", queries_with_severity())
def test_what_a_query_can_find_is_declared_and_named_by_its_page(query: str) -> None:
    declared = {each.name for each in FINDINGS.values() if each.query == query}
    assert found_by(query) - NO_FINDINGS == declared
    page = next(each.doc for each in library.get(query).columns if each.name in ("finding", "verdict"))
    named = {word.strip() for word in re.split(r",|;| or ", page)}
    assert {name for name in declared if name not in named and name not in page} == set()


def test_the_scan_sees_a_finding_wherever_it_is_made() -> None:
    sql = """
    SELECT 'a' AS finding, CASE WHEN x THEN 'b' WHEN y THEN 'c' ELSE 'd' END AS verdict
    WHERE finding IN ('e', 'f') OR verdict = 'g' OR CASE finding WHEN 'h' THEN 'not this' END
    -- finding = 'nor this'
    UNION ALL SELECT 'info', 'i', model FROM t
    UNION ALL SELECT model, slot, 'j', NULL FROM t
    """
    assert words_of(sql) == set("abcdefghij")


@pytest.mark.parametrize("kind", list(FINDINGS.values()), ids=lambda kind: f"{kind.query}-{kind.name}")
def test_a_finding_says_what_it_means_where_it_begins_and_what_to_do(kind: FindingKind) -> None:
    assert kind.severity in SEVERITIES
    assert kind.meaning
    assert kind.threshold
    assert kind.advice
    assert not kind.meaning[0].isupper() or kind.meaning.startswith("NaN")
    assert f"'{kind.severity}'" in library.get(kind.query).sql
    for name in re.findall(r"`(\w+)`", kind.threshold):
        assert library.get(kind.query).parameter(name)


def test_an_unknown_finding_names_those_there_are() -> None:
    assert finding_kind("health", "nan").severity == "error"
    with pytest.raises(UsageError, match="no finding 'nam'") as error:
        finding_kind("health", "nam")
    assert "zero_tensor" in error.value.hint
