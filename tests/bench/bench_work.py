"""Whole commands, each beside its yardstick in one run: what `bench_speed` prints behind the kernels.

Processor seconds are those of the command and all of its children, which leave out what others take of the machine,
but not the caches that they fill: a figure is worth as much as the yardstick beside it, and ratios are to be compared.
A command and its yardstick take turns; of the runs the least counts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
from bench_ingest import NOTEBOOK, READ, peak
from make_many_models import main as make_many_models

EXAMPLE = Path(__file__).parents[2] / "wexport" / "examples" / "cnn_seed_1.h5"
WEXPORT = (sys.executable, "-m", "wexport")
FEW = 20


def processor(command: Sequence[str]) -> float:
    """Processor seconds of a command and its children."""
    before = os.times()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def wall(command: Sequence[str]) -> float:
    """Seconds on the clock."""
    begun = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begun


class Table:
    """Prints the rows as they are measured. folder: for files. runs: of each command."""

    def __init__(self, folder: Path, runs: int) -> None:
        self._folder, self._runs = folder, runs

    def ingest(self, *paths: str, out: str = "weights.parquet", jobs: int = 1) -> list[str]:
        """A command that reads these into a table that is made anew."""
        shutil.rmtree(self._folder / out, ignore_errors=True)
        return [*WEXPORT, "ingest", *paths, "--out", str(self._folder / out), "--overwrite", "-q", "-j", str(jobs)]

    def table(self) -> str:
        return str(self._folder / "weights.parquet")

    def least(self, *commands: Sequence[str]) -> list[float]:
        """The least processor seconds of each, taking turns."""
        runs = [[processor(command) for command in commands] for _ in range(self._runs)]
        return [min(each) for each in zip(*runs, strict=True)]

    def row(self, work: str, measured: str, yardstick: str = "") -> None:
        print(f"{work:<46}{measured:>14}   {yardstick}", flush=True)

    def against(self, work: str, command: Sequence[str], yardsticks: dict[str, Sequence[str]]) -> None:
        """A command beside others."""
        own, *others = self.least(command, *yardsticks.values())
        for name, other in zip(yardsticks, others, strict=True):
            self.row(work, f"{own:.2f} s", f"x {own / other:.2f} of {name}, {other:.2f} s")

    def per_model(self, count: int) -> None:
        """What a small model costs more, into one file and into a folder, beyond what h5py takes to read it."""
        (self._folder / "models").mkdir()
        files = [str(shutil.copy(EXAMPLE, self._folder / "models" / f"m{n:04}.h5")) for n in range(count)]
        few, many = files[:FEW], files
        found = [
            self.least(self.ingest(*names), self.ingest(*names, out=f"parts{len(names)}/"), [*_python(READ), *names])
            for names in (few, many)
        ]
        one, parts, read = ((b - a) / (count - FEW) * 1e3 for a, b in zip(*found, strict=True))
        self.row("a small model, into a table", f"{one - read:.2f} ms", f"beyond h5py's own {read:.2f} ms")
        self.row(
            "a small model, into a folder", f"{parts - read:.2f} ms", f"x {parts / one:.2f} of a table, all in all"
        )

    def commands(self, file: str) -> None:
        """Whole commands on one small model, beside a Python that does nothing."""
        idle = self.least(_python("pass"))[0]
        processor(self.ingest(file))
        for name, command in {
            "ingest of one small model": self.ingest(file),
            "query models": [*WEXPORT, "query", "models", self.table()],
            "check": [*WEXPORT, "check", self.table()],
            "report of one model": [*WEXPORT, "report", self.table(), "--out", str(self._folder / "one.html")],
            "--help": [*WEXPORT, "--help"],
        }.items():
            seconds = self.least(command)[0]
            self.row(name, f"{seconds:.2f} s", f"x {seconds / idle:.1f} of a Python that does nothing, {idle:.3f} s")

    def many(self, models: int) -> None:
        """Similarity and the report of models of 200 tensors."""
        arguments, sys.argv = sys.argv, ["", str(self._folder / "many"), "--models", str(models)]
        make_many_models()
        sys.argv = arguments
        files = sorted(map(str, (self._folder / "many").iterdir()))
        processor(self.ingest(*files[:FEW], jobs=2))
        report = [*WEXPORT, "report", self.table(), "--out", str(self._folder / "many.html")]
        self.row(f"report of {FEW} models x 200 tensors", f"{wall(report):.2f} s", "on the clock")
        processor(self.ingest(*files, jobs=2))
        similarity = [*WEXPORT, "query", "similarity", self.table()]
        self.row(f"similarity of {models} models x 200 tensors", f"{wall(similarity):.2f} s", "on the clock")


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _write(path: Path, mebibytes: int, kernels: int, **storage: object) -> str:
    rng = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        for number in range(kernels):
            values = rng.standard_normal((mebibytes * 256 // kernels, 1024), np.float32)
            file.create_dataset(f"dense_{number}/kernel", data=values, **storage)
    return str(path)


def work(runs: int, *, whole: bool) -> None:
    """Measure and print all. whole: at the sizes that people have; else at some that take a minute or two."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = Table(folder, runs)
        large = _write(folder / "large.h5", 800 if whole else 128, 8)
        loops = {"a notebook loop": [*_python(NOTEBOOK), large], "only reading": [*_python(READ), large]}
        table.against("large kernels", table.ingest(large), loops)
        packed = _write(folder / "packed.h5", 128 if whole else 32, 1, compression="gzip", shuffle=True)
        table.against("gzip-compressed", table.ingest(packed), {"h5py's read": [*_python(READ), packed]})
        single = _write(folder / "single.h5", 4096 if whole else 256, 1)
        one, two = wall(table.ingest(single)), wall(table.ingest(single, jobs=2))
        table.row("one tensor, 2 children against 1", f"x {one / two:.2f}", f"{one:.2f} s and {two:.2f} s on the clock")
        table.row("memory at most, 2 children", f"{peak(table.ingest(large, single, jobs=2)):.0f} MiB")
        table.per_model(1000 if whole else 120)
        table.commands(str(EXAMPLE))
        table.many(1000 if whole else 40)
