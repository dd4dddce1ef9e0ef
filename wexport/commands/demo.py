"""wexport demo: something to try."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
def demo(folder: Path) -> None:
    """Write the example models into FOLDER, to have something to try."""
    from wexport.demo import write

    names = write(folder)
    print(f"wrote {len(names)} files into {folder}")
    print(f"try: wexport ingest {folder} --out weights.parquet")
