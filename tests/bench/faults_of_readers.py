"""Trials of bench_faults with files and statements of strangers: damaged models beside good ones, hostile SQL, and what
the system was asked for.
"""

from __future__ import annotations

import hashlib
import io
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

import wexport
from tests import hostile_sql
from tests.bench.faults import EXAMPLES, Found, command, run, tell
from wexport.errors import WexportError
from wexport.testing.mutants import mutants

ROOT = Path(__file__).parents[2]
PACKED = ("tests/data/keras3.zip", "tests/data/one_model.zip", "plugins/*/tests/models.zip")
SUFFIXES = (".h5", ".keras", ".safetensors", ".onnx", ".gguf", ".pt", ".pth", ".npz")
SEED_BYTES, SEEDS_OF_A_KIND = 200_000, 3
BATCH = 500
SECRET = "not-for-your-eyes"


def seeds(folder: Path) -> list[Path]:
    """Good small models of every format that there is a file of, by name."""
    by_suffix: dict[str, list[tuple[int, bytes]]] = {}
    for pattern in PACKED:
        for archive in sorted(ROOT.glob(pattern)):
            with zipfile.ZipFile(archive) as packed:
                for info in packed.infolist():
                    if info.file_size <= SEED_BYTES and info.filename.endswith(SUFFIXES):
                        suffix = Path(info.filename).suffix
                        by_suffix.setdefault(suffix, []).append((info.file_size, packed.read(info)))
    values = io.BytesIO()
    np.savez_compressed(values, a=np.arange(12.0).reshape(3, 4), b=np.ones(5, "f4"))
    by_suffix[".npz"] = [(0, values.getvalue())]
    by_suffix.setdefault(".h5", []).extend((0, (EXAMPLES / name).read_bytes()) for name in ("lstm.h5", "gru.h5"))
    found = []
    for suffix, contents in sorted(by_suffix.items()):
        for number, (_, content) in enumerate(sorted(contents, key=lambda each: each[0])[:SEEDS_OF_A_KIND]):
            found.append(folder / f"good_{suffix[1:]}_{number}{suffix}")
            found[-1].write_bytes(content)
    return found


def rows(table: Path) -> dict[str, list[dict[str, Any]]]:
    """The rows of good models, but for where they came from."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in pq.read_table(table).to_pylist():
        if row["model"].startswith("good_"):
            found.setdefault(row["model"], []).append({**row, "source": None, "run": None, "step": None})
    return found


def damaged(folder: Path, number: int) -> Found:
    """Mutants of all seeds, read by the command itself beside the seeds, whose rows stay the same to the last bit."""
    found = Found()
    alone = Path(tempfile.mkdtemp(dir=folder))
    good = seeds(alone)
    run(found, ["ingest", alone, "--out", folder / "good.parquet"])
    expected = rows(folder / "good.parquet")
    share = -(-number // len(good))
    made = ((path, mutant) for path in good for mutant in mutants(path, share))
    for first in range(0, number, BATCH):
        batch = Path(tempfile.mkdtemp(dir=folder))
        count = min(BATCH, number - first)
        for path, mutant in _first(made, count):
            (batch / f"m{mutant.number}_{path.name}").write_bytes(mutant.content)
        for path in good:
            shutil.copy(path, batch)
        run(found, ["ingest", batch, "--out", folder / "all.parquet", "--quiet"], limit=60 + 2.0 * count)
        now = rows(folder / "all.parquet")
        found.lost += len(expected.keys() - now.keys())
        found.unseen += sum(repr(now[name]) != repr(each) for name, each in expected.items() if name in now)
        found.trials += count - 1
        shutil.rmtree(batch)
    tell("damaged models", found)
    return found


def _first(made: Iterator[Any], count: int) -> Iterator[Any]:
    for _, each in zip(range(count), made, strict=False):
        yield each


def statements(folder: Path, number: int) -> Found:
    """Hostile SQL, asked of a session in its process; outside: what was read or written that should not be."""
    found = Found()
    wexport.ingest(EXAMPLES / "lstm.h5", folder / "weights.parquet")
    places = {"table": folder / "weights.parquet", "new": folder / "new", "folder": folder, "name": folder.name}
    for name in ("secret", "csv", "json", "link", "labels"):
        places[name] = folder / f"{name}.csv"
        places[name].write_text(f"secret\n{SECRET}\n" if name != "labels" else "model,fold\nlstm,1\n")
    places["parquet"] = folder / "secret.parquet"
    shutil.copy(folder / "weights.parquet", places["parquet"])
    everything = hostile_sql.WRITING + hostile_sql.LOADING + hostile_sql.READING + hostile_sql.HARMLESS
    before = _tree(folder)
    files = {"labels": places["labels"]}
    with wexport.connect(folder / "weights.parquet", files) as session:
        for statement in hostile_sql.statements(everything)[:number]:
            found.trials += 1
            try:
                said = str(wexport.query(statement.format(**places), session, timeout=20.0).to_pylist())
            except WexportError as error:
                said = str(error)
            found.outside += SECRET in said
        found.outside += _tree(folder) != before
        found.lost += wexport.query("SELECT count(*) AS n FROM tensors", session).to_pylist()[0]["n"] == 0
    tell("hostile SQL", found)
    return found


def _tree(folder: Path) -> dict[str, str]:
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


_OPENED = re.compile(r'open(?:at)?\((?:AT_FDCWD, |\d+(?:<[^>]*>)?, )?"([^"]+)".*\) = \d')
_SOCKET = re.compile(r"socket\(AF_INET6?,|connect\(.*AF_INET")


def traced(folder: Path) -> Found:
    """Which files the system was asked for, and sockets; none outside of what is read, written, or the program's own.

    Only where there is strace.
    """
    found = Found()
    strace = shutil.which("strace")
    if strace is None:
        return found
    work = folder / "work"
    work.mkdir()
    model = work / "a.h5"
    shutil.copy(EXAMPLES / "cnn_seed_1.h5", model)
    shutil.copy(EXAMPLES / "cnn_seed_2.h5", work / "b.h5")
    table = work / "t.parquet"
    own = (sys.prefix, sys.base_prefix, str(ROOT), str(work), "/proc", "/sys", "/dev", "/etc", "/usr", "/lib", "/bin")
    temporary = (tempfile.gettempdir(), "/var/tmp", str(Path.home() / ".cache"), str(Path.home() / ".config"))
    for arguments in (
        ["ingest", work, "--out", table],
        ["query", "models", table],
        ["check", table],
        ["plot", "heatmap", table, "-o", work / "p.png"],
        ["report", table, "-o", work / "r.html"],
        ["diff", model, work / "b.h5"],
    ):
        log = folder / "strace.log"
        subprocess.run(
            [strace, "-f", "-qq", "-e", "trace=open,openat,socket,connect", "-o", log, *command(*arguments)],
            capture_output=True,
            check=False,
        )
        text = log.read_text("utf-8", "replace")
        opened = {name for name in _OPENED.findall(text) if name.startswith("/") and "O_DIRECTORY" not in name}
        strange = sorted(name for name in opened if not name.startswith((*own, *temporary)))
        sockets = _SOCKET.findall(text)
        for each in (*strange, *sockets):
            print(f"    {arguments[0]}: {each}", flush=True)
        found.outside += len(strange) + len(sockets)
        found.trials += 1
    tell("strace", found)
    return found
