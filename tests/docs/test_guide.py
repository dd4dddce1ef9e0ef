"""The guide for authors shows packages that are packages; tests/docs/test_pages.py runs the rest of it."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from tests.conftest import ROOT
from tests.docs.pages import printed
from wexport.cli import COMMANDS_GROUP
from wexport.hookspecs import ENTRY_POINT_GROUP

GUIDE = ROOT / "plugins" / "README.md"


def test_the_package_that_is_shown_is_one() -> None:
    commands, shown = map(tomllib.loads, re.findall(r"```toml\n((?:.*\n)*?)```", GUIDE.read_text()))
    assert list(commands["project"]["entry-points"]) == [COMMANDS_GROUP]
    assert shown["project"]["entry-points"][ENTRY_POINT_GROUP] == {"nets": "nets_reader"}


def test_the_first_commands_are_those_that_new_plugin_names(tmp_path: Path) -> None:
    first = re.search(r"```\n(wexport new-plugin .*)\n(.*)\nwexport plugins\n```", GUIDE.read_text())
    assert first is not None
    assert f"try: {first[2]}\n" in printed(["bash", "-c", first[1]], tmp_path)
