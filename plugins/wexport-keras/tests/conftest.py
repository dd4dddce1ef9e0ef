"""Keras is started once, on the lightest backend that has gradients, unless the environment says otherwise."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")  # most of the time would go into compiling

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # backends warn of things at import that are not ours
    import keras

import pytest


@pytest.fixture(autouse=True)
def _fresh_names() -> None:
    """Layers are numbered from zero in each test."""
    keras.utils.clear_session()


_OF_KERAS = (
    "ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning",
    "ignore:You are saving your model as an HDF5 file",
)
"""What Keras warns of by its own doing."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent:
            for warning in _OF_KERAS:
                item.add_marker(pytest.mark.filterwarnings(warning))
