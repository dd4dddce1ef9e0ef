"""The README is true: its commands and code run as they stand and print what it shows.

`python -m tests.docs.test_readme` runs them and writes what they print into the README.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

import wexport
from tests.conftest import ROOT

README = ROOT / "README.md"
_SHELL = re.compile(r"```console\n\$ (?P<command>.*)\n(?P<output>(?:.*\n)*?)```")
_PYTHON = re.compile(r"```python\n(?P<code>(?:.*\n)*?)```(?:\n\n```text\n(?P<output>(?:.*\n)*?)```)?")


def printed(command: list[str], folder: Path) -> str:
    """What a command prints, without what differs from run to run."""
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": here + os.pathsep + os.environ["PATH"], "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)  # as wide as it needs to be
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return steady(found.stdout)


def steady(text: str) -> str:
    """Text without trailing blanks and blank ends, and with the time that it took made one."""
    text = re.sub(r"in \d+\.\d s", "in 0.5 s", text)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines()).strip("\n") + "\n"


def blocks(text: str) -> list[tuple[list[str], str, tuple[int, int]]]:
    """(command, output shown, place of the output in the text) of every block, in order."""
    found = []
    for match in _SHELL.finditer(text):
        found.append((["bash", "-c", match["command"]], match["output"], match.span("output")))
    for match in _PYTHON.finditer(text):
        if match["output"] is not None or "print(" in match["code"]:
            found.append(([sys.executable, "-c", match["code"]], match["output"] or "", match.span("output")))
    return sorted(found, key=lambda block: block[2])


def test_commands_and_code_print_what_is_shown(tmp_path: Path) -> None:
    found = blocks(README.read_text())
    assert len(found) >= 6
    for command, shown, _ in found:
        assert printed(command, tmp_path) == steady(shown), command[-1]


def test_the_example_reader_works_as_written(tmp_path: Path) -> None:
    code = README.read_text().partition("<!-- toy -->\n```python\n")[2].partition("```")[0]
    assert len(code.splitlines()) <= 25
    (tmp_path / "toy_reader.py").write_text(code)
    values = np.arange(7, dtype="<f4")
    (tmp_path / "model.toy").write_bytes(b"TOY1" + (7).to_bytes(4, "little") + values.tobytes())
    command = README.read_text().partition("wexport ingest model.toy")[2].partition("\n")[0]
    printed(["bash", "-c", f"wexport ingest model.toy{command}"], tmp_path)
    (row,) = wexport.inspect(tmp_path / "model.toy", plugins=(str(tmp_path / "toy_reader.py"),)).rows
    assert (row["slot"], row["value_count"], row["mean"]) == ("dense/kernel", 7, 3.0)


@pytest.mark.parametrize("marker", ["setup-main", "setup-test"])
def test_the_set_up_commands_stand_where_they_are_looked_for(marker: str) -> None:
    assert re.search(rf"<!-- {marker} -->\n```\npython3 -m venv .venv && [^\n]+\n```", README.read_text())


def refresh() -> None:
    """Write what the commands print into the README."""
    with tempfile.TemporaryDirectory() as folder:
        text = README.read_text()
        for command, _, _ in blocks(text):
            output = printed(command, Path(folder))
            position = next(place for each, _, place in blocks(text) if each == command)
            text = text[: position[0]] + output + text[position[1] :]
        README.write_text(text)


if __name__ == "__main__":
    refresh()
