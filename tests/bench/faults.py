"""What the trials of bench_faults share: what they count, and running commands that are killed and watched."""

from __future__ import annotations

import dataclasses
import hashlib
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

import wexport
from wexport.errors import TableError

EXAMPLES = Path(wexport.__file__).parent / "examples"
LIMIT = 120.0
PYTHON = "-c"
"""Begins what is Python code, not arguments of wexport."""


@dataclasses.dataclass
class Found:
    """What went wrong in a trial, or in several."""

    trials: int = 0
    overwritten: int = 0
    torn: int = 0
    lost: int = 0
    doubled: int = 0
    left_over: int = 0
    tracebacks: int = 0
    hangs: int = 0
    unseen: int = 0
    outside: int = 0
    peak_mib: int = 0

    def add(self, other: Found) -> None:
        for field in dataclasses.fields(self):
            here, there = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, max(here, there) if field.name == "peak_mib" else here + there)

    def wrong(self) -> int:
        return sum(getattr(self, field.name) for field in dataclasses.fields(self)[1:-1])


def command(*arguments: object) -> list[str]:
    words = list(map(str, arguments))
    return [sys.executable, *words] if words[0] == PYTHON else [sys.executable, "-m", "wexport", *words]


def run(
    found: Found,
    arguments: Sequence[object],
    after: float | None = None,
    victim: str = "parent",
    limit: float = LIMIT,
) -> float:
    """Run a command, and kill it, or a child of its, after so many seconds; how long it took."""
    begun = time.monotonic()
    with (
        tempfile.TemporaryFile() as errors,  # a pipe that nobody empties would stop it
        subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=errors) as process,
    ):
        watched = psutil.Process(process.pid)
        done = False
        while process.poll() is None:
            passed = time.monotonic() - begun
            try:
                family = [watched, *watched.children(recursive=True)]
                for each in family:
                    found.peak_mib = max(found.peak_mib, each.memory_full_info().uss >> 20)
                if after is not None and passed >= after and not done:
                    done = True
                    (family[-1] if victim == "child" else watched).send_signal(signal.SIGKILL)
            except (psutil.Error, OSError):
                pass
            if passed > limit:
                found.hangs += 1
                process.kill()
            time.sleep(0.02)
        errors.seek(0)
        said = errors.read()
    found.tracebacks += b"Traceback (most recent" in said
    found.trials += 1
    return time.monotonic() - begun


def digest(paths: Sequence[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


def models_of(target: Path) -> set[str]:
    return set(wexport.query("SELECT DISTINCT model FROM tensors", target)["model"].to_pylist())


def look(found: Found, target: Path, known: set[str]) -> None:
    """What stands at a target now. known: models that it held before."""
    if not target.exists():
        found.lost += len(known)
        return
    try:
        if target.suffix in ("", ".parquet"):
            counts = wexport.query("SELECT model, slot, count(*) AS n FROM tensors GROUP BY ALL", target)
            found.lost += len(known - set(counts["model"].to_pylist()))
            found.doubled += any(number > 1 for number in counts["n"].to_pylist())
        elif target.suffix == ".html":
            found.torn += not target.read_text("utf-8").rstrip().endswith("</html>")
        else:
            found.torn += target.stat().st_size == 0
    except TableError as error:
        empty = target.is_dir() and not list(target.glob("*.parquet"))
        found.torn += not (empty and not known) and "holds no .parquet" not in str(error)


def tell(name: str, found: Found) -> None:
    figures = (getattr(found, field.name) for field in dataclasses.fields(found))
    print(f"{name:18}" + "".join(f"{each:>12}" for each in figures), flush=True)
