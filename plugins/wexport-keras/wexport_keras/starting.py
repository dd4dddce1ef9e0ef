"""Which backend Keras starts with, where nobody said: it takes the first that is there."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from pathlib import Path

from wexport import UsageError

BACKENDS = {"jax": "jax", "torch": "torch", "tensorflow": "tensorflow", "numpy": "numpy"}
"""Backends, the first choice first, and the package of each; NumPy has no gradients."""


def start(backend: str | None = None) -> str:
    """Import Keras, and return the backend that it runs on.

    backend: the one to use; by default what KERAS_BACKEND or Keras' own settings name, if that is installed, else the
    first that is. Raises UsageError if Keras runs on another one already, or the one named is not installed.
    """
    if "keras" in sys.modules:
        import keras

        running: str = keras.backend.backend()
        if backend not in (None, running):
            raise UsageError(f"Keras runs on {running} already", hint="a backend is chosen before Keras is imported")
        return running
    wanted = backend or os.environ.get("KERAS_BACKEND") or _configured() or next(filter(_is_there, BACKENDS))
    if wanted not in BACKENDS:
        raise UsageError(f"the backend {wanted} is not known here", hint=f"choose one of {', '.join(BACKENDS)}")
    if not _is_there(wanted):
        package = "jax[cpu]" if wanted == "jax" else BACKENDS[wanted]
        raise UsageError(f"the backend {wanted} is not installed", hint=f"pip install '{package}', or choose another")
    os.environ["KERAS_BACKEND"] = wanted
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        import keras
    except ImportError as error:  # Keras' NumPy backend borrows from JAX
        raise UsageError(
            f"Keras cannot start on {wanted}: {error}", hint="pip install 'jax[cpu]' gives it the lightest backend"
        ) from None

    found: str = keras.backend.backend()
    return found


def _is_there(backend: str) -> bool:
    return importlib.util.find_spec(BACKENDS.get(backend, backend)) is not None


def _configured() -> str | None:
    """The backend in Keras' settings, if it is installed."""
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    try:
        found = json.loads((home / "keras.json").read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):
        return None
    return found if isinstance(found, str) and _is_there(found) else None
