"""One file, looked at without writing anything."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wexport.answers.tabular import Part, Tabular
from wexport.errors import ReadError
from wexport.files.remote import RemoteFile
from wexport.ingestion import series
from wexport.ingestion.folders import one_model
from wexport.ingestion.inputs import model_names
from wexport.ingestion.options import Options
from wexport.ingestion.reading import Readers
from wexport.ingestion.results import ModelResult
from wexport.plugins.catalog import absolute
from wexport.terminal.bars import spark
from wexport.terminal.text import counted

if TYPE_CHECKING:
    import pyarrow as pa

_SHOWN = ["layer", "layer_class", "role", "shape", "dtype", "value_count", "mean", "std", "abs_max", "zero_fraction"]
"""What a page shows of each tensor."""


@dataclass(frozen=True, slots=True)
class Inspection(Tabular):
    """A file's rows, as the table would hold them, and how reading it ended."""

    result: ModelResult
    rows: list[dict[str, Any]]

    def layers(self) -> Iterator[tuple[str, str | None, list[dict[str, Any]]]]:
        """(layer, class, rows) in order; the layer is "" where the file knows none."""
        group: list[dict[str, Any]] = []
        for row in self.rows:
            if group and (row["layer"], row["kind"]) != (group[0]["layer"], group[0]["kind"]):
                yield group[0]["layer"] or "", group[0]["layer_class"], group
                group = []
            group.append(row)
        if group:
            yield group[0]["layer"] or "", group[0]["layer_class"], group

    def to_arrow(self) -> pa.Table:
        """A row a tensor, with the columns of the table."""
        from wexport.table.arrow import to_table
        from wexport.table.schema import arrow_schema

        schema = arrow_schema()
        return to_table({name: [row.get(name) for row in self.rows] for name in schema.names}, schema)

    def _parts(self) -> Iterable[Part]:
        result, table = self.result, self.to_arrow()
        bars = [_bars(row["histogram"]) for row in self.rows]
        told = [
            f"{result.source}: {result.format}, {counted(result.tensors, 'tensor')}, {result.parameters:,} parameters",
            *(f"not read: {each.name}: {each.what}" for each in result.problems),
        ]
        return [Part(table.select(_SHOWN).append_column("histogram", [bars]), told=told)]


def _bars(histogram: Any) -> str:
    """A histogram as one line; empty where there is none."""
    if histogram is None:
        return ""
    lower, upper, count = (histogram[name].tolist() for name in ("lower", "upper", "count"))
    return spark(lower, upper, count)


def _place(file: Path | RemoteFile) -> series.Place:
    """The run and step of a file, from its own name and those beside it; of a URI's, from its own name."""
    if isinstance(file, RemoteFile):
        return series.series([f"{file.path.parent.name}/{Path(file.name).stem}"])[0]
    folder = Path(os.path.abspath(file)).parent  # noqa: PTH100  # resolve() would follow links
    others = sorted(each.name for each in folder.iterdir() if each.suffix == file.suffix and each.name != file.name)
    return series.series([f"{folder.name}/{Path(name).stem}" for name in (file.name, *others)])[0]


def inspect(
    path: str | os.PathLike[str],
    *,
    detail: str = "full",
    optimizer: bool = False,
    external_data: bool = False,
    reader: str | None = None,
    plugins: Sequence[str | os.PathLike[str]] = (),
    timeout: float | None = None,
) -> Inspection:
    """Read one model, in a child process, and return what its rows would be.

    path: a file or its URI, a folder that holds one model, or one of several models in a file
        (`checkpoint.pt#model_ema`).

    detail, optimizer, external_data, reader, plugins, timeout: as for `ingest`.
    Raises MissingModelError if it is not there, ReadError if it cannot be read, UsageError for options that make no
    sense.
    """
    chosen = Options(
        detail=detail,
        optimizer=optimizer,
        external_data=external_data,
        reader=reader,
        plugins=absolute(plugins),
        jobs=1,
        timeout=timeout,
    ).checked()
    item = one_model(path, reader=chosen.reader, plugins=chosen.plugins, external_data=chosen.external_data)
    (name,) = model_names([item.called])
    result = ModelResult(name, item.origin, *_place(item.origin))
    rows: list[dict[str, Any]] = []
    with Readers(chosen, 1) as readers:
        for _, batch in readers.measure([(item, result)]):
            if batch is not None:
                names = batch.columns.keys()
                rows.extend(dict(zip(names, row, strict=True)) for row in zip(*batch.columns.values(), strict=True))
        broken = [each for each in readers.plugins() if each.state != "ok" and each.from_file]
        result.notes.extend(f"plugin {each.name} is broken and was left out: {each.reason}" for each in broken)
    if result.status in ("failed", "skipped"):
        raise ReadError(result.reason, hint=result.hint)
    return Inspection(result, sorted(rows, key=lambda row: row["tensor_index"]))
