"""What wexport finds under the entry point: how to read a Keras model in memory."""

from __future__ import annotations

import sys

import wexport


@wexport.hookimpl
def wexport_describe(living: object) -> wexport.Model | None:
    """A Keras model as its weights; None for anything else."""
    keras = sys.modules.get("keras")  # whoever holds a model has imported it
    if keras is None or not isinstance(living, keras.Model):
        return None
    from wexport_keras.describing import describe

    return describe(living)
