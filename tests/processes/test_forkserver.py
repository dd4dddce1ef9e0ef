"""Children that are forked are as separate, and end as surely, as processes of their own; only quicker to start."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT
from wexport.processes import forkserver
from wexport.processes.child import Child

pytestmark = pytest.mark.skipif(not forkserver.AVAILABLE, reason="children are not forked on this system")


def work(task: str) -> Iterator[Any]:
    """What the children run: they tell of themselves, or die."""
    if task == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    yield {
        "pid": os.getpid(),
        "folder": str(Path.cwd()),
        "word": os.environ.get("WORD"),
        "parent": os.getppid(),
        "paths": str(sys.path),
    }


def worker(setup: Any) -> Any:
    """Called in each child."""
    return os.getpid(), work


@pytest.fixture(autouse=True)
def _servers_of_this_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    forkserver.close()
    yield
    forkserver.close()


def child() -> Child:
    return Child({"worker": worker, "setup": None, "memory": 1 << 26, "work": ""})


def told(started: Child) -> dict[str, Any]:
    """What a child says of itself."""
    kind, _ = started.receive()
    assert kind == "ready"
    started.send("tell")
    kind, data = started.receive()
    assert kind == "item"
    found: dict[str, Any] = pickle.loads(data)
    return found


def test_children_share_a_server_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = child(), child()
    one, other = told(first), told(second)
    assert one["parent"] == other["parent"] != os.getpid()
    assert one["pid"] != other["pid"]
    first.send("die")
    with pytest.raises(EOFError):
        first.receive(), first.receive()
    assert first.exit_reason() == "its process died of SIGSEGV"
    assert told_again(second)["pid"] == other["pid"]
    first.finish()
    second.finish()
    assert not psutil.pid_exists(one["pid"])
    assert not psutil.pid_exists(other["pid"])


def told_again(started: Child) -> dict[str, Any]:
    """What a child that has answered says of itself."""
    assert started.receive()[0] == "done"
    started.send("tell")
    found: dict[str, Any] = pickle.loads(started.receive()[1])
    return found


def test_a_child_has_the_folder_and_the_environment_of_its_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for word in ("first", "second"):
        (tmp_path / word).mkdir()
        monkeypatch.chdir(tmp_path / word)
        monkeypatch.setenv("WORD", word)
        started = child()
        found = told(started)
        assert (found["folder"], found["word"]) == (str(tmp_path / word), word)
        started.finish()


def test_a_server_that_is_gone_is_replaced() -> None:
    started = child()
    server = told(started)["parent"]
    os.kill(server, signal.SIGKILL)
    with pytest.raises(EOFError):
        started.receive(), started.receive()
    assert started.exit_reason() == "its process died of SIGKILL"
    started.finish()
    another = child()
    assert told(another)["parent"] != server
    another.finish()


def test_no_process_outlives_a_parent_that_is_killed() -> None:
    code = (
        "import time\n"
        "from tests.processes.test_forkserver import child, told\n"
        "started = [child(), child()]\n"
        "print(*(told(each)['pid'] for each in started), flush=True)\n"
        "time.sleep(600)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    family = psutil.Process(process.pid).children(recursive=True)
    assert len(family) == 3, "a server and two children"
    process.kill()
    process.communicate()
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive


def test_without_a_server_children_are_processes_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forkserver, "AVAILABLE", False)
    started = child()
    assert told(started)["parent"] == os.getpid()
    started.finish()


OPEN = """
import os, sys, threading
from pathlib import Path
import psutil
from tests.processes.test_forkserver import child, told
from wexport.processes import forkserver

if __name__ == "__main__":
    forkserver.share_imports()
    secret = open(sys.argv[1])
    os.dup2(os.open(sys.argv[1], os.O_RDONLY), 77)
    if sys.argv[2] == "threads":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    os.environ["WORD"] = "mine"
    started = child()
    found = told(started)
    server = psutil.Process(found["parent"])
    forked = server.cmdline() == psutil.Process().cmdline()
    files = [file.path for each in (server, psutil.Process(found["pid"])) for file in each.open_files()]
    print(forked, sys.argv[1] in files, found["word"], os.getsid(server.pid) == server.pid, found["paths"], sep="|")
    secret.read()
"""
"""A program of wexport's own, which has a file open."""


@pytest.mark.parametrize("threads", ["one", "threads"])
def test_a_server_that_is_a_fork_is_as_separate(tmp_path: Path, threads: str) -> None:
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "program.py").write_text(OPEN)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "program", str(tmp_path / "secret"), threads]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    forked, sees, word, apart, paths = done.stdout.strip().split("|")
    assert forked == str(threads == "one")
    assert (sees, word, apart) == ("False", "mine", "True")
    assert str(tmp_path) not in paths


def test_a_fork_that_is_gone_is_replaced_and_none_is_left() -> None:
    code = (
        "import os, signal\n"
        "from tests.processes.test_forkserver import child, told\n"
        "from wexport.processes import forkserver\n"
        "forkserver.share_imports()\n"
        "started = child()\n"
        "server = told(started)['parent']\n"
        "os.kill(server, signal.SIGKILL)\n"
        "started.exit_reason(), started.finish()\n"
        "another = child()\n"
        "found = told(another)\n"
        "another.finish()\n"
        "print(server, found['parent'], found['pid'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    first, second, last = map(int, done.stdout.split())
    assert first != second
    assert not any(map(psutil.pid_exists, (first, second, last)))


def test_a_server_without_work_ends() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    code = (
        "from wexport.processes import forkserver\n"
        "forkserver.IDLE_SECONDS = 0.1\n"
        f"forkserver.serve({theirs.fileno()}, [])\n"
    )
    with ours, theirs:
        found = subprocess.run([sys.executable, "-c", code], pass_fds=(theirs.fileno(),), timeout=120, cwd=ROOT)
    assert found.returncode == 0
