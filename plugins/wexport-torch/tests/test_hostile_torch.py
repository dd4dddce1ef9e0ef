"""Hostile and damaged files through the public calls: one named status each, and nothing in them is ever run."""

from __future__ import annotations

import contextlib
import pickle
import pickletools
import struct
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import test_torch
import torch_files as files
from hostile_pickles import GOOD, HARMLESS, REFUSED, UNREADABLE, calls
from wexport_torch import READER

import wexport
import wexport.testing

MODELS = test_torch.MODELS


def ingested(path: Path) -> Any:
    return wexport.ingest([path], path.parent / "out.parquet", reader="torch").models[0]


def ingested_all(
    folder: Path, bodies: Mapping[str, bytes], storages: Mapping[str, bytes] | None = None
) -> dict[str, Any]:
    """How files of these pickles end, in both layouts, read in one go: by layout and name."""
    paths = {}
    for number, (name, body) in enumerate(bodies.items()):
        paths[f"zip {name}"] = files.write_zip(folder / f"hostile{number}.pt", body, storages)
        paths[f"legacy {name}"] = files.write_legacy(folder / f"hostile{number}.legacy.pt", body)
    found = wexport.ingest(list(paths.values()), folder / "out.parquet", reader="torch").models
    by_source = {result.source: result for result in found}
    return {name: by_source[path] for name, path in paths.items()}


# -- what would be run -------------------------------------------------------------------------------------------------


RUN_BY_PICKLE = ("os.system", "subprocess", "exec", "eval", "stack_global", "inst", "obj", "state")
"""Those that even a plain `pickle.loads` would run; the others need torch to be loaded."""


@pytest.fixture(scope="module")
def called(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The file that is not to be there, and how it ended: each alone, and beside a tensor."""
    folder = tmp_path_factory.mktemp("called")
    bodies = calls(folder / "hacked")
    beside = {f"beside {name}": files.mapping({"a.w": GOOD, "x": body}) for name, body in bodies.items()}
    return folder / "hacked", ingested_all(folder, {f"alone {name}": body for name, body in bodies.items()} | beside)


@pytest.mark.parametrize("layout", ["zip", "legacy"])
@pytest.mark.parametrize("name", calls(Path("x")))
def test_nothing_is_ever_run(called: tuple[Path, dict[str, Any]], name: str, layout: str) -> None:
    target, found = called
    assert not target.exists()
    assert found[f"{layout} alone {name}"].status in ("failed", "empty")
    beside = found[f"{layout} beside {name}"]
    assert (beside.tensors, beside.status) == (1, "partial" if name == "rebuilt_by_it" else "ok")


@pytest.mark.parametrize("name", RUN_BY_PICKLE)
def test_these_pickles_do_run_when_they_are_loaded(tmp_path: Path, name: str) -> None:
    """What the test above shows would be little if they were harmless."""
    with contextlib.suppress(pickle.UnpicklingError, AttributeError, TypeError):  # after it has run
        pickle.loads(files.program(calls(tmp_path / "hacked")[name]))
    assert (tmp_path / "hacked").exists()


# -- what is refused as a whole ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    bodies = {name: body for name, (body, _) in REFUSED.items()}
    return ingested_all(tmp_path_factory.mktemp("refused"), bodies)


@pytest.mark.parametrize("layout", ["zip", "legacy"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_hostile_pickle_is_refused_with_its_reason(refused: dict[str, Any], name: str, layout: str) -> None:
    result = refused[f"{layout} {name}"]
    assert (result.status, result.failure) == ("failed", "")
    assert REFUSED[name][1] in result.reason
    assert str(result.source) in result.reason


def test_a_pickle_past_its_size_is_refused(tmp_path: Path) -> None:
    body = b"X" + struct.pack("<I", 40 << 20) + b"a" * (40 << 20)
    assert "declares 41,943," in ingested(files.write_zip(tmp_path / "long.pt", body)).reason
    assert "has more than 32 MiB" in ingested(files.write_legacy(tmp_path / "long_legacy.pt", body)).reason


# -- what costs itself only --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unreadable(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    bodies = {name: files.mapping({"a.w": GOOD, "bad": body, "z.w": GOOD}) for name, body in UNREADABLE.items()}
    storages = {"0": files.FLOATS, "q": b"\x01" * 6}
    return ingested_all(tmp_path_factory.mktemp("unreadable"), bodies, storages)


@pytest.mark.parametrize("name", UNREADABLE)
def test_a_tensor_that_cannot_be_costs_itself_only(unreadable: dict[str, Any], name: str) -> None:
    result = unreadable[f"zip {name}"]
    assert (result.status, result.tensors) == ("partial", 2)
    assert [problem.name for problem in result.problems] == ["bad"]
    assert result.problems[0].detail


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    bodies = {name: files.mapping({"a.w": GOOD, "odd": body, "z.w": GOOD}) for name, body in HARMLESS.items()}
    return ingested_all(tmp_path_factory.mktemp("harmless"), bodies)


@pytest.mark.parametrize("layout", ["zip", "legacy"])
@pytest.mark.parametrize("name", HARMLESS)
def test_what_is_only_odd_costs_nothing(harmless: dict[str, Any], name: str, layout: str) -> None:
    assert (harmless[f"{layout} {name}"].status, harmless[f"{layout} {name}"].tensors) == ("ok", 2)


def test_names_that_no_terminal_should_show(tmp_path: Path) -> None:
    body = files.mapping({"a.\x1b[31m<script>\udcff": GOOD, "b.\ud800\n": files.tensor((2,))})
    result = ingested(files.write_zip(tmp_path / "names.pt", body))
    assert (result.status, result.tensors) == ("ok", 2)


# -- tensors that repeat what is stored --------------------------------------------------------------------------------


def test_tensors_that_read_one_storage_again_and_again_are_bounded(tmp_path: Path) -> None:
    wide = files.tensor((5_000, 5_000, 6), (0, 0, 1))
    result = ingested(files.write_zip(tmp_path / "again.pt", files.mapping({f"w{n}.w": wide for n in range(50)})))
    assert (result.status, result.tensors) == ("partial", 1)
    assert "repeat what is stored" in result.problems[0].detail


def test_too_many_tensors_are_refused(tmp_path: Path) -> None:
    body = GOOD + b"q\x000](" + b"h\x00" * 100_001 + b"e"
    assert "more than 100,000 tensors" in ingested(files.write_zip(tmp_path / "many.pt", body)).reason


def test_of_many_things_left_out_a_thousand_are_named(tmp_path: Path) -> None:
    others = b"](" + (files.name("a", "B") + b")R") * 5_000 + b"e"
    result = ingested(files.write_zip(tmp_path / "many.pt", files.mapping({"a.w": GOOD, "others": others})))
    assert {what: len(names) for what, names in result.left_out.items()} == {"object": 1_000, "more of the like": 1}
    assert result.left_out["more of the like"] == ["4,000 more"]


# -- zips that lie -----------------------------------------------------------------------------------------------------


def patched(path: Path, member: str, offset: int, value: bytes) -> Path:
    """Overwrites a field of a member's record in the zip's directory."""
    data = bytearray(path.read_bytes())
    place = data.rindex(member.encode()) - 46 + offset
    data[place : place + len(value)] = value
    path.write_bytes(bytes(data))
    return path


def honest(folder: Path) -> Path:
    return files.write_zip(folder / "lies.pt", files.mapping({"a.w": GOOD}), {"0": files.FLOATS, "1": bytes(24)})


SIZE, PACKED, OFFSET, METHOD, FLAGS = 24, 20, 42, 10, 8
LIES: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a storage said to be longer": (
        lambda folder: patched(honest(folder), "archive/data/0", SIZE, b"\x19"),
        "25 are there",
    ),
    "a storage past the end": (
        lambda folder: patched(
            patched(honest(folder), "archive/data/0", SIZE, b"\0\0\1"), "archive/data/0", PACKED, b"\0\0\1"
        ),
        "are allowed",
    ),
    "a storage that overlaps the rest": (
        lambda folder: patched(honest(folder), "archive/data/0", OFFSET, b"\0\0\0\0"),
        "bytes",
    ),
    "encrypted": (lambda folder: patched(honest(folder), "archive/data/0", FLAGS, b"\1"), "encrypted"),
    "packed in an odd way": (lambda folder: patched(honest(folder), "archive/data/0", METHOD, b"\x63"), "method 99"),
    "no storage": (
        lambda folder: files.write_zip(folder / "lies.pt", files.mapping({"a.w": GOOD}), {}),
        "not in the file",
    ),
    "a shorter storage": (
        lambda folder: files.write_zip(folder / "lies.pt", files.mapping({"a.w": GOOD}), {"0": bytes(8)}),
        "said to have 24 bytes, 8 are there",
    ),
    "two pickles": (
        lambda folder: files.write_zip(folder / "lies.pt", b"N", members={"other/data.pkl": b"N."}),
        "holds 2 pickles",
    ),
    "a name that leads out": (
        lambda folder: files.write_zip(
            folder / "lies.pt", files.mapping({"a.w": files.tensor(held=files.storage("../../../etc/passwd"))})
        ),
        "not in the file",
    ),
}


@pytest.mark.parametrize("name", LIES)
def test_a_zip_that_lies_is_told(tmp_path: Path, name: str) -> None:
    write, reason = LIES[name]
    result = ingested(write(tmp_path))
    if name == "a storage that overlaps the rest":  # it reads another stretch of the same file, which is harmless
        assert result.status in ("ok", "failed")
        return
    assert result.status == "failed"
    assert reason in result.reason


def test_a_member_that_stands_twice_is_refused(tmp_path: Path) -> None:
    path = honest(tmp_path)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("archive/data/0", bytes(24))
    assert "two members named" in ingested(path).reason


def test_storages_that_declare_more_than_the_file_holds_are_refused(tmp_path: Path) -> None:
    """A thousand members over the same bytes would read them a thousand times."""
    path = files.write_zip(tmp_path / "same.pt", b"N", {"a": bytes(100_000), "b": b"", "c": b""})
    place = path.read_bytes()
    for member in ("archive/data/b", "archive/data/c"):
        patched(path, member, SIZE, struct.pack("<I", 100_000))
        patched(path, member, PACKED, struct.pack("<I", 100_000))
    assert len(path.read_bytes()) == len(place)
    assert "its storages declare 300,000 bytes" in ingested(path).reason


def test_a_zip_bomb_is_refused(tmp_path: Path) -> None:
    count = 400_000_000
    body = files.mapping({"a.w": files.tensor((count,), held=files.storage(count=count))})
    path = files.write_zip(tmp_path / "bomb.pt", body, {"0": bytes(1_000_000)}, method=zipfile.ZIP_DEFLATED)
    result = ingested(patched(path, "archive/data/0", SIZE, struct.pack("<I", 4 * count)))
    assert result.status == "failed"
    assert "declare 1,600,000,000 bytes" in result.reason


def test_a_storage_that_unpacks_to_less_than_it_says_is_told(tmp_path: Path) -> None:
    body = files.mapping({"a.w": files.tensor((1_000,), held=files.storage(count=1_000))})
    path = files.write_zip(tmp_path / "less.pt", body, {"0": bytes(400)}, method=zipfile.ZIP_DEFLATED)
    result = ingested(patched(path, "archive/data/0", SIZE, struct.pack("<I", 4_000)))
    assert result.status == "failed"
    assert "a.w" in result.reason


# -- the older layout --------------------------------------------------------------------------------------------------

LEGACY: dict[str, tuple[dict[str, Any], str]] = {
    "another protocol": ({"protocol": 1002}, "its protocol is 1002"),
    "a protocol that is none": ({"protocol": "x"}, "no number"),
    "a list that is none": ({"keys": {"0": 1}}, "list of storages"),
    "a list of lists": ({"keys": ([],)}, "list of storages"),
    "a storage twice": ({"keys": ("0", "0"), "stored": ((6, files.FLOATS),) * 2}, "listed twice"),
    "a storage of no tensor": ({"keys": ("0", "7"), "stored": ((6, files.FLOATS),) * 2}, "belongs to no tensor"),
    "another count": ({"stored": ((7, files.FLOATS),)}, "said to hold 6 values, and 7"),
    "a negative count": ({"stored": ((-6, files.FLOATS),)}, "and -6"),
    "no list": ({"keys": ()}, "not in the file"),
    "values cut short": ({"stored": ((6, files.FLOATS[:-4]),)}, "ends 4 bytes before"),
}


@pytest.mark.parametrize("name", LEGACY)
def test_an_older_file_that_lies_is_told(tmp_path: Path, name: str) -> None:
    options, reason = LEGACY[name]
    result = ingested(files.write_legacy(tmp_path / "lies.pt", files.mapping({"a.w": GOOD}), **options))
    assert result.status == "failed"
    assert reason in result.reason


def test_what_stands_before_the_cut_is_read(tmp_path: Path) -> None:
    body = files.mapping({"a.w": GOOD, "b.w": files.tensor(held=files.storage("1"))})
    path = files.write_legacy(tmp_path / "cut.pt", body, ((6, files.FLOATS), (6, files.FLOATS)), ("0", "1"))
    path.write_bytes(path.read_bytes()[:-10])
    result = ingested(path)
    assert (result.status, result.tensors) == ("partial", 1)
    assert result.problems[0].name == "b.w"


@pytest.mark.parametrize("name", ["one.pt", "tied.legacy.pt"])
def test_cut_off_anywhere_it_is_told_by_name(tmp_path: Path, name: str) -> None:
    content = (MODELS / name).read_bytes()
    path = tmp_path / "cut.pt"
    for length in (*range(0, len(content), 5), *range(len(content) - 100, len(content))):
        path.write_bytes(content[:length])
        try:
            with wexport.Source(path) as source:
                for tensor in READER.open(source).tensors:
                    for _ in tensor.chunks(1 << 20):
                        pass
        except wexport.WexportError as error:
            assert "cut.pt" in str(error)  # noqa: PT017  # it may be raised or not


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_the_tar_of_old_is_refused_with_its_reason(tmp_path: Path, form: int) -> None:
    path = tmp_path / "old.pt"
    with tarfile.open(path, "w", format=form) as archive:
        for member in ("sys_info", "pickle", "tensors", "storages"):
            (tmp_path / member).write_bytes(b"")
            archive.add(tmp_path / member, member)
    result = wexport.ingest([path], tmp_path / "out.parquet").models[0]
    assert result.status == "failed"
    assert "tar archive" in result.reason


# -- damaged at random -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["cnn.pt", "checkpoint.legacy.pt"])
def test_damaged_files_end_in_one_named_status_each(name: str) -> None:
    found = wexport.testing.ingest_mutants(MODELS / name, reader="torch", optimizer=True)
    assert sum(found.statuses.values()) == len(found.changes) > 0
    assert not found.statuses["crashed"] + found.statuses["timed out"] + found.statuses["memory"]


def test_every_opcode_is_known() -> None:
    """Whatever Python's pickles may say is read, or refused by name."""
    from wexport_torch import machine

    known = machine._PUSHED | set(machine._REFUSED) | set(machine._STEPS) | {"STOP"}
    assert {opcode.name for opcode in pickletools.opcodes} == known
