"""Whether every file here holds exactly what its JSON says, as plain h5py sees it.

    python tests/data/make/verify.py

Needs h5py, NumPy and ml_dtypes, no framework. A weight is looked up by shape, dtype and hash of its values;
names and order play no part. A weight that is missing, doubled or not accounted for is a failure.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np
from described import figures

DATA = Path(__file__).resolve().parents[1]
NO_WEIGHTS = ("optimizer_weights/", "optimizer/", "metrics/", "_metrics/")  # state of training, no weights


def stored(path: Path) -> Counter[tuple[Any, ...]]:
    """Shape, dtype and hash of every weight in a file, counted; no training state, no seed generators."""
    blob = path.read_bytes()
    if path.suffix == ".keras":
        blob = zipfile.ZipFile(path).read("model.weights.h5")
    found: Counter[tuple[Any, ...]] = Counter()

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or name.startswith(NO_WEIGHTS) or "seed_generator" in name:
            return
        values = item[()] if item.ndim else np.asarray(item[()])
        if item.attrs.get("dtype") == "bfloat16":
            values = values.view(ml_dtypes.bfloat16)
        found[values.shape, values.dtype.name, figures(values)["sha256"]] += 1

    with h5py.File(io.BytesIO(blob)) as file:
        file.visititems(visit)
    return found


def problems(description: Path) -> list[str]:
    """What a JSON and its files disagree about; empty when they agree."""
    about = json.loads(description.read_text(encoding="utf-8"))
    said = Counter((tuple(w["shape"]), w["dtype"], w["sha256"]) for w in about["weights"])
    found = []
    for name in about["files"]:
        there = stored(description.parent / name)
        for what, difference in (("missing", said - there), ("unexplained", there - said)):
            found += [f"{name}: {what} {shape} {dtype}" for shape, dtype, _ in difference]
    return found


def main() -> int:
    """Check all files; 1 when something disagrees."""
    descriptions = sorted(DATA.glob("*/*.json"))
    found = [problem for description in descriptions for problem in problems(description)]
    claimed = {d.parent / name for d in descriptions for name in json.loads(d.read_text())["files"]}
    models = {path for pattern in ("*/*.h5", "*/*.keras") for path in DATA.glob(pattern)}
    found += [f"{path.name}: described by no JSON" for path in sorted(models - claimed)]
    print("\n".join(found) or f"{len(claimed)} files agree with {len(descriptions)} descriptions")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
