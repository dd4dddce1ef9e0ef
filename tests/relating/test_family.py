"""Families of models of known origin, as text, as rows and as a picture."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import wexport
from tests.relating.test_forms import changed, noisy, smallest_zeroed
from tests.relating.test_relate import RESIDUAL, residual, saved
from wexport.cli import cli
from wexport.plot import family_trees
from wexport.relating.family import FamilyTree, Member, family_tree
from wexport.relating.results import Kinship


def kin(a: str, b: str, alike: float, earlier: str | None = None, relation: str = "related") -> Kinship:
    return Kinship(model_a=a, model_b=b, relation=relation, aligned_similarity=alike, earlier=earlier)


def parents(tree: FamilyTree) -> dict[str, str | None]:
    return {each.model: each.parent for each in tree.members}


def test_each_model_stands_below_the_nearest_that_may_have_come_first() -> None:
    pairs = [kin("b", "a", 0.9, "a"), kin("c", "b", 0.9, "b"), kin("a", "c", 0.7, "a")]
    tree = family_tree("cba", pairs)
    assert parents(tree) == {"a": None, "b": "a", "c": "b"}
    assert all(each.directed for each in tree.members if each.parent)
    assert [each.distance for each in tree.members] == [None, pytest.approx(0.1), pytest.approx(0.1)]


def test_direction_decides_against_nearness() -> None:
    """Both are nearest to c, and came before it: it has one parent, and the other a family of its own."""
    tree = family_tree("abc", [kin("a", "c", 0.9, "a"), kin("b", "c", 0.8, "b")])
    assert parents(tree) == {"a": None, "c": "a", "b": None}


def test_what_is_near_only_has_no_direction() -> None:
    tree = family_tree("abc", [kin("a", "b", 0.9), kin("b", "c", 0.2, relation="strangers")])
    assert [(each.model, each.parent, each.directed) for each in tree.members] == [
        ("a", None, False),
        ("b", "a", False),
        ("c", None, False),
    ]
    assert [before for before, _ in tree.lines()] == ["", "└── ", ""]


def test_branches_are_drawn_as_they_hang() -> None:
    members = [
        Member(model=name, parent=parent, family="a", depth=depth, directed=name == "b")
        for name, parent, depth in (("a", None, 0), ("b", "a", 1), ("c", "b", 2), ("d", "b", 2), ("e", "a", 1))
    ]
    assert [before for before, _ in FamilyTree(members).lines()] == ["", "├─▶ ", "│   ├── ", "│   └── ", "└── "]
    lines = family_trees.family_tree(FamilyTree(members)).axes[0].texts
    assert {"a", "b", "c", "d", "e"} <= {each.get_text() for each in lines}


def test_a_folder_has_its_families(tmp_path: Path) -> None:
    made = {
        "source": residual(1),
        "half": changed(residual(1), lambda x: x.astype(np.float16).astype("f4")),
        "pruned": changed(residual(1), smallest_zeroed, "kernel"),
        "tuned": noisy(residual(1)),
        "stranger": residual(2),
    }
    paths = [str(saved(tmp_path / f"{name}.h5", weights, RESIDUAL)) for name, weights in made.items()]
    picture = tmp_path / "families.png"
    done = CliRunner().invoke(cli, ["relate", "--tree", "--format", "json", "--plot", str(picture), *paths])
    rows = {row["model"]: row for row in json.loads(done.stdout)}
    assert rows["half"]["parent"] == rows["pruned"]["parent"] == "source"
    assert rows["half"]["directed"]
    assert rows["tuned"]["family"] == rows["source"]["family"]
    assert not rows["tuned"]["directed"]
    assert rows["stranger"]["parent"] is None
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_picture_is_of_a_tree() -> None:
    found = CliRunner().invoke(cli, ["relate", "a.h5", "b.h5", "--plot", "x.png"])
    assert isinstance(found.exception, wexport.UsageError)
