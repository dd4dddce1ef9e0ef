"""wexport demo: something to try."""

from __future__ import annotations

from pathlib import Path

import click

from wexport.commands.common import overwrite_option
from wexport.errors import unwritable
from wexport.files import outputs
from wexport.files.atomic import atomic_write


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@overwrite_option
def demo(folder: Path, overwrite: bool) -> None:
    """Write the example models into FOLDER, to have something to try."""
    names = write(folder, overwrite=overwrite)
    print(f"wrote {len(names)} files into {folder}")
    print(f"try: wexport ingest {folder} --out weights.parquet")


def write(folder: Path, *, overwrite: bool = False) -> list[str]:
    """Copy the example models into a folder, made if need be; returns the names of the files.

    overwrite: replace files of their names. Raises UsageError if the folder holds others of their names without it.
    """
    from importlib import resources  # it imports much

    with resources.as_file(resources.files("wexport") / "examples") as examples:
        names = sorted(path.relative_to(examples).as_posix() for path in examples.rglob("*") if path.is_file())
        due = [name for name in names if not _is_same(folder / name, examples / name)]
        outputs.claim_all([folder / name for name in due], outputs.EXAMPLE, overwrite=overwrite, option="folder")
        try:
            for name in due:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                with atomic_write(folder / name) as file:
                    file.write((examples / name).read_bytes())
        except OSError as error:
            raise unwritable(folder, error) from None
    return names


def _is_same(path: Path, example: Path) -> bool:
    return path.is_file() and path.read_bytes() == example.read_bytes()
