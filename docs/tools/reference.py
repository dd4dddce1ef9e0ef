"""The reference: pages made of what is declared in the code. Nothing of them is written by hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from pathlib import Path

import click

import wexport
from docs.tools import findings
from docs.tools.markdown import plain, table
from wexport import cli, library
from wexport.library import Query
from wexport.table.formulas import FORMULAS, Formula
from wexport.table.schema import COLUMNS


def pages() -> dict[str, str]:
    """Each page of the reference by its path, as Markdown."""
    makers: dict[str, Callable[[], str]] = {
        "columns": columns,
        "statistics": statistics,
        "findings": findings.page,
        "queries": queries,
        "commands": commands,
        "python": python,
    }
    return {"reference/index.md": index()} | {f"reference/{name}.md": make() for name, make in makers.items()}


def index() -> str:
    return "\n".join(
        [
            "# Reference",
            "",
            "Made from the declarations in the code, of the version whose site this is.",
            "",
            *table(
                ["page", "what it has"],
                [
                    ["[Columns](columns.md)", f"the {len(COLUMNS)} columns of the table, with type, unit and meaning"],
                    ["[Statistics](statistics.md)", "each statistic with its formula, its convention and its pitfall"],
                    [
                        "[Queries](queries.md)",
                        f"the {len(library.load())} questions of the library",
                    ],
                    ["[Findings](findings.md)", "what `wexport check` looks for, where each begins and what to do"],
                    ["[Commands](commands.md)", "each command's help"],
                    ["[Python](python.md)", "the public interface"],
                ],
            ),
            "",
        ]
    )


def columns() -> str:
    """Each column of the table."""
    rows = [[f"`{each.name}`", f"`{_type(str(each.type))}`", plain(each.unit), plain(each.doc)] for each in COLUMNS]
    return "\n".join(
        [
            "# Columns",
            "",
            "One row a tensor of a model, in this order. `wexport schema` prints the same, also as JSON; each field of",
            "the Parquet file has its doc and unit in its metadata. A statistic that is undefined is NULL.",
            "",
            *table(["column", "type", "unit", "meaning"], rows),
            "",
        ]
    )


def statistics() -> str:
    """Each statistic: its formula, convention and pitfall."""
    units = {each.name: each.unit for each in COLUMNS}
    text = [
        "# Statistics",
        "",
        "`w` are the values of a tensor, of a gate or of a unit, `n` of them, `N` finite. Sums and extremes are",
        "over the finite ones, in float64, and the same to the last bit however a file is chunked. Undefined is",
        "NULL. Numbers that compare models (cosine similarity, relative L2 distance, standard errors, p-values) are",
        "columns of [queries](queries.md), which say how to read each and what it does not prove.",
        "",
    ]
    for formula, names in _alike().items():
        unit = units[names[0]]
        text += [f"## {', '.join(names)}", "", f"`{formula.formula}`" + (f" [{plain(unit)}]" if unit else ""), ""]
        text += [f"- **Convention:** {plain(formula.convention)}.", f"- **Pitfall:** {plain(formula.pitfall)}", ""]
    return "\n".join(text)


def _alike() -> dict[Formula, list[str]]:
    """The names of the statistics that share a formula, by formula."""
    found: dict[Formula, list[str]] = {}
    for name, formula in FORMULAS.items():
        found.setdefault(formula, []).append(name)
    return found


def _type(text: str) -> str:
    short = text.replace("element: ", "").replace("item: ", "")
    return short if len(short) < 40 else short.partition("<")[0] + "<...>"


def queries() -> str:
    """The head comment of each query, by what it is about."""
    text = [
        "# Queries",
        "",
        "`wexport query NAME TABLE` asks one, `--param name=value` sets a parameter, `--about` prints what stands here",
        "and `--sql` the SQL, which runs as it stands in the `duckdb` command line too, behind the views that",
        "`wexport query --views` prints.",
        "",
    ]
    group = ""
    for query in library.load().values():
        if query.group != group:
            group = query.group
            text += [f"## {group.capitalize()}", ""]
        text += _query(query)
    return "\n".join(text)


def _query(query: Query) -> list[str]:
    text = [f"### {query.name}", "", f"**{plain(query.question)}**", ""]
    if query.parameters:
        rows = [[f"`{each.name}`", each.type, f"`{each.default}`", plain(each.doc)] for each in query.parameters]
        text += [*table(["parameter", "type", "default", "meaning"], rows), ""]
    text += [
        *table(
            ["column", "unit", "meaning"],
            [[f"`{each.name}`", plain(each.unit), plain(each.doc)] for each in query.columns],
        )
    ]
    text += [
        "",
        f"**How to read it.** {plain(query.reading)}",
        "",
        f"**What it does not prove.** {plain(query.limits)}",
        "",
    ]
    sql = "\n".join(line for line in query.sql.splitlines() if not line.startswith("--"))
    return [*text, '??? note "SQL"', "", "    ```sql", *(f"    {line}" for line in sql.splitlines()), "    ```", ""]


def commands() -> str:
    """The help of each command."""
    text = ["# Commands", "", "```text", _help(cli.cli, "wexport"), "```", ""]
    context = click.Context(cli.cli, info_name="wexport")
    for name in cli.cli.list_commands(context):
        command = cli.cli.get_command(context, name)
        assert command is not None
        loaded = command.load() if hasattr(command, "load") else command
        text += _command(loaded, f"wexport {name}", 2)
    return "\n".join(text)


def _command(command: click.Command, name: str, level: int) -> list[str]:
    text = [f"{'#' * level} {name}", "", "```text", _help(command, name), "```", ""]
    if isinstance(command, click.Group):
        for each, below in command.commands.items():
            text += _command(below, f"{name} {each}", level + 1)
    return text


def _help(command: click.Command, name: str) -> str:
    return command.get_help(click.Context(command, info_name=name, max_content_width=100, terminal_width=100))


_FOR_PLUGINS = ("Reader", "Source", "Model", "Tensor", "Node", "Layout", "Meaning", "Statistic", "Skipped", "hookimpl")
_KNOWN = ("cli", "errors", "hookspecs", "version")
"""Modules at the top of the package that are not part of the interface, or have a section of their own."""


def python() -> str:
    """The names of the public interface, by what they are; what says something of each is its docstring."""
    from wexport import hookspecs, plot, testing

    public = [name for name in wexport.__all__ if not name.startswith("_") and not _is_module(name)]
    errors = [name for name in public if _is_error(getattr(wexport, name))]
    plugin = [name for name in _FOR_PLUGINS if name in public]
    functions = [name for name in public if inspect.isfunction(getattr(wexport, name)) and name not in plugin]
    others = [name for name in public if name not in {*errors, *plugin, *functions}]
    hooks = [name for name, each in vars(hookspecs).items() if name.startswith("wexport_") and callable(each)]
    text = [
        "# Python",
        "",
        "What stands here is public and is kept; everything else may move.",
        "",
        *_section("Functions", "wexport", functions),
        *_section("What they return", "wexport", others),
        *_section("Plots", "wexport.plot", [name for name in plot.__all__ if name != "KINDS"]),
        *_section("Errors", "wexport", errors),
        *_section("For plugins", "wexport", plugin),
        *_section("Hooks", "wexport.hookspecs", hooks),
        *_section("Tests of plugins", "wexport.testing", testing.__all__),
    ]
    for module in _modules():
        text += [f"## wexport.{module}", "", f"::: wexport.{module}", "    options:", "      show_root_heading: false"]
        text += ["      show_root_toc_entry: false", "      members: true", ""]
    return "\n".join(text)


def _modules() -> list[str]:
    """Public modules at the top of the package, beside those that have a section of their own."""
    found = sorted(each.stem for each in Path(wexport.__file__).parent.glob("*.py") if not each.stem.startswith("_"))
    return [name for name in found if name not in _KNOWN]


def _is_module(name: str) -> bool:
    return inspect.ismodule(getattr(wexport, name))


def _is_error(value: object) -> bool:
    return isinstance(value, type) and issubclass(value, Exception)


def _section(title: str, module: str, names: Iterable[str]) -> list[str]:
    listed = list(names)
    return [f"## {title}", "", *(line for name in listed for line in (f"::: {module}.{name}", ""))] if listed else []
