"""A plugin to begin with: a package that installs, and whose tests pass, before its author changes a line."""

from __future__ import annotations

import os
import re
from importlib import resources
from pathlib import Path

from wexport.errors import UsageError, unwritable
from wexport.files.atomic import atomic_write
from wexport.plugins.catalog import installed_plugins
from wexport.version import __version__

# The template is a plugin as it stands, for the format `myformat`; making one is replacing that word, as it is written.
_WORD = re.compile(
    r"(?<=wexport)>=[0-9.]+,<[0-9.]+|wexport_myformat|(?:open|write|test)_myformat|Myformat|MYFORMAT|\.myformat|myformat"
)
_NAME = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*")


def write(name: str, folder: Path | None = None, *, overwrite: bool = False) -> tuple[Path, list[str]]:
    """Write the plugin for a format into a folder, `wexport-NAME` by default; returns the folder and the files in it.

    overwrite: write into a folder that exists, over files of the same names. Raises UsageError if the name is none that
    a package can have, if a reader has it, or if the folder exists.
    """
    _check_name(name)
    target = folder or Path(f"wexport-{name}")
    if os.path.lexists(target) and not (overwrite and target.is_dir()):
        raise UsageError(f"{target}: exists already", hint="name another folder, or write into it with --overwrite")
    template = resources.files("wexport") / "plugins" / "template"
    names = []
    try:
        with resources.as_file(template) as source:
            for path in sorted(source.rglob("*")):
                if path.is_file() and path.suffix != ".pyc":
                    relative = filled_in(path.relative_to(source).as_posix(), name)
                    (target / relative).parent.mkdir(parents=True, exist_ok=True)
                    with atomic_write(target / relative) as file:
                        file.write(filled_in(path.read_text("utf-8"), name).encode())
                    names.append(relative)
    except OSError as error:
        raise unwritable(target, error) from None
    return target, names


def filled_in(text: str, name: str) -> str:
    """The template's text with the name of another format."""
    parts = name.split("-")
    joined, snake = "".join(parts), "_".join(parts)
    forms = {
        "Myformat": "".join(part.capitalize() for part in parts),
        "MYFORMAT": joined.upper(),
        ".myformat": f".{joined}",
        "myformat": name,
    }

    def form(match: re.Match[str]) -> str:
        if match[0].startswith(">="):
            return compatible()
        return forms.get(match[0]) or match[0].replace("myformat", snake)

    return _WORD.sub(form, text)


def compatible(version: str = __version__) -> str:
    """The versions of wexport that a plugin made with this one works with: until names may move, a minor version on.

    >>> compatible("0.1.0"), compatible("1.4.2")
    ('>=0.1,<0.2', '>=1.4,<2')
    """
    major, minor = map(int, version.split(".")[:2])
    return f">={major}.{minor},<{major + 1}" if major else f">=0.{minor},<0.{minor + 1}"


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or name.startswith("wexport"):
        plain = re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("wexport")).strip("-0123456789")
        raise UsageError(
            f"{name!r} is not a name for a format",
            hint=f"small letters, digits and hyphens, as in {plain or 'myformat'!r}; the package becomes wexport-NAME",
        )
    for plugin in installed_plugins():
        for reader, _, _ in plugin.readers:
            if name in (reader, plugin.name):
                origin = "wexport itself" if plugin.origin == "shipped" else plugin.origin
                raise UsageError(f"there is a reader {reader!r} already, of {origin}", hint="take another name")
