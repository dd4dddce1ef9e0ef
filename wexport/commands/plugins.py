"""wexport plugins: what is installed, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from wexport.plugins.messages import PluginSummary


@click.command()
@click.option("--json", "as_json", is_flag=True)
@click.option("--plugin", "files", multiple=True, metavar="FILE.py", help="Load a plugin from a Python file.")
def plugins(as_json: bool, files: tuple[str, ...]) -> None:
    """List the plugins, what each reads and adds, and what is wrong with those that do not load."""
    from wexport.plugins.catalog import installed_plugins
    from wexport.stats.form import FORM
    from wexport.terminal import tables

    found = installed_plugins(files)
    if as_json:
        tables.show(
            ["name", "version", "origin", "state", "reason", "hooks", "readers", "statistics", "queries"],
            [
                [
                    each.name,
                    each.version,
                    each.origin,
                    each.state,
                    each.reason,
                    list(each.hooks),
                    [{"name": name, "reads": reads, "suffixes": list(ends)} for name, reads, ends in each.readers],
                    [{"name": name, "unit": unit, "doc": doc} for name, unit, doc in each.statistics],
                    [{"name": query.name, "question": query.question} for query in each.queries],
                ]
                for each in found
            ],
            "json",
        )
        return
    rows = [
        [each.name if first else "", *line, *([each.version, each.origin, each.state] if first else ["", "", ""])]
        for each in found
        for first, line in _numbered(each)
    ]
    tables.show(["plugin", "gives", "name", "what", "version", "origin", "state"], rows)
    click.echo(f"statistics: {FORM}")


def _numbered(plugin: PluginSummary) -> Iterator[tuple[bool, tuple[str, str, str]]]:
    for number, line in enumerate(_lines(plugin)):
        yield number == 0, line


def _lines(plugin: PluginSummary) -> list[tuple[str, str, str]]:
    """(what it gives, its name, what it is) of all that a plugin gives; one line for a plugin that gives nothing."""
    if plugin.state != "ok":
        return [("", "", plugin.reason)]
    lines = [("reader", name, reads) for name, reads, _ in plugin.readers]
    lines += [("statistic", name, doc) for name, _, doc in plugin.statistics]
    lines += [("query", query.name, query.question) for query in plugin.queries]
    listed = {"wexport_readers", "wexport_statistics", "wexport_queries"}
    lines += [("hook", hook, "") for hook in plugin.hooks if hook not in listed]
    return lines or [("", "", "nothing on this machine")]
