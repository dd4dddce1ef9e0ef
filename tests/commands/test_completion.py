"""What a shell is offered when Tab is pressed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import wexport
from tests import warm_commands
from tests.conftest import EXAMPLES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("completion")
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"], folder / "weights.parquet")
    (folder / "other.parquet").write_text("no table")
    return folder


def offered(line: str, folder: Path) -> list[str]:
    """What bash would offer at the end of a line."""
    words = line.split(" ")
    told = {"_WEXPORT_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    found = warm_commands.run(environment={**os.environ, **told}, cwd=folder)
    assert found.stderr == ""
    return [each.partition(",")[2] for each in found.stdout.splitlines() if each.startswith("plain,")]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("wexport query mod", ["models"]),
        ("wexport query rank w", []),
        ("wexport plot gates --model ", ["gru", "lstm"]),
        ("wexport plot gates --model !l", ["!lstm"]),
        ("wexport plot histogram weights.parquet --slot lstm/r", ["lstm/recurrent_kernel"]),
        ("wexport plot scatter weights.parquet --a ", ["gru", "lstm"]),
        ("wexport plot histogram other.parquet --slot l", []),
        ("wexport plot trajectory --run ", []),
    ],
)
def test_names_are_offered(line: str, expected: list[str], folder: Path) -> None:
    assert sorted(offered(line, folder)) == expected


def test_without_a_table_nothing_is_offered(tmp_path: Path) -> None:
    assert offered("wexport plot gates --model ", tmp_path) == []
