"""The pictures that the README shows are there, small, and those that its commands make."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.conftest import ROOT
from tests.docs.test_readme import README

MOST_BYTES = 300_000


@pytest.fixture(scope="module")
def maker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_pictures", ROOT / "docs" / "make_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pictures_are_there_and_small(maker: ModuleType) -> None:
    paths = maker.shown(README.read_text())
    assert len(paths) == 6
    assert all((ROOT / path).read_bytes().startswith(b"\x89PNG") for path in paths)
    assert sum((ROOT / path).stat().st_size for path in paths) < MOST_BYTES
    assert {ROOT / path for path in paths} == set((ROOT / "docs" / "pictures").iterdir())


def test_the_commands_beside_them_make_them(maker: ModuleType, tmp_path: Path) -> None:
    text = README.read_text()
    maker.run(tmp_path)
    made = [command[command.index("--out") + 1] for command in maker.commands(text)]
    assert len([name for name in made if name.endswith(".png")]) == 4
    names = {Path(path).name for path in maker.shown(text)}
    # The report and one of its layers are photographed.
    assert names == {name for name in made if name.endswith(".png")} | {"report.png", "layer.png"}
    assert [name for name in made if not (tmp_path / name).is_file()] == []
    assert "dense/kernel" in (tmp_path / "report.html").read_text()
