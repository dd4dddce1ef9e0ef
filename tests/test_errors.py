"""The tree of exceptions is what its docstring draws, each is what Python calls such an error, and carries a hint."""

from __future__ import annotations

import builtins
import errno
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wexport
from tests.conftest import ROOT
from wexport import errors
from wexport.files.atomic import atomic_write

DRAWN = re.compile(r"^    ([│├└─ ]*)(\w+) +(?:.*; an? (\w+)$)?", re.MULTILINE)


def tree() -> dict[str, type[Exception]]:
    return {name: value for name, value in vars(errors).items() if isinstance(value, type)}


def test_the_docstring_draws_every_exception_under_its_base_and_with_pythons_own_word() -> None:
    drawn = DRAWN.findall((errors.__doc__ or "").partition("\n\n")[2].partition("\n\n")[0])
    assert {name for _, name, _ in drawn} == set(tree())
    parents: list[str] = []
    for branch, name, builtin in drawn:
        depth = len(branch) // 4
        del parents[depth:]
        expected = (tree()[parents[-1]] if parents else Exception, *filter(None, [getattr(builtins, builtin, None)]))
        assert tree()[name].__bases__ == expected
        parents.append(name)


def test_all_are_public_carry_a_hint_and_go_between_processes() -> None:
    for name, kind in tree().items():
        assert getattr(wexport, name) is kind
        error = kind("what", hint="way out")  # type: ignore[call-arg]
        there = pickle.loads(pickle.dumps(error))
        assert (type(there), str(there), there.hint) == (kind, "what", "way out")


def test_what_is_not_there_is_a_file_not_found(tmp_path: Path) -> None:
    for ask in (
        lambda path: wexport.ingest(path, tmp_path / "out.parquet"),
        wexport.inspect,
        lambda path: wexport.diff(path, path),
        lambda path: wexport.connect(path),
        lambda path: wexport.query("models", path),
    ):
        with pytest.raises(FileNotFoundError, match=r"nowhere\.h5"):
            ask(tmp_path / "nowhere.h5")  # type: ignore[no-untyped-call]


def test_a_call_that_makes_no_sense_is_a_value_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="detail 'all' is neither"):
        wexport.ingest(ROOT / "wexport" / "examples", tmp_path / "out.parquet", detail="all")


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, wexport.OutputError), (errno.EIO, wexport.OutputError),
                         (errno.EACCES, wexport.UsageError), (errno.ENOENT, wexport.UsageError)]
)  # fmt: skip
def test_a_full_disk_is_not_the_callers_fault(tmp_path: Path, number: int, kind: type[Exception]) -> None:
    with pytest.raises(kind, match=r"page\.html: cannot be written"), atomic_write(tmp_path / "page.html"):
        raise OSError(number, "what the system says")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no disk that is always full")
@pytest.mark.parametrize("form", ["table", "csv"])
def test_a_command_on_a_full_disk_exits_with_3(form: str) -> None:
    command = [sys.executable, "-m", "wexport", "schema", "--format", form]
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert (found.returncode, "Traceback" in found.stderr) == (3, False), found.stderr
    assert "No space left" in found.stderr
