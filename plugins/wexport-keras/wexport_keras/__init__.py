"""Models of Keras 3 that run: layer outputs, gradients and training in wexport's table.

Importing this imports neither Keras nor a backend; what needs them brings them in when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

_LAZY = {
    "Snapshot": "wexport_keras.snapshot",
    "describe": "wexport_keras.describing",
    "gradients": "wexport_keras.values",
    "by_gate": "wexport_keras.values",
    "layer": "wexport_keras.values",
    "load": "wexport_keras.loading",
    "observe": "wexport_keras.observing",
    "outputs": "wexport_keras.values",
    "weights": "wexport_keras.values",
}

if TYPE_CHECKING:
    from wexport_keras.describing import describe
    from wexport_keras.loading import load
    from wexport_keras.observing import observe
    from wexport_keras.snapshot import Snapshot
    from wexport_keras.values import by_gate, gradients, layer, outputs, weights


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'wexport_keras' has no attribute {name!r}")


__all__ = ["Snapshot", "by_gate", "describe", "gradients", "layer", "load", "observe", "outputs", "weights"]
