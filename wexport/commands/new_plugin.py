"""wexport new-plugin: a package to begin with."""

from __future__ import annotations

from pathlib import Path

import click

from wexport.commands.common import overwrite_option


@click.command("new-plugin")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path), required=False)
@overwrite_option
def new_plugin(name: str, folder: Path | None, overwrite: bool) -> None:
    """Write a plugin that reads the format NAME: a package with a reader, tests and a page.

    FOLDER is wexport-NAME by default. It installs and its tests pass as it is; the format in it is made up.
    """
    from wexport.plugins.new_plugin import write

    target, files = write(name, folder, overwrite=overwrite)
    print(f"wrote {', '.join(files)} into {target}")
    place = target if target.is_absolute() else f"./{target}"
    print(f"try: pip install -e '{place}[test]' && python -m pytest {place}")
