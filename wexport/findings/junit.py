"""Findings as JUnit XML, which CI services show beside tests."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree

from wexport.findings.finding import Finding
from wexport.findings.meanings import meaning
from wexport.library.findings import SEVERITIES
from wexport.terminal.text import safe


def report(findings: Sequence[Finding], queries: Sequence[str], fail_on: str) -> str:
    """One test suite a query, one test case a finding; a query without findings is one case that passes.

    fail_on: findings from this severity on are failures, others pass and say what was seen.
    """
    root = ElementTree.Element("testsuites", name="wexport check")
    failures = 0
    for query in queries:
        mine = [each for each in findings if each.query == query]
        suite = ElementTree.SubElement(root, "testsuite", name=safe(query), tests=str(max(1, len(mine))), errors="0")
        failed = [each for each in mine if _fails(each, fail_on)]
        suite.set("failures", str(len(failed)))
        failures += len(failed)
        if not mine:
            ElementTree.SubElement(suite, "testcase", classname=safe(query), name="no findings")
        for each in mine:
            _add_case(suite, each, fails=_fails(each, fail_on))
    root.set("tests", str(sum(int(suite.get("tests", "0")) for suite in root)))
    root.set("failures", str(failures))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _add_case(suite: ElementTree.Element, each: Finding, *, fails: bool) -> None:
    name = f"{each.finding}: {each.place}" if each.place else each.finding
    case = ElementTree.SubElement(suite, "testcase", classname=safe(each.model), name=safe(name))
    what = f"{each.severity}: {meaning(each)}\n{each.seen} (threshold: {each.threshold or 'none'})"
    details = f"{what}\n{each.advice or ''}".rstrip()
    if fails:
        failure = ElementTree.SubElement(case, "failure", type=each.severity, message=safe(each.seen))
        failure.text = _lines(details)
    else:
        ElementTree.SubElement(case, "system-out").text = _lines(details)


def _fails(each: Finding, fail_on: str) -> bool:
    return fail_on != "never" and SEVERITIES.index(each.severity) <= SEVERITIES.index(fail_on)


def _lines(text: str) -> str:
    return "\n".join(safe(line) for line in text.split("\n"))
