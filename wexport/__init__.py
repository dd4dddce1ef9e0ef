"""wexport: folders of saved models as one table of figures, compared with SQL.

The names here are the public interface; everything else may move.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wexport.errors import (
    BudgetError,
    HostileFileError,
    PluginError,
    QueryError,
    ReadError,
    TableError,
    UnknownFormatError,
    UsageError,
    WexportError,
)
from wexport.version import __version__

# Imported when first used: `wexport --help`, and a plugin that needs two names, should not wait for Arrow.
_LAZY = {
    "check": "wexport.checking",
    "compare": "wexport.comparison",
    "connect": "wexport.asking.connection",
    "diff": "wexport.differences",
    "hookimpl": "wexport.hookspecs",
    "ingest": "wexport.ingestion.pipeline",
    "inspect": "wexport.inspection",
    "query": "wexport.asking.querying",
    "report": "wexport.reporting",
    "similarity": "wexport.similar",
    "Layout": "wexport.tensors",
    "Meaning": "wexport.additions",
    "Model": "wexport.tensors",
    "Node": "wexport.tensors",
    "Reader": "wexport.tensors",
    "Skipped": "wexport.tensors",
    "Source": "wexport.tensors",
    "Statistic": "wexport.additions",
    "Tensor": "wexport.tensors",
}

if TYPE_CHECKING:
    from wexport import plot
    from wexport.additions import Meaning, Statistic
    from wexport.asking.connection import connect
    from wexport.asking.querying import query
    from wexport.checking import check
    from wexport.comparison import compare
    from wexport.differences import diff
    from wexport.hookspecs import hookimpl
    from wexport.ingestion.pipeline import ingest
    from wexport.inspection import inspect
    from wexport.reporting import report
    from wexport.similar import similarity
    from wexport.tensors import Layout, Model, Node, Reader, Skipped, Source, Tensor


def __getattr__(name: str) -> Any:
    import importlib

    if name == "plot":
        return importlib.import_module("wexport.plot")
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value  # `wexport.ingest` is the function, also once the module of that name is loaded
        return value
    raise AttributeError(f"module 'wexport' has no attribute {name!r}")


__all__ = [
    "BudgetError",
    "HostileFileError",
    "Layout",
    "Meaning",
    "Model",
    "Node",
    "PluginError",
    "QueryError",
    "ReadError",
    "Reader",
    "Skipped",
    "Source",
    "Statistic",
    "TableError",
    "Tensor",
    "UnknownFormatError",
    "UsageError",
    "WexportError",
    "__version__",
    "check",
    "compare",
    "connect",
    "diff",
    "hookimpl",
    "ingest",
    "inspect",
    "plot",
    "query",
    "report",
    "similarity",
]
