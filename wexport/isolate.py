"""Work on untrusted files in child processes with budgets of time and memory.

A child lives long and takes one task at a time; if it crashes, hangs or asks for too much memory, that costs its
task and the child is replaced. Children are plain `python -c` processes that speak over their standard input and
output, so nothing depends on fork, and a caller's script needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

from wexport.errors import WexportError

MEMORY_BYTES = 112 << 20
"""What a child may allocate beyond what it holds when it is ready."""
BUFFERED_BYTES = 12 << 20
"""How much of finished work may wait for its turn in the parent."""
START_SECONDS = 60.0
"""How long a child may take to load the plugins."""
LOOK_AHEAD = 64
"""How many tasks past the oldest unfinished one may be handed out."""

_FRAME = struct.Struct("<Q")


@dataclass(frozen=True, slots=True)
class Item:
    """Something that a task yielded. size: bytes it took on the wire."""

    task: int
    value: Any
    size: int


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a task.

    failure: None, or why it failed: "crashed", "timed out", "memory", "error". reason: in words.
    """

    task: int
    failure: str | None = None
    reason: str = ""


# -- the parent's side -----------------------------------------------------------------------------------------------


class Pool:
    """Runs `function(task)` for many tasks in child processes, and yields what they yield in task order.

    function: "module:name" of a generator function; it is imported in the children.
    prepare: "module:name" of a function that each child calls once with `setup`.
    budget_of: which budget a task draws on, and the seconds that all tasks of that budget may take together.
    """

    def __init__(
        self,
        function: str,
        *,
        jobs: int,
        prepare: str,
        setup: Any,
        budget_of: Callable[[Any], tuple[Hashable, float]],
    ) -> None:
        self._start = {"function": function, "prepare": prepare, "setup": setup, "memory": MEMORY_BYTES}
        self._jobs, self._budget_of = jobs, budget_of
        self._left: dict[Hashable, float] = {}
        self._lock = threading.Condition()
        self._stop = False
        self._children: list[_Child] = []
        self._waiting: list[_Child] = []
        self._threads: list[threading.Thread] = []

    def warm(self, tasks: int) -> None:
        """Start the children that `tasks` tasks will need; they load while the caller does other things."""
        for _ in range(min(self._jobs, tasks)):
            child = _Child(self._start)
            self._children.append(child)
            self._waiting.append(child)

    def run(self, tasks: Sequence[Any]) -> Iterator[Item | Done]:
        """Begins at once; the iterator yields every task's items and then its `Done`, tasks in order."""
        self._tasks, self._next, self._head = tasks, 0, 0
        self._ready: dict[int, list[Item | Done]] = {}
        self._buffered = 0
        self._errors: list[BaseException] = []
        servers = [threading.Thread(target=self._serve, daemon=True) for _ in range(min(self._jobs, len(tasks)))]
        self._threads = [*servers, threading.Thread(target=self._watch, daemon=True)]
        for thread in self._threads:
            thread.start()
        return self._events()

    def _events(self) -> Iterator[Item | Done]:
        try:
            while self._head < len(self._tasks):
                with self._lock:
                    # A time-out keeps the wait open to Ctrl-C on every platform.
                    while not self._ready.get(self._head) and not self._errors:
                        self._lock.wait(0.5)
                    if self._errors:
                        raise self._errors[0]
                    events = self._ready.pop(self._head)
                    self._buffered -= sum(event.size for event in events if isinstance(event, Item))
                    if isinstance(events[-1], Done):
                        self._head += 1
                    self._lock.notify_all()
                yield from events
        finally:
            self.close()

    def close(self) -> None:
        """Stop at once: every child is killed."""
        with self._lock:
            self._stop = True
            children, self._children = self._children, []
            waiting, self._waiting = self._waiting, []
            self._lock.notify_all()
        for child in children:
            child.kill()
        for child in waiting:
            child.finish()
        for thread in self._threads:
            thread.join(2.0)

    def _serve(self) -> None:
        """One thread per child: hands out tasks and collects what comes back."""
        child: _Child | None = None
        try:
            while (task := self._take()) is not None:
                if child is None:
                    child = self._spawn()
                outcome = self._converse(child, task)
                if outcome.failure in ("crashed", "timed out", "memory") or child.bloated:
                    with self._lock:
                        if child in self._children:
                            self._children.remove(child)
                    child.finish()
                    child = None
                self._put(outcome)
        except BaseException as error:  # handed to the caller's thread, which raises it
            with self._lock:
                if not self._stop:
                    self._errors.append(error)
                self._lock.notify_all()
        finally:
            if child is not None:
                child.finish()

    def _take(self) -> int | None:
        with self._lock:
            while not self._stop and self._next < len(self._tasks) and self._next >= self._head + LOOK_AHEAD:
                self._lock.wait()
            if self._stop or self._next >= len(self._tasks):
                return None
            self._next += 1
            return self._next - 1

    def _spawn(self) -> _Child:
        with self._lock:
            child = self._waiting.pop() if self._waiting else None
        if child is None:
            child = _Child(self._start)
            with self._lock:
                if self._stop:
                    child.kill()
                self._children.append(child)
        child.deadline = time.monotonic() + START_SECONDS
        try:
            child.receive()  # it says that it is ready; loading is not charged to any file
        except EOFError:
            if not self._stop:
                raise WexportError(
                    f"a process to read files with did not start: {child.death()}",
                    hint="a plugin may be at fault: try without --plugin, and see `wexport plugins`",
                ) from None
        child.deadline = None
        return child

    def _converse(self, child: _Child, task: int) -> Done:
        budget, allowed = self._budget_of(self._tasks[task])
        left = self._left.get(budget, allowed)
        try:
            child.send(self._tasks[task])
            while True:
                begun = time.monotonic()
                child.deadline = begun + left
                (kind, value), size = child.receive()
                child.deadline = None
                left -= time.monotonic() - begun
                self._left[budget] = left
                if kind == "item":
                    self._put(Item(task, value, size))
                elif kind == "done":
                    child.bloated = value
                    return Done(task)
                else:
                    return Done(task, kind, value)
        except (EOFError, OSError, pickle.UnpicklingError):
            if child.timed_out:
                self._left[budget] = 0.0
                return Done(task, "timed out", f"took longer than {allowed:g} s")
            return Done(task, "crashed", child.death())

    def _put(self, event: Item | Done) -> None:
        with self._lock:
            # While too much is buffered, work waits; but the oldest task may always put down what is taken next.
            while (
                not self._stop
                and self._buffered > BUFFERED_BYTES
                and (event.task != self._head or self._ready.get(self._head))
            ):
                self._lock.wait()
            self._ready.setdefault(event.task, []).append(event)
            if isinstance(event, Item):
                self._buffered += event.size
            self._lock.notify_all()

    def _watch(self) -> None:
        """Kills children that are past their deadline."""
        while not self._stop:
            with self._lock:
                self._lock.wait(0.05)
                children = list(self._children)
            now = time.monotonic()
            for child in children:
                deadline = child.deadline
                if deadline is not None and now > deadline:
                    child.timed_out = True
                    child.kill()


class _Child:
    """A child process, seen from the parent."""

    def __init__(self, start: dict[str, Any]) -> None:
        environment = dict(os.environ)
        # One thread a child: the tasks are what runs side by side. And no filter library is ever loaded by a file.
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = "1"
        environment["HDF5_PLUGIN_PRELOAD"] = "::"
        # glibc would give the memory of each buffer back and fetch it anew: a third of the time of large files.
        environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(8 << 20))
        environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(16 << 20))
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(Path(__file__).parent.parent), *filter(None, [environment.get("PYTHONPATH")])]
        )
        self.deadline: float | None = None
        self.timed_out = False
        self.bloated = False
        # -P keeps the current folder, which may be full of strangers' files, off the import path.
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", "from wexport.isolate import child; child()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=os.name == "posix",  # Ctrl-C reaches the parent alone, which then ends its children
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self.send({**start, "parent": os.getpid()})

    def send(self, value: Any) -> None:
        _write(self._in, value)

    def receive(self) -> tuple[tuple[str, Any], int]:
        return _read(self._out)

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self._process.kill()

    def finish(self) -> None:
        """End a child that has nothing left to do, and free its pipes."""
        for stream in (self._in, self._out):
            with contextlib.suppress(OSError):
                stream.close()
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()

    def death(self) -> str:
        """How the process ended, in words."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"the process that read it died of {signal.Signals(-code).name}"
        return f"the process that read it ended with exit code {code}"


def _write(stream: IO[bytes], value: Any) -> None:
    data = pickle.dumps(value, protocol=5)
    stream.write(_FRAME.pack(len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> tuple[Any, int]:
    """The next value and its size in bytes; raises EOFError when the other side is gone."""
    header = stream.read(_FRAME.size)
    if len(header) < _FRAME.size:
        raise EOFError
    (size,) = _FRAME.unpack(header)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data), size


# -- the child's side ------------------------------------------------------------------------------------------------


def child() -> None:
    """A child process: takes tasks from standard input until it closes, and answers on standard output."""
    incoming, outgoing = _private_streams()
    start, _ = _read(incoming)
    _die_with(start["parent"])
    function = _find(start["function"])
    _find(start["prepare"])(start["setup"])
    held = _private_memory()
    _limit_memory(held, start["memory"])
    _write(outgoing, ("ready", None))
    while True:
        try:
            task, _ = _read(incoming)
        except EOFError:
            return
        try:
            for value in function(task):
                _write(outgoing, ("item", value))
            # A heap that one file has blown up and scattered would be missing for the next: such a child is replaced.
            _write(outgoing, ("done", _private_memory() > held + start["memory"] // 4))
        except MemoryError:
            _write(
                outgoing,
                (
                    "memory",
                    f"asked for more than the {start['memory'] >> 20} MiB that reading a file may take",
                ),
            )
        except Exception as error:  # the boundary: whatever a reader raises is told as this task's failure
            _write(outgoing, ("error", f"{type(error).__name__}: {error}"))


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the parent, moved away from where a library or plugin might read or print."""
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return incoming, outgoing


def _find(name: str) -> Callable[[Any], Any]:
    module, _, attribute = name.partition(":")
    found: Callable[[Any], Any] = getattr(importlib.import_module(module), attribute)
    return found


def _die_with(parent: int) -> None:
    """On Linux, have the kernel kill this process with its parent: a hung reader would not notice that it is alone."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)


def _limit_memory(held: int, allowance: int) -> None:
    """Cap this process's private memory at what it holds now and `allowance` more; no core file when it dies.

    RLIMIT_DATA counts private writable memory on Linux. Where it does not, the readers' own guards are what holds.
    """
    if sys.platform != "linux":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if held:
        resource.setrlimit(resource.RLIMIT_DATA, (held + allowance, held + allowance))


def _private_memory() -> int:
    """Bytes of private writable memory, as RLIMIT_DATA counts them; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:")), 0)
