"""wexport plugins: what is installed, and what is wrong with it."""

from __future__ import annotations

import click


@click.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--plugin", "files", multiple=True, metavar="FILE.py", help="Load a reader from a Python file.")
def plugins(as_json: bool, files: tuple[str, ...]) -> None:
    """List the plugins, what each reads, and what is wrong with those that do not load."""
    from wexport import plugins as host
    from wexport import terminal

    infos = host.load(files).infos
    if as_json:
        terminal.show(
            ["name", "version", "origin", "state", "reason", "readers"],
            [
                [
                    info.name,
                    info.version,
                    info.origin,
                    info.state,
                    info.reason,
                    [
                        {"name": reader.name, "reads": reader.reads, "suffixes": list(reader.suffixes)}
                        for reader in info.readers
                    ],
                ]
                for info in infos
            ],
            "json",
        )
        return
    rows = [
        [
            reader.name if reader else "",
            reader.reads if reader else info.reason,
            info.name,
            info.version,
            info.origin,
            info.state,
        ]
        for info in infos
        for reader in (info.readers or (None,))
    ]
    terminal.show(["reader", "reads", "plugin", "version", "origin", "state"], rows)
