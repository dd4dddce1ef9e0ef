"""wexport: folders of saved models as one table of figures, compared with SQL.

The names here are the public interface, with six modules beside them; everything else may move.

wexport.plot: pictures from a table. wexport.testing: tests for the author of a reader.
wexport.reading: what a reader is made with; wexport.measuring: the statistics of a tensor;
wexport.keras_files: what Keras writes besides weights; wexport.tools: what commands of other packages share with ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from wexport.errors import (
    BudgetError,
    HostileFileError,
    MissingFileError,
    MissingModelError,
    MissingTableError,
    OutputError,
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
    "averages": "wexport.relating.averaging",
    "change": "wexport.relating.changes",
    "check": "wexport.findings.checking",
    "compact": "wexport.ingestion.compaction",
    "compare": "wexport.reports.comparison",
    "connect": "wexport.sessions.connection",
    "diff": "wexport.differences.diff",
    "hookimpl": "wexport.hookspecs",
    "ingest": "wexport.ingestion.pipeline",
    "ingest_model": "wexport.ingestion.pipeline",
    "inspect": "wexport.ingestion.inspection",
    "notebook": "wexport.reports.notebook",
    "prove": "wexport.relating.proofs",
    "query": "wexport.queries.asking",
    "relate": "wexport.relating.relate",
    "report": "wexport.reports.report",
    "similarity": "wexport.analysis.similarity",
    "Answer": "wexport.answers.tabular",
    "Average": "wexport.analysis.averages",
    "Averages": "wexport.relating.averaging",
    "Change": "wexport.differences.results",
    "Column": "wexport.library",
    "Comparison": "wexport.reports.comparison",
    "Connection": "wexport.sessions.connection",
    "Diff": "wexport.differences.diff",
    "FileSide": "wexport.differences.results",
    "Finding": "wexport.findings.finding",
    "Findings": "wexport.findings.finding",
    "Kinship": "wexport.relating.results",
    "IngestResult": "wexport.ingestion.pipeline",
    "LeftOver": "wexport.ingestion.left_overs",
    "Inspection": "wexport.ingestion.inspection",
    "Layout": "wexport.model.tensors",
    "Meaning": "wexport.model.extensions",
    "Model": "wexport.model.tensors",
    "ModelResult": "wexport.ingestion.results",
    "Moved": "wexport.relating.changes",
    "Movement": "wexport.relating.changes",
    "Node": "wexport.model.tensors",
    "Parameter": "wexport.library",
    "PluginSummary": "wexport.plugins.messages",
    "Proof": "wexport.relating.proofs",
    "Proofs": "wexport.relating.proofs",
    "Query": "wexport.library",
    "Related": "wexport.relating.relate",
    "Reader": "wexport.model.tensors",
    "Similarity": "wexport.analysis.similarity",
    "Skipped": "wexport.model.tensors",
    "RemoteFile": "wexport.files.remote",
    "Source": "wexport.files.source",
    "Statistic": "wexport.model.extensions",
    "Tensor": "wexport.model.tensors",
    "TensorDiff": "wexport.differences.results",
    "TensorSide": "wexport.differences.results",
}
_MODULES = frozenset({"keras_files", "measuring", "plot", "reading", "testing", "tools"})

if TYPE_CHECKING:
    from wexport import plot
    from wexport.analysis.averages import Average
    from wexport.analysis.similarity import Similarity, similarity
    from wexport.answers.tabular import Answer
    from wexport.differences.diff import Diff, diff
    from wexport.differences.results import Change, FileSide, TensorDiff, TensorSide
    from wexport.files.remote import RemoteFile
    from wexport.files.source import Source
    from wexport.findings.checking import check
    from wexport.findings.finding import Finding, Findings
    from wexport.hookspecs import hookimpl
    from wexport.ingestion.compaction import compact
    from wexport.ingestion.inspection import Inspection, inspect
    from wexport.ingestion.left_overs import LeftOver
    from wexport.ingestion.pipeline import IngestResult, ingest, ingest_model
    from wexport.ingestion.results import ModelResult
    from wexport.library import Column, Parameter, Query
    from wexport.model.extensions import Meaning, Statistic
    from wexport.model.tensors import Layout, Model, Node, Reader, Skipped, Tensor
    from wexport.plugins.messages import PluginSummary
    from wexport.queries.asking import query
    from wexport.relating.averaging import Averages, averages
    from wexport.relating.changes import Moved, Movement, change
    from wexport.relating.proofs import Proof, Proofs, prove
    from wexport.relating.relate import Related, relate
    from wexport.relating.results import Kinship
    from wexport.reports.comparison import Comparison, compare
    from wexport.reports.notebook import notebook
    from wexport.reports.report import report
    from wexport.sessions.connection import Connection, connect


def __getattr__(name: str) -> Any:
    import importlib

    if name in _MODULES:
        return importlib.import_module(f"wexport.{name}")
    if name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
        globals()[name] = value  # `wexport.ingest` is the function, also once the module of that name is loaded
        return value
    raise AttributeError(f"module 'wexport' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


__all__ = [
    "Answer",
    "Average",
    "Averages",
    "BudgetError",
    "Change",
    "Column",
    "Comparison",
    "Connection",
    "Diff",
    "FileSide",
    "Finding",
    "Findings",
    "HostileFileError",
    "IngestResult",
    "Inspection",
    "Kinship",
    "Layout",
    "LeftOver",
    "Meaning",
    "MissingFileError",
    "MissingModelError",
    "MissingTableError",
    "Model",
    "ModelResult",
    "Moved",
    "Movement",
    "Node",
    "OutputError",
    "Parameter",
    "PluginError",
    "PluginSummary",
    "Proof",
    "Proofs",
    "Query",
    "QueryError",
    "ReadError",
    "Reader",
    "Related",
    "RemoteFile",
    "Similarity",
    "Skipped",
    "Source",
    "Statistic",
    "TableError",
    "Tensor",
    "TensorDiff",
    "TensorSide",
    "UnknownFormatError",
    "UsageError",
    "WexportError",
    "__version__",
    "averages",
    "change",
    "check",
    "compact",
    "compare",
    "connect",
    "diff",
    "hookimpl",
    "ingest",
    "ingest_model",
    "inspect",
    "notebook",
    "plot",
    "prove",
    "query",
    "relate",
    "report",
    "similarity",
]
