"""What it costs to look at a model that runs: outputs of its layers beside its own `predict`, snapshots beside epochs.

    python tests/bench/bench_live.py [--repeat 3] [--images 10000]

Needs wexport-keras and a backend. Every run is a process of its own, in turn with the others; the best counts. Wanted:
outputs within 1.5 times `predict` plus 2 s, and 1 GiB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def model_and_data(images: int) -> tuple[Any, Any, Any]:
    """The small CNN of Keras' own introduction, and as many images of noise."""
    from wexport_keras.starting import start

    start()
    import keras
    import numpy as np
    from keras import layers as k

    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            k.Conv2D(32, 3, activation="relu"),
            k.MaxPooling2D(),
            k.Conv2D(64, 3, activation="relu"),
            k.MaxPooling2D(),
            k.Flatten(),
            k.Dropout(0.5),
            k.Dense(10, activation="softmax"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy")
    rng = np.random.default_rng(0)
    return model, rng.random((images, 28, 28, 1), dtype=np.float32), rng.integers(0, 10, images)


def predict(images: int) -> dict[str, float]:
    model, x, _ = model_and_data(images)
    begun = time.perf_counter()
    model.predict(x, verbose=0)
    return {"seconds": time.perf_counter() - begun}


def outputs(images: int) -> dict[str, float]:
    from dataclasses import replace

    import wexport_keras

    import wexport

    model, x, _ = model_and_data(images)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        weights = wexport_keras.describe(model)
        seen = wexport_keras.observe(model, x)
        whole = replace(weights, tensors=[*weights.tensors, *seen])
        wexport.ingest_model(whole, Path(folder) / "acts.parquet", name="cnn")
        return {"seconds": time.perf_counter() - begun}


def training(images: int) -> dict[str, float]:
    import wexport_keras

    model, x, y = model_and_data(images)
    with tempfile.TemporaryDirectory() as folder:
        found = {}
        for name, options in (
            ("weights", {}),
            ("with outputs and gradients of 100", {"inputs": x[:100], "targets": y[:100]}),
        ):
            snapshot = wexport_keras.Snapshot(f"{folder}/{len(found)}", verbose=0, **options)
            model.fit(x, y, epochs=4, batch_size=128, verbose=0, callbacks=[snapshot])
            found[f"share of an epoch, {name}"] = snapshot.cost
            found[f"seconds a snapshot, {name}"] = snapshot.snapshot_seconds / 4
        found["seconds an epoch"] = snapshot.epoch_seconds / 4
        return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--only", choices=["predict", "outputs", "training"])
    given = parser.parse_args()
    if given.only:
        found = {"predict": predict, "outputs": outputs, "training": training}[given.only](given.images)
        found["MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps(found))
        return
    runs: dict[str, list[dict[str, float]]] = {"predict": [], "outputs": [], "training": []}
    for _ in range(given.repeat):
        for name, results in runs.items():
            command = [sys.executable, __file__, "--only", name, "--images", str(given.images)]
            done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
            results.append(json.loads(done.stdout.splitlines()[-1]))
    for name, results in runs.items():
        for key in results[0]:
            print(f"{name:9} {key:50} {', '.join(f'{result[key]:.3f}' for result in results)}")
    mine, own = (min(result["seconds"] for result in runs[name]) for name in ("outputs", "predict"))
    memory = max(result["MiB"] for result in runs["outputs"])
    ratio = (mine - 2) / own
    print(f"outputs {mine:.2f} s, predict {own:.2f} s: {ratio:.2f} times and 2 s (1.5), {memory:.0f} MiB (1,024)")


if __name__ == "__main__":
    main()
