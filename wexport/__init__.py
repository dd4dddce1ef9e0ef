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
    "connect": "wexport.connection",
    "hookimpl": "wexport.hookspecs",
    "ingest": "wexport.ingestion",
    "inspect": "wexport.inspection",
    "query": "wexport.querying",
    "Layout": "wexport.tensors",
    "Model": "wexport.tensors",
    "Node": "wexport.tensors",
    "Reader": "wexport.tensors",
    "Skipped": "wexport.tensors",
    "Source": "wexport.tensors",
    "Tensor": "wexport.tensors",
}

if TYPE_CHECKING:
    from wexport.connection import connect
    from wexport.hookspecs import hookimpl
    from wexport.ingestion import ingest
    from wexport.inspection import inspect
    from wexport.querying import query
    from wexport.tensors import Layout, Model, Node, Reader, Skipped, Source, Tensor


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value  # `wexport.ingest` is the function, also once the module of that name is loaded
        return value
    raise AttributeError(f"module 'wexport' has no attribute {name!r}")


__all__ = [
    "BudgetError",
    "HostileFileError",
    "Layout",
    "Model",
    "Node",
    "PluginError",
    "QueryError",
    "ReadError",
    "Reader",
    "Skipped",
    "Source",
    "TableError",
    "Tensor",
    "UnknownFormatError",
    "UsageError",
    "WexportError",
    "__version__",
    "connect",
    "hookimpl",
    "ingest",
    "inspect",
    "query",
]
