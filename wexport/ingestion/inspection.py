"""One file, looked at without writing anything."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wexport.errors import ReadError
from wexport.ingestion import series
from wexport.ingestion.inputs import Input, model_names
from wexport.ingestion.reading import ModelResult, Options, Readers


@dataclass(frozen=True, slots=True)
class Inspection:
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


def _place(file: Path, options: Options) -> series.Place:
    """The run and step of a file, from its own name and those beside it."""
    folder = Path(os.path.abspath(file)).parent  # noqa: PTH100  # resolve() would follow links
    others = sorted(each.name for each in folder.iterdir() if each.suffix == file.suffix and each.name != file.name)
    beside = [file.name, *others]
    names = [f"{folder.name}/{Path(name).stem}" for name in beside]
    return series.series(names, None if options.series is None else series.series_pattern(options.series))[0]


def inspect(path: str | os.PathLike[str], **options: Any) -> Inspection:
    """Read one model file, in a child process, and return what its rows would be.

    options: the fields of `ingestion.reading.Options` that concern reading: optimizer, external_data, reader, plugins,
    timeout, detail.
    Raises ReadError if it cannot be read.
    """
    chosen = Options(**{"jobs": 1, **options})
    file = Path(path)
    if not file.exists():
        raise ReadError(f"{file}: does not exist", hint="check the path")
    if file.is_dir():
        raise ReadError(f"{file}: is a folder", hint="inspect takes one file; `wexport ingest` takes folders")
    (name,) = model_names([file])
    result = ModelResult(name, file, *_place(file, chosen))
    rows: list[dict[str, Any]] = []
    with Readers(chosen, 1) as readers:
        for _, piece in readers.measure([(Input(file, named=True), result)]):
            if piece is not None:
                names = piece.columns.keys()
                rows.extend(dict(zip(names, row, strict=True)) for row in zip(*piece.columns.values(), strict=True))
        broken = [each for each in readers.plugins() if each.state != "ok" and each.from_file]
        result.notes.extend(f"plugin {each.name} is broken and was left out: {each.reason}" for each in broken)
    if result.status == "failed":
        raise ReadError(result.reason, hint=result.hint)
    return Inspection(result, sorted(rows, key=lambda row: row["tensor_index"]))
