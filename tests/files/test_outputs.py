"""An output is never an input, and replaces only what wexport wrote of that kind; and how a file is replaced."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import wexport
from tests.conftest import EXAMPLES
from wexport.cli import cli
from wexport.files.atomic import SUFFIX, Partial, atomic_write, sweep


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models and a table of them."""
    folder = tmp_path_factory.mktemp("made")
    (folder / "models").mkdir()
    for name in ("a", "b"):
        with h5py.File(folder / "models" / f"{name}.h5", "w") as file:
            file["dense/kernel"] = np.ones((2, 3), "f4")
    wexport.ingest(folder / "models", folder / "weights.parquet")
    return folder


@pytest.fixture
def place(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what people have: models, a table of them, and files of their own."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    shutil.copyfile(made / "weights.parquet", tmp_path / "other.parquet")
    (tmp_path / "notes.txt").write_text("mine\n")
    (tmp_path / "page.html").write_text("<!doctype html>\n<title>mine</title>\n")
    (tmp_path / "metrics.csv").write_text("model,val_loss\na,1\nb,2\n")
    (tmp_path / "rule.sql").write_text("SELECT 'info' AS severity, 'x' AS finding, model FROM weights\n")
    (tmp_path / "empty").write_bytes(b"")
    os.link(tmp_path / "models" / "a.h5", tmp_path / "hard.h5")
    (tmp_path / "soft.h5").symlink_to("models/a.h5")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(command: str) -> str:
    """Run a command; returns what it says if it refuses, and nothing if it does its work."""
    try:
        cli.main(command.split(), standalone_mode=False)
    except (wexport.UsageError, wexport.TableError) as error:
        return f"{error}\n{error.hint}"
    except SystemExit as end:
        return f"exit {end.code}" if end.code else ""
    return ""


SLIPS = [
    "ingest --out models/a.h5 models/b.h5",
    "ingest models/a.h5 --out models/a.h5",
    "ingest models/a.h5 --out soft.h5",
    "ingest hard.h5 --out models/a.h5",
    "ingest soft.h5 --out models/a.h5",
    "ingest models --out models/b.h5",
    "ingest models --out notes.txt",
    "ingest models --out empty",
    "ingest models --append --out notes.txt",
    "compare models --out models/b.h5",
    "compare models --out notes.txt",
    "compare models --out other.parquet --report models/a.h5",
    "compare weights.parquet --report weights.parquet",
    "compare weights.parquet --metrics metrics.csv --report metrics.csv",
    "report -o weights.parquet",
    "report -o page.html",
    "report -o notes.txt",
    "report -o models/a.h5",
    "report --metrics metrics.csv -o metrics.csv",
    "plot histogram --slot dense/kernel -o weights.parquet",
    "plot histogram weights.parquet --slot dense/kernel -o notes.png",
    "query models weights.parquet --out weights.parquet",
    "query models weights.parquet --format parquet --out other.parquet",
    "query models weights.parquet --format csv --out metrics.csv",
    "query models weights.parquet --out models/a.h5",
    "check weights.parquet --out weights.parquet",
    "check weights.parquet --format junit --out notes.txt",
    "check weights.parquet --rules rule.sql --out rule.sql",
    "new-plugin own models",
    "demo demo",
]


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_of_the_hand_costs_no_file(place: Path, slip: str) -> None:
    (place / "notes.png").write_bytes(b"\x89PNG\r\n\x1a\nmine")
    (place / "demo").mkdir()
    (place / "demo" / "lstm.h5").write_text("mine")
    before = contents(place)
    assert re.search("--out|--report|folder|use .png", run(slip))
    assert contents(place) == before


INPUTS = [
    "ingest models/a.h5 --out models/a.h5",
    "ingest models/a.h5 --out hard.h5",
    "ingest models --out models/b.h5",
    "ingest models/a.h5 --plugin plugin.py --out plugin.py",
    "compare models --out models/b.h5",
    "compare models --metrics metrics.csv --out metrics.csv",
    "compare models --out other.parquet --report other.parquet",
    "report -o weights.parquet",
    "report --metrics metrics.csv -o metrics.csv",
    "plot rank --metrics metrics.svg -o metrics.svg",
    "query models weights.parquet --with m=metrics.csv --out metrics.csv",
    "check weights.parquet --rules rule.sql --out rule.sql",
]


@pytest.mark.parametrize("slip", INPUTS)
def test_no_option_makes_an_input_an_output(place: Path, slip: str) -> None:
    (place / "plugin.py").write_text("")
    (place / "metrics.svg").write_text("model,val_loss\na,1\n")
    before = contents(place)
    assert "an output is never an input" in run(f"{slip} --overwrite")
    assert contents(place) == before


AGAIN = {
    "table.parquet": "ingest models --out table.parquet",
    "page.htm": "report weights.parquet -o page.htm",
    "picture.png": "plot histogram --slot dense/kernel -o picture.png",
    "picture.svg": "plot histogram --slot dense/kernel -o picture.svg",
    "picture.pdf": "plot histogram --slot dense/kernel -o picture.pdf",
    "answer.parquet": "query models weights.parquet --format parquet --out answer.parquet",
    "findings.xml": "check weights.parquet --fail-on never --format junit --out findings.xml",
}


@pytest.mark.parametrize("name", AGAIN)
def test_what_wexport_wrote_is_replaced_and_other_files_with_the_option(place: Path, name: str) -> None:
    for _ in range(2):
        assert not run(AGAIN[name])
    ours = (place / name).read_bytes()
    (place / name).write_bytes(b"mine")
    refused = run(AGAIN[name])
    assert f"{name}: exists already" in refused
    assert "--overwrite" in refused
    assert (place / name).read_bytes() == b"mine"
    assert not run(f"{AGAIN[name]} --overwrite")
    assert len((place / name).read_bytes()) == len(ours)
    assert not list(place.glob(f"*{SUFFIX}"))


def test_texts_have_no_mark_so_none_is_replaced_unasked(place: Path) -> None:
    command = "query models weights.parquet --format csv --out answer.csv"
    assert not run(command)
    assert "exists already" in run(command)
    assert not run(f"{command} --overwrite")


def test_a_part_of_a_folder_is_replaced_only_if_it_is_a_table(place: Path) -> None:
    parts = place / "parts"
    parts.mkdir()
    (parts / "a.parquet").write_bytes(b"mine")
    with pytest.raises(wexport.TableError, match=r"a\.parquet: exists already"):
        wexport.ingest("models", parts)
    assert contents(parts) == {str(parts / "a.parquet"): b"mine"}
    wexport.ingest("models", parts, overwrite=True)
    assert wexport.query("SELECT count(DISTINCT model) FROM weights", parts)[0].to_pylist() == [2]


def test_the_table_in_the_folder_that_is_read_is_no_input(place: Path) -> None:
    for _ in range(2):
        assert wexport.ingest("models", "models/weights.parquet").rows == 2


def test_a_shard_is_an_input(place: Path) -> None:
    (place / "m.safetensors.index.json").write_text('{"weight_map": {"w": "m-1.safetensors"}}')
    (place / "m-1.safetensors").write_bytes(b"")
    with pytest.raises(wexport.TableError, match="an output is never an input"):
        wexport.ingest("m.safetensors.index.json", "m-1.safetensors", overwrite=True)


@pytest.mark.parametrize("out", ["", "nowhere/out", "x" * 300, "a\0b"])
@pytest.mark.parametrize("write", ["ingest", "compare", "report", "save"])
def test_a_name_that_can_be_none_is_told_before_any_work(place: Path, out: str, write: str) -> None:
    from matplotlib.figure import Figure

    calls: dict[str, Callable[[str], Any]] = {
        "ingest": lambda out: wexport.ingest("models", out),
        "compare": lambda out: wexport.compare("models", out=out),
        "report": lambda out: wexport.report("weights.parquet", out),
        "save": lambda out: wexport.plot.save(Figure(), f"{out}.png" if out else out),
    }
    before = contents(place)
    with pytest.raises((wexport.UsageError, wexport.TableError), match=r"cannot be written|empty"):
        calls[write](out)
    assert contents(place) == before


def test_examples_that_are_there_as_they_were_written_are_left(tmp_path: Path) -> None:
    from wexport.commands import demo

    names = demo.write(tmp_path / "demo")
    assert demo.write(tmp_path / "demo") == names
    (tmp_path / "demo" / "lstm.h5").write_bytes(b"mine")
    demo.write(tmp_path / "demo", overwrite=True)
    assert (tmp_path / "demo" / "lstm.h5").read_bytes() == (EXAMPLES / "lstm.h5").read_bytes()


# -- how a file is replaced --------------------------------------------------------------------------------------------


def test_mode_and_links_stay(tmp_path: Path) -> None:
    table = tmp_path / "real" / "weights.parquet"
    table.parent.mkdir()
    link = tmp_path / "link.parquet"
    link.symlink_to("real/weights.parquet")
    wexport.ingest(EXAMPLES / "lstm.h5", link)  # a link to nothing yet: it is made where the link leads
    assert link.is_symlink()
    assert table.is_file()
    table.chmod(0o600)
    inode = table.stat().st_ino
    wexport.ingest(EXAMPLES / "gru.h5", link)
    assert link.is_symlink()
    assert table.stat().st_ino != inode
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    assert wexport.query("SELECT DISTINCT model FROM weights", table)["model"].to_pylist() == ["gru"]
    with atomic_write(table) as file:
        file.write(b"x")
    assert stat.S_IMODE(table.stat().st_mode) == 0o600


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_the_owner_stays(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"")
    os.chown(path, 12345, 23456)
    path.chmod(0o640)
    with atomic_write(path) as file:
        file.write(b"x")
    found = path.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o640)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names here")
@pytest.mark.parametrize("append", [False, True])
def test_a_table_is_not_written_into_a_pipe(tmp_path: Path, append: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(wexport.TableError, match="pipe: is not a file"):
        wexport.ingest(EXAMPLES / "lstm.h5", pipe, append=append, overwrite=True)
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert [path.name for path in tmp_path.iterdir()] == ["pipe"]


@pytest.mark.skipif(not Path("/dev/null").exists(), reason="no devices here")
def test_a_device_is_written_to_and_stays(place: Path) -> None:
    (place / "null").symlink_to("/dev/null")
    assert not run("query models weights.parquet --format csv --out null")
    assert (place / "null").is_symlink()
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


# -- what killed writers leave -----------------------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from wexport.cli import cli
from wexport.files.atomic import Partial
partial = Partial(Path(sys.argv[1]))
print(partial.path, flush=True)
sys.stdin.read()
"""


def test_only_what_is_left_of_the_dead_is_swept(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 120)  # the name of its file in the making is shorter
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        paths = [Path(writer.stdout.readline().rstrip("\n")) for writer in writers if writer.stdout]
        writers[0].kill()
        writers[0].wait()
        mine = Partial(target)
        others = [tmp_path / ".x.partial", tmp_path / "x.abcdefgh.wexport.partial", tmp_path / ".y.abcdefgh.partial"]
        for other in others:
            other.write_bytes(b"")
        assert len({*paths, mine.path}) == 3
        sweep(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([paths[1], mine.path, *others])
        mine.put_in_place()
        assert target.is_file()
    finally:
        for writer in writers:
            writer.kill()
            writer.communicate()


@pytest.mark.parametrize("out", ["out/weights.parquet", "out"])
def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path, out: str) -> None:
    (tmp_path / "out").mkdir()
    left = tmp_path / "out" / f".weights.parquet.abcd_123{SUFFIX}"
    left.write_bytes(b"x")
    wexport.ingest(EXAMPLES / "lstm.h5", tmp_path / out)
    assert not left.exists()
