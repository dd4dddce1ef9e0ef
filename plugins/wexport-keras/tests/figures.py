"""Run by the tests in a process of its own, on another backend: figures of a saved model's outputs and gradients."""

from __future__ import annotations

import json
import sys
import warnings

import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import wexport_keras
    from wexport_keras.inputs import read

FIGURES = ("mean", "std", "l2_norm", "min", "max", "zero_count")


def main(model: str, inputs: str, targets: str) -> None:
    loaded = wexport_keras.load(model)
    y = None if targets == "-" else list(read([targets]).values())
    found = wexport_keras.observe(loaded, list(read([inputs]).values()), y, output_gradients=True, batch_size=8)
    rows = []
    for tensor in found:
        figures = tensor.figures
        if figures is None:
            from wexport import stats

            figures = stats.measure(tensor)
        rows.append([tensor.kind, tensor.slot, list(tensor.shape), [getattr(figures, name) for name in FIGURES]])
    print(json.dumps(rows, default=float))


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(*sys.argv[1:])
