"""What is lost when things go wrong: python tests/bench/bench_faults.py [--only kills --kills 5].

Real processes are killed at times spread over their whole work, two write the same table, tables are crafted and
damaged, models are damaged beside good ones, SQL is hostile, and disks are full. What is counted after each:

- overwritten: a model or another file changed. torn: a target that is there and cannot be read.
- lost: a model that an earlier run had written and that is gone. doubled: a model that stands there twice.
- left over: files in the making that the next good run leaves. tracebacks, hangs (over LIMIT seconds).
- unseen: figures that are others than those written, and no error. outside: files read or written that are none of
  the command's business, and sockets. peak: private memory of the largest process.

A line a trial; the last line is their sum. Ends with 1 if any of them is not 0.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

sys.path.insert(0, str(Path(__file__).parents[2]))

import wexport
from tests.bench import faults_of_readers
from tests.bench.faults import EXAMPLES, LIMIT, PYTHON, Found, command, digest, look, models_of, run, tell
from tests.crafted_tables import CHANGES, craft
from wexport.errors import TableError
from wexport.files.atomic import SUFFIX
from wexport.table import seal

SNAPSHOTS = """
import sys, numpy as np, wexport
for step in range(1, 5):
    tensor = wexport.Tensor.of_array("w", np.full((50, 50), float(step)))
    model = wexport.Model(format="memory", tensors=[tensor])
    wexport.ingest_model(model, sys.argv[1] + "/", name=f"run/epoch_{step:04}", append=True)
"""
"""Models in memory, one after the other, into one folder, as training writes them."""


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
        "compact": (
            ["compact", folder / "parts", "--out", folder / "c.parquet"],
            folder / "c.parquet",
            {model.stem for model in models},
        ),
        "snapshots": ([PYTHON, SNAPSHOTS, folder / "run"], folder / "run", set()),
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
        if target.suffix in ("", ".parquet"):
            known = known | models_of(target)
        for number in range(points):
            after, victim = whole * (number + 0.5) / points, "child" if number % 3 == 2 else "parent"
            run(found, arguments, after, victim)
            look(found, target, known)
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


def bench(parts: list[Callable[[Path], Found]]) -> Found:
    """All trials; what they found together."""
    total = Found()
    print(f"{'':18}" + "".join(f"{name:>12}" for name in Found.__dataclass_fields__))
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
    parser.add_argument("--kills", type=int, default=63, help="points of time of each of 8 kinds of work")
    parser.add_argument("--writers", type=int, default=12)
    parser.add_argument("--crafted", type=int, default=len(CHANGES))
    parser.add_argument("--flips", type=int, default=1_000)
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--statements", type=int, default=1_000, help="at most; there are some 300")
    parser.add_argument("--only", nargs="*", metavar="TRIAL", help="by the names of these options, disks and strace")
    options = parser.parse_args()
    os.chdir(Path(__file__).parents[2])
    parts: dict[str, Callable[[Path], Found]] = {
        "kills": lambda folder: kills(folder, options.kills),
        "writers": lambda folder: two_writers(folder, options.writers),
        "crafted": lambda folder: crafted(folder, options.crafted),
        "flips": lambda folder: flips(folder, options.flips),
        "mutants": lambda folder: faults_of_readers.damaged(folder, options.mutants),
        "statements": lambda folder: faults_of_readers.statements(folder, options.statements),
        "disks": full_disk,
        "strace": faults_of_readers.traced,
    }
    chosen = [part for name, part in parts.items() if not options.only or name in options.only]
    sys.exit(1 if bench(chosen).wrong() else 0)


if __name__ == "__main__":
    main()
