"""Every page is true: its commands and code run as they stand, in order, and print what it shows."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.docs.pages import PAGES, Step, carried_out, rewritten, steady, steps

GENERATED = ("reference/", "plugins.md", "contributing.md", "security.md", "changelog.md", "adding.md")
"""Pages that are there on the site alone; that links to them lead somewhere, the site's strict build tells."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_is_what_happens(page: Path, tmp_path: Path) -> None:
    text = page.read_text()
    if "$ wexport activations" in text and find_spec("wexport_keras") is None:
        pytest.skip("wexport-keras is not installed")
    for step in steps(text):
        output = carried_out(step, tmp_path)
        if step.kind in ("console", "python"):
            assert output == steady(step.shown), step.body.splitlines()[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_is_run_or_says_why_not(page: Path) -> None:
    text = page.read_text()
    assert text.count("\n```") % 2 == 0
    assert [step.body for step in steps(text) if step.kind == "untold"] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_pages_and_pictures_that_are_there(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r"\]\((?!\w+:)([^)#\s]+)", prose)
    inside = [link for link in links if page.parent == ROOT or not link.removeprefix("../").startswith(GENERATED)]
    assert [link for link in inside if not (page.parent / link).exists()] == []


def test_a_page_is_taken_apart_in_order(tmp_path: Path) -> None:
    page = (
        "<!-- setup: echo 1 > a -->\n<!-- file: b -->\n```python\n2\n```\n\n```console\n$ cat a b\nold\n$ true\n```\n\n"
        "```python\nprint(3)\n```\n\n```text\nold\n```\n\n"
        "<!-- not run: a secret -->\n```\nrm a\n```\n\n```yaml\nx\n```\n"
    )
    assert [step.kind for step in steps(page)] == ["setup", "file", "console", "python", "not run", "untold"]
    new = rewritten(page, tmp_path)
    assert "$ cat a b\n1\n2\n$ true\n```" in new
    assert "```text\n3\n```" in new
    assert new.replace("1\n2\n", "old\n").replace("text\n3", "text\nold") == page


def test_a_command_that_fails_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="ended with 3"):
        carried_out(Step("console", "$ exit 3\n"), tmp_path)


def test_a_command_that_fails_in_a_pipe_is_no_page(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no such table"):
        carried_out(Step("console", "$ wexport query models none.parquet | head -1\n"), tmp_path)
