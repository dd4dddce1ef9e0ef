"""Arrow that leaves pandas alone; imported where the process is wexport's own, and by nothing that others import.

The first conversion between Python and Arrow, or Arrow and NumPy, has Arrow look whether pandas is installed, which
imports it: longer than most answers take. It looks once. Here it looks while there is none. In a process that is
somebody else's it must find it, for `to_pandas`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

import pyarrow as pa


class _NoPandas:
    """Finds no pandas, and says of no other module where it is."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:
        if name == "pandas":
            raise ModuleNotFoundError(name)


if "pandas" not in sys.modules:
    _finder = _NoPandas()
    sys.meta_path.insert(0, _finder)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(_finder)
