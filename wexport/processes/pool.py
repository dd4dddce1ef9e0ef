"""Work on untrusted files in child processes with budgets of time and memory.

A child lives long and takes one task at a time; if it crashes, hangs or asks for too much memory, that costs its
task and the child is replaced.
"""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import Any

from wexport.errors import WexportError
from wexport.processes.child import Child, Worker

MEMORY_BYTES = 112 << 20
"""What a child may allocate beyond what it holds when it is ready."""
BUFFERED_BYTES = 12 << 20
"""How much of finished work may wait for its turn in the parent."""
KILLED_WHILE_LOADING = 3
"""How often in a row a child may be killed from outside, as for want of memory, before nobody tries again."""
START_SECONDS = 60.0
"""How long a child may take to load the plugins."""
LOST = ("crashed", "killed", "timed out", "memory")
"""Failures of which the child does not live on."""
BLAMED = ("crashed", "timed out", "memory")
"""Those that are somebody's fault in the child."""
LOOK_AHEAD = 64
"""How many tasks past the oldest unfinished one may be handed out."""


@dataclass(frozen=True, slots=True)
class Item:
    """Something that a task yielded. size: bytes it took on the wire."""

    task: int
    value: Any
    size: int


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a task.

    failure: None, or why it failed: "crashed", "killed" (from outside), "timed out", "memory", "error", or "unready",
    with the `error` that its preparation raised. reason: in words.
    """

    task: int
    failure: str | None = None
    reason: str = ""
    error: WexportError | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """The setup with which to try once more what a child was lost over. stays: whether all later children have it."""

    setup: Any
    stays: bool


class Pool:
    """Runs many tasks in child processes, and yields what is said of them in task order.

    worker: what each child calls once with `setup`; it gives a greeting and what does the tasks, see `child.Worker`.
    budget_of: which budget a task draws on, and the seconds that all tasks of that budget may take together.
    quiet_of: seconds of processor time that a task may take before a word of it is heard; None for any.
    memory: bytes that a child may allocate beyond what it holds when it is ready. more: called in the child, a function
        of a module: bytes that a task may have besides.
    around: entered before a task is handed out, in a thread of its child's, and left when it has ended; it may wait for
        what the task needs, and raises WexportError where that does not come.
    spare: called when a child was lost, with the setup, the words that it left with `breadcrumb`, and how it was lost;
        says with which setup to try the same once more, or None where nobody but the task is to blame.
    """

    def __init__(
        self,
        worker: Worker,
        *,
        jobs: int,
        setup: Any,
        budget_of: Callable[[Any], tuple[Hashable, float]],
        memory: int = MEMORY_BYTES,
        more: Callable[[Any], int] | None = None,
        quiet_of: Callable[[Any], float | None] = lambda task: None,
        spare: Callable[[Any, tuple[str, ...], str], Retry | None] = lambda setup, stage, loss: None,
        around: Callable[[Any], AbstractContextManager[None]] = lambda task: nullcontext(),
    ) -> None:
        self._start = {
            "worker": worker,
            "setup": setup,
            "memory": memory,
            "more": more,
            "work": "reading a file",
        }
        self._jobs, self._budget_of, self._spare = jobs, budget_of, spare
        self._quiet_of, self._around = quiet_of, around
        self._left: dict[Hashable, float] = {}
        self._lock = threading.Condition()
        self._stop = False
        self._children: list[Child] = []
        self._waiting: list[Child] = []
        self._greeted: list[Child] = []
        self._greeting: bytes | None = None
        self._threads: list[threading.Thread] = []

    def warm(self, tasks: int) -> None:
        """Start the children that `tasks` tasks will need; they load while the caller does other things."""
        for _ in range(min(self._jobs, tasks)):
            self._waiting.append(self._born(self._start))

    def greeting(self) -> Any:
        """The greeting of the first child that is ready. Waits for it; starts one if there is none."""
        if self._threads:  # they greet the children
            with self._lock:
                while self._greeting is None and not self._errors and not self._stop:
                    self._lock.wait(0.5)
                if self._greeting is None:
                    raise self._errors[0] if self._errors else WexportError("stopped before the end")
        elif self._greeting is None:
            watch = threading.Thread(target=self._watch, daemon=True)
            self._threads = [watch]
            watch.start()
            self._greeted.append(self._spawn())
            self._threads = []
        assert self._greeting is not None
        return pickle.loads(self._greeting)

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
                # Unpickled in the caller's thread: a module that two threads load at once can be seen half made.
                for event in events:
                    yield Item(event.task, pickle.loads(event.value), event.size) if isinstance(event, Item) else event
        finally:
            self.close()

    def close(self) -> None:
        """Stop at once: every child is killed."""
        with self._lock:
            self._stop = True
            children, self._children = self._children, []
            waiting, self._waiting = [*self._waiting, *self._greeted], []
            self._lock.notify_all()
        for child in children:
            child.kill()
        for child in waiting:
            child.finish()
        for thread in self._threads:
            if thread.ident is not None:  # Ctrl-C may come between two starts
                thread.join(2.0)

    def _serve(self) -> None:
        """One thread per child: hands out tasks and collects what comes back."""
        child: Child | None = None
        try:
            while (task := self._take()) is not None:
                if child is None:
                    child = self._spawn()
                with ExitStack() as prepared:
                    try:
                        prepared.enter_context(self._around(self._tasks[task]))
                    except WexportError as error:
                        self._put(Done(task, "unready", str(error), error))
                        continue
                    outcome = self._converse(child, task)
                    if outcome.failure in LOST or child.heap_grew:
                        again = self._spared(child, outcome.reason) if outcome.failure in BLAMED else None
                        self._discard(child)
                        child = None
                        if again is not None:
                            outcome = self._once_more(task, again)
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

    def _spawn(self, start: dict[str, Any] | None = None) -> Child:
        """A child that is ready; a new one for `start`. One that dies loading is replaced where `spare` knows how."""
        child, killed = None, 0
        if start is None:
            with self._lock:
                if self._greeted:
                    return self._greeted.pop()
                child = self._waiting.pop() if self._waiting else None
        while True:
            child = child or self._born(start or self._start)
            child.deadline = time.monotonic() + START_SECONDS
            try:
                _, greeting = child.receive()  # it says that it is ready; loading is not charged to any file
            except EOFError:
                loss = f"took longer than {START_SECONDS:g} s" if child.timed_out else child.exit_reason()
                loss += _while(child)
                killed += child.was_killed()
                again = child.start if child.was_killed() and killed < KILLED_WHILE_LOADING else None
                start = again or self._spared(child, loss)
                self._discard(child)
                child = None
                if self._stop or start is None:
                    raise WexportError(
                        f"a process to read files with did not start: {loss}",
                        hint="a plugin may be at fault: try without --plugin, and see `wexport plugins`",
                    ) from None
            else:
                child.deadline = None
                with self._lock:
                    self._greeting = greeting
                    self._lock.notify_all()
                return child

    def _born(self, start: dict[str, Any]) -> Child:
        child = Child(start, staged=True)
        with self._lock:
            if self._stop:
                child.kill()
            self._children.append(child)
        return child

    def _discard(self, child: Child) -> None:
        with self._lock:
            if child in self._children:
                self._children.remove(child)
        child.finish()

    def _spared(self, child: Child, loss: str) -> dict[str, Any] | None:
        """How to start a child that tries once more what this one was lost over; None if nobody but the task is to
        blame.
        """
        with self._lock:
            spared = self._spare(child.start["setup"], child.stage(), loss)
            if spared is None:
                return None
            start = {**child.start, "setup": spared.setup}
            if spared.stays:
                self._start = start
            return start

    def _once_more(self, task: int, start: dict[str, Any]) -> Done:
        with self._lock:
            self._left.pop(self._budget_of(self._tasks[task])[0], None)
        child = self._spawn(start)
        try:
            return self._converse(child, task)
        finally:
            self._discard(child)

    def _converse(self, child: Child, task: int) -> Done:
        budget, allowed = self._budget_of(self._tasks[task])
        left, quiet = self._left.get(budget, allowed), self._quiet_of(self._tasks[task])
        try:
            child.send(self._tasks[task])
            while True:
                begun = time.monotonic()
                child.listen(quiet)
                child.deadline = begun + left
                kind, data = child.receive()
                child.deadline = child.quiet = None
                left -= time.monotonic() - begun
                self._left[budget] = left
                if kind == "item":
                    self._put(Item(task, data, len(data)))
                elif kind == "done":
                    child.heap_grew = pickle.loads(data)
                    return Done(task)
                else:
                    return Done(task, kind, pickle.loads(data) + _while(child))
        except (EOFError, OSError, pickle.UnpicklingError):
            if child.timed_out:
                self._left[budget] = 0.0
                took = f"worked for {quiet:g} s without progress" if child.stuck else f"took longer than {allowed:g} s"
                return Done(task, "timed out", f"{took}{_while(child)}")
            reason = child.exit_reason() + _while(child)
            return Done(task, "killed" if child.was_killed() else "crashed", reason)

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
                if deadline is not None and now < deadline:
                    child.stuck = child.is_stuck()
                if deadline is not None and (now > deadline or child.stuck):
                    child.timed_out = True
                    child.kill()


def _while(child: Child) -> str:
    """What a child was at, as it said."""
    stage = child.stage()
    return f" while {stage[-1]}" if stage else ""
