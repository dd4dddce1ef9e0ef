"""Whether a table still says what its model files do, so that they need not be read again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from wexport.errors import TableError
from wexport.files.stamps import stamp
from wexport.ingestion import inputs
from wexport.ingestion.companions import NO_MODELS
from wexport.ingestion.inputs import Input
from wexport.ingestion.options import Options
from wexport.terminal.text import counted


def due(table: Path, found: Sequence[Input], options: Options) -> list[Input] | None:
    """Which of these files are to be read so that a table holds just what reading all with these options would give.

    Files count as unchanged whose stamps the table remembers, see `wexport.files.stamps`; it remembers none of those of
    which something was missing. None where the table is to be made anew.
    """
    if not table.is_file() or options.reader or options.plugins or options.series:
        return None  # a table does not remember how it was read, but for what shapes its numbers
    if options.external_data:
        return None  # nor what the files beside the models were like
    from wexport.ingestion.writing import metadata_of
    from wexport.plugins.catalog import provenance_now
    from wexport.table import stored

    options = replace(options, root=stored.root(table))
    if stored.read_metadata(table) != metadata_of(options, provenance_now()):
        return None
    stamps = stored.read_stamps(table)
    names = inputs.model_names([item.origin for item in found], options.name, root=options.root)
    left = dict(zip(names, found, strict=True))
    again = []
    for model, (source, _) in _models(table).items():
        item = left.pop(model, None)
        if item is None or inputs.source_name(item.origin) != source:
            return None
        if model not in stamps:
            again.append(item)
        elif stamps[model] != (stamp(item.origin) or None):
            return None
    # What lies among models, is none by its name, and is not in the table, was passed over, not overlooked.
    passed = all(not item.named and item.path.suffix.lower() in NO_MODELS for item in left.values())
    return again if passed else None


def refuse_losing(table: Path, found: Sequence[Input]) -> None:
    """Raise TableError where writing a table anew would lose models that were read from other files."""
    if not table.is_file():
        return
    sources = {inputs.source_name(item.origin) for item in found}
    lost = [model for model, (source, _) in _models(table).items() if source not in sources]
    if lost:
        told = f"{counted(len(lost), 'model')} that {'is' if len(lost) == 1 else 'are'} not among these files"
        raise TableError(
            f"{table}: holds {told}, e.g. {lost[0]}",
            hint="name another table with --out, or replace this one with --overwrite",
        )


def folders(table: Path) -> set[Path]:
    """The folders of the files that a table was made of."""
    return {Path(source).parent for source, _ in _models(table).values() if source is not None}


def _models(table: Path) -> dict[str, tuple[str | None, int | None]]:
    """The models of a table: the file of each, and its size; None for one that was in memory."""
    from wexport.table import stored

    stored.read_metadata(table)
    columns = stored.read_columns(table, ["model", "source", "source_bytes"]).to_pydict()
    return {
        model: (source, size)
        for model, source, size in zip(columns["model"], columns["source"], columns["source_bytes"], strict=True)
    }
