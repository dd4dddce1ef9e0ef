"""Write ResNet50 (three seeds) and VGG16 without pre-trained weights, 861 MB in all, for bench_ingest.py.

Run in a virtual environment of its own with tensorflow-cpu 2.15:

    python tests/bench/make_large_models.py FOLDER
"""

import sys
from pathlib import Path

import tensorflow as tf

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
for seed in (1, 2, 3):
    tf.keras.utils.set_random_seed(seed)
    tf.keras.applications.ResNet50(weights=None).save(folder / f"resnet50_seed_{seed}.h5")
    tf.keras.backend.clear_session()
tf.keras.utils.set_random_seed(1)
tf.keras.applications.VGG16(weights=None).save(folder / "vgg16.h5")
