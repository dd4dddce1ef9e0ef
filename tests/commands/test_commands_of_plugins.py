"""Commands of plugins, as installed packages bring them: real metadata on the path, real processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

GOOD = """
import click
import wexport

@click.command()
@click.argument("name")
def cli(name):
    "Greet NAME."
    print("hello", name)
"""


def install(site: Path, package: str, code: str, *commands: str) -> None:
    """What pip leaves of a package with these commands, each of which is `cli` in its module."""
    module = package.replace("-", "_")
    (site / f"{module}.py").write_text(code)
    info = site / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = "\n".join(f"{name} = {module}:cli" for name in commands)
    (info / "entry_points.txt").write_text(f"[wexport.commands]\n{lines}\n")


def run(site: Path, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(site), str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-X", "importtime", "-c", "from wexport.cli import main; main()", *arguments]
    found = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path})
    assert "Traceback" not in found.stderr
    assert found.returncode == code, found.stderr
    return found


def told(found: subprocess.CompletedProcess[str]) -> str:
    return "\n".join(line for line in found.stderr.splitlines() if not line.startswith("import time:"))


def imported(found: subprocess.CompletedProcess[str]) -> set[str]:
    return {line.rpartition("|")[2].strip() for line in found.stderr.splitlines() if line.startswith("import time:")}


def test_a_command_runs_and_is_listed_by_its_package(tmp_path: Path) -> None:
    install(tmp_path, "wexport-greet", GOOD, "greet")
    assert run(tmp_path, "greet", "you").stdout == "hello you\n"
    assert "Greet NAME." in run(tmp_path, "greet", "--help").stdout
    helped = run(tmp_path, "--help")
    assert "greet" in helped.stdout
    assert "From wexport-greet." in helped.stdout
    assert not imported(helped) & {"wexport_greet", "numpy", "pyarrow", "duckdb", "pluggy", "matplotlib"}
    assert "Missing argument 'NAME'" in run(tmp_path, "greet", code=2).stderr


def test_others_are_not_imported_when_a_command_runs(tmp_path: Path) -> None:
    install(tmp_path, "wexport-greet", GOOD, "greet")
    install(tmp_path, "wexport-broken", "raise SystemExit(5)", "broken")
    assert "wexport_broken" not in imported(run(tmp_path, "greet", "you"))
    assert "wexport_greet" not in imported(run(tmp_path, "schema"))


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import does_not_exist", "cannot be loaded: ModuleNotFoundError: No module named 'does_not_exist'"),
        ("raise SystemExit(0)", "cannot be loaded: SystemExit: 0"),
        ("x = 1", "cannot be loaded: AttributeError"),
        ("def cli(): pass", "is a function, and no click.Command"),
        (GOOD.replace("print", "1 / 0; print"), "failed: ZeroDivisionError"),
    ],
)
def test_a_broken_command_is_named_and_costs_no_other(tmp_path: Path, code: str, why: str) -> None:
    install(tmp_path, "wexport-greet", GOOD, "greet")
    install(tmp_path, "wexport-broken", code, "broken")
    found = run(tmp_path, "broken", "you", code=3)
    assert f"error: the command broken of wexport-broken {why}" in told(found)
    assert run(tmp_path, "greet", "you").stdout == "hello you\n"
    assert "From wexport-broken." in run(tmp_path, "--help").stdout


def test_what_a_command_says_on_purpose_is_told_as_ours(tmp_path: Path) -> None:
    error = "raise wexport.UsageError('no such name', hint='try another'); print"
    install(tmp_path, "wexport-greet", GOOD.replace("print", error), "greet")
    assert told(run(tmp_path, "greet", "you", code=2)) == "error: no such name\n  try another"


def test_a_name_of_ours_cannot_be_taken_over(tmp_path: Path) -> None:
    install(tmp_path, "wexport-thief", GOOD, "schema", "greet")
    found = run(tmp_path, "schema")
    assert "content_hash" in found.stdout
    assert "wexport_thief" not in imported(found)
    helped = run(tmp_path, "--help").stdout
    assert helped.count("  schema ") == 1
    assert helped.count("From wexport-thief.") == 1


def test_of_two_plugins_with_one_name_none_is_run(tmp_path: Path) -> None:
    install(tmp_path, "wexport-greet", GOOD, "greet", "wave")
    install(tmp_path, "wexport-other", GOOD, "greet")
    found = run(tmp_path, "greet", "you", code=3)
    assert "both have a command greet" in told(found)
    assert {"wexport-greet", "wexport-other"} <= set(told(found).replace(",", " ").split())
    assert not imported(found) & {"wexport_greet", "wexport_other"}
    assert run(tmp_path, "wave", "you").stdout == "hello you\n"


def test_an_unknown_command_is_told(tmp_path: Path) -> None:
    install(tmp_path, "wexport-greet", GOOD, "greet")
    assert "No such command 'gret'" in told(run(tmp_path, "gret", code=2))


def test_a_command_of_a_package_that_is_not_there_is_told_with_its_package() -> None:
    code = (
        "import importlib.metadata\n"
        "importlib.metadata.entry_points = lambda **_: []\n"
        "from wexport.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "activations", "m.keras", "--inputs", "x.npy", "--out", "t.parquet"]
    found = subprocess.run(command, capture_output=True, text=True)
    assert found.returncode == 2
    assert "activations is a command of wexport-keras" in found.stderr
    assert "pip install wexport-keras" in found.stderr
