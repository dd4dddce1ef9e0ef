"""Whatever a plugin does wrong is named, and harms nothing else: other files are read, nothing ends in a traceback."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import wexport
from tests import warm_commands
from tests.conftest import EXAMPLES
from tests.plugins.test_host import GOOD, plugin, toy
from wexport.plugins import host as plugins
from wexport.plugins.catalog import installed_plugins

COMMAND = [sys.executable, "-c", "from wexport.cli import main; main()"]
LOADED = "def sniff(source):"
SNIFFED = 'return 0.9 if source.head.startswith(b"TOY1") else 0.0'
OPENED = "    values = np.frombuffer"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    found = warm_commands.run(*arguments)
    assert "Traceback" not in found.stdout + found.stderr
    return found


# What is put in front of which line, and the words that the user is told.
BROKEN = {
    "missing dependency": ("import does_not_exist", "needs the module does_not_exist, which is not installed"),
    "raises": ("raise RuntimeError('oops')", "RuntimeError: oops"),
    "exits": ("import sys; sys.exit(3)", "SystemExit: 3"),
    "no Exception": ("class Own(BaseException): pass\nraise Own('oops')", "Own: oops"),
    "crashes": ("import os; os.abort()", "its process died of SIGABRT while it was loaded"),
    "ends its process": ("import os; os._exit(3)", "exit code 3 while it was loaded"),
    "newer": ("WEXPORT_API = 1000", "needs hook API 1000, and wexport"),
    "no number": ("WEXPORT_API = '1'", "its WEXPORT_API is '1'"),
    "a hook of tomorrow": (
        "@wexport.hookimpl\ndef wexport_tomorrow(): return []",
        "wexport_tomorrow is not a hook of wexport",
    ),
    "an argument of tomorrow": (
        "@wexport.hookimpl\ndef wexport_meaning(tensor, weather): pass",
        "wexport_meaning has no argument 'weather' in wexport",
    ),
    "no list": ("@wexport.hookimpl\ndef wexport_statistics(): return 'all'", "returned str where a list is due"),
    "no statistic": ("@wexport.hookimpl\ndef wexport_statistics(): return [1]", "int where a wexport.Statistic is due"),
    "a name with blanks": (
        "@wexport.hookimpl\ndef wexport_statistics(): return [wexport.Statistic(name='a b', doc='', of=len)]",
        "'a b' is not in snake case",
    ),
    "a name of wexport's": (
        "@wexport.hookimpl\ndef wexport_queries(): return ['''-- models: What?\n-- Columns\n--   a  b\n"
        "-- How to read it\n--   a\n-- What it does not prove\n--   b\nSELECT 1;''']",
        "its query 'models' has the name of one that wexport ships",
    ),
    "no query": ("@wexport.hookimpl\ndef wexport_queries(): return ['SELECT 1']", "the first line is not"),
    "no folder": (
        "import pathlib\n@wexport.hookimpl\ndef wexport_queries(): return [pathlib.Path('/nowhere')]",
        "/nowhere, which is not a folder with .sql files",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_plugin_that_does_not_load_is_named_and_the_files_of_others_are_read(tmp_path: Path, fault: str) -> None:
    code, told = BROKEN[fault]
    bad = plugin(tmp_path, GOOD.replace(LOADED, f"{code}\n{LOADED}"))
    found = run("ingest", EXAMPLES / "lstm.h5", toy(tmp_path), "--out", tmp_path / "w.parquet", "--plugin", bad)
    assert found.returncode == 1
    assert re.search(f"plugin my_plugin is broken and was left out: .*{re.escape(told)}", found.stderr)
    assert "a.toy: no reader recognises it" in found.stderr
    assert "1 of 2 models read" in found.stdout
    listed = run("plugins", "--plugin", bad)
    assert (listed.returncode, listed.stderr) == (0, "")
    assert told.split()[0] in listed.stdout
    assert "hdf5" in listed.stdout


def test_a_broken_plugin_by_path_is_a_failure_though_all_files_are_read(tmp_path: Path) -> None:
    bad = plugin(tmp_path, "import does_not_exist")
    found = run("ingest", EXAMPLES / "lstm.h5", "--out", tmp_path / "w.parquet", "--plugin", bad)
    assert found.returncode == 1
    assert "1 of 1 models read" in found.stdout


def test_inspect_tells_of_a_broken_plugin_and_of_faults(tmp_path: Path) -> None:
    broken = plugin(tmp_path, "import does_not_exist")
    faulty = plugin(tmp_path, GOOD.replace(SNIFFED, f"1 / 0\n    {SNIFFED}"), "faulty.py")
    found = run("inspect", EXAMPLES / "lstm.h5", "--plugin", broken, "--plugin", faulty)
    assert found.returncode == 0
    assert "note: plugin my_plugin is broken and was left out: needs the module does_not_exist" in found.stderr
    assert "note: reader toy failed while looking at the file: ZeroDivisionError" in found.stderr


def test_a_plugin_that_hangs_while_it_loads_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "LOAD_SECONDS", 0.3)
    info = plugins.load([plugin(tmp_path, "while True: pass")]).infos[-1]
    assert (info.state, info.reason) == ("broken", "took longer than 0.3 s to load")


SNIFFS = {
    "raises": ("raise ValueError('oops')", "reader toy failed while looking at the file: ValueError: oops"),
    "exits": ("import sys; sys.exit(3)", "reader toy failed while looking at the file: SystemExit: 3"),
    "is too sure": ("return 7", "sniff returned 7"),
    "is not sure": ("return float('nan')", "sniff returned nan"),
    "says nothing": ("return None", "TypeError"),
    "crashes": ("import os; os.abort()", "plugin my_plugin is left out: its process died of SIGABRT"),
    "sleeps": ("import time; time.sleep(60)", "looked at the file for more than 5 s"),
}


@pytest.mark.parametrize("fault", SNIFFS)
def test_a_reader_that_fails_while_it_looks_costs_other_files_nothing(tmp_path: Path, fault: str) -> None:
    code, told = SNIFFS[fault]
    bad = plugin(tmp_path, GOOD.replace(SNIFFED, f"{code}\n    {SNIFFED}"))
    begun = time.monotonic()
    names = ("lstm.h5", "gru.h5", "cnn_seed_1.h5", "cnn_seed_2.h5", "cnn_seed_3.h5")
    found = run(
        *("ingest", *(EXAMPLES / name for name in names), "--out", tmp_path / "w.parquet"),
        *("--plugin", bad, "--jobs", 1),
    )
    # One that is the death of three processes is broken, and left out for good.
    assert found.returncode == (1 if fault == "crashes" else 0), found.stderr
    assert "5 of 5 models read" in found.stdout
    assert found.stderr.count(told) == 1, "told once, not for every file"
    assert time.monotonic() - begun < 60, "no file waits for a reader that sleeps as long"


def test_a_reader_whose_sniffing_hangs_in_a_library_is_ended_with_its_process(tmp_path: Path) -> None:
    code = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGALRM})\n    while True: pass"
    bad = plugin(tmp_path, GOOD.replace(SNIFFED, f"{code}\n    {SNIFFED}"))
    result = wexport.ingest(EXAMPLES / "lstm.h5", tmp_path / "w.parquet", plugins=(str(bad),), timeout=5.0, jobs=1)
    assert result.models[0].status == "ok"
    assert "took longer than 5 s while its reader toy looked at a file" in result.models[0].notes[0]


OPENS = {
    "raises": ("raise ValueError('oops')", "reader toy cannot read it: ValueError: oops"),
    "exits": ("import sys; sys.exit(3)", "reader toy cannot read it: SystemExit: 3"),
    "returns what is not a model": ("return 5", "reader toy returned int where a wexport.Model is due"),
    "crashes": ("import os; os.abort()", "its process died of SIGABRT while reader toy read it"),
    "hangs": ("while True: pass", "took longer than 2 s while reader toy read it"),
    "hoards": (
        "np.ones(1 << 27)",
        "asked for more than the 112 MiB that reading a file may take while reader toy read it",
    ),
}


@pytest.mark.parametrize("fault", OPENS)
def test_a_reader_that_fails_while_it_opens_costs_its_file(tmp_path: Path, fault: str) -> None:
    code, told = OPENS[fault]
    bad = plugin(tmp_path, GOOD.replace(OPENED, f"    {code}\n{OPENED}"))
    found = run(
        *("ingest", toy(tmp_path), EXAMPLES / "lstm.h5", "--out", tmp_path / "w.parquet"),
        *("--plugin", bad, "--timeout", 2),
    )
    assert found.returncode == 1
    assert f"failed: {tmp_path / 'a.toy'}: {told}" in found.stderr
    assert "1 of 2 models read" in found.stdout


# The chunks of a tensor of 9 values, and why they are no such thing.
CHUNKS = {
    "raises": ("[np.ones(4, 'f4'), 1 / 0]", "ZeroDivisionError"),
    "exits": ("[exit(3)]", "SystemExit"),
    "another type": ("[np.ones(9, 'f8')]", "float64"),
    "another shape": ("[np.ones((3, 3), 'f4')]", "2-dimensional"),
    "no array": ("['nine']", "a chunk is str, and no NumPy array"),
    "too few": ("[np.ones(4, 'f4')]", "5 values are missing"),
    "too many": ("[np.ones(9, 'f4'), np.ones(1, 'f4')]", "1 values too many"),
    "no chunks": ("None", "TypeError"),
}


@pytest.mark.parametrize("fault", CHUNKS)
def test_a_tensor_whose_chunks_are_wrong_is_named_and_the_others_are_kept(tmp_path: Path, fault: str) -> None:
    chunks, why = CHUNKS[fault]
    wrong = f"wexport.Tensor(name='bad', shape=(9,), dtype='float32', chunks=lambda limit: {chunks})"
    bad = plugin(tmp_path, GOOD.replace("tensors=[", f"tensors=[{wrong}, "))
    result = wexport.ingest(toy(tmp_path), tmp_path / "w.parquet", plugins=(str(bad),)).models[0]
    assert (result.status, result.tensors) == ("partial", 1)
    assert result.problems[0].name == "bad"
    assert why in result.problems[0].detail


def test_a_chunk_larger_than_asked_for_is_refused(tmp_path: Path) -> None:
    wrong = (
        "wexport.Tensor(name='bad', shape=(1 << 20,), dtype='float32', chunks=lambda limit: [np.ones(1 << 20, 'f4')])"
    )
    bad = plugin(tmp_path, GOOD.replace("tensors=[", f"tensors=[{wrong}, "))
    result = wexport.ingest(toy(tmp_path), tmp_path / "w.parquet", plugins=(str(bad),)).models[0]
    assert (result.status, result.problems[0].name) == ("partial", "bad")
    assert "a chunk of 4,194,304 bytes comes where 1,048,576 were asked for" in result.problems[0].detail


# -- two plugins -------------------------------------------------------------------------------------------------------


def test_two_plugins_that_claim_one_file_are_both_named_and_one_can_be_chosen(tmp_path: Path) -> None:
    two = [plugin(tmp_path, GOOD), plugin(tmp_path, GOOD.replace('name="toy"', 'name="other"'), "second.py")]
    files = [argument for file in two for argument in ("--plugin", file)]
    found = run("ingest", toy(tmp_path), "--out", tmp_path / "w.parquet", *files)
    assert found.returncode == 3
    assert "toy and other are equally sure that it is theirs" in found.stderr
    assert "--reader toy" in found.stderr
    assert run("ingest", toy(tmp_path), "--out", tmp_path / "w.parquet", *files, "--reader", "other").returncode == 0


@pytest.mark.parametrize("kind", ["reader", "statistic", "query"])
def test_of_two_plugins_that_use_one_name_the_second_is_broken_and_the_first_works(tmp_path: Path, kind: str) -> None:
    more = (
        "\n@wexport.hookimpl\ndef wexport_statistics():"
        "\n    return [wexport.Statistic(name='own', doc='x', of=lambda v, t: 1)]"
        "\n@wexport.hookimpl\ndef wexport_queries():\n    return ['''-- own: What?\n-- Columns\n--   a  b\n"
        "-- How to read it\n--   a\n-- What it does not prove\n--   b\nSELECT 1 AS a;''']\n"
    )
    second = GOOD + more
    for other in {"reader", "statistic", "query"} - {kind}:
        second = {
            "reader": second.replace('name="toy"', 'name="other"'),
            "statistic": second.replace("name='own'", "name='other'"),
            "query": second.replace("-- own:", "-- other:"),
        }[other]
    found = installed_plugins([plugin(tmp_path, GOOD + more), plugin(tmp_path, second, "second.py")])
    assert (found[-2].state, found[-1].state) == ("ok", "broken")
    name = "toy" if kind == "reader" else "own"
    assert found[-1].reason == f"its {kind} '{name}' has the name of one of plugin my_plugin, which is loaded already"


def test_a_plugin_that_crashes_on_one_file_reads_the_others(tmp_path: Path) -> None:
    crash = "import os\n    if source.size == 12: os.abort()"
    sometimes = plugin(tmp_path, GOOD.replace(SNIFFED, f"{crash}\n    {SNIFFED}"))
    (tmp_path / "b.toy").write_bytes(b"TOY1" + np.arange(2, dtype="<f4").tobytes())
    result = wexport.ingest(
        [tmp_path / "b.toy", toy(tmp_path)], tmp_path / "w.parquet", plugins=(str(sometimes),), jobs=1
    )
    assert [model.status for model in result.models] == ["failed", "ok"]
    assert "my_plugin" in result.models[0].hint
    assert result.broken == ()
