"""What `wexport relate` finds among models whose origin is known, and whether its p-value is one.

    python tests/bench/bench_relate.py              # models of bench_verdicts.py, where they were trained
    python tests/bench/bench_relate.py --models FOLDER --pairs 40

Prints for each architecture: copies with shuffled, rescaled or sign-turned units found; strangers (trained apart, from
other starts) that are called related; true relatives that are called related; aligned similarity of strangers beside
that of shuffled values; and a Kolmogorov-Smirnov test of the p-values of strangers against the uniform distribution,
one-sided: how far small p-values come more often than they should.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from wexport.ingestion.inputs import Input
from wexport.plugins.messages import Setup
from wexport.relating.reading import Held, read
from wexport.relating.relate import Comparison

CACHE = Path.home() / ".cache" / "wexport-bench" / "models"
FUNCTION = {"reordered": "reordered", "rescaled": "rescaled", "sign_flipped": "rescaled"}
RELATIVES = ("fine_tuned", "average")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=Path, default=CACHE)
    parser.add_argument("--pairs", type=int, default=45, help="of strangers, for each architecture")
    parser.add_argument("--only", action="append", metavar="ARCHITECTURE")
    arguments = parser.parse_args()
    manifest = json.loads((arguments.models / "manifest.json").read_text())
    by_kind = defaultdict(list)
    for entry in manifest:
        if not entry["illness"] and entry["file"].endswith((".keras", ".h5")) and ".weights" not in entry["file"]:
            by_kind[entry["architecture"]].append(entry)
    print(f"{'':12} {'copies':>7} {'strangers':>10} {'relatives':>10} {'aligned':>8} {'chance':>7} {'pairs':>6} "
          f"{'p<0.05':>7} {'least p':>8} {'KS p':>6}")  # fmt: skip
    everything: list[float] = []
    for kind, entries in sorted(by_kind.items()):
        if arguments.only and kind not in arguments.only:
            continue
        everything += measure(kind, entries, arguments.models, arguments.pairs)
    told("all", everything)


def measure(kind: str, entries: list[dict[str, Any]], folder: Path, most: int) -> list[float]:
    """A line of the table; returns the p-values of strangers."""
    by_name = {entry["model"]: entry for entry in entries}
    wanted = [
        entry
        for entry in entries
        if (entry["origin"] is None and entry["model"].endswith("/base"))
        or (entry["origin"] and entry["origin"]["by"] in (*FUNCTION, *RELATIVES))
    ]  # fmt: skip
    inputs = [Input(folder / entry["file"], True) for entry in wanted]
    held, _ = read(inputs, [entry["model"] for entry in wanted], Setup(()))
    models: dict[str, Held] = {each.name: each for each in held}
    comparison = Comparison()
    copies, relatives = [], []
    for name, model in models.items():
        origin = by_name[name]["origin"]
        source = origin and models.get(by_name[name]["root"])
        if not source:
            continue
        relation = comparison.pair(source, model).relation
        if origin["by"] in FUNCTION:
            copies.append(relation == FUNCTION[origin["by"]])
        else:
            relatives.append(relation in ("related", "same_but"))
    bases = [name for name in models if by_name[name]["origin"] is None]
    pairs = [
        (a, b) for a, b in itertools.combinations(bases, 2) if by_name[a]["start"] != by_name[b]["start"]
    ]  # fmt: skip
    random.Random(15).shuffle(pairs)
    found = [comparison.pair(models[a], models[b]) for a, b in pairs[:most]]
    false = sum(each.relation not in ("strangers", "undecided", "not_comparable") for each in found)
    aligned = [each.aligned_similarity for each in found if each.aligned_similarity is not None]
    chance = [each.null_similarity for each in found if each.null_similarity is not None]
    p_values = [each.p_value for each in found if each.p_value is not None]
    head = (
        f"{kind:12} {sum(copies):>3}/{len(copies):<3} {false:>5}/{len(found):<4} "
        f"{sum(relatives):>5}/{len(relatives):<4} "
        f"{np.mean(aligned) if aligned else np.nan:>8.3f} {max(chance, default=np.nan):>7.3f}"
    )
    told(head, p_values)
    return p_values


def told(head: str, p_values: list[float]) -> None:
    if p_values:
        test = stats.kstest(p_values, "uniform", alternative="greater")
        small = np.mean(np.array(p_values) < 0.05)
        print(f"{head:60} {len(p_values):>6} {small:>7.3f} {min(p_values):>8.1e} {test.pvalue:>6.3f}", flush=True)
    else:
        print(f"{head:60} {0:>6}", flush=True)


if __name__ == "__main__":
    main()
