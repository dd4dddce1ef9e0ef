"""The rooms: lower ones never import upper ones."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

# From the ground up; a module may import from its own floor and from those below.
FLOORS = [
    {"errors", "version"},
    {"kinds", "replacing"},
    {"files"},
    {"tensors"},
    {"beside", "library", "shards", "windows"},
    {
        "additions",
        "archives",
        "arrays",
        "children",
        "fingerprints",
        "chunks",
        "hookspecs",
        "messages",
        "roles",
        "rules",
        "schema",
        "terminal",
    },
    {"dataset", "isolate", "match", "readers", "stats", "torch_modules"},
    {"plugins"},
    {"asking", "ingestion"},
    {"predicting", "cosines", "drifting", "partners"},
    {"comparing", "pair_sums"},
    {"similar"},
    {"clustering"},
    {"checking", "metrics", "differences"},
    {"junit", "plot"},
    {"inspection", "demo"},
    {"listing"},
    {"comparison", "testing"},
    {"templates"},
    {"page"},
    {"reporting"},
    {"commands"},
    {"cli"},
    {"__main__"},
]


def modules() -> list[Path]:
    return sorted((ROOT / "wexport").rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(ROOT / "wexport").with_suffix("").parts
    return parts[0]


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("wexport"):
            rest = node.module.split(".")[1:]
            found |= {rest[0]} if rest else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("wexport.")}
    return found


def floor(name: str) -> int | None:
    return next((height for height, names in enumerate(FLOORS) if name in names), None)


def test_every_module_has_a_floor() -> None:
    assert {room(path) for path in modules()} - {"__init__"} == set().union(*FLOORS)


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_imports_from_above(path: Path) -> None:
    if room(path) == "__init__":
        return
    here = floor(room(path))
    assert here is not None
    above = {name for name in imported(path) if (height := floor(name)) is not None and height > here}
    assert not above


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from wexport.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'h5py', 'pyarrow', 'duckdb', 'matplotlib', 'rich', 'jinja2'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


def test_readers_use_public_hooks_only() -> None:
    for path in (ROOT / "wexport" / "readers").glob("*.py"):
        assert not imported(path) & {"plugins", "worker", "ingestion", "isolate", "stats", "dataset"}, path.name
