"""The contract that readers inherit finds the faults it is there for, and damaged files are the same everywhere."""

from __future__ import annotations

import importlib.util
import inspect
import io
import os
import sys
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import wexport
from tests.conftest import DATA, EXAMPLES
from wexport.testing import ReaderTests, ingest_mutants, mutants

# A format of a count, names and float32 matrices of equal size; `{...}` marks where faults are put.
TOY = """
import os, struct
import numpy as np
import wexport
from wexport import ReadError

HEAD = struct.Struct("<4sHHH")


def sniff(source):
    return 0.9 if source.head.startswith(b"TOY2") else 0.0


def values_at(source, place, rows, cols):
    def chunks(limit):
        step = max(1, limit // 4)
        for start in range(0, rows * cols, step):
            count = min(step, rows * cols - start)
            data = source.read_at(place + 4 * start, 4 * count)
            if len(data) < 4 * count:
                raise ReadError(f"{source.path}: ends before its values do")
            yield np.frombuffer(data, "<f4")
    return chunks


def open_toy(source):
    head = source.read_at(0, HEAD.size)
    if len(head) < HEAD.size or head[:4] != b"TOY2":
        raise ReadError(f"{source.path}: is not a toy")
    _, count, rows, cols = HEAD.unpack(head)
    if HEAD.size + 4 * count * rows * cols > source.size:
        raise ReadError(f"{source.path}: declares {count} x {rows} x {cols} values and holds fewer")
    tensors = [
        wexport.Tensor(
            name=f"layer_{number}/kernel",
            shape=(rows, cols),
            dtype="float32",
            chunks=values_at(source, HEAD.size + 4 * number * rows * cols, rows, cols),
        )
        for number in range(count)
    ]
    return wexport.Model(format="toy", tensors=tensors)


left = []
READER = wexport.Reader(name="toy", reads="toys", sniff=sniff, open=open_toy, suffixes=(".toy",))


@wexport.hookimpl
def wexport_readers():
    return [READER]
"""
VALUES = np.arange(60, dtype="<f4").reshape(3, 4, 5)


def toy(folder: Path, text: str = TOY) -> type[ReaderTests]:
    """The contract, for a reader of this text and a file of three tensors."""
    plugin = folder / "toy_plugin.py"
    plugin.write_text(text)
    spec = importlib.util.spec_from_file_location("toy_plugin", plugin)
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules["toy_plugin"] = module
    spec.loader.exec_module(module)
    file = folder / "model.toy"
    file.write_bytes(b"TOY2" + np.array([3, 4, 5], "<u2").tobytes() + VALUES.tobytes())
    members: dict[str, Any] = {
        "reader": module.READER,
        "path": file,
        "plugins": (plugin,),
        "values": {f"layer_{number}/kernel": VALUES[number] for number in range(3)},
    }
    return type("Toy", (ReaderTests,), members)


def run(contract: type[ReaderTests], name: str, folder: Path) -> None:
    test = getattr(contract(), name)
    test(**({"tmp_path": folder} if "tmp_path" in inspect.signature(test).parameters else {}))


TESTS = [name for name in vars(ReaderTests) if name.startswith("test_")]


@pytest.mark.parametrize("name", TESTS)
def test_a_sound_reader_passes(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    run(toy(tmp_path), name, folder)


FAULTS = {
    "a name decides": (
        'source.head.startswith(b"TOY2")',
        'source.path.suffix == ".toy"',
        "test_recognises_it_under_another_name",
        "content decides",
    ),
    "all is claimed": (
        'source.head.startswith(b"TOY2")',
        "True",
        "test_does_not_claim_what_is_foreign",
        "file of empty",
    ),
    "zips are claimed": (
        'source.head.startswith(b"TOY2")',
        'source.head[:2] in (b"TO", b"PK")',
        "test_does_not_claim_what_is_foreign",
        "file of zip",
    ),
    "sniff reads all": (
        'source.head.startswith(b"TOY2")',
        'source.path.read_bytes().startswith(b"TOY2")',
        "test_sniffing_does_not_read_the_whole_file",
        "sniff took",
    ),
    "another reader": (
        "    return [READER]",
        "    import dataclasses\n    return [READER, dataclasses.replace(READER, name='other')]",
        "test_is_not_in_doubt_with_another_reader",
        "equally sure",
    ),
    "no tensors": ("range(count)", "range(0)", "test_yields_tensors", "no tensor"),
    "one name twice": ("layer_{number}/kernel", "kernel", "test_yields_tensors", "two tensors are named 'kernel'"),
    "NumPy's ints": ("(rows, cols),", "(np.int64(rows), cols),", "test_yields_tensors", "Python ints"),
    "a word of its own": ('dtype="float32",', 'dtype="float32", role="weights",', "test_yields_tensors", "'weights'"),
    "no such type": ('dtype="float32"', 'dtype="<f4"', "test_yields_tensors", "'<f4' where 'float32' is due"),
    "an impossible layout": (
        'dtype="float32",',
        'dtype="float32", layout=wexport.Layout(permutation=(0, 0)),',
        "test_yields_tensors",
        "permutation",
    ),
    "optimizer unasked": (
        'dtype="float32",',
        'dtype="float32", kind="optimizer" if number else "weight",',
        "test_optimizer_state_comes_only_when_it_is_asked_for",
        "optimizer state unasked",
    ),
    "another type": ('"<f4")', '"<i4")', "test_chunks_hold_every_value_and_keep_to_the_limit", "int32 where float32"),
    "a chunk too large": (
        "step = max(1, limit // 4)",
        "step = 100",
        "test_chunks_hold_every_value_and_keep_to_the_limit",
        "asked for 1",
    ),
    "values missing": (
        "range(0, rows * cols, step)",
        "range(0, rows * cols - step, step)",
        "test_chunks_hold_every_value_and_keep_to_the_limit",
        "values where its shape",
    ),
    "too many values": (
        "range(0, rows * cols, step)",
        "[*range(0, rows * cols, step), 0]",
        "test_chunks_hold_every_value_and_keep_to_the_limit",
        "more values than",
    ),
    "swapped": ("number * rows", "(count - 1 - number) * rows", "test_values_are_those_expected", "layer_0/kernel"),
    "a place that is shared": (
        "for start in range(0, rows * cols, step):",
        "for start in range(left.pop() if left else 0, rows * cols, step):\n"
        "            left[:] = [start + step] if start + step < rows * cols else []",
        "test_values_do_not_depend_on_what_was_read_before",
        "values where its shape",
    ),
    "order by process": (
        "for number in range(count)",
        "for number in sorted(range(count), key=lambda n: n if 'pytest' in __import__('sys').modules else -n)",
        "test_a_child_process_reads_the_same",
        "in a child process",
    ),
    "left open": (
        "head = source.read_at(0, HEAD.size)",
        'head = source.read_at(0, HEAD.size); left.append(open(source.path, "rb"))',
        "test_leaves_files_as_they_are_and_none_open",
        "still open",
    ),
    "written to": (
        "head = source.read_at(0, HEAD.size)",
        'head = source.read_at(0, HEAD.size); source.path.with_suffix(".lock").touch()',
        "test_leaves_files_as_they_are_and_none_open",
        "changed the folder",
    ),
    "cut and not named": (
        'raise ReadError(f"{source.path}: is not a toy")',
        'raise ReadError("is not a toy")',
        "test_a_file_cut_short_is_told_by_name",
        "without naming the file",
    ),
    "cut and raw": (
        "if len(head) < HEAD.size or",
        "if",
        "test_a_file_cut_short_is_told_by_name",
        "raised error: unpack requires",
    ),
    "damaged and raw": (
        "if HEAD.size + 4 * count * rows * cols > source.size:",
        "if max(count, rows) > 1000: raise IndexError\n    if HEAD.size + 4 * count * rows * cols > source.size:",
        "test_damaged_files_give_a_model_or_an_error_that_names_the_file",
        "IndexError",
    ),
    "damaged and crashed": (
        "if HEAD.size + 4 * count * rows * cols > source.size:",
        "if max(count, rows, cols) > 1000: os._exit(3)\n    if HEAD.size + 4 * count * rows * cols > source.size:",
        "test_damaged_files_give_a_model_or_an_error_that_names_the_file",
        "exit code 3",
    ),
    "damaged and hung": (
        "if HEAD.size + 4 * count * rows * cols > source.size:",
        "while cols > 60000: pass\n    if HEAD.size + 4 * count * rows * cols > source.size:",
        "test_damaged_files_give_a_model_or_an_error_that_names_the_file",
        "longer than",
    ),
    "damaged and greedy": (
        "if HEAD.size + 4 * count * rows * cols > source.size:",
        "np.ones((rows, cols))\n    if HEAD.size + 4 * count * rows * cols > source.size:",
        "test_damaged_files_give_a_model_or_an_error_that_names_the_file",
        "memory",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_the_test_for_it(tmp_path: Path, fault: str) -> None:
    before, after, name, message = FAULTS[fault]
    assert before in TOY
    text = TOY.replace(before, after)
    contract = toy(tmp_path, text)
    contract.mutants, contract.mutant_seconds = 80, 0.5
    folder = tmp_path / "work"
    folder.mkdir()
    with pytest.raises((AssertionError, wexport.WexportError), match=message):
        run(contract, name, folder)
    for file in vars(sys.modules[contract.reader.open.__module__])["left"]:
        if hasattr(file, "close"):
            file.close()


def test_what_a_library_does_to_its_process_can_be_tolerated_and_nothing_else(tmp_path: Path) -> None:
    before = "if HEAD.size + 4 * count * rows * cols > source.size:"
    contract = toy(tmp_path, TOY.replace(before, f"if max(count, rows, cols) > 1000: os._exit(3)\n    {before}"))
    contract.mutants, contract.tolerated = 80, ("crashed",)
    (tmp_path / "one").mkdir()
    contract().test_damaged_files_give_a_model_or_an_error_that_names_the_file(tmp_path / "one")
    contract.tolerated = ("timed out", "memory")
    (tmp_path / "two").mkdir()
    with pytest.raises(AssertionError, match="lost \\('crashed'\\): its process ended with exit code 3"):
        contract().test_damaged_files_give_a_model_or_an_error_that_names_the_file(tmp_path / "two")


def test_a_canonical_layout_is_held_against_what_is_expected(tmp_path: Path) -> None:
    turned = TOY.replace('dtype="float32",', 'dtype="float32", layout=wexport.Layout(permutation=(1, 0)),')
    contract = toy(tmp_path, turned)
    contract.canonical = {"layer_1/kernel": VALUES[1].T}
    contract().test_the_canonical_layout_is_that_expected()
    contract.canonical = {"layer_1/kernel": VALUES[1]}
    with pytest.raises(AssertionError, match="canonical"):
        contract().test_the_canonical_layout_is_that_expected()


def test_a_reader_that_is_not_installed_is_told_with_what_to_do(tmp_path: Path) -> None:
    contract = toy(tmp_path)
    contract.plugins = ()
    with pytest.raises(AssertionError, match=r"does not find the reader 'toy'.*pip install -e"):
        contract().test_a_child_process_reads_the_same()


def test_a_source_survives_what_a_damaged_file_says_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "small.bin"
    path.write_bytes(b"12345")
    with wexport.Source(path) as source:
        assert source.read_at(3, 2**62) == b"45"
        assert source.read_at(2**63, 4) == b""
        for offset, count in ((-1, 4), (0, -1)):
            with pytest.raises(wexport.ReadError, match="small"):
                source.read_at(offset, count)


# -- mutants -----------------------------------------------------------------------------------------------------------


def test_mutants_are_the_same_for_the_same_seed_and_differ_by_number() -> None:
    path = EXAMPLES / "lstm.h5"
    first, again, other = (list(mutants(path, 50, seed)) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert len({mutant.content for mutant in first}) >= 48
    whole = path.read_bytes()
    assert sum(mutant.content == whole for mutant in first) <= 2


def test_half_of_a_zip_s_mutants_open_as_zips_with_a_changed_member() -> None:
    path = DATA / "keras3" / "recurrent.keras"
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    changed = 0
    for mutant in mutants(path, 100):
        if mutant.change.startswith("member"):
            with zipfile.ZipFile(io.BytesIO(mutant.content)) as archive:
                assert archive.testzip() is None
                changed += {name: archive.read(name) for name in archive.namelist()} != members
    assert 35 <= changed <= 65


def test_every_mutant_ends_in_one_named_status() -> None:
    found = ingest_mutants(DATA / "keras3" / "recurrent.keras", count=100, seed=7)
    assert sum(found.statuses.values()) == len(found.results) == len(found.changes) == 100
    assert found.statuses["failed"] > 10
    assert found.statuses["ok"] > 10
    assert not found.statuses["crashed"] + found.statuses["timed out"] + found.statuses["memory"]


def test_lost_processes_are_counted_by_how_they_were_lost(tmp_path: Path) -> None:
    before = "if HEAD.size + 4 * count * rows * cols > source.size:"
    contract = toy(
        tmp_path,
        TOY.replace(
            before, f"if rows > 30000: os._exit(3)\n    while cols > 60000: pass\n    np.ones((99, rows))\n    {before}"
        ),
    )
    found = ingest_mutants(contract.path, count=150, timeout=0.3, plugins=tuple(map(str, contract.plugins)))
    assert min(found.statuses[status] for status in ("crashed", "timed out", "ok", "failed")) > 0


def test_mutants_of_a_large_file_are_refused(tmp_path: Path) -> None:
    large = tmp_path / "large.bin"
    large.touch()
    os.truncate(large, 1 << 30)
    with pytest.raises(wexport.UsageError, match="large"):
        ingest_mutants(large)
