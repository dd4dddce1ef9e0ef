"""Files that a model says lie beside it: found in its own folder, refused everywhere else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

import wexport
from wexport.files.external import ExternalFiles


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "folder" / "below").mkdir(parents=True)
    for name in ("folder/model", "folder/data.bin", "folder/below/data.bin", "secret.bin"):
        (tmp_path / name).write_bytes(name.encode())
    return tmp_path / "folder" / "model"


def test_files_are_read_one_after_the_other(model: Path) -> None:
    with wexport.Source(model) as source:
        beside = ExternalFiles(source)
        for _ in range(2):
            assert beside.size("data.bin") == len("folder/data.bin")
            assert beside.read_at("data.bin", 7, 4) == b"data"
            assert beside.read_at("below/data.bin", 0, 100) == b"folder/below/data.bin"
            assert beside.read_at("./below/data.bin", 21, 5) == b""


def a_link(model: Path) -> str:
    (model.parent / "link").symlink_to(model.parent.parent / "secret.bin")
    return "link"


def a_linked_folder(model: Path) -> str:
    (model.parent / "up").symlink_to(model.parent.parent)
    return "up/secret.bin"


def a_pipe(model: Path) -> str:
    os.mkfifo(model.parent / "pipe")
    return "pipe"


REFUSED: dict[str, Callable[[Path], str]] = {
    "an absolute path": lambda model: str(model.parent / "data.bin"),
    "upwards": lambda model: "../secret.bin",
    "upwards and back": lambda model: "../folder/data.bin",
    "upwards from below": lambda model: "below/../../secret.bin",
    "with backslashes": lambda model: "..\\secret.bin",
    "a drive": lambda model: "C:data.bin",
    "a share": lambda model: "\\\\server\\share\\data.bin",
    "nothing": lambda model: "",
    "the folder": lambda model: ".",
    "a folder": lambda model: "below",
    "a null": lambda model: "data.bin\0",
    "too long": lambda model: "a/" * 1_000 + "b",
    "a link": a_link,
    "a linked folder": a_linked_folder,
    "a pipe": a_pipe,
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_leads_elsewhere_is_refused(model: Path, name: str) -> None:
    wanted = REFUSED[name](model)
    with wexport.Source(model) as source, pytest.raises(wexport.HostileFileError, match="model"):
        ExternalFiles(source).size(wanted)


def test_what_is_not_there_is_told_by_name(model: Path) -> None:
    with wexport.Source(model) as source, pytest.raises(wexport.ReadError, match=r"'gone.bin'.* is not there"):
        ExternalFiles(source).read_at("gone.bin", 0, 1)


def test_a_file_swapped_for_another_is_told(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the look at it and its opening."""
    opened = wexport.Source.file.func  # type: ignore[attr-defined]  # a cached property's function

    def swapped(source: wexport.Source) -> object:
        file = opened(source)
        if source.path.name == "data.bin":
            source.path.rename(model.parent / "old")
            source.path.symlink_to("/etc/passwd")
        return file

    monkeypatch.setattr(wexport.Source.file, "func", swapped)
    with wexport.Source(model) as source, pytest.raises(wexport.HostileFileError, match="was replaced"):
        ExternalFiles(source).size("data.bin")


def test_links_lead_where_the_model_is(tmp_path: Path) -> None:
    """As a hub's cache is laid out: all files are links into one folder of blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (tmp_path / "secret").write_bytes(b"secret")
    for name in ("model", "data.bin"):
        (blobs / f"of_{name}").write_bytes(name.encode())
        (snapshot / name).symlink_to(f"../../blobs/of_{name}")
    (snapshot / "out").symlink_to(tmp_path / "secret")
    (snapshot / "within").symlink_to("data.bin")
    (snapshot / "folder").symlink_to(tmp_path)
    with wexport.Source(snapshot / "model") as source:
        beside = ExternalFiles(source)
        assert beside.read_at("data.bin", 0, 100) == b"data.bin"
        assert beside.read_at("within", 0, 100) == b"data.bin"
        for name in ("out", "folder/secret"):
            with pytest.raises(wexport.HostileFileError, match="a link that leads out of"):
                beside.size(name)
