"""Many models of one network, as Keras 2 saves them: python tests/bench/make_many_models.py FOLDER [--models 1000].

A network of 40 blocks of a convolution and a BatchNormalization, 200 tensors and 190,000 parameters in all. The models
are the checkpoints of one run: each is the one before it, moved by a little noise. Made without a framework.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import h5py
import numpy as np

BLOCKS = 40
VECTORS = ("gamma", "beta", "moving_mean", "moving_variance")


def config() -> str:
    layers = []
    for block in range(BLOCKS):
        for name, class_name in ((f"conv2d_{block}", "Conv2D"), (f"batch_normalization_{block}", "BatchNormalization")):
            layers.append({"class_name": class_name, "name": name, "config": {"name": name, "trainable": True}})
    return json.dumps({"class_name": "Sequential", "config": {"name": "sequential", "layers": layers}})


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--models", type=int, default=1000)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    kernels = rng.normal(0, 0.08, (BLOCKS, 3, 3, 16, 32)).astype(np.float32)
    vectors = rng.normal(0, 0.1, (BLOCKS, len(VECTORS), 32)).astype(np.float32)
    vectors[:, 0] += 1
    vectors[:, 3] = 1 + np.abs(vectors[:, 3])
    written = config()
    for step in range(1, options.models + 1):
        with h5py.File(options.folder / f"weights.{step:04}.h5", "w", libver="latest") as file:
            file.attrs["model_config"] = written
            file.attrs["keras_version"], file.attrs["backend"] = "2.15.0", "tensorflow"
            group = file.create_group("model_weights")
            names = [layer["name"] for layer in json.loads(written)["config"]["layers"]]
            group.attrs["layer_names"] = np.array(names, dtype="S")
            for block in range(BLOCKS):
                for layer, weights in (
                    (f"conv2d_{block}", {"kernel": kernels[block]}),
                    (f"batch_normalization_{block}", dict(zip(VECTORS, vectors[block], strict=True))),
                ):
                    place = group.create_group(layer)
                    place.attrs["weight_names"] = np.array([f"{layer}/{name}:0" for name in weights], dtype="S")
                    for name, values in weights.items():
                        place.create_dataset(f"{layer}/{name}:0", data=values)
        kernels += rng.normal(0, 0.004, kernels.shape).astype(np.float32)
        vectors += rng.normal(0, 0.002, vectors.shape).astype(np.float32)


if __name__ == "__main__":
    main()
