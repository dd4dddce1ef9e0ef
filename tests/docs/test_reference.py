"""The generated reference has everything that is declared, and what it is made of says something."""

from __future__ import annotations

import re
import tomllib
from inspect import ismodule

import pytest
import yaml

import wexport
from docs.tools import reference, rooms
from docs.tools.markdown import plain
from tests.conftest import ROOT
from wexport import cli, library
from wexport.table.formulas import FORMULAS
from wexport.table.schema import COLUMNS

WORDS = {"model", "slot", "shape", "canonical_shape", "dtype", "role", "direction", "gate", "layer", "layer_class"}
WORDS |= {"layer_index", "tensor_index", "trainable", "layer_config", "kind", "tensor", "source", "source_bytes"}
WORDS |= {"format", "framework", "framework_version", "backend", "run", "step", "unit_axes"}
"""Columns that say what a tensor is and where it came from; the others are statistics."""


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return reference.pages()


def test_each_statistic_has_a_formula_and_nothing_else_has() -> None:
    assert set(FORMULAS) == {column.name for column in COLUMNS} - WORDS
    assert all(each.formula and each.convention and each.pitfall for each in FORMULAS.values())


def test_each_column_is_there(pages: dict[str, str]) -> None:
    assert [each.name for each in COLUMNS if f"| `{each.name}` |" not in pages["reference/columns.md"]] == []
    headings = re.findall(r"^## (.*)$", pages["reference/statistics.md"], re.MULTILINE)
    assert [name for heading in headings for name in heading.split(", ")] == list(FORMULAS)


def test_each_query_is_there_with_its_parameters_and_columns(pages: dict[str, str]) -> None:
    sections = dict(re.findall(r"^### (\w+)\n((?:(?!^###? ).*\n)*)", pages["reference/queries.md"], re.MULTILINE))
    assert list(sections) == list(library.load())
    for name, query in library.load().items():
        named = [f"| `{each.name}` |" for each in (*query.parameters, *query.columns)]
        assert [each for each in named if each not in sections[name]] == [], name


def test_each_command_is_there(pages: dict[str, str]) -> None:
    assert [name for name in cli.cli.commands if f"## wexport {name}\n" not in pages["reference/commands.md"]] == []


def test_each_public_name_is_there(pages: dict[str, str]) -> None:
    names = [name for name in wexport.__all__ if not name.startswith("_") and not ismodule(getattr(wexport, name))]
    assert [name for name in names if f"::: wexport.{name}\n" not in pages["reference/python.md"]] == []


def test_each_room_says_what_it_is_for() -> None:
    described = rooms.described()
    folders = {each.parent.name for each in (ROOT / "wexport").glob("*/__init__.py")}
    assert set(described) == folders
    assert [name for name, said in described.items() if not said] == []


def test_text_shows_as_it_stands() -> None:
    assert plain("a*b <c> `d*e` [f]") == r"a\*b \<c\> `d*e` \[f\]"


def test_the_hosted_workflow_tests_what_the_packages_claim() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
    tested = set(workflow["jobs"]["tests"]["strategy"]["matrix"]["python"])
    for path in (ROOT / "pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml")):
        classifiers = tomllib.loads(path.read_text())["project"]["classifiers"]
        claimed = {each.rpartition(" :: ")[2] for each in classifiers if "Python :: 3." in each}
        assert claimed == tested, path
