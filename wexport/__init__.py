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
    "check": "wexport.findings.checking",
    "compare": "wexport.reports.comparison",
    "connect": "wexport.sessions.connection",
    "diff": "wexport.differences.diff",
    "hookimpl": "wexport.hookspecs",
    "ingest": "wexport.ingestion.pipeline",
    "inspect": "wexport.ingestion.inspection",
    "query": "wexport.queries.asking",
    "report": "wexport.reports.report",
    "similarity": "wexport.analysis.similarity",
    "Layout": "wexport.model.tensors",
    "Meaning": "wexport.model.extensions",
    "Model": "wexport.model.tensors",
    "Node": "wexport.model.tensors",
    "Reader": "wexport.model.tensors",
    "Skipped": "wexport.model.tensors",
    "Source": "wexport.model.tensors",
    "Statistic": "wexport.model.extensions",
    "Tensor": "wexport.model.tensors",
}

if TYPE_CHECKING:
    from wexport import plot
    from wexport.analysis.similarity import similarity
    from wexport.differences.diff import diff
    from wexport.files.source import Source
    from wexport.findings.checking import check
    from wexport.hookspecs import hookimpl
    from wexport.ingestion.inspection import inspect
    from wexport.ingestion.pipeline import ingest
    from wexport.model.extensions import Meaning, Statistic
    from wexport.model.tensors import Layout, Model, Node, Reader, Skipped, Tensor
    from wexport.queries.asking import query
    from wexport.reports.comparison import compare
    from wexport.reports.report import report
    from wexport.sessions.connection import connect


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
