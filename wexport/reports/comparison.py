"""From model files to what people ask first: what they are, what is wrong, who is close to whom, which does best."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wexport.answers.tabular import Answer, Part, Tabular
from wexport.compatibility import renamed
from wexport.errors import ReadError, UsageError
from wexport.files import cached, outputs, uris
from wexport.findings.checking import check
from wexport.findings.finding import Findings
from wexport.ingestion import inputs, places, reuse
from wexport.ingestion.options import Options
from wexport.ingestion.pipeline import IngestResult, Progress, ingest
from wexport.queries import asking
from wexport.queries.asking import TABLE
from wexport.sessions.session import MEMORY_BYTES, SECONDS, path_of
from wexport.terminal.text import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from wexport.sessions.connection import Connection, PathLike


@dataclass(frozen=True, slots=True)
class Comparison(Tabular):
    """What `compare` found: the answers of the queries `models`, `clusters` and `rank`, and what `check` finds.

    table: the file or folder asked, by its path or URI. ingested: how each model file ended; None where nothing had to
    be read. models: a row a model, in which `findings` and `found` are the errors and warnings of `check`. findings:
    the worst first, information too. clusters: which models are close, which stands apart. rank: the order by the
    user's metric; None without metrics.
    """

    table: Path | str
    ingested: IngestResult | None
    models: Answer
    findings: Findings
    clusters: Answer
    rank: Answer | None

    def to_arrow(self) -> pa.Table:
        """A row a model, as `models`."""
        return self.models.to_arrow()

    def _parts(self) -> Iterable[Part]:
        yield Part(self.models.to_arrow(), "Models", [f"{counted(len(self.models), 'model')} in {self.table}"])
        yield from (replace(each, title="Findings") for each in self.findings._parts())
        if len(self.models) > 1:
            yield Part(self.clusters.to_arrow(), "Who is like whom", left_out=["reason", "differs"])
        if self.rank is not None:
            yield Part(self.rank.to_arrow(), "Order")


@renamed(seconds="query_timeout")
def compare(
    paths: PathLike | Connection | Iterable[PathLike],
    *,
    metrics: PathLike | Sequence[PathLike] = (),
    by: Mapping[str, Any] | None = None,
    out: PathLike | None = None,
    detail: str = "full",
    optimizer: bool = False,
    external_data: bool = False,
    name: str | None = None,
    series: str | None = None,
    reader: str | None = None,
    plugins: Sequence[PathLike] = (),
    jobs: int | None = None,
    timeout: float | None = None,
    progress: Progress | None = None,
    query_timeout: float = SECONDS,
    memory: int = MEMORY_BYTES,
    overwrite: bool = False,
) -> Comparison:
    """Compare model files, or the models in a table.

    paths: files, folders or patterns, as for `ingest`; or one table: its path, or what `connect` gives.
    metrics: files of metrics, see the query `rank`. by: parameters of that query, such as {"metric": "val_accuracy"}.
    out: where the table of the files is kept; one that is up to date is used as it is. By default weights.parquet, or,
        where that holds models of another folder, a table named after the folder of these.
    overwrite: replace what stands at `out`, even a table of other models, or a file that wexport did not write.
    query_timeout, memory: seconds and bytes that each query may take. The others: as for `ingest`.

    Raises UsageError for arguments that make no sense, ReadError if no file can be read, TableError if the table cannot
    be read or written, or holds other models, QueryError if a question cannot be answered.
    """
    options = {
        "detail": detail,
        "optimizer": optimizer,
        "external_data": external_data,
        "name": name,
        "series": series,
        "reader": reader,
        "plugins": plugins,
        "jobs": jobs,
        "timeout": timeout,
    }
    files = [metrics] if isinstance(metrics, (str, os.PathLike)) else list(metrics)
    if by and not files:
        raise UsageError("there are no metrics to rank by", hint="name a metrics file with --metrics")
    given = list(paths) if isinstance(paths, Iterable) and not isinstance(paths, str) else [path_of(paths)]
    place = _place(given, overwrite) if out is None else os.fspath(out)
    table, ingested = _table(given, files, place, progress, overwrite, options)
    limits: dict[str, Any] = {"timeout": query_timeout, "memory": memory}
    with asking.session(table, None, **limits) as session:
        models = asking.ask(session, "models")
        clusters = asking.ask(session, "clusters")
        findings = check(session)
    rank = _rank(table, files, by or {}, limits) if files else None
    return Comparison(table, ingested, Answer(_with_findings(models, findings)), findings, Answer(clusters), rank)


def _with_findings(models: pa.Table, findings: Findings) -> pa.Table:
    """`models` with all that is wrong with each, in place of what its tensors show by themselves."""
    import pyarrow as pa

    told: dict[str, list[str]] = {}
    for each in findings:  # the worst first
        if each.severity != "info":
            told.setdefault(each.model, []).append(each.finding)
    mine = [told.get(model, []) for model in models["model"].to_pylist()]
    counts = pa.array([len(names) for names in mine], models.schema.field("findings").type)
    words = pa.array([", ".join(dict.fromkeys(names)) or None for names in mine], pa.string())
    for name, column in (("findings", counts), ("found", words)):
        models = models.set_column(models.column_names.index(name), name, column)
    return models


def _table(
    given: Sequence[PathLike],
    metrics: Sequence[PathLike],
    text: str,
    progress: Progress | None,
    overwrite: bool,
    options: dict[str, Any],
) -> tuple[Path | str, IngestResult | None]:
    """The table to ask: the one given, the one that is up to date, or one made now."""
    tables = [path for path in given if _is_table(path)]
    if len(given) == len(tables) == 1:
        return str(given[0]) if uris.is_remote(given[0]) else Path(given[0]), None
    if tables:
        raise UsageError(f"{tables[0]}: is a table, and one table alone can be compared", hint="name model files only")
    out = Path(text)
    if not places.is_folder(text) and not uris.is_remote(text):
        outputs.claim(text, outputs.TABLE, inputs=metrics, overwrite=overwrite)
        found = [item for item in inputs.expand(given) if os.path.realpath(item.path) != os.path.realpath(out)]
        if out.is_file() and outputs.TABLE.ours(out):
            due = reuse.due(out, found, Options(**options)) if found else None
            if due is not None and not due:
                return out, None
            if due is not None and not any(item.part or item.remote for item in due):
                # What was not whole may be now: it is read, and told, again; and what cannot be read any more goes.
                names: dict[str, Any] = {"append": True, "prune": True}
                return out, ingest([item.path for item in due], text, progress=progress, **options, **names)
            if not overwrite:
                reuse.refuse_losing(out, found)
    result = ingest(given, text, progress=progress, overwrite=overwrite, **options)
    if not result.with_status("ok", "partial", "empty", "unchanged"):
        failed = result.with_status("failed")
        if not failed:
            raise UsageError("there is no model among the files", hint="name model files, a folder or a quoted pattern")
        raise ReadError(
            f"none of {len(failed):,} files can be read, the first: {failed[0].reason}", hint=failed[0].hint
        )
    return text if uris.is_remote(text) else out, result


def _place(given: Sequence[PathLike], overwrite: bool) -> str:
    """Where the table is kept if nobody says: apart from a table of models of other folders."""
    if overwrite or not Path(TABLE).is_file() or not outputs.TABLE.ours(Path(TABLE)):
        return TABLE
    if any(uris.is_remote(path) for path in given) or all(_is_table(path) for path in given):
        return TABLE
    found = [item.path for item in inputs.expand(given)]
    folders = {Path(os.path.abspath(path)).parent for path in found}  # noqa: PTH100  # resolve() would follow links
    if not folders or reuse.folders(Path(TABLE)) & folders:
        return TABLE
    name = Path(os.path.commonpath(folders)).name
    return f"{name}.parquet" if name else TABLE


def _is_table(named: PathLike) -> bool:
    """Whether a path is a table rather than models: a Parquet file, or a folder of nothing else but metrics."""
    if uris.is_remote(named):
        folder = str(named).endswith("/") and not uris.is_web(str(named))
        return str(named).endswith(".parquet") or (folder and bool(cached.parts(str(named))))
    path = Path(named)
    if path.is_dir():
        suffixes = {file.suffix for file in path.iterdir() if not file.name.startswith(".")}
        return ".parquet" in suffixes and suffixes <= {".parquet", ".csv"}
    return path.suffix == ".parquet"


def _rank(table: Path | str, metrics: Sequence[PathLike], by: Mapping[str, Any], limits: Mapping[str, Any]) -> Answer:
    from wexport.queries.metrics import gather

    with tempfile.TemporaryDirectory(prefix="wexport-") as folder:
        gathered = gather(table, metrics, Path(folder) / "metrics.parquet", **limits)
        with asking.session(table, {"metrics": gathered}, **limits) as session:
            return Answer(asking.ask(session, "rank", by))
