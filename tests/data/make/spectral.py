"""Values of WeightWatcher 0.7.7 and powerlaw 1.5 for `tests/data/spectral.json`; run in an environment that has both:

    python tests/data/make/spectral.py     # powerlaw 1.5: 2.0 holds the exponent below 3 unless it is told not to

Matrices are made from seeds, as in `tests/stats/test_spectral.py`. WeightWatcher is asked by its own parts, as its
reading of models needs frameworks: what it does with the weights of a layer (slices of a convolution pooled, the fit).
"""

import json
from pathlib import Path

import numpy as np
import powerlaw
from weightwatcher.RMT_Util import stable_rank
from weightwatcher.WW_powerlaw import pl_fit

CASES = {
    "dense": (10, (400, 300)),
    "dense_wide": (11, (250, 600)),
    "embedding": (12, (1500, 200)),
    "convolution": (13, (3, 3, 32, 64)),
    "pointwise": (14, (1, 1, 300, 260)),
}

found = {}
for name, (seed, shape) in CASES.items():
    values = (np.random.default_rng(seed).standard_t(3, shape) / np.sqrt(shape[-1])).astype("f4")
    slices = values.reshape(-1, *shape[-2:]).astype(float)
    evals = np.sort(np.concatenate([np.linalg.svd(each, compute_uv=False) ** 2 for each in slices]))
    fit = pl_fit(evals[evals > 1e-5])
    other = powerlaw.Fit(evals[evals > 1e-5], verbose=False)
    found[name] = {
        "seed": seed,
        "shape": shape,
        "weightwatcher": {
            "alpha": fit.alpha,
            "D": fit.D,
            "tail": int((evals >= fit.xmin).sum()),
            "stable_rank": float(stable_rank(evals)),
            "spectral_norm": float(evals.max()),
        },
        "powerlaw": {"alpha": other.alpha, "D": other.D},
    }
Path(__file__).parents[1].joinpath("spectral.json").write_text(json.dumps(found, indent=1) + "\n")
