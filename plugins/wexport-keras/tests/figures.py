"""Run by the tests in a process of its own, on another backend: figures of saved models' outputs and gradients."""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import wexport_keras
    from wexport_keras.inputs import read

    from wexport import measuring

FIGURES = ("mean", "std", "l2_norm", "min", "max", "zero_count")


def rows_of(folder: Path, gradients: bool) -> list[list]:
    """What is seen of the model in a folder on the inputs and targets beside it."""
    model = wexport_keras.load(folder / "m.keras")
    y = list(read([folder / "y.npz"]).values()) if gradients else None
    x = list(read([folder / "x.npz"]).values())
    rows = []
    for tensor in wexport_keras.observe(model, x, y, output_gradients=True, batch_size=8):
        figures = tensor.figures or measuring.measure(tensor)
        rows.append([tensor.kind, tensor.slot, list(tensor.shape), [getattr(figures, name) for name in FIGURES]])
    return rows


def main(folder: str, gradients: str) -> None:
    found = {each.name: rows_of(each, gradients == "gradients") for each in sorted(Path(folder).iterdir())}
    print(json.dumps(found, default=float))


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(*sys.argv[1:])
