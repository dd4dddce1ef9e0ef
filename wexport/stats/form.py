"""Which form of the one pass runs: the compiled one, where the package was built with a C compiler, or NumPy's."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import numpy as np

VARIABLE = "WEXPORT_KERNEL"
"""The environment variable that chooses the form: "numpy" forces NumPy's, else the compiled one runs if it is there."""


def _load() -> tuple[ModuleType | None, str]:
    if os.environ.get(VARIABLE, "").lower() == "numpy":
        return None, f"NumPy form, as {VARIABLE} says"
    if sys.byteorder != "little" or np.dtype(np.intp).itemsize != 8:
        return None, "NumPy form, as there is no compiled one for this processor"
    try:
        from wexport.stats import _kernel
    except ImportError:
        return None, "NumPy form, as the package was built without a C compiler"
    return _kernel, "compiled form"


module, FORM = _load()
"""module: the compiled form, None where it does not run. FORM: which form runs, as `wexport --version` says it."""


def available() -> bool:
    """Whether the compiled form runs."""
    return module is not None
