"""A child process, from both sides: how it is started and spoken to, and what it does.

Children are plain `python -c` processes that speak over their standard input and output, so nothing depends on fork,
and a caller's script needs no `if __name__ == "__main__"`.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO

from wexport.processes import forkserver
from wexport.processes.forkserver import Forked
from wexport.processes.landlock import forbid_connections

_KINDS = ("start", "ready", "task", "item", "done", "memory", "error")
_FRAME = struct.Struct("<BQ")
STAGE_BYTES = 256

_SECRET = re.compile(
    r"^(AWS|AZURE|GOOGLE|GCS|GCP)_|(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|API_?KEY|PRIVATE_KEY)(_|$)", re.I
)
"""Names of environment variables that children do not get."""
_FROM_OUTSIDE = {-getattr(signal, name, 0) for name in ("SIGKILL", "SIGTERM", "SIGHUP")} - {0}


Work = Callable[[Any], Iterable[Any]]
"""What does a task, and yields what is said of it."""
Worker = Callable[[Any], tuple[Any, Work]]
"""Called with a setup: a greeting, and what does the tasks. A function of a module, as it goes to the child by its
name; the module is imported on both sides, and what the child alone needs is imported within."""


class Child:
    """A child process, seen from the parent.

    start: what it is to do: `worker`, which is called once in the child with `setup` and gives the child's greeting and
    what does the tasks; `memory` in bytes, `more`, if given, the bytes that a task may have besides, and `work`, the
    words for what may take that much. many_threads: whether
    numeric libraries may use all cores. staged: whether it may leave word of what it is about to do, for `stage`.
    """

    def __init__(self, start: dict[str, Any], *, many_threads: bool = False, staged: bool = False) -> None:
        environment = _environment(many_threads)
        self.start = start
        self.deadline: float | None = None
        self._code: int | None = None
        self.timed_out = False
        self.quiet: float | None = None
        """Seconds of processor time that it may take before it is heard of again."""
        self.stuck = False
        """Whether it was killed for that."""
        self._used = 0.0
        self.heap_grew = False
        # Where the child leaves word of what it is about to do; it has no name, and goes with its last descriptor.
        self._stage = tempfile.TemporaryFile() if staged and os.name == "posix" else None  # noqa: SIM115  # see `finish`
        modules = [start["worker"].__module__]
        theirs_in, ours_in = os.pipe()
        ours_out, theirs_out = os.pipe()
        self._in, self._out = os.fdopen(ours_in, "wb"), os.fdopen(ours_out, "rb")
        try:
            self._process, about = _started(environment, modules, theirs_in, theirs_out, self._stage)
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        _write(self._in, "start", {**start, **about})

    def send(self, task: Any) -> None:
        """Hand out a task."""
        _write(self._in, "task", task)

    def receive(self) -> tuple[str, bytes]:
        """What the child says next, its value still pickled."""
        return _read(self._out)

    def listen(self, quiet: float | None) -> None:
        """From now on it may take `quiet` seconds of processor time without a word."""
        self._used, self.quiet = self.processor_seconds(), quiet

    def is_stuck(self) -> bool:
        """Whether it has taken more than that."""
        used, quiet = self._used, self.quiet  # which another thread sets
        return quiet is not None and self.processor_seconds() - used > quiet

    def processor_seconds(self) -> float:
        """What it has taken of the processor; 0 where the system does not tell."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        except (OSError, ValueError):
            return 0.0
        return sum(map(int, stat.rpartition(")")[2].split()[11:13])) / os.sysconf("SC_CLK_TCK")  # utime, stime

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
        if self._stage is not None:
            self._stage.close()

    def stage(self) -> tuple[str, ...]:
        """The words that the child left last with `breadcrumb`; empty if it left none."""
        if self._stage is None:
            return ()
        text = os.pread(self._stage.fileno(), STAGE_BYTES, 0).rstrip(b"\0").decode("utf-8", "replace")
        return tuple(text.split("\0")) if text else ()

    def exit_reason(self) -> str:
        """How the process ended, in words."""
        try:
            code = self._process.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
            code = self._process.wait()
        self._code = code
        if code < 0:
            with contextlib.suppress(ValueError):
                return f"its process died of {signal.Signals(-code).name}"
        return f"its process ended with exit code {code}"

    def was_killed(self) -> bool:
        """Whether a signal from outside was its `exit_reason`: of the system, for want of memory, or of somebody."""
        return not self.timed_out and self._code in _FROM_OUTSIDE


def _environment(many_threads: bool) -> dict[str, str]:
    # A child reads what strangers wrote, and has no use for secrets.
    environment = {name: value for name, value in os.environ.items() if not _SECRET.search(name)}
    # One thread a child where the tasks are what runs side by side. And no filter library is ever loaded by a file.
    if not many_threads:
        for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            environment[name] = "1"
    environment["HDF5_PLUGIN_PRELOAD"] = "::"
    # glibc would give the memory of each buffer back and fetch it anew: a third of the time of large files.
    environment.setdefault("MALLOC_MMAP_THRESHOLD_", str(8 << 20))
    environment.setdefault("MALLOC_TRIM_THRESHOLD_", str(16 << 20))
    environment["PYTHONPATH"] = os.pathsep.join(
        [str(Path(__file__).parents[2]), *filter(None, [environment.get("PYTHONPATH")])]
    )
    return environment


def prepare(worker: Worker, *, many_threads: bool = False) -> None:
    """Have children with such a worker ready sooner where this program is wexport's own: called before threads begin,
    as for a progress bar. many_threads: as for `Child`.
    """
    if forkserver.AVAILABLE:
        with contextlib.suppress(OSError, EOFError):
            forkserver.start(_environment(many_threads), [worker.__module__])


def _started(
    environment: Mapping[str, str], modules: Sequence[str], incoming: int, outgoing: int, stage: IO[bytes] | None
) -> tuple[subprocess.Popen[bytes] | Forked, dict[str, Any]]:
    """A process that calls `child`, and what it needs to know of its place: its parent, and where it leaves word."""
    number = stage.fileno() if stage else None
    if forkserver.AVAILABLE:
        with contextlib.suppress(OSError, EOFError):  # without a server, a process is started as elsewhere
            forked = forkserver.fork(
                environment, modules, [incoming, outgoing, *([number] if number is not None else [])]
            )
            return forked, {"parent": forked.parent, "stage": forked.breadcrumbs}
    # -P keeps the current folder, which may be full of strangers' files, off the import path.
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", "from wexport.processes.child import child; child()"],
        stdin=incoming,
        stdout=outgoing,
        stderr=subprocess.DEVNULL,
        env=environment,
        pass_fds=(number,) if number is not None else (),
        start_new_session=os.name == "posix",  # Ctrl-C reaches the parent alone, which then ends its children
    )
    return process, {"parent": os.getpid(), "stage": number}


def _write(stream: IO[bytes], kind: str, value: Any) -> None:
    data = pickle.dumps(value, protocol=5)
    stream.write(_FRAME.pack(_KINDS.index(kind), len(data)))
    stream.write(data)
    stream.flush()


def _read(stream: IO[bytes]) -> tuple[str, bytes]:
    """What comes next: its kind, and its value, still pickled. Raises EOFError when the other side is gone."""
    header = stream.read(_FRAME.size)
    if len(header) < _FRAME.size:
        raise EOFError
    number, size = _FRAME.unpack(header)
    data = stream.read(size)
    if len(data) < size or number >= len(_KINDS):
        raise EOFError
    return _KINDS[number], data


# -- the child's side --------------------------------------------------------------------------------------------------


_stage: int | None = None


def breadcrumb(*words: str) -> None:
    """Leave word of what this process is about to do, for a parent that finds it dead; none in any other process."""
    if _stage is not None:
        os.pwrite(_stage, "\0".join(words).encode("utf-8", "replace")[:STAGE_BYTES].ljust(STAGE_BYTES, b"\0"), 0)


def child() -> None:
    """A child process: takes tasks from standard input until it closes, and answers on standard output."""
    global _stage
    incoming, outgoing = _private_streams()
    start = pickle.loads(_read(incoming)[1])
    _stage = start["stage"]
    _die_with(start["parent"])
    forbid_connections()  # what it works on lies on this machine: who fetches things is the parent
    greeting, work = start["worker"](start["setup"])
    held = _private_memory()
    _write(outgoing, "ready", greeting)
    while True:
        try:
            task = pickle.loads(_read(incoming)[1])
        except EOFError:
            return
        allowed = start["memory"] + (start["more"](task) if start.get("more") else 0)
        _limit_memory(held, allowed)
        try:
            for value in work(task):
                _write(outgoing, "item", value)
            # A heap that one file has blown up and scattered would be missing for the next: such a child is replaced.
            _write(outgoing, "done", _private_memory() > held + start["memory"] // 4)
        except MemoryError:
            _limit_memory(held, allowed + (1 << 20))  # room to say so
            _write(outgoing, "memory", f"asked for more than the {allowed >> 20} MiB that {start['work']} may take")
        except Exception as error:  # the boundary: whatever a reader raises is told as this task's failure
            _write(outgoing, "error", f"{type(error).__name__}: {error}")


def _private_streams() -> tuple[BinaryIO, BinaryIO]:
    """The pipes to the parent, moved away from where a library or plugin might read or print."""
    incoming = os.fdopen(os.dup(0), "rb")
    outgoing = os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    os.close(nothing)
    return incoming, outgoing


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
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = held + allowance if most == resource.RLIM_INFINITY else min(held + allowance, most)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))  # the soft limit alone: the next task may have more


def _private_memory() -> int:
    """Bytes of private writable memory, as RLIMIT_DATA counts them; 0 where the system does not tell."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("VmData:")), 0)
