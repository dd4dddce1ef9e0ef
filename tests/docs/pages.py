"""Pages that are true: what they show is run, and what is printed is what they say.

A page is Markdown, read from top to bottom in an empty folder of its own:

    <!-- setup: command -->      is run and not shown
    <!-- file: name -->          the block that follows is written to that file
    ```console                   each line `$ command` is run; the lines below it are what it prints
    ```python, ```text           the code is run, and the text is what it prints
    <!-- not run: why -->        the block that follows cannot be run here, or is run by another test, which is named

`python -m tests.docs.pages` runs them all and writes what is printed into the pages; names behind it choose some pages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests import warm_commands
from tests.conftest import ROOT

PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "plugins/README.md")]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
_PART = re.compile(
    r"^<!-- (?P<mark>setup|file|not run): (?P<said>.*) -->$|^```(?P<language>\w*)[^\n]*\n(?P<body>(?:.*\n)*?)```$",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One thing of a page, in its order. body: the command, file or block; span: where what is printed stands."""

    kind: str
    body: str
    name: str = ""
    shown: str = ""
    span: tuple[int, int] = (0, 0)


def steps(text: str) -> Iterator[Step]:
    """What a page asks for. A block that nothing runs is of kind `untold`, unless the page says why."""
    parts: list[re.Match[str] | None] = [None, *_PART.finditer(text), None]
    for before, part, after in zip(parts, parts[1:], parts[2:], strict=False):
        assert part is not None
        if part["mark"] == "setup":
            yield Step("setup", part["said"])
        elif part["mark"]:
            continue  # it is told of the block behind it
        elif before and before["mark"] in ("file", "not run") and before.end() + 1 == part.start():
            yield Step(before["mark"], part["body"], before["said"])
        elif part["language"] == "console":
            yield Step("console", part["body"], "", part["body"], part.span("body"))
        elif part["language"] == "python" and after and _is_output(after, of=part):
            yield Step("python", part["body"], "", after["body"], after.span("body"))
        elif part["language"] == "text":
            continue  # what the code before it prints, or no code
        else:
            yield Step("untold", part["body"], part["language"])


def _is_output(part: re.Match[str], of: re.Match[str]) -> bool:
    """Whether a block of text stands right behind code."""
    return part["language"] == "text" and of["language"] == "python" and of.end() + 2 == part.start()


def carried_out(step: Step, folder: Path) -> str:
    """What a step shows when it is carried out in a folder."""
    match step.kind:
        case "setup":
            printed(["bash", "-c", step.body], folder)
        case "file":
            target = folder / step.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(step.body)
        case "console":
            commands = [line[2:] for line in step.body.splitlines() if line.startswith("$ ")]
            return "".join(f"$ {command}\n{printed(['bash', '-c', command], folder)}" for command in commands)
        case "python":
            return printed([sys.executable, "-c", step.body], folder)
    return ""


def printed(command: list[str], folder: Path) -> str:
    """What a command prints, without what differs from run to run."""
    path = os.pathsep.join([str(warm_commands.start()), str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "NO_COLOR": "1", "MPLBACKEND": "agg"}
    environment.pop("COLUMNS", None)  # as wide as it needs to be
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    # In a pipe, the status is that of the last command; what ours says tells.
    if found.returncode or re.search(r"^(?:error: |Error: |Traceback )", found.stderr, re.MULTILINE):
        raise AssertionError(f"{command[-1]}\nended with {found.returncode}:\n{found.stderr}")
    return steady(found.stdout)


def steady(text: str) -> str:
    """Text without trailing blanks and blank ends, with the time that it took made one, and the size of a report."""
    text = re.sub(r"\bin \d+\.\d+ ?s\b(?: \([0-9:]+\))?", "in 0.5 s", text)
    text = re.sub(r"^(wrote \S+), [\d.,]+ [KM]?i?B$", r"\1, 500 KiB", text, flags=re.MULTILINE)
    lines = "".join(f"{line.rstrip()}\n" for line in text.splitlines()).strip("\n")
    return f"{lines}\n" if lines else ""


def rewritten(text: str, folder: Path) -> str:
    """A page with what its steps print now."""
    parts, done = [], 0
    for step in steps(text):
        output = carried_out(step, folder)
        if step.span != (0, 0):
            parts += [text[done : step.span[0]], output]
            done = step.span[1]
    return "".join([*parts, text[done:]])


def main() -> int:
    """Rewrite the pages that are named, or all. What fails is told, and the other pages are written."""
    failed = 0
    for page in (page for page in PAGES if not sys.argv[1:] or page.name in sys.argv[1:]):
        text = page.read_text()
        try:
            with tempfile.TemporaryDirectory() as folder:
                new = rewritten(text, Path(folder))
        except AssertionError as error:
            print(f"{page.relative_to(ROOT)}: {error}")
            failed += 1
            continue
        page.write_text(new)
        print(f"{page.relative_to(ROOT)}: {'as it was' if new == text else 'rewritten'}", flush=True)
    return min(failed, 1)


if __name__ == "__main__":
    sys.exit(main())
