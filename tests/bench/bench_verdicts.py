"""How often is what wexport concludes true? Of findings and relations, on models whose state and origin are known.

    python tests/bench/bench_verdicts.py [--models FOLDER] [--half development|held-out|both] [-o PAGE.md]

Prints a page of Markdown; `--help` has more options. The models are trained once, in about twenty minutes and an
environment of their own, into FOLDER, by default wexport-bench/models in the user's cache folder. Tune rules on the
development half and report the held-out one. Needs wexport in the environment that runs it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator, Mapping
from pathlib import Path

from verdicts import asked, collection, page, scored
from verdicts.collection import HALVES, MANIFEST, Entry

import wexport

PACKAGES = ("keras==3.15.1", "jax==0.10.2", "h5py", "ml_dtypes")
HERE = Path(__file__).parent
INTRODUCTION = """# How often is what wexport concludes true?

Made by `python tests/bench/bench_verdicts.py{options}` with wexport {version},
on models whose state and origin are known.
`tests/bench/verdicts/README.md` says how they are made, what the columns mean, and what this does not prove."""
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "wexport-bench")


def environment(folder: Path) -> Path:
    """The Python of a virtual environment that can train; it is made where it is missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"making an environment in {folder}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)
    return python


def train(folder: Path, python: Path) -> None:
    """Make the models that are not there yet."""
    # The networks are so small that more threads cost more than they bring.
    alone = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "OPENBLAS_NUM_THREADS": "1"}
    call: list[str | Path] = [python.absolute(), "-m", "verdicts.make", folder.resolve()]
    subprocess.run(call, cwd=HERE, env=os.environ | alone, check=True, stdout=sys.stderr)


def judged(
    folder: Path, half: str, entries: list[Entry], keep: Path | None, *, with_relate: bool = True
) -> Iterator[str]:
    """The page's parts about one half."""
    expected, healthy = scored.Expected.read(), [entry.model for entry in entries if entry.illness is None]
    with tempfile.TemporaryDirectory() as temporary:
        table = asked.ingest(folder, entries, (keep or Path(temporary)) / f"{half}.parquet")
        told, odd = asked.findings(table, entries), asked.odd_ones(table)
        said = {"the table alone": asked.by_queries(table)}
    if with_relate and asked.has_relate():
        said["`relate`"] = asked.by_relate(folder, entries)
    sick, loud = scored.sicknesses(entries, told, expected), scored.alarms(entries, told)
    pairs = {by: scored.relations(entries, rows, expected) for by, rows in said.items()}
    yield f"\n## The {half} half\n"
    yield page.summary(half, sick, loud, len(healthy), pairs, expected)
    yield "\n### Models\n"
    yield page.contents(entries)
    yield "\n### Illnesses\n"
    yield page.illnesses(sick, expected)
    yield "\n### Findings\n"
    yield page.findings(scored.findings(entries, told, expected))
    yield "\n### Healthy models that are told to be sick\n"
    yield page.alarms(loud, len(healthy))
    wrongly = sorted(set(odd) & set(healthy))
    yield f"\nHealthy models called the odd one out: {len(wrongly)}. {', '.join(wrongly[:20])}"
    for by, found in pairs.items():
        yield f"\n### Relations, by {by}\n"
        yield page.relations(found)
        yield from _figures(entries, said[by])
        yield f"\n### Verdicts, by {by}\n"
        yield page.verdicts(found)
        yield f"\n### False claims, by {by}\n"
        yield page.false_claims(found)


def _figures(entries: list[Entry], said: Mapping[asked.Pair, asked.Related]) -> Iterator[str]:
    """What the figures beside the relations are worth."""
    for name in ("similarity", "aligned_similarity"):
        area, high, low = scored.separation(entries, said, name)
        if area is not None:
            yield f"\nDescent told from strangers by {name}: AUROC {area:.4f} ({high} and {low} pairs)."
    if (spread := scored.uniformity(entries, said)) is not None:
        count, least, distance, chance = spread
        yield (
            f"\np-values of {count} pairs of healthy strangers: least {least:.2g}, Kolmogorov-Smirnov distance from "
            f"uniform {distance:.3f} (by chance with p = {chance:.2g})."
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=CACHE / "models", metavar="FOLDER")
    parser.add_argument("--python", type=Path, help="a Python with Keras and JAX, in place of an environment made here")
    parser.add_argument("--half", choices=(*HALVES, "both"), default="both")
    parser.add_argument("--architecture", nargs="*", help="only these")
    parser.add_argument("--without-relate", action="store_true", help="ask the table alone, in minutes")
    parser.add_argument("--tables", type=Path, metavar="FOLDER", help="keep the tables of the models here")
    parser.add_argument("-o", "--out", type=Path, metavar="PAGE.md")
    options = parser.parse_args()
    if not (options.models / MANIFEST).exists():
        train(options.models, options.python or environment(CACHE / "environment"))
    entries = collection.read(options.models / MANIFEST)
    given = f" --half {options.half}" if options.half != "both" else ""
    given += " --without-relate" if options.without_relate else ""
    lines = [INTRODUCTION.format(version=wexport.__version__, options=given)]
    for half in HALVES if options.half == "both" else (options.half,):
        mine = [e for e in entries if e.half == half and e.architecture in (options.architecture or {e.architecture})]
        lines += judged(options.models, half, mine, options.tables, with_relate=not options.without_relate)
    text = "\n".join(lines) + "\n"
    if options.out:
        options.out.write_text(text, "utf-8")
    else:
        print(text)


if __name__ == "__main__":
    main()
