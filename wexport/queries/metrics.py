"""Metrics files as their users have them, gathered into one: a row a model, epoch and metric.

The queries read a single file, wide or long, by themselves. Gathering is for several, and for the files of Keras'
CSVLogger, which name no model: the folder that one lies in tells whose it is.
"""

from __future__ import annotations

import contextlib
import difflib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wexport.errors import UsageError
from wexport.queries import asking
from wexport.queries.metric_files import as_rows
from wexport.terminal.text import safe

if TYPE_CHECKING:
    from wexport.sessions.connection import Connection, PathLike
    from wexport.sessions.session import Session

_ENTRIES = "SELECT named_as AS model, epoch, metric, cell AS value FROM metric_entries('{name}') ORDER BY entry, metric"
_KNOWN = "SELECT named_as FROM metric_names('{name}', '') WHERE model IS NOT NULL OR run IS NOT NULL"
_MODELS = "SELECT model, any_value(source) AS source, any_value(run) AS run FROM weights GROUP BY model ORDER BY model"


@contextlib.contextmanager
def gathered(
    table: PathLike | Connection,
    metrics: PathLike | Sequence[PathLike],
    files: Mapping[str, PathLike] | None = None,
    **limits: Any,
) -> Iterator[dict[str, PathLike]]:
    """Files to open a table with: `files`, and as the table `metrics` what the metrics files say, if there are any.

    Raises UsageError if both say what `metrics` is, and as `gather` does.
    """
    named = dict(files or {})
    paths = [metrics] if isinstance(metrics, (str, os.PathLike)) else list(metrics)
    if not paths:
        yield named
        return
    if "metrics" in named:
        raise UsageError("metrics are named twice, by themselves and as a table", hint="leave one of them out")
    with tempfile.TemporaryDirectory(prefix="wexport-") as folder:
        yield {**named, "metrics": gather(table, paths, Path(folder) / "metrics.parquet", **limits)}


def gather(table: PathLike | Connection, paths: Sequence[PathLike], target: Path, **limits: Any) -> Path:
    """Write what metrics files say into one Parquet file, with the columns model, epoch, metric, value (as text).

    table: the models that they are about. paths: CSV, TSV, JSON, JSON lines or Parquet files. limits: of the session,
    `timeout` and `memory`. A file that names no models belongs to the run, or else the one model, whose files lie in
    its folder, or below; where that does not tell, `model` stays empty. Returns `target`.

    Raises UsageError for a file that cannot be read, or names no model of the table; TableError if there is no such
    table.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not paths:
        raise UsageError("there is no metrics file", hint="name a CSV, JSON or Parquet file")
    files = {
        f"metrics_{number}": as_rows(Path(path), target.with_name(f"metrics_{number}.jsonl"))
        for number, path in enumerate(paths)
    }
    with asking.session(table, files, **limits) as session:
        models = session.ask(_MODELS).to_pylist()
        parts = []
        for name, path in zip(files, paths, strict=True):
            part = session.ask(_ENTRIES.format(name=name))
            if not part["model"].null_count:
                _refuse_strangers(session, name, path, part["model"].unique().to_pylist(), models)
            else:
                owner = pa.scalar(_owner(Path(path), models), pa.string())
                part = part.set_column(0, "model", part["model"].fill_null(owner) if owner.is_valid else part["model"])
            parts.append(part)
    pq.write_table(pa.concat_tables(parts), target)
    return target


def _refuse_strangers(
    session: Session, name: str, path: PathLike, given: Sequence[str], models: Sequence[Mapping[str, Any]]
) -> None:
    """Raises UsageError for a file whose names are of no model and no run of the table."""
    if not given or session.ask(_KNOWN.format(name=name)).num_rows:
        return
    known = [str(model["model"]) for model in models]
    near = list(dict.fromkeys(each for one in given for each in difflib.get_close_matches(one, known, 2, 0.5)))
    shown = ", ".join(safe(each) for each in (near or known)[:4])
    more = f" and {len(known) - 4:,} more" if not near and len(known) > 4 else ""
    raise UsageError(
        f"{path}: names no model of the table: {', '.join(safe(each) for each in given[:3])}",
        hint=f"{'did you mean' if near else 'models are'} {shown}{more}{'?' if near else ''}",
    )


def _owner(path: Path, models: Sequence[Mapping[str, Any]]) -> str | None:
    """The run or model whose files lie in the folder of a file, or below it; None where there are several or none."""
    folder = path.absolute().parent
    stored = [model for model in models if model["source"] is not None]  # others were in memory
    same_folder = [model for model in stored if Path(model["source"]).parent == folder]
    below = [model for model in stored if folder in Path(model["source"]).parents]
    for near in (same_folder, below):
        runs = {model["run"] for model in near if model["run"] is not None}
        if len(runs) == 1:
            return str(runs.pop())
        if len(near) == 1:
            return str(near[0]["model"])
    return None
