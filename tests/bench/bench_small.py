"""Cost of many small models, of one, and of `--help`; and the memory of a 4 GiB tensor.

    python tests/bench/bench_small.py [--count 1000]

The models are copies of a shipped example. "Beyond h5py" is the wall time of ingest, less that of a plain h5py loop
that reads every dataset of the same files, per model, times the cores in use.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
from pathlib import Path

import h5py
import numpy as np
from bench_ingest import READ, peak, timed

EXAMPLE = Path(__file__).parents[2] / "wexport" / "examples" / "cnn_seed_1.h5"
WEXPORT = [sys.executable, "-m", "wexport"]


def median(command: list[str], repeat: int = 5) -> float:
    """Median seconds of several runs."""
    return statistics.median(timed(command) for _ in range(repeat))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "models").mkdir()
        files = [str(shutil.copy(EXAMPLE, folder / "models" / f"m{n:04}.h5")) for n in range(arguments.count)]
        out = ["--out", str(folder / "weights.parquet"), "-q", "-j", str(arguments.jobs)]
        print(f"wexport --help                {median([*WEXPORT, '--help']):7.3f} s")
        one = [*WEXPORT, "ingest", files[0], *out]
        print(f"ingest of one small model     {median(one):7.3f} s   peak {peak(one):.0f} MiB")
        plain = median([sys.executable, "-c", READ, *files])
        many = [*WEXPORT, "ingest", str(folder / "models"), *out]
        seconds = median(many)
        print(f"h5py loop over {arguments.count:5} models   {plain:7.2f} s")
        print(f"ingest of {arguments.count:5} models        {seconds:7.2f} s   peak {peak(many):.0f} MiB")
        beyond = (seconds - plain) / arguments.count * arguments.jobs * 1e3
        print(f"beyond h5py                   {beyond:7.1f} ms per model per core")
        with h5py.File(folder / "large.h5", "w") as file:
            data = file.create_dataset("w", (1 << 15, 1 << 15), "f4")
            for row in range(0, 1 << 15, 1 << 12):
                data[row : row + (1 << 12)] = np.random.default_rng(row).standard_normal((1 << 12, 1 << 15), np.float32)
        large = [*WEXPORT, "ingest", str(folder / "large.h5"), *out]
        print(f"one tensor of 4 GiB           {timed(large):7.2f} s   peak {peak(large):.0f} MiB")


if __name__ == "__main__":
    main()
