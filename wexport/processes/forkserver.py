"""A process that has imported what children need, and forks one in a few milliseconds.

Importing NumPy, h5py or Arrow anew costs each child some tenths of a second, more than most files take to read. On
Linux a server imports them once and forks children on request; elsewhere each child is a process of its own from the
start. The children are the same in all else: separate memory, limits of their own, an end of their own.

The server is a process of its own from the start too, as its parent may be anybody's program, with threads and secrets.
Where the program is ours, the command line, it is a fork of it (`share_imports`), as long as that has one thread: what
both import, both have.

The server has one thread and holds no file of anybody's, so a fork copies no lock and no secret. It talks over one
socket. When that closes, because its parent is gone, however it went, the server exits, and the kernel ends its
children with it. Without children it exits after `IDLE_SECONDS`; the next request starts another.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

IDLE_SECONDS = 60.0
"""How long a server without children waits for the next request."""
MESSAGE_BYTES = 64 << 10
AVAILABLE = sys.platform == "linux"
"""Whether children are forked: macOS' libraries do not survive a fork, Windows has none."""


class Forked:
    """A child of the server, with what its parent uses of `subprocess.Popen`."""

    def __init__(self, server: _Server, pid: int, breadcrumbs: int | None) -> None:
        """breadcrumbs: the number that the descriptor of that purpose has in the child."""
        self._server, self.pid, self.breadcrumbs = server, pid, breadcrumbs
        self.parent: int = server.pid
        self._code: int | None = None

    def kill(self) -> None:
        """Send SIGKILL. The server reaps a child only when asked to, so its number cannot be another's before that."""
        if self._code is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        """The exit code, negative for a signal. Raises subprocess.TimeoutExpired."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.0005
        while self._code is None:
            try:
                self._code = self._server.ask(("wait", self.pid))
            except (OSError, EOFError):
                self._code = -signal.SIGKILL  # as the kernel ended it with its server
            if self._code is None:
                if deadline is not None and time.monotonic() > deadline:
                    raise subprocess.TimeoutExpired("child", timeout or 0.0)
                time.sleep(pause)
                pause = min(2 * pause, 0.05)
        return self._code


class _Server:
    """The parent's end of one server."""

    def __init__(self, environment: Mapping[str, str], modules: Sequence[str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | _Fork
        with theirs:
            if _shares_imports and threading.active_count() == 1:
                for name in modules:
                    for shared in getattr(importlib.import_module(name), "SHARED", ()):
                        _import(shared)
                self._process = _Fork(theirs.fileno(), environment, modules)
            else:
                code = f"from wexport.processes.forkserver import serve; serve({theirs.fileno()}, {list(modules)!r})"
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-c", code],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env=environment,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
        self._socket, self._lock = ours, threading.Lock()
        self.pid, self.owner = self._process.pid, os.getpid()

    def ask(self, message: tuple[Any, ...], descriptors: Sequence[int] = ()) -> Any:
        """The answer to a message. Raises OSError or EOFError if the server is gone."""
        with self._lock:
            socket.send_fds(self._socket, [pickle.dumps(message)], descriptors)
            answer = self._socket.recv(MESSAGE_BYTES)
        if not answer:
            raise EOFError
        return pickle.loads(answer)

    def close(self) -> None:
        """End the server, and all that it forked."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


class _Fork:
    """A server that is a fork of this process, with what is used of `subprocess.Popen`."""

    def __init__(self, number: int, environment: Mapping[str, str], modules: Sequence[str]) -> None:
        """number: of the socket's descriptor."""
        self.pid = os.fork()
        if not self.pid:
            _become_server(number, environment, modules)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> None:
        os.waitpid(self.pid, 0)


_servers: dict[tuple[Any, ...], _Server] = {}
_lock = threading.Lock()
_shares_imports = False


def share_imports() -> None:
    """From now on servers are forks of this process, while it has one thread. For a program that is wexport's own."""
    global _shares_imports
    _shares_imports = AVAILABLE


def start(environment: Mapping[str, str], modules: Sequence[str]) -> None:
    """Start the server that will fork such children, as in `fork`, where imports are shared: before threads begin.

    Raises OSError if none can be started.
    """
    key = _key(environment, modules)
    with _lock:
        if _shares_imports and key not in _servers:
            _servers[key] = _Server(environment, modules)


def _key(environment: Mapping[str, str], modules: Sequence[str]) -> tuple[Any, ...]:
    return tuple(sorted(environment.items())), tuple(modules), os.getpid()


def fork(environment: Mapping[str, str], modules: Sequence[str], descriptors: Sequence[int]) -> Forked:
    """A new child that calls `child.child` with `descriptors` as its standard input and output.

    environment: what the child's process has as its own. modules: imported before it is forked, with those that their
    `PRELOAD` names, which they import only where they are used; `SHARED` names those of them that the parent uses too.
    descriptors: standard input, standard output and, if there is a third, where it leaves its breadcrumbs.

    Raises OSError or EOFError if no server can be started.
    """
    key = _key(environment, modules)
    message = ("fork", str(Path.cwd()))
    with _lock:
        server = _servers.get(key)
        if server is not None:
            try:
                return Forked(server, *server.ask(message, descriptors))
            except (OSError, EOFError):  # it was idle too long, or somebody ended it
                _servers.pop(key).close()
        server = _servers[key] = _Server(environment, modules)
        return Forked(server, *server.ask(message, descriptors))


@atexit.register
def close() -> None:
    """End all servers of this process; the next child starts one anew."""
    with _lock:
        for key in [key for key, server in _servers.items() if server.owner == os.getpid()]:
            _servers.pop(key).close()


# -- the server's side -------------------------------------------------------------------------------------------------


def _become_server(number: int, environment: Mapping[str, str], modules: Sequence[str]) -> NoReturn:
    """What a fork of the command line does to be as a server that was started: it has nothing open but its socket."""
    global _lock, _shares_imports
    try:
        os.setsid()  # Ctrl-C reaches the parent alone
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_DFL)
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nothing, stream)
        for descriptor in [int(path.name) for path in Path("/proc/self/fd").iterdir()]:
            if descriptor > 2 and descriptor != number:
                with contextlib.suppress(OSError):  # the one with which they are listed
                    os.close(descriptor)
        os.environ.clear()
        os.environ.update(environment)
        if not sys.flags.safe_path:
            del sys.path[0]  # the current folder, perhaps, which may be full of strangers' files
        _set_malloc(environment)
        gc.freeze()  # what is there already is the parent's; nothing of it is to be closed here
        _lock, _shares_imports = threading.Lock(), False
        serve(number, modules)
    finally:
        os._exit(0)


def _set_malloc(environment: Mapping[str, str]) -> None:
    """Have malloc do what its variables say: it reads them when a process is started."""
    import ctypes

    for parameter, name in ((-1, "MALLOC_TRIM_THRESHOLD_"), (-3, "MALLOC_MMAP_THRESHOLD_")):  # as in malloc.h
        with contextlib.suppress(KeyError, ValueError, AttributeError):  # AttributeError: a libc without it
            ctypes.CDLL(None).mallopt(parameter, int(environment[name]))


def serve(number: int, modules: Sequence[str]) -> None:
    """Answer requests until the parent is gone or nothing was wanted for long. number: the socket's descriptor."""
    connection = socket.socket(fileno=number)
    for name in modules:
        with contextlib.suppress(Exception):  # it fails again, and is told, in the child that needs it
            _import(name)
    alive: set[int] = set()
    while True:
        readable, _, _ = select.select([connection], [], [], None if alive else IDLE_SECONDS)
        if not readable:
            return
        data, descriptors, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 3)
        if not data:
            os._exit(0)
        what, value = pickle.loads(data)
        if what == "wait":
            connection.send(pickle.dumps(_exit_code(value, alive)))
            continue
        pid = os.fork()
        if pid == 0:
            connection.close()
            _become_child(value, descriptors)
        alive.add(pid)
        for descriptor in descriptors:
            os.close(descriptor)
        connection.send(pickle.dumps((pid, descriptors[2] if len(descriptors) > 2 else None)))


def _import(name: str) -> None:
    for more in getattr(importlib.import_module(name), "PRELOAD", ()):
        _import(more)


def _exit_code(pid: int, alive: set[int]) -> int | None:
    """How a child ended; None while it runs."""
    if pid not in alive:
        return -signal.SIGKILL
    ended, status = os.waitpid(pid, os.WNOHANG)
    if not ended:
        return None
    alive.discard(pid)
    return os.waitstatus_to_exitcode(status)


def _become_child(folder: str, descriptors: Sequence[int]) -> None:
    """What a forked process does; it never returns."""
    code = 1
    try:
        os.dup2(descriptors[0], 0)
        os.dup2(descriptors[1], 1)
        os.close(descriptors[0])
        os.close(descriptors[1])
        os.chdir(folder)
        from wexport.processes.child import child

        child()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        os._exit(code)
