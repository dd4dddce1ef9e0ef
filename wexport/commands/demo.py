"""wexport demo: something to try."""

from __future__ import annotations

from pathlib import Path

import click

from wexport.commands.common import overwrite_option


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@overwrite_option
def demo(folder: Path, overwrite: bool) -> None:
    """Write the example models into FOLDER, to have something to try."""
    from wexport.demo import write

    names = write(folder, overwrite=overwrite)
    print(f"wrote {len(names)} files into {folder}")
    print(f"try: wexport ingest {folder} --out weights.parquet")
