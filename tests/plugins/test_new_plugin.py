"""The plugin that `wexport new-plugin` writes installs, and passes its own tests, as it is."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wexport
from wexport.plugins import new_plugin


def run(*arguments: object, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )


def test_the_package_installs_reads_its_format_and_passes_its_tests(tmp_path: Path) -> None:
    written = run("-m", "wexport", "new-plugin", "tiny-net", folder=tmp_path)
    assert (written.returncode, written.stderr) == (0, "")
    assert "pip install -e './wexport-tiny-net[test]' && python -m pytest ./wexport-tiny-net" in written.stdout
    site = tmp_path / "site"
    install = ("-m", "pip", "install", "-q", "--no-deps", "--target", site, "./wexport-tiny-net")
    installed = run(*install, folder=tmp_path)
    assert installed.returncode == 0, installed.stderr
    listed = run("-m", "wexport", "plugins", "--json", folder=tmp_path, PYTHONPATH=str(site))
    (info,) = [each for each in json.loads(listed.stdout) if each["name"] == "tiny-net"]
    assert (info["origin"], info["version"], info["state"]) == ("wexport-tiny-net", "0.1.0", "ok")
    assert info["readers"] == [{"name": "tiny-net", "reads": "tiny-net files", "suffixes": [".tinynet"]}]
    tested = run("-m", "pytest", "-q", "wexport-tiny-net", folder=tmp_path, PYTHONPATH=str(site))
    assert tested.returncode == 0, tested.stdout
    assert "failed" not in tested.stdout


@pytest.mark.parametrize("name", ["a", "x1", "my-own-net", "tinynet"])
def test_every_name_gives_code_that_parses_and_metadata_that_fits(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, files = new_plugin.write(name)
    module = f"wexport_{name.replace('-', '_')}"
    assert folder == Path(f"wexport-{name}")
    assert {f"{module}/__init__.py", f"{module}/py.typed"} <= set(files)
    for file in files:
        text = (folder / file).read_text()
        assert "myformat" not in text.lower()
        if file.endswith(".py"):
            ast.parse(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == f"wexport-{name}"
    assert project["project"]["entry-points"]["wexport"] == {name: module}
    assert project["project"]["dependencies"][0] == f"wexport{new_plugin.compatible()}"


@pytest.mark.parametrize("name", ["", "Own", "my_net", "3d", "-a", "a--b", "../a", "a b", "wexport-own", "é"])
def test_a_name_that_no_package_can_have_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(wexport.UsageError, match="is not a name for a format"):
        new_plugin.write(name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_reader_that_is_there_already_is_refused(tmp_path: Path) -> None:
    with pytest.raises(wexport.UsageError, match="there is a reader 'hdf5' already, of wexport itself"):
        new_plugin.write("hdf5", tmp_path / "out")


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("mine")
    found = run("-m", "wexport", "new-plugin", "own", "mine", folder=tmp_path)
    assert found.returncode == 2
    assert "mine: exists already" in found.stderr
    assert (tmp_path / "mine" / "README.md").read_text() == "mine"


def test_the_template_is_in_the_wheel() -> None:
    from importlib import resources

    folder = resources.files("wexport") / "plugins" / "template"
    assert (folder / "pyproject.toml").is_file()
    assert (folder / "tests" / "test_myformat.py").is_file()
