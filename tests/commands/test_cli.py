"""The command line as a user meets it: exit codes, where output goes, and no traceback, ever."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import duckdb
import h5py
import numpy as np
import pytest

from tests import warm_commands
from tests.conftest import EXAMPLES
from wexport.table.schema import COLUMNS

COMMAND = [sys.executable, "-m", "wexport"]


def run(*arguments: object, stdin: str | None = None, code: int = 0) -> subprocess.CompletedProcess[str]:
    found = warm_commands.run(*arguments, stdin=stdin)
    assert "Traceback" not in found.stdout + found.stderr
    assert found.returncode == code, found.stderr
    return found


def test_ingest_prints_its_summary_to_stdout_and_nothing_to_stderr(tmp_path: Path) -> None:
    found = run("ingest", EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5", "--out", tmp_path / "w.parquet")
    assert "lstm" in found.stdout
    assert "2 of 2 models read" in found.stdout
    assert found.stderr == ""


def test_one_line_tells_of_all_optimizer_states(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with h5py.File(tmp_path / f"{name}.weights.h5", "w") as file:
            file["layers/dense/vars/0"] = np.ones((3, 2), np.float32)
            file["optimizer/vars/0"] = np.zeros(512, np.float32)
    found = run("ingest", tmp_path / "*.weights.h5", "--out", tmp_path / "w.parquet")
    assert found.stderr == "left out: optimizer state of 2 files, 4.0 KiB (--optimizer reads it)\n"
    alone = run("ingest", tmp_path / "a.weights.h5", "--out", tmp_path / "v.parquet")
    assert alone.stderr.startswith(f"left out: optimizer state of {tmp_path / 'a.weights.h5'}, 2.0 KiB")


def test_exit_codes(tmp_path: Path) -> None:
    good, bad, out = EXAMPLES / "lstm.h5", tmp_path / "bad.h5", tmp_path / "w.parquet"
    bad.write_text("no model")
    assert "bad.h5" in run("ingest", good, bad, "--out", out, code=1).stderr
    assert "was not written" in run("ingest", bad, "--out", tmp_path / "other.parquet", code=3).stdout
    assert "does not exist" in run("ingest", tmp_path / "missing.h5", "--out", out, code=2).stderr
    assert "--out" in run("ingest", good, code=2).stderr
    assert "No such command" in run("digest", code=2).stderr
    run("ingest", good, "--out", tmp_path / "no" / "w.parquet", code=3)
    assert not (tmp_path / "other.parquet").exists()


def test_quiet_says_nothing_but_failures(tmp_path: Path) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_text("no model")
    found = run("ingest", "-q", EXAMPLES / "lstm.h5", bad, "--out", tmp_path / "w.parquet", code=1)
    assert found.stdout == ""
    assert "bad.h5" in found.stderr


def test_paths_come_from_standard_input_too(tmp_path: Path) -> None:
    listed = f"{EXAMPLES / 'lstm.h5'}\n{EXAMPLES / 'gru.h5'}\n"
    run("ingest", "-", "--out", tmp_path / "w.parquet", stdin=listed)
    assert duckdb.sql(f"select count(distinct model) from '{tmp_path / 'w.parquet'}'").fetchall() == [(2,)]


def test_a_quoted_pattern_works(tmp_path: Path) -> None:
    assert "5 of 5 models" in run("ingest", EXAMPLES / "cnn_seed_*.h5", "--out", tmp_path / "w.parquet").stdout


def test_what_was_left_out_is_named_on_stderr(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file["w"] = np.ones(3)
        file["words"] = ["a", "b"]
    found = run("ingest", tmp_path / "m.h5", "--out", tmp_path / "w.parquet")
    assert "1 string (words)" in found.stderr


def test_names_cannot_steer_the_terminal(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "evil\x1b[31m.h5", "w") as file:
        file["\x1b]0;owned\x07"] = np.ones(3)
        file["words\x1b[2J"] = "a"
    found = run("ingest", tmp_path / "evil\x1b[31m.h5", "--out", tmp_path / "w.parquet")
    inspected = run("inspect", tmp_path / "evil\x1b[31m.h5")
    for text in (found.stdout, found.stderr, inspected.stdout, inspected.stderr):
        assert "\x1b" not in text
        assert "\x07" not in text


def on_the_terminal() -> None:
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a job in the background of a shell ignores it


def test_ctrl_c_while_it_loads_is_no_traceback() -> None:
    code = (
        "import os, signal, sys, time\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name == 'wexport.commands.diff':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "            time.sleep(10)\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "import wexport.__main__ as begin\n"
        "begin.main()\n"
    )
    found = subprocess.run([sys.executable, "-c", code, "plugins"], capture_output=True, text=True)
    assert (found.returncode, found.stderr) == (-signal.SIGINT, "")


def test_progress_shows_on_a_terminal_and_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    plugin = tmp_path / "slow.py"
    plugin.write_text(
        "import time, numpy as np, wexport\n"
        "def open_slow(source):\n    time.sleep(1)\n"
        "    return wexport.Model(format='slow', tensors=[wexport.Tensor.of_array('w', np.ones(10))])\n"
        "@wexport.hookimpl\ndef wexport_readers():\n"
        "    return [wexport.Reader(name='slow', reads='', open=open_slow, sniff=lambda s: s.head[:4] == b'SLOW')]\n"
    )
    for n in range(100):
        (tmp_path / f"m{n}.slow").write_bytes(b"SLOW")
    main, other = pty.openpty()
    process = subprocess.Popen(
        [*COMMAND, "ingest", tmp_path / "*.slow", "--out", tmp_path / "w.parquet", "--plugin", plugin],
        stdin=other,
        stdout=subprocess.DEVNULL,
        stderr=other,
        start_new_session=True,
        env={**os.environ, "TERM": "xterm"},
        preexec_fn=on_the_terminal,
    )
    os.close(other)
    seen = b""
    deadline = time.monotonic() + 120
    while b"2/100" not in seen and time.monotonic() < deadline:
        if select.select([main], [], [], 0.1)[0]:
            seen += os.read(main, 65536)
    assert b"reading" in seen
    os.write(main, b"\x03")
    begun = time.monotonic()
    assert process.wait(timeout=60) == 130
    assert time.monotonic() - begun < 20, "to the end it would have been 49 seconds at the least"
    os.close(main)
    assert sorted(path.suffix for path in tmp_path.iterdir() if path.suffix != ".slow") == [".py"]


def test_inspect_lists_layers_with_a_histogram_in_a_line_each() -> None:
    text = run("inspect", EXAMPLES / "lstm.h5").stdout
    assert "recurrent_kernel" in text
    assert "12x48" in text
    assert "█" in text


def test_inspect_as_json_holds_every_figure() -> None:
    found = json.loads(run("inspect", EXAMPLES / "lstm.h5", "--json").stdout)
    with h5py.File(EXAMPLES / "lstm.h5") as file:
        for tensor in found["tensors"]:
            values = file[tensor["tensor"]][()].astype("f8")
            assert tensor["mean"] == pytest.approx(values.mean(), abs=1e-12)
            assert sum(tensor["histogram"]["count"]) == values.size
            assert np.array_equal(tensor["sample"]["value"], values.reshape(-1))


def test_inspect_of_a_bad_file_names_it_and_the_way_out(tmp_path: Path) -> None:
    bad = tmp_path / "bad.h5"
    bad.write_text("no model")
    assert "bad.h5" in run("inspect", bad, code=3).stderr
    assert "bad.h5" in run("inspect", tmp_path, code=3).stderr  # all that the folder holds
    (tmp_path / "empty").mkdir()
    assert "there is no file in this folder" in run("inspect", tmp_path / "empty", code=3).stderr


def test_inspect_is_not_upset_by_a_closed_pipe() -> None:
    process = subprocess.Popen(
        [*COMMAND, "inspect", EXAMPLES / "lstm.h5", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    _, errors = process.communicate(timeout=120)
    assert errors == b""


@pytest.mark.parametrize("form", ["table", "json", "csv", "markdown"])
def test_schema_shows_every_column_in_every_format(form: str) -> None:
    text = run("schema", "--format", form).stdout
    for column in COLUMNS:
        assert column.name in text
    if form == "json":
        assert [row["column"] for row in json.loads(text)] == [column.name for column in COLUMNS]
    if form == "csv":
        assert [row["meaning"] for row in csv.DictReader(io.StringIO(text))] == [column.doc for column in COLUMNS]


def test_demo_writes_models_that_ingest_reads_and_overwrites_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    run("demo", folder)
    names = {path.name for path in folder.rglob("*.h5")}
    assert {"lstm.h5", "gru.h5", "cnn_seed_1.h5", "cnn_dead_layer.h5"} <= names
    (folder / "lstm.h5").write_text("mine")
    assert "exists already" in run("demo", folder, code=2).stderr
    assert (folder / "lstm.h5").read_text() == "mine"


def test_help_of_every_command() -> None:
    commands = [line.split()[0] for line in run("--help").stdout.partition("Commands:")[2].splitlines() if line.strip()]
    assert {"ingest", "inspect", "schema", "plugins", "demo"} <= set(commands)
    for command in commands:
        assert "Usage" in run(command, "--help").stdout


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from wexport.cli import cli\n"
        "try: cli(['--help'])\n"
        "except SystemExit: pass\n"
        "print(sorted({'numpy', 'h5py', 'pyarrow', 'duckdb', 'matplotlib', 'rich', 'jinja2'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.splitlines()[-1] == "[]"


def test_an_interrupt_that_python_loses_comes_again() -> None:
    """As in the middle of an import, where Python tells of it and goes on."""
    code = """
import time, weakref
from wexport import cli

class Thing: ...

def lost(_):
    raise KeyboardInterrupt

def work(standalone_mode):
    thing = Thing()
    kept = weakref.ref(thing, lost)
    del thing
    time.sleep(60)

cli.cli.main = work
cli.main(stoppable=True)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=50)
    assert (found.returncode, found.stderr) == (130, "stopped before the end\n")
