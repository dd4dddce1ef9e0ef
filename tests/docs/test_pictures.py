"""Pictures are there, small, and each has its command beside it in the gallery, which tests/docs/test_pages.py runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.make_pictures import GALLERY, PHOTOGRAPHED, shown
from tests.conftest import ROOT
from tests.docs.pages import PAGES
from tests.docs.test_readme import README
from wexport import plot

MOST_BYTES = 700_000
PICTURES = ROOT / "docs" / "pictures"


def test_they_are_pictures_and_small() -> None:
    paths = list(PICTURES.iterdir())
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)
    assert sum(path.stat().st_size for path in paths) < MOST_BYTES


def test_each_is_in_the_gallery() -> None:
    assert {Path(path).name for path in shown(GALLERY.read_text())} == {path.name for path in PICTURES.iterdir()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_each_says_what_it_shows(page: Path) -> None:
    text = page.read_text()
    assert len(shown(text)) == text.count("](pictures/") + text.count("](docs/pictures/")


def test_each_kind_of_plot_is_in_the_gallery_with_its_command() -> None:
    text = GALLERY.read_text()
    made = dict(re.findall(r"^\$ wexport plot (\w+) .*--out (\S+)$", text, re.MULTILINE))
    assert set(made) == set(plot.KINDS)
    assert {*made.values(), *PHOTOGRAPHED} == {Path(path).name for path in shown(text)}


def test_the_commands_in_the_readme_are_those_of_the_gallery() -> None:
    block = re.search(r"<!-- pictures -->\n<!-- not run: .* -->\n```\n((?:.*\n)*?)```", README.read_text())
    assert block is not None
    assert [line for line in block[1].splitlines() if f"$ {line}\n" not in GALLERY.read_text()] == []
    shown_there = {Path(path).name for path in shown(README.read_text())}
    assert {name for name in shown_there if name not in PHOTOGRAPHED} == set(re.findall(r"(\S+\.png)", block[1]))
