"""The guide for authors is true: its files are written, its commands run in order, and print what it shows.

`python -m tests.docs.test_guide` runs them and writes what they print into the guide.
"""

from __future__ import annotations

import re
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import ROOT
from tests.docs.test_readme import printed, steady
from wexport.cli import COMMANDS_GROUP
from wexport.hookspecs import ENTRY_POINT_GROUP

GUIDE = ROOT / "plugins" / "README.md"
_FILE = re.compile(r"<!-- file: (?P<name>[\w.]+) -->\n```python\n(?P<code>(?:.*\n)*?)```")
_SHELL = re.compile(r"```console\n(?P<lines>(?:.*\n)*?)```")


def steps(text: str) -> Iterator[tuple[re.Match[str], bool]]:
    """The files to write and the blocks of commands to run, in order; whether it is a file."""
    found = [(match, True) for match in _FILE.finditer(text)] + [(match, False) for match in _SHELL.finditer(text)]
    yield from sorted(found, key=lambda step: step[0].start())


def ran(lines: str, folder: Path) -> str:
    """A block of commands with what each prints, whatever was shown before."""
    told = []
    for command in (line[2:] for line in lines.splitlines() if line.startswith("$ ")):
        output = printed(["bash", "-o", "pipefail", "-c", command], folder)
        timeless = re.sub(r"[0-9.]+s( \([0-9:]+\))?$", "1.0s", output.rstrip())
        told.append(f"$ {command}\n{steady(timeless)}")
    return "".join(told)


def test_the_files_work_and_the_commands_print_what_is_shown(tmp_path: Path) -> None:
    for match, is_file in steps(GUIDE.read_text()):
        if is_file:
            (tmp_path / match["name"]).write_text(match["code"])
        else:
            assert ran(match["lines"], tmp_path) == steady(match["lines"]), match["lines"].splitlines()[0]


def test_every_block_is_tested() -> None:
    text = GUIDE.read_text()
    assert text.count("```python\n") == len(_FILE.findall(text))
    assert text.count("```console\n") == len(_SHELL.findall(text))
    others = re.findall(r"^```(\w*)\n((?:(?!```).*\n)*)```$", text, re.MULTILINE)
    assert [language for language, _ in others if language not in ("python", "console")] == ["", "toml", "toml"]


def test_the_package_that_is_shown_is_one(tmp_path: Path) -> None:
    commands, shown = map(tomllib.loads, re.findall(r"```toml\n((?:.*\n)*?)```", GUIDE.read_text()))
    assert list(commands["project"]["entry-points"]) == [COMMANDS_GROUP]
    assert shown["project"]["entry-points"][ENTRY_POINT_GROUP] == {"nets": "nets_reader"}


def test_the_first_commands_are_those_that_new_plugin_names(tmp_path: Path) -> None:
    first = re.search(r"```\n(wexport new-plugin .*)\n(.*)\nwexport plugins\n```", GUIDE.read_text())
    assert first is not None
    assert f"try: {first[2]}\n" in printed(["bash", "-c", first[1]], tmp_path)


def refresh() -> None:
    """Write what the commands print into the guide."""
    with tempfile.TemporaryDirectory() as place:
        folder, text = Path(place), GUIDE.read_text()
        for match, is_file in list(steps(text)):
            if is_file:
                (folder / match["name"]).write_text(match["code"])
            else:
                text = text.replace(match[0], f"```console\n{ran(match['lines'], folder)}```", 1)
        GUIDE.write_text(text)


if __name__ == "__main__":
    refresh()
