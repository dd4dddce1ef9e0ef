"""Children that crash, hang, hoard memory or raise cost their own task and nothing else."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT
from wexport.processes import forkserver
from wexport.processes import pool as isolate


def work(task: tuple[str, Any]) -> Iterator[Any]:
    """What the children run."""
    what, value = task
    if what == "segfault":
        yield "before"
        ctypes.string_at(0)
    elif what == "exit":
        os._exit(7)
    elif what == "hang":
        while True:
            time.sleep(0.01)
    elif what == "spin":
        while True:
            sum(range(10_000))
    elif what == "hoard":
        yield len(bytearray(value))
    elif what == "raise":
        raise ValueError(value)
    elif what == "connect":
        with socket.socket() as one:
            yield one.connect_ex(("127.0.0.1", value))
    elif what == "print":
        print("noise on standard output")
        os.write(1, b"more noise")
        yield value
    elif what == "big":
        for _ in range(value):
            yield bytes(1 << 20)
    elif what == "variables":
        yield sorted(set(os.environ) & set(value))
    elif what == "witness":
        yield Witness()
    else:
        yield value
        yield os.getpid()


def worker(setup: Any) -> Any:
    """Called in each child."""
    return setup, work


def where_it_is_made() -> int:
    """What `Witness` is unpickled to: the thread that did it."""
    return threading.get_ident()


class Witness:
    """Tells in which thread it was unpickled."""

    def __reduce__(self) -> Any:
        return where_it_is_made, ()


def run(
    tasks: list[tuple[str, Any]], *, jobs: int = 2, timeout: float = 20.0
) -> dict[int, tuple[list[Any], isolate.Done]]:
    pool = isolate.Pool(
        worker,
        jobs=jobs,
        setup=None,
        budget_of=lambda task: (id(task), timeout),
    )
    found: dict[int, tuple[list[Any], isolate.Done]] = {}
    items: list[Any] = []
    for event in pool.run(tasks):
        if isinstance(event, isolate.Done):
            assert event.task == len(found), "tasks end in order"
            found[event.task] = (items, event)
            items = []
        else:
            items.append(event.value)
    return found


def more(task: tuple[str, Any]) -> int:
    """What a task may have besides."""
    return 2 << 30 if task[0] == "hoard" else 0


@pytest.mark.skipif(not forkserver.AVAILABLE, reason="processor time is told on Linux")
def test_work_without_a_word_is_ended_early() -> None:
    pool = isolate.Pool(worker, jobs=1, setup=None, budget_of=lambda task: (id(task), 600.0), quiet_of=lambda task: 0.5)
    *_, spun, echoed = [event for event in pool.run([("spin", None), ("echo", 1)]) if isinstance(event, isolate.Done)]
    assert (spun.failure, spun.reason) == ("timed out", "worked for 0.5 s without progress")
    assert echoed.failure is None


@pytest.mark.skipif(not forkserver.AVAILABLE, reason="memory is limited on Linux")
def test_a_task_may_have_more_memory_than_the_next() -> None:
    pool = isolate.Pool(worker, jobs=1, setup=None, budget_of=lambda task: (id(task), 60.0), more=more)
    tasks = [("hoard", 1 << 30), ("big", 1), ("hoard", 1 << 32)]
    done = [event for event in pool.run(tasks) if isinstance(event, isolate.Done)]
    assert [event.failure for event in done] == [None, None, "memory"]
    assert "2160 MiB" in done[2].reason


def knows_connections() -> bool:
    """Whether the kernel can forbid them; asked in another process, which it is then forbidden to."""
    code = "from wexport.processes.landlock import forbid_connections; print(forbid_connections())"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout.strip() == b"True"


def test_a_child_makes_no_connection() -> None:
    if not knows_connections():
        pytest.skip("this system has no Landlock of version 4")
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = run([("connect", server.getsockname()[1])])
    assert found[0][0] == [errno.EACCES]


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_results_come_in_the_order_of_the_tasks() -> None:
    found = run([("echo", number) for number in range(200)])
    assert [items[0] for items, _ in found.values()] == list(range(200))
    assert all(done.failure is None for _, done in found.values())
    assert len({items[1] for items, _ in found.values()}) <= 2, "children live long"


@pytest.mark.parametrize(
    ("what", "failure", "reason"),
    [
        (("segfault", None), "crashed", "SIGSEGV"),
        (("exit", None), "crashed", "exit code 7"),
        (("hang", None), "timed out", "longer than 5 s"),
        (("raise", "no luck"), "error", "ValueError: no luck"),
        (("hoard", 1 << 30), "memory", "MiB"),
    ],
)
def test_a_bad_task_is_one_named_failure_and_the_others_go_on(what: tuple[str, Any], failure: str, reason: str) -> None:
    found = run([("echo", 0), what, ("echo", 1), what, *[("echo", number) for number in range(2, 20)]], timeout=5.0)
    for task in (1, 3):
        assert found[task][1].failure == failure
        assert reason in found[task][1].reason
    assert [items[0] for task, (items, _) in found.items() if task not in (1, 3)] == list(range(20))


def test_what_a_child_prints_does_not_break_the_talk() -> None:
    assert run([("print", 5)])[0][0] == [5]


def test_children_get_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = ["AWS_SECRET_ACCESS_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "HF_TOKEN", "db_password", "OPENAI_API_KEY"]
    others = ["WEXPORT_KERNEL", "KEYBOARD", "TOKENIZERS_PARALLELISM"]
    for name in (*secrets, *others):
        monkeypatch.setenv(name, "x")
    assert run([("variables", secrets + others)])[0][0] == [sorted(others)]


def test_finished_work_waits_in_the_children_not_in_the_parent() -> None:
    pool = isolate.Pool(
        worker,
        jobs=3,
        setup=None,
        budget_of=lambda task: (id(task), 60.0),
    )
    total = 0
    tracemalloc.start()
    try:
        for event in pool.run([("big", 100)] * 4):
            if isinstance(event, isolate.Item):
                total += len(event.value)
                time.sleep(0.001)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert total == 400 << 20
    assert peak < isolate.BUFFERED_BYTES + (32 << 20)


def test_values_are_made_in_the_caller_s_thread() -> None:
    """There, modules that they need are loaded; loading numpy in two threads at once once failed in one run of 200."""
    found = run([("witness", None)] * 4)
    assert {items[0] for items, _ in found.values()} == {threading.get_ident()}


def test_leaving_early_ends_the_children_at_once() -> None:
    events = isolate.Pool(
        worker,
        jobs=2,
        setup=None,
        budget_of=lambda task: (id(task), 60.0),
    ).run([("echo", 0), ("hang", None), ("hang", None)])
    next(events)
    begun = time.monotonic()
    events.close()  # type: ignore[attr-defined]  # it is a generator
    # What is left is at most the servers that children are forked from, which have none.
    while at_work() and time.monotonic() - begun < 30:
        time.sleep(0.01)
    assert not at_work(), "what hangs may take 60 seconds"


def at_work() -> list[psutil.Process]:
    """The children of this process; where they are forked, those of its servers."""
    family = psutil.Process().children(recursive=True)
    return [each for each in family if each.ppid() != os.getpid()] if forkserver.AVAILABLE else family
