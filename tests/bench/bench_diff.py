"""What `wexport diff` takes, against reading both files with h5py. Run by hand.

    python tests/bench/bench_diff.py FILE FILE
    python tests/bench/bench_diff.py --tensor GIB

The first form compares two files, such as those of make_large_models.py. The second writes two files of one random
float32 tensor each, of this many GiB, the second file with every thousandth value changed, and then the second file
transposed, which takes the way through temporary files. Prints seconds, the ratio to plain reading in the same run, and
the most memory that wexport and its child took together.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

import wexport.differences

ROUNDS = 3
BUFFER = 64 << 20
PLUGIN = """
import dataclasses
import wexport
from wexport.readers import raw_hdf5

(_HDF5,) = raw_hdf5.wexport_readers()

def _open(source):
    model = _HDF5.open(source)
    turned = [dataclasses.replace(tensor, layout=wexport.Layout(permutation=(1, 0))) for tensor in model.tensors]
    return dataclasses.replace(model, tensors=turned)

def _sniff(source):
    return 0.99 if source.path.name.startswith("turned") else 0.0

@wexport.hookimpl
def wexport_readers():
    return [wexport.Reader(name="turned", reads="matrices stored transposed", sniff=_sniff, open=_open)]
"""


def read(path: str) -> int:
    """Read every numeric dataset with h5py, a buffer at a time; returns the bytes."""
    buffer = np.empty(BUFFER, np.uint8)
    total = 0

    def visit(name: str, item: Any) -> None:
        nonlocal total
        if not isinstance(item, h5py.Dataset) or item.dtype.kind not in "fiu" or not item.size:
            return
        total += item.nbytes
        if item.nbytes <= BUFFER:
            item[()]
            return
        rows = max(1, BUFFER // (item.nbytes // len(item)))
        for start in range(0, len(item), rows):
            stop = min(len(item), start + rows)
            target = buffer[: (stop - start) * (item.nbytes // len(item))].view(item.dtype)
            item.read_direct(target.reshape(stop - start, *item.shape[1:]), np.s_[start:stop])

    with h5py.File(path) as file:
        file.visititems(visit)
    return total


def measured(call: Callable[[], Any]) -> tuple[float, int, Any]:
    """Seconds, the most private memory of all processes together, and what the call returns."""
    peak, done = 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        process = psutil.Process()
        while not done.wait(0.02):
            held = 0
            for each in [process, *process.children(recursive=True)]:
                try:
                    held += each.memory_info().rss - each.memory_info().shared
                except psutil.NoSuchProcess:
                    continue
            peak = max(peak, held)

    watcher = threading.Thread(target=watch)
    watcher.start()
    begun = time.perf_counter()
    try:
        result = call()
    finally:
        seconds = time.perf_counter() - begun
        done.set()
        watcher.join()
    return seconds, peak, result


def compare(a: str, b: str, **options: Any) -> None:
    for _ in range(ROUNDS):
        plain, _, size = measured(lambda: read(a) + read(b))
        seconds, peak, found = measured(lambda: wexport.differences.diff(a, b, **options))
        print(
            f"{size / 1e6:,.0f} MB: read {plain:.2f} s, diff {seconds:.2f} s, ratio {seconds / plain:.2f}, "
            f"{peak / 2**20:.0f} MiB; {found.summary()}"
        )


def of_one_tensor(gib: float) -> None:
    rows = int(gib * 2**30 / 4 / 4096)
    with tempfile.TemporaryDirectory(dir=os.environ.get("TMPDIR")) as folder:
        paths = [Path(folder, name) for name in ("a.h5", "b.h5", "turned.h5")]
        random = np.random.default_rng(1)
        files = [h5py.File(path, "w") for path in paths]
        sets = [file.create_dataset("w", (rows, 4096), np.float32) for file in files[:2]]
        sets.append(files[2].create_dataset("w", (4096, rows), np.float32))
        for start in range(0, rows, 4096):
            values = random.standard_normal((min(4096, rows - start), 4096), np.float32)
            stop = start + len(values)
            sets[0][start:stop] = values
            sets[2][:, start:stop] = values.T
            values.reshape(-1)[::1000] += 0.001
            sets[1][start:stop] = values
        for file in files:
            file.close()
        plugin = Path(folder, "turned.py")
        plugin.write_text(PLUGIN)
        for other in paths:
            print(f"a.h5 and {other.name}")
            compare(str(paths[0]), str(other), plugins=[str(plugin)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--tensor", type=float, metavar="GIB")
    arguments = parser.parse_args()
    if arguments.tensor:
        of_one_tensor(arguments.tensor)
    if arguments.files:
        compare(*arguments.files)
