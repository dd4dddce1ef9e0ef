"""Wall time and peak memory of queries of the library, as commands, on one table.

    python tests/bench/make_many_models.py FOLDER && wexport ingest FOLDER --out weights.parquet
    python tests/bench/bench_queries.py weights.parquet [--queries models,sparsity,drift,similarity] [--repeat 3]

Each is a process of its own with all its children; the answer goes to a Parquet file, so that no row is left out. The
queries take turns, so that a change in the machine's mood hits all; the table is read once before.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil


def measured(command: list[str]) -> tuple[float, float, float]:
    """Seconds of wall time, seconds of processor time, and peak MiB of the process and its children together.

    Pages that processes share count once (PSS) where the system tells.
    """
    begun, spent = time.perf_counter(), os.times()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    most = [0]

    def watch() -> None:
        me = psutil.Process(process.pid)
        while process.poll() is None:
            with contextlib.suppress(psutil.Error):
                most[0] = max(most[0], sum(_bytes(each) for each in (me, *me.children(recursive=True))))
            time.sleep(0.05)

    watcher = threading.Thread(target=watch)
    watcher.start()
    process.wait()
    seconds = time.perf_counter() - begun
    watcher.join()
    if process.returncode:
        sys.exit(f"{command} failed")
    now = os.times()
    processor = now.children_user + now.children_system - spent.children_user - spent.children_system
    return seconds, processor, most[0] / 2**20


def _bytes(process: psutil.Process) -> int:
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.rss))


def main() -> None:
    """Parse, run in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table")
    parser.add_argument("--queries", default="models,sparsity,drift,similarity")
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    path = Path(options.table)
    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    for file in files:
        with file.open("rb") as opened:
            while opened.read(1 << 24):
                pass
    names = options.queries.split(",")
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in names}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.repeat):
            for name in names:
                command = [sys.executable, "-m", "wexport", "query", name, options.table]
                found[name].append(measured([*command, "--format", "parquet", "--out", f"{folder}/{name}.parquet"]))
    print(f"{options.table}, {sum(file.stat().st_size for file in files) / 1e6:,.0f} MB, {options.repeat} runs in turn")
    for name, runs in found.items():
        wall, processor, memory = zip(*runs, strict=True)
        print(
            f"{name:<14} median {statistics.median(wall):6.2f} s (min {min(wall):.2f}, max {max(wall):.2f})"
            f"  processor {statistics.median(processor):6.2f} s  peak {max(memory):5.0f} MiB"
        )


if __name__ == "__main__":
    main()
