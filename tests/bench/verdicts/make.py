"""Make the collection: python -m verdicts.make FOLDER, from tests/bench, in an environment with Keras and JAX.

Architectures that are in the folder already are left as they are, so that an interrupted call goes on.
"""

from __future__ import annotations

import argparse
import shutil
import time
import zlib
from pathlib import Path

import numpy as np

from verdicts import collection, exports, healthy, illnesses, plants
from verdicts.collection import MANIFEST, Illness, Origin
from verdicts.illnesses import NotSickError
from verdicts.kitchen import Kitchen
from verdicts.networks import NETWORKS
from verdicts.training import Weights

SICK_SEEDS = (20, 21)
"""One for each half; healthy starts have smaller ones."""
PARENTS = {20: 2, 21: 1}
"""Whose base is planted with illnesses."""


def _sick(kitchen: Kitchen, seed: int) -> None:
    """Everything that this architecture can fall ill with."""
    for number, (kind, maker) in enumerate(illnesses.kinds_of(kitchen.network.name).items(), 1):
        own = seed + 100 * number
        try:
            sick = maker(kitchen, own)
        except NotSickError as error:
            print(f"{kitchen.network.name}: no {kind}: {error}", flush=True)
            continue
        illness = Illness(kind, sick.layer, sick.means, planted=False)
        start = f"{kitchen.network.name}-{sick.start or own}"
        kitchen.keep(
            seed, kind, sick.weights, trainer=sick.trainer, metric=sick.metric, illness=illness, start=start
        )  # fmt: skip
    if not plants.kinds_of(kitchen.network.name):
        return
    parent = kitchen.name(PARENTS[seed], "base")
    base, start = _base(kitchen, PARENTS[seed]), f"{kitchen.network.name}-{PARENTS[seed]}"
    for kind, edit in plants.kinds_of(kitchen.network.name).items():
        edited = {path: values.copy() for path, values in base.items()}
        layer, means = edit(kitchen, edited, np.random.default_rng([seed, zlib.crc32(kind.encode())]))
        origin = Origin((parent,), "same_but", detail=layer)
        illness = Illness(kind, layer, means, planted=True)
        kitchen.keep(seed, kind, edited, illness=illness, origin=origin, root=parent, start=start)


def _base(kitchen: Kitchen, seed: int) -> Weights:
    """A healthy base, as it was saved."""
    entry = next(each for each in kitchen.entries if each.model == kitchen.name(seed, "base"))
    trainer = kitchen.trainer()
    trainer.model.load_weights(kitchen.folder / entry.file)
    return trainer.weights()


def _models(kitchen: Kitchen) -> None:
    for seed in healthy.SEEDS:
        healthy.make(kitchen, seed)
    for seed in SICK_SEEDS:
        _sick(kitchen, seed)


def _exports(kitchen: Kitchen) -> None:
    """The bases that are there already, in other layouts."""
    known = {entry.model for entry in kitchen.entries}
    exports.make(kitchen, {seed: _base(kitchen, seed) for seed in (3, 4)})
    kitchen.entries = [entry for entry in kitchen.entries if entry.model not in known]


STAGES = {"": _models, "-exports": _exports}
"""What is made of each architecture, one after the other."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--architectures", nargs="*", choices=sorted(NETWORKS), default=list(NETWORKS))
    parser.add_argument("--again", action="store_true", help="make these anew")
    options = parser.parse_args()
    parts = options.folder / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    for name in options.architectures:
        for stage in STAGES:
            part = parts / f"{name}{stage}.json"
            if options.again or not part.exists():
                _make_part(name, stage, options.folder, part)
        entries = [entry for part in sorted(parts.glob("*.json")) for entry in collection.read(part)]
        collection.write(entries, options.folder / MANIFEST)


def _make_part(name: str, stage: str, folder: Path, part: Path) -> None:
    begun, kitchen = time.perf_counter(), Kitchen.of(name, folder)
    if stage:
        kitchen.entries = collection.read(part.with_name(f"{name}.json"))
    else:
        for old in folder.glob(f"*/{name}-*"):
            shutil.rmtree(old)
    STAGES[stage](kitchen)
    collection.write(kitchen.entries, part)
    sick = sum(entry.illness is not None for entry in kitchen.entries)
    seconds = time.perf_counter() - begun
    print(f"{name}{stage}: {len(kitchen.entries) - sick} healthy, {sick} sick, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
