"""What is lost when things go wrong: python tests/bench/bench_faults.py [--kills 40] [--crafted 30] [--flips 200].

Real processes are killed at times spread over their whole work, two write the same table, tables are crafted and
damaged, and disks are full. What is counted after each:

- overwritten: a model or another file changed. torn: a target that is there and cannot be read.
- lost: a model that an earlier run had written and that is gone. doubled: a model that stands there twice.
- left over: files in the making that the next good run leaves. tracebacks, hangs (over LIMIT seconds).
- unseen: figures that are others than those written, and no error. peak: private memory of the largest process.

A line a trial; the last line is their sum. Ends with 1 if any of them is not 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq

import wexport
from tests.crafted_tables import CHANGES, craft
from wexport.errors import TableError
from wexport.files.atomic import SUFFIX
from wexport.table import seal

EXAMPLES = Path(wexport.__file__).parent / "examples"
LIMIT = 120.0


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
    peak_mib: int = 0

    def add(self, other: Found) -> None:
        for field in dataclasses.fields(self):
            here, there = getattr(self, field.name), getattr(other, field.name)
            setattr(self, field.name, max(here, there) if field.name == "peak_mib" else here + there)

    def wrong(self) -> int:
        return sum(getattr(self, field.name) for field in dataclasses.fields(self)[1:-1])


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "wexport", *map(str, arguments)]


def run(found: Found, arguments: Sequence[object], after: float | None = None, victim: str = "parent") -> float:
    """Run a command, and kill it, or a child of its, after so many seconds; how long it took."""
    begun = time.monotonic()
    process = subprocess.Popen(command(*arguments), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
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
        if passed > LIMIT:
            found.hangs += 1
            process.kill()
        time.sleep(0.02)
    said = process.stderr.read() if process.stderr else b""
    found.tracebacks += b"Traceback (most recent" in said
    found.trials += 1
    return time.monotonic() - begun


def digest(paths: Sequence[Path]) -> list[str]:
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]


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


def kills(folder: Path, points: int) -> Found:
    """Kill parents and children at `points` times of each kind of work."""
    models = sorted(EXAMPLES.glob("cnn_seed_*.h5"))
    table = folder / "t.parquet"
    wexport.ingest(models[:2], table)
    sound = wexport.query("SELECT DISTINCT model FROM weights", table)["model"].to_pylist()
    works: dict[str, tuple[list[object], Path, set[str]]] = {
        "a file": (["ingest", *models, "--out", folder / "w.parquet"], folder / "w.parquet", set()),
        "append": (["ingest", *models[2:], "--append", "--out", table], table, set(sound)),
        "a folder": (["ingest", *models, "--out", f"{folder / 'parts'}/"], folder / "parts", set()),
        "report": (["report", table, "-o", folder / "r.html"], folder / "r.html", set()),
        "plot": (["plot", "heatmap", table, "-o", folder / "p.png"], folder / "p.png", set()),
        "query": (
            ["query", "models", table, "--format", "csv", "--out", folder / "q.csv", "--overwrite"],
            folder / "q.csv",
            set(),
        ),
    }
    total = Found()
    before = digest(models)
    for name, (arguments, target, known) in works.items():
        found = Found()
        whole = run(found, arguments)
        for number in range(points):
            after, victim = whole * (number + 0.5) / points, "child" if number % 3 == 2 else "parent"
            there = target.exists()
            run(found, arguments, after, victim)
            if there or target.exists():
                look(found, target, known if name == "append" else set())
        run(found, arguments)
        found.left_over += len(list(folder.rglob(f"*{SUFFIX}"))) + len(list(folder.rglob("*.wexport.lock")))
        look(found, target, known)
        found.overwritten += sum(a != b for a, b in zip(before, digest(models), strict=True))
        tell(f"kills: {name}", found)
        total.add(found)
    return total


def two_writers(folder: Path, tries: int) -> Found:
    """Two processes add to one table: each model that was said to be written is there."""
    found = Found()
    models = sorted(EXAMPLES.glob("cnn_seed_*.h5"))
    for number in range(tries):
        table = folder / f"two_{number}.parquet"
        wexport.ingest(models[0], table)
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        writers = {
            model.stem: subprocess.Popen(command("ingest", model, "--append", "--out", table), **quiet)
            for model in models[1:3]
        }
        ended = {name: writer.wait(LIMIT) for name, writer in writers.items()}
        look(found, table, {models[0].stem, *(name for name, code in ended.items() if code == 0)})
        found.trials += 1
    tell("two writers", found)
    return found


def crafted(folder: Path, number: int) -> Found:
    """Tables that no run makes, given to the report and plots."""
    found = Found()
    sound = folder / "sound.parquet"
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"], sound)
    for place, (_, change) in enumerate(list(CHANGES.values())[:number]):
        table = craft(sound, folder / f"crafted_{place}.parquet", change)
        kind = ("heatmap", "histogram", "gates", "scatter", "filters", "unit-norms")[place % 6]
        run(found, ["plot", kind, table, "-o", folder / "x.png"])
        if place % 5 == 0:
            run(found, ["report", table, "-o", folder / "x.html"])
    tell("crafted tables", found)
    return found


def flips(folder: Path, number: int) -> Found:
    """One bit of a table changes, anywhere in the file."""
    found = Found()
    table, changed = folder / "flip.parquet", folder / "flipped.parquet"
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"], table)
    data, rows = table.read_bytes(), pq.read_table(table)
    rng = np.random.default_rng(0)
    for place in rng.integers(0, len(data), number):
        other = bytearray(data)
        other[place] ^= 1 << int(rng.integers(8))
        changed.write_bytes(other)
        found.trials += 1
        try:
            seal.check(changed)
            found.unseen += not pq.read_table(changed).equals(rows)
        except (TableError, OSError):
            pass
    tell("flipped bits", found)
    return found


def full_disk(folder: Path) -> Found:
    """Standard output on a full disk, for each command."""
    found = Found()
    table = folder / "full.parquet"
    wexport.ingest(EXAMPLES / "lstm.h5", table)
    if Path("/dev/full").exists():
        for arguments in (["query", "models", table], ["inspect", EXAMPLES / "lstm.h5"], ["schema"], ["check", table]):
            with Path("/dev/full").open("w") as full:
                ended = subprocess.run(command(*arguments), stdout=full, stderr=subprocess.PIPE, timeout=LIMIT)
            found.tracebacks += b"Traceback" in ended.stderr
            found.trials += 1
    tell("full disk", found)
    return found


def tell(name: str, found: Found) -> None:
    figures = (getattr(found, field.name) for field in dataclasses.fields(found))
    print(f"{name:18}" + "".join(f"{each:>12}" for each in figures), flush=True)


def bench(points: int, changes: int, bits: int, tries: int = 3) -> Found:
    """All trials; what they found together."""
    total = Found()
    print(f"{'':18}" + "".join(f"{field.name:>12}" for field in dataclasses.fields(total)))
    parts: list[Callable[[Path], Found]] = [
        lambda folder: kills(folder, points),
        lambda folder: two_writers(folder, tries),
        lambda folder: crafted(folder, changes),
        lambda folder: flips(folder, bits),
        full_disk,
    ]
    for part in parts:
        folder = Path(tempfile.mkdtemp(prefix="wexport-faults-"))
        try:
            total.add(part(folder))
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    tell("all", total)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=40, help="points of time of each kind of work")
    parser.add_argument("--crafted", type=int, default=len(CHANGES))
    parser.add_argument("--flips", type=int, default=1_000)
    options = parser.parse_args()
    os.chdir(Path(__file__).parents[2])
    sys.exit(1 if bench(options.kills, options.crafted, options.flips).wrong() else 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))
    main()
