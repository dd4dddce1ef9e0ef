"""What `wexport relate` finds among models whose origin is known, and whether its p-value is one.

    python tests/bench/bench_relate.py              # models of bench_verdicts.py, where they were trained
    python tests/bench/bench_relate.py --models FOLDER --pairs 40

Prints for each architecture: copies with shuffled, rescaled or sign-turned units found, and how far the worst of their
similarities is from 1; strangers (trained apart, from other starts) that are called related; true relatives (fine-tuned
or averaged) that are called so; aligned similarity of strangers beside that of shuffled values; the AUROC of the
p-values of relatives against those of strangers; and a Kolmogorov-Smirnov test of the p-values of strangers against
the uniform distribution, one-sided: how far small p-values come more often than they should. Then the coefficients of
averages: the largest error.
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

from wexport.analysis.averages import averages as of_values
from wexport.ingestion.inputs import Input
from wexport.model.roles import NON_TRAINED
from wexport.plugins.messages import Setup
from wexport.relating.reading import Held, read
from wexport.relating.relate import Comparison

CACHE = Path.home() / ".cache" / "wexport-bench" / "models"
FUNCTION = {"reordered": "reordered", "rescaled": "rescaled", "sign_flipped": "rescaled"}
RELATIVES = ("fine_tuned", "average")
KIN = ("same_but", "same_run", "fine_tuned", "same_start", "close", "related")
NO_KIN = ("strangers", "undecided", "not_aligned", "not_comparable")


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
    print(f"{'':12} {'copies':>7} {'off 1':>8} {'strangers':>10} {'kin':>8} {'aligned':>8} {'chance':>7} {'AUROC':>6} "
          f"{'pairs':>6} {'p<0.05':>7} {'least p':>8} {'KS p':>6}")  # fmt: skip
    everything: list[float] = []
    kin: list[float] = []
    errors: list[float] = []
    for kind, entries in sorted(by_kind.items()):
        if arguments.only and kind not in arguments.only:
            continue
        apart, close = measure(kind, entries, arguments.models, arguments.pairs, errors)
        everything += apart
        kin += close
    told(f"{'all':44} {'':>8} {'':>7} {auroc(kin, everything):>6.4f}", everything)
    if errors:
        print(f"coefficients of {len(errors)} averages: largest error {max(errors):.1e}")


def auroc(kin: list[float], apart: list[float]) -> float:
    """How often a relative has a smaller p-value than a stranger; ties count half."""
    if not kin or not apart:
        return float("nan")
    u = stats.mannwhitneyu(kin, apart, alternative="less").statistic
    return 1 - float(u) / (len(kin) * len(apart))


def measure(
    kind: str, entries: list[dict[str, Any]], folder: Path, most: int, errors: list[float]
) -> tuple[list[float], list[float]]:
    """A line of the table; returns the p-values of strangers and of relatives. errors: of averages are added."""
    by_name = {entry["model"]: entry for entry in entries}
    wanted = [
        entry
        for entry in entries
        if (entry["origin"] is None and entry["model"].endswith("/base"))
        or (entry["origin"] and entry["origin"]["by"] in (*FUNCTION, *RELATIVES))
        or any(entry["model"] in (other["origin"] or {}).get("models", ()) for other in entries if other["origin"]
               and other["origin"]["by"] == "average")
    ]  # fmt: skip
    inputs = [Input(folder / entry["file"], True) for entry in wanted]
    held, _ = read(inputs, [entry["model"] for entry in wanted], Setup(()))
    models: dict[str, Held] = {each.name: each for each in held}
    comparison = Comparison()
    copies, relatives, off, kin = [], [], [0.0], []
    for name, model in models.items():
        origin = by_name[name]["origin"]
        source = origin and models.get(by_name[name]["root"])
        if not source or origin["by"] not in (*FUNCTION, *RELATIVES):
            continue
        pair = comparison.pair(source, model)
        if origin["by"] in FUNCTION:
            copies.append(pair.relation == FUNCTION[origin["by"]])
            off.append(1 - (pair.aligned_similarity or 0))
        else:
            relatives.append(pair.relation in KIN)
            kin += [] if pair.p_value is None else [pair.p_value]
        if origin["by"] == "average" and all(each in models for each in origin["models"]):
            errors += averages_error(model, [models[each] for each in origin["models"]], origin["coefficients"])
    bases = [name for name in models if by_name[name]["origin"] is None and name.endswith("/base")]
    pairs = [
        (a, b) for a, b in itertools.combinations(bases, 2) if by_name[a]["start"] != by_name[b]["start"]
    ]  # fmt: skip
    random.Random(15).shuffle(pairs)
    found = [comparison.pair(models[a], models[b]) for a, b in pairs[:most]]
    false = sum(each.relation not in NO_KIN for each in found)
    aligned = [each.aligned_similarity for each in found if each.aligned_similarity is not None]
    chance = [each.null_similarity for each in found if each.null_similarity is not None]
    p_values = [each.p_value for each in found if each.p_value is not None]
    head = (
        f"{kind:12} {sum(copies):>3}/{len(copies):<3} {max(off):>8.1e} {false:>5}/{len(found):<4} "
        f"{sum(relatives):>4}/{len(relatives):<3} {np.mean(aligned) if aligned else np.nan:>8.3f} "
        f"{max(chance, default=np.nan):>7.3f} {auroc(kin, p_values):>6.4f}"
    )
    told(head, p_values)
    return p_values, kin


def averages_error(made: Held, parts: list[Held], coefficients: list[float]) -> list[float]:
    """The largest error of an average's coefficients, told from values alone; 1 where it is not found."""
    slots = [each.slot for each in made.opened.tensors if each.role not in NON_TRAINED]
    named = [(each.name, [each.values[each.by_slot()[slot]] for slot in slots]) for each in (made, *parts)]
    found = of_values([name for name, _ in named], [values for _, values in named])
    for each in found:
        if each.model == made.name:
            told = dict(zip(each.parts, each.coefficients, strict=True))
            return [max(abs(told.get(part.name, 0) - share) for part, share in zip(parts, coefficients, strict=True))]
    return [1.0]


def told(head: str, p_values: list[float]) -> None:
    if p_values:
        test = stats.kstest(p_values, "uniform", alternative="greater")
        small = np.mean(np.array(p_values) < 0.05)
        print(f"{head:69} {len(p_values):>6} {small:>7.3f} {min(p_values):>8.1e} {test.pvalue:>6.3f}", flush=True)
    else:
        print(f"{head:69} {0:>6}", flush=True)


if __name__ == "__main__":
    main()
