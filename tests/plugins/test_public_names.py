"""What is public is whole: all that a public function gives is exported and told, and plugins need nothing else."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

import pytest

import wexport

ROOT = Path(__file__).parents[2]
PLUGINS = sorted((ROOT / "plugins").glob("wexport-*"))
PACKAGES = sorted(path for folder in PLUGINS for path in folder.glob("wexport_*"))
MODULES = ("keras_files", "measuring", "plot", "reading", "testing", "tools")
EXPORTED = {getattr(wexport, name) for name in wexport.__all__ if isinstance(getattr(wexport, name), type)}


def classes_in(annotation: Any) -> set[type]:
    """The classes of wexport's that an annotation names, also within lists, unions and callables."""
    if isinstance(annotation, list):
        return {found for each in annotation for found in classes_in(each)}
    if arguments := typing.get_args(annotation):
        return {found for each in arguments for found in classes_in(each)}
    ours = isinstance(annotation, type) and annotation.__module__.split(".")[0] == "wexport"
    return {annotation} if ours else set()


def given_by(found: type) -> set[type]:
    """The classes that the fields of a dataclass hold."""
    if not dataclasses.is_dataclass(found):
        return set()
    hints = hints_of(found)
    return {each for field in dataclasses.fields(found) for each in classes_in(hints[field.name])}


def hints_of(thing: Any) -> dict[str, Any]:
    """Annotations, with what their modules import for the type checker alone."""
    known = {**vars(importlib.import_module(thing.__module__))}
    for name in ("pyarrow", "duckdb"):
        known[{"pyarrow": "pa"}.get(name, name)] = importlib.import_module(name)
    from wexport.sessions.connection import Connection, PathLike

    return typing.get_type_hints(thing, {**known, "PathLike": PathLike, "Connection": Connection})


@pytest.mark.parametrize(
    "name", [name for name in wexport.__all__ if isinstance(getattr(wexport, name), types.FunctionType)]
)
def test_all_that_a_function_gives_is_exported(name: str) -> None:
    waiting = classes_in(hints_of(getattr(wexport, name))["return"])
    seen: set[type] = set()
    while waiting:
        found = waiting.pop()
        assert found in EXPORTED, f"wexport.{name} gives a {found.__module__}.{found.__qualname__}"
        seen.add(found)
        waiting |= given_by(found) - seen


@pytest.mark.parametrize("module", ["", *MODULES])
def test_each_public_name_says_what_it_is(module: str) -> None:
    public = importlib.import_module(f"wexport.{module}".removesuffix("."))
    for name in public.__all__:
        thing = getattr(public, name)
        if isinstance(thing, (type, types.FunctionType, types.ModuleType)):
            assert (inspect.getdoc(thing) or "").strip(), f"{public.__name__}.{name} has no docstring"


def test_importing_it_loads_no_library() -> None:
    code = "import sys, wexport; print([name for name in ('numpy', 'pyarrow', 'duckdb', 'h5py', 'matplotlib', 'click', 'pluggy') if name in sys.modules])"  # noqa: E501
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_what_is_public_can_be_completed() -> None:
    assert {*wexport.__all__, *MODULES} <= set(dir(wexport))
    with pytest.raises(AttributeError, match="no attribute 'ingets'"):
        wexport.ingets  # noqa: B018


@pytest.mark.parametrize("package", [ROOT / "wexport", *PACKAGES], ids=lambda path: path.name)
def test_packages_are_typed(package: Path) -> None:
    assert (package / "py.typed").is_file()


@pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)
def test_a_plugin_says_which_versions_it_works_with(plugin: Path) -> None:
    import tomllib

    from wexport.plugins.new_plugin import compatible

    needed = tomllib.loads((plugin / "pyproject.toml").read_text())["project"]["dependencies"]
    assert f"wexport{compatible()}" in needed


def test_plugins_import_what_is_public_alone() -> None:
    arguments = ["plugins/importlinter.toml", "--no-cache"]
    places = [ROOT, ROOT / "wexport" / "plugins" / "template", *PLUGINS]
    found = subprocess.run(
        [sys.executable, "-c", f"import importlinter.cli as cli; cli.lint_imports_command({arguments})"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "1 kept, 0 broken" in found.stdout
    listed = (ROOT / "plugins" / "importlinter.toml").read_text()
    assert all(f'"{package.name}"' in listed for package in PACKAGES), "a plugin is not under the contract"
