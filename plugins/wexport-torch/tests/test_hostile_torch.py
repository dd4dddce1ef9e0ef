"""Hostile and damaged files through the public calls: one named status each, and nothing in them is ever run."""

from __future__ import annotations

import contextlib
import os
import pickle
import pickletools
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import test_torch
import torch_files as files
from wexport_torch import READER

import wexport
import wexport.testing

GOOD = files.tensor()
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


class _Runs:
    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self._made = call, args

    def __reduce__(self) -> Any:
        return self._made


def calls(target: Path) -> dict[str, bytes]:
    """Pickles that write `target` when they are loaded, each in another way, without protocol and STOP."""
    command = f"touch {target}"
    code = f"open({str(target)!r}, 'w').close()"

    def body(value: Any) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    return {
        "os.system": body(_Runs(os.system, command)),
        "subprocess": body(_Runs(subprocess.check_call, ["touch", str(target)])),
        "exec": body(_Runs(exec, code)),
        "eval": body(_Runs(eval, code)),
        "stack_global": b"\x8c\x02os\x8c\x06system\x93" + files.group(files.text(command)) + b"R",
        "inst": b"(" + files.text(command) + b"ios\nsystem\n",
        "obj": b"(" + files.name("os", "system") + files.text(command) + b"o",
        "newobj": files.name("os", "system") + files.group(files.text(command)) + b"\x81",
        "newobj_ex": files.name("os", "system") + files.group(files.text(command)) + b"}\x92",
        "rebuilt_by_it": files.call(
            "torch._tensor",
            "_rebuild_from_type_v2",
            files.name("os", "system"),
            files.name("torch", "Tensor"),
            files.group(files.text(command)),
            b"}",
        ),
        "getattr": files.call("builtins", "getattr", files.name("os", "sys"), files.text("modules")),
        "load_from_bytes": files.call(
            "torch.storage", "_load_from_bytes", body(pickle.dumps(_Runs(os.system, command)))
        ),
        "state": files.call("collections", "OrderedDict")
        + b"}"
        + files.text("__setstate__")
        + body(_Runs(os.system, command))
        + b"sb",
    }


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


REFUSED: dict[str, tuple[bytes, str]] = {
    "steps": (b"N0" * 1_100_000 + b"N", "more than 2,000,000 steps"),
    "objects": (b"}" * 500_000, "more than 400,000 objects"),
    "lists": (b"]" * 500_000, "more than 400,000 objects"),
    "deep tuples": (b")" + b"\x85" * 1_000_000, "nested deeper than 100"),
    "deep lists": (b"]" * 300_000 + b"a" * 299_999, "nested deeper than 100"),
    "a billion lists": (b")" + b"2\x86" * 90, "or repeats itself"),
    "a long integer": (b"\x8b" + struct.pack("<i", 2_000_000) + b"\x01" * 2_000_000, "an integer of 15,99"),
    "an integer of a negative length": (b"\x8b" + struct.pack("<i", -5), "cannot be read"),
    "text longer than the file": (b"X" + struct.pack("<I", 0xFFFFFFF0) + b"a", "cannot be read"),
    "bytes longer than memory": (b"\x8e" + struct.pack("<Q", 1 << 62), "cannot be read"),
    "an empty stack": (b"0", "empty stack"),
    "no mark": (b"Nt", "mark that was not set"),
    "an unknown memo": (b"h\x07", "recalls number 7"),
    "a memo of nothing": (b"q\x00", "empty stack"),
    "a memo of a mark": (b"(q\x00", "empty stack"),
    "a negative memo": (b"Np-5\ng-5\n", "cannot be read"),
    "an unknown opcode": (b"\xff", "cannot be read"),
    "append to a number": (files.number(1) + b"Na", "appends to what is no list"),
    "item of a number": (files.number(1) + b"NNs", "sets items of what is no dict"),
    "half an item": (b"}(Nu", "sets items of what is no dict"),
    "attributes of a number": (files.number(1) + b"Nb", "sets the attributes"),
    "set of a number": (files.number(1) + b"(N\x90", "adds to what is no set"),
    "no class": (b"(o", "object of no class"),
    "a class that is no text": (b"NN\x93", "is no text"),
    "protocol 200": (b"\x80\xc8N", "protocol 200"),
    "extension": (b"\x82\x01", "extension registry"),
    "buffer": (b"\x97", "buffers outside"),
    "read-only buffer": (b"N\x98", "buffers outside"),
    "persistent text": (b"P0\n", "by text"),
    "a name that is not ASCII": (b"c\xff\n\xfe\n", "cannot be read"),
    "a name without an end": (b"cos", "cannot be read"),
}


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


def v2(*args: bytes) -> bytes:
    return files.call("torch._utils", "_rebuild_tensor_v2", *args)


def quantised(quantizer: bytes, kind: str = "QInt8Storage") -> bytes:
    held = files.storage("q", 6, kind)
    shape, strides = files.numbers((2, 3)), files.numbers((3, 1))
    return files.call(
        "torch._utils", "_rebuild_qtensor", held, files.number(0), shape, strides, quantizer, b"\x89", b"N"
    )


def nested_scales(depth: int) -> bytes:
    """A quantised tensor whose scale is a quantised tensor, and so on."""
    body = GOOD
    for _ in range(depth):
        body = quantised(files.group(files.name("torch", "per_channel_affine"), body, GOOD, files.number(0)))
    return body


UNREADABLE: dict[str, bytes] = {
    "longer than its storage": files.tensor((3, 3)),
    "beginning behind its storage": files.tensor((1,), offset=6),
    "reaching out by strides": files.tensor((2, 2), (5, 2)),
    "a shape bomb by strides of 0": files.tensor((10**6, 10**6), (0, 0)),
    "a shape past all integers": files.tensor((2**61, 2**61), (0, 0)),
    "a negative length": files.tensor((-2, -3)),
    "a negative stride": files.tensor((2, 3), (-3, 1), offset=5),
    "a negative beginning": files.tensor(offset=-1),
    "a shape of text": v2(
        files.storage(), files.number(0), files.group(files.text("2")), files.numbers((1,)), b"\x89", b"N"
    ),
    "a shape of truths": v2(files.storage(), files.number(0), files.group(b"\x88"), files.numbers((1,)), b"\x89", b"N"),
    "axes without strides": files.tensor((2, 3), (1,)),
    "65 axes": files.tensor((1,) * 65, (1,) * 65),
    "too few arguments": v2(files.storage(), files.number(0)),
    "a call without arguments": files.name("torch._utils", "_rebuild_tensor_v2") + b"NR",
    "no storage": v2(b"N", files.number(0), files.numbers((1,)), files.numbers((1,)), b"\x89", b"N"),
    "a storage by a number": files.tensor(held=files.number(7) + b"Q"),
    "a storage of two words": files.tensor(held=files.group(files.text("storage"), files.text("0")) + b"Q"),
    "a storage of a class of os": files.tensor(held=files.storage(kind="system")),
    "a storage of a negative length": files.tensor(held=files.storage(count=-6)),
    "a storage of a length of 2**70": files.tensor(held=files.storage(count=2**70)),
    "a part past its storage": files.tensor(
        held=files.storage("0", 6, "FloatStorage", files.group(files.text("1"), files.number(4), files.number(3)))
    ),
    "quantised in an unknown way": quantised(b"N"),
    "quantised by a text": quantised(
        files.group(files.name("torch", "per_tensor_affine"), files.text("x"), files.number(0))
    ),
    "scales of scales": nested_scales(50),
    "parameters of parameters": b"".join([files.name("torch._utils", "_rebuild_parameter") + b"("] * 20)
    + GOOD
    + b"\x88NtR" * 20,
    "quantised without a scale": files.tensor(held=files.storage("q", 6, "QInt8Storage")),
    "a scale of floats": quantised(
        files.group(files.name("torch", "per_tensor_affine"), pickle.dumps(0.5, 2)[2:-1], files.number(0)),
        "FloatStorage",
    ),
}


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


HARMLESS: dict[str, bytes] = {
    "a list of itself": b"]q\x00h\x00a",
    "calls of calls": files.name("a", "b") + b"q\x00" + b"h\x00" * 99_999 + b")" + b"R" * 100_000,
    "a dict of itself": b"}q\x00" + files.text("x") + b"h\x00s",
    "a module of itself": files.name("m", "M")
    + b")\x81q\x00}("
    + b"".join(
        files.text(part) + b"}" + (files.text("self") + b"h\x00s" if part == "_modules" else b"")
        for part in ("_parameters", "_buffers", "_modules")
    )
    + b"ub",
    "keys that would take for ever to hash": b"}" + b")" + b"2\x86" * 90 + b"Ns",
    "a class with a name of lines": b"\x8c\x03a\nb\x8c\x05\xf0\x9f\x98\x80\n\x93)R",
    "a class with the name of a tensor's maker in parts": files.name("torch", "_utils _rebuild_tensor_v2") + b")R",
    "a storage alone": files.storage(),
    "a persistent number": files.number(7) + b"Q",
    "deep attributes": (files.name("a", "B") + b")\x81") * 1
    + b"}"
    + files.text("x")
    + b")"
    + b"\x85" * 100_000
    + b"sb",
    "a set": b"\x8f(\x4b\x01\x4b\x02\x90",
    "a key that is no word": b"}" + b")" + b")s",
    "a key that is a long number": b"}" + files.number(2**100) + b")s",
    "lone surrogates": b"}" + files.text("\udcff\ud800") + b")s",
}


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
def test_2000_damaged_files_end_in_one_named_status_each(name: str) -> None:
    found = wexport.testing.ingest_mutants(MODELS / name, count=2_000, reader="torch", optimizer=True)
    assert sum(found.statuses.values()) == 2_000
    assert not found.statuses["crashed"] + found.statuses["timed out"] + found.statuses["memory"]


def test_every_opcode_is_known() -> None:
    """Whatever Python's pickles may say is read, or refused by name."""
    from wexport_torch import machine

    known = machine._PUSHED | set(machine._REFUSED) | set(machine._STEPS) | {"STOP"}
    assert {opcode.name for opcode in pickletools.opcodes} == known
