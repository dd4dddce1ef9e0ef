"""The command line in processes that start at once: on Linux, forked from one that has imported what commands use.

A new process spends most of a second on imports, more than most commands need for their work, and the tests run
hundreds. In all else a forked process is as a new one: arguments, folder, environment, streams and exit code are its
own. What depends on how Python starts, on a terminal or on being killed, is tested with new processes.

On macOS and Windows each command is a new process: what is imported does not survive a fork there, or there is none.

`run` is for tests. For shells there is a command `wexport` in the folder `COMMANDS`, which hands over its streams.
"""

from __future__ import annotations

import array
import atexit
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wexport.processes.forkserver import AVAILABLE

ROOT = Path(__file__).parent.parent
_IMPORTED = (
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_svg",
    "pyarrow.parquet",
    "h5py",
    "rich.table",
    "rich.progress",
    "wexport.table.without_pandas",
    "wexport.cli",
    "wexport.ingestion.pipeline",
    "wexport.ingestion.inspection",
    "wexport.stats.one_pass",
    "wexport.sessions.connection",
    "wexport.queries.asking",
    "wexport.analysis.clusters",
    "wexport.analysis.similarity",
    "wexport.findings.checking",
    "wexport.differences.diff",
    "wexport.plot.figures",
    "wexport.reports.report",
)
_CLIENT = """#!{python} -ISE
import array, json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({path!r})
message = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode("utf-8", "surrogateescape")
streams = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))]
server.sendmsg([len(message).to_bytes(4, "big")], streams)
server.sendall(message)
answers = server.makefile().read().split()
if len(answers) < 2:
    sys.exit(70)
if int(answers[1]) < 0:
    os.kill(os.getpid(), -int(answers[1]))
sys.exit(int(answers[1]))
"""

_folder = Path(tempfile.mkdtemp(prefix="wexport-warm-"))
COMMANDS = _folder / "bin"
"""Where the command for shells is, once `start` was called."""
_server: subprocess.Popen[bytes] | None = None


def start() -> Path:
    """Start the server, if there is none; the folder of the command for shells."""
    global _server
    if not AVAILABLE:
        return Path(sys.executable).parent
    if _server is None:
        COMMANDS.mkdir()
        path = _folder / "socket"
        client = COMMANDS / "wexport"
        client.write_text(_CLIENT.format(python=sys.executable, path=str(path)))
        client.chmod(0o755)
        code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        code += f"from tests.warm_commands import serve; serve({str(path)!r})"
        _server = subprocess.Popen([sys.executable, "-P", "-c", code], stdin=subprocess.DEVNULL, start_new_session=True)
        atexit.register(_stop, _server)
        deadline = time.monotonic() + 120
        while not path.exists():
            assert _server.poll() is None, "the server of commands did not start"
            assert time.monotonic() < deadline, "the server of commands takes too long to start"
            time.sleep(0.01)
    return COMMANDS


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.kill()
    server.wait()
    shutil.rmtree(_folder, ignore_errors=True)


def run(
    *arguments: object,
    stdin: str | None = None,
    cwd: Path | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 300,
) -> subprocess.CompletedProcess[str]:
    """What `wexport` with these arguments prints, and its exit code. environment: instead of this process's own."""
    words = [str(argument) for argument in arguments]
    if not AVAILABLE:
        options: dict[str, Any] = {"input": stdin, "cwd": cwd, "env": environment, "timeout": timeout}
        return subprocess.run([sys.executable, "-m", "wexport", *words], capture_output=True, text=True, **options)
    start()
    with contextlib.ExitStack() as held:
        server = held.enter_context(socket.socket(socket.AF_UNIX))
        server.settimeout(timeout)
        server.connect(str(_folder / "socket"))
        given, printed, said = (held.enter_context(tempfile.TemporaryFile()) for _ in range(3))
        given.write((stdin or "").encode())
        given.seek(0)
        _send(server, [words, str(cwd or Path.cwd()), dict(environment or os.environ)], [given, printed, said])
        with server.makefile() as answer:
            pid = int(answer.readline())
            try:
                code = int(answer.readline())
            except TimeoutError:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(words, timeout) from None
        texts = []
        for file in (printed, said):
            file.seek(0)
            texts.append(file.read().decode().replace("\r\n", "\n"))
        return subprocess.CompletedProcess(["wexport", *words], code, *texts)


def _send(server: socket.socket, message: object, streams: Sequence[tempfile._TemporaryFileWrapper[bytes]]) -> None:
    data = json.dumps(message).encode("utf-8", "surrogateescape")
    numbers = array.array("i", [stream.fileno() for stream in streams])
    server.sendmsg([len(data).to_bytes(4, "big")], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)])
    server.sendall(data)


# -- the server's side -------------------------------------------------------------------------------------------------


def serve(path: str) -> None:
    """Fork a process for each command. Returns in such a process, when the command is about to end."""
    import gc
    import importlib

    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    parent = os.getppid()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # who waits for a command has forked it
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path + ".new")
        listening.listen(64)
        Path(path + ".new").rename(path)
        listening.settimeout(5)
        while os.getppid() == parent:
            try:
                client, _ = listening.accept()
            except TimeoutError:
                continue
            if not os.fork():
                listening.close()
                break
            client.close()
        else:
            os._exit(0)
    client.settimeout(None)
    _one(client)


def _one(client: socket.socket) -> None:
    """Fork the command's process, tell its number and how it ended."""
    head, descriptors, _, _ = socket.recv_fds(client, 4, 3)
    data = bytearray()
    while len(data) < int.from_bytes(head, "big"):
        data += client.recv(1 << 16)
    arguments, folder, environment = json.loads(data.decode("utf-8", "surrogateescape"))
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if pid:
        for descriptor in descriptors:
            os.close(descriptor)
        client.sendall(f"{pid}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with contextlib.suppress(OSError):
            client.sendall(f"{code}\n".encode())
        os._exit(0)
    client.close()
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path = [
        *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep)),
        *(each for each in sys.path if each != str(ROOT)),
    ]
    sys.argv = [str(COMMANDS / "wexport"), *arguments]
    from wexport.__main__ import main

    main()
