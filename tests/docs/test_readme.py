"""The README has what others look for in it; tests/docs/test_pages.py runs its commands and code.

`python -m tests.docs.test_readme` writes what all pages print into them, as `python -m tests.docs.pages` does.
"""

from __future__ import annotations

import re
import sys

import pytest

from tests.conftest import ROOT
from tests.docs import pages

README = ROOT / "README.md"
MOST_LINES = 260


@pytest.mark.parametrize("marker", ["setup-main", "setup-test"])
def test_the_set_up_commands_stand_where_they_are_looked_for(marker: str) -> None:
    found = rf"<!-- {marker} -->\n<!-- not run: \.ci/run runs it -->\n```\npython3 -m venv \.venv && [^\n]+\n```"
    assert re.search(found, README.read_text())


def test_it_is_read_in_one_go() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES


if __name__ == "__main__":
    sys.exit(pages.main())
