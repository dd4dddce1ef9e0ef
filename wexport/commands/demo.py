"""wexport demo: something to try."""

from __future__ import annotations

import shutil
from importlib import resources
from pathlib import Path

import click

from wexport.errors import UsageError, unwritable


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def demo(folder: Path) -> None:
    """Write the example models into FOLDER, to have something to try."""
    names = write(folder)
    print(f"wrote {len(names)} files into {folder}")
    print(f"try: wexport ingest {folder} --out weights.parquet")


def write(folder: Path) -> list[str]:
    """Copy the example models into a folder, made if need be; returns the names of the files.

    Raises UsageError if the folder holds one of them already, so that nothing of the user's is overwritten.
    """
    with resources.as_file(resources.files("wexport") / "examples") as examples:
        names = sorted(path.relative_to(examples).as_posix() for path in examples.rglob("*") if path.is_file())
        taken = [name for name in names if (folder / name).exists()]
        if taken:
            raise UsageError(f"{folder / taken[0]} exists already", hint="name a folder of its own")
        try:
            for name in names:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(examples / name, folder / name)
        except OSError as error:
            raise unwritable(folder, error) from None
    return names
