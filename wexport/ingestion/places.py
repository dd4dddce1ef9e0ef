"""Where a table is to stand: one file, or a folder with a part for each model."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from wexport.errors import TableError
from wexport.files import outputs
from wexport.files.outputs import TABLE, PathLike


def is_folder(out: PathLike) -> bool:
    """Whether an output is a folder of parts: one that is there, or a path that ends in a slash.

    Raises TableError for what can be no name.
    """
    text = os.fspath(out)
    if "\0" in text:
        raise TableError(f"{text}: cannot be written: no name holds a NUL", hint="name another --out")
    return bool(text) and (text.endswith(("/", os.sep)) or os.path.isdir(text))  # noqa: PTH112  none too long


def claim(out: PathLike, models: Sequence[str], read: Iterable[PathLike], *, overwrite: bool = False) -> None:
    """Refuse a table that would be written over what is read, or over what is not a table of wexport's.

    models: their names. read: all files that are read. Raises TableError.
    """
    if not is_folder(out):
        outputs.claim(out, TABLE, inputs=read, overwrite=overwrite)
        return
    outputs.claim_all([part_of(Path(out), model) for model in models], TABLE, inputs=read, overwrite=overwrite)


def part_of(folder: Path, model: str) -> Path:
    """Where the part of a model stands."""
    from wexport.table.stored import part_path  # loads Arrow

    return part_path(folder, model)
