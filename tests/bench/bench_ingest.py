"""Wall time and peak memory of ingest beside two loops that people write, in one run.

    python tests/bench/bench_ingest.py FOLDER [--repeat 5]

(a) an h5py loop that only reads every dataset; (b) the usual notebook loop: h5py, then NumPy mean, std, min, max,
norm, share of zeros, 7 quantiles and a 64-bin histogram of each tensor; (c) `wexport ingest`, everything included.
Each runs as a process of its own, in turn, so that a change in the machine's mood hits all three; the files are read
once before.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

READ = """
import sys, h5py
def visit(name, item):
    if isinstance(item, h5py.Dataset):
        item[()]
for path in sys.argv[1:]:
    with h5py.File(path) as file:
        file.visititems(visit)
"""

NOTEBOOK = """
import sys, h5py, numpy as np
rows = []
def visit(name, item):
    if isinstance(item, h5py.Dataset):
        w = item[()]
        rows.append((name, w.mean(), w.std(), w.min(), w.max(), np.linalg.norm(w), (w == 0).mean(),
                     np.quantile(w, [.01, .05, .25, .5, .75, .95, .99]), np.histogram(w, 64)))
for path in sys.argv[1:]:
    with h5py.File(path) as file:
        file.visititems(visit)
"""


def timed(command: list[str]) -> float:
    """Seconds of wall time."""
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


def peak(command: list[str]) -> float:
    """Peak resident MiB of a process and its children together; shared pages count once for each.

    Looking is work too, so this is a run of its own that is not timed.
    """
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    me = psutil.Process(process.pid)
    most = 0
    while process.poll() is None:
        with contextlib.suppress(psutil.Error):
            most = max(most, sum(each.memory_info().rss for each in (me, *me.children(recursive=True))))
        time.sleep(0.01)
    if process.returncode:
        sys.exit(f"{command[:3]} failed")
    return most / 2**20


def main() -> None:
    """Parse, run in turn, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    files = sorted(str(path) for path in arguments.folder.iterdir() if path.suffix == ".h5")
    for file in files:
        Path(file).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        wexport = [
            sys.executable,
            "-m",
            "wexport",
            "ingest",
            "-q",
            "-j",
            str(arguments.jobs),
        ]
        commands = {
            "(a) h5py, read only": [sys.executable, "-c", READ, *files],
            "(b) notebook loop": [sys.executable, "-c", NOTEBOOK, *files],
            "(c) wexport ingest": [*wexport, *files, "--out", f"{folder}/weights.parquet"],
        }
        found: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.repeat):
            for name, command in commands.items():
                found[name].append(timed(command))
        memory = {name: peak(command) for name, command in commands.items()}
    size = sum(Path(file).stat().st_size for file in files)
    print(f"{len(files)} files, {size / 1e6:.0f} MB, {arguments.repeat} runs in turn, {arguments.jobs} jobs")
    middle = {name: statistics.median(seconds) for name, seconds in found.items()}
    for name, seconds in found.items():
        print(
            f"{name:<20} median {middle[name]:5.2f} s (min {min(seconds):.2f}, max {max(seconds):.2f})"
            f"  peak {memory[name]:4.0f} MiB"
            f"  = (a) x {middle[name] / middle['(a) h5py, read only']:.2f}"
            f"  = (b) / {middle['(b) notebook loop'] / middle[name]:.1f}"
        )


if __name__ == "__main__":
    main()
