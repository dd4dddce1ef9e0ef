"""The rooms of the package and the layers that hold them apart, as Markdown."""

from __future__ import annotations

import ast
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "wexport"


def layers() -> str:
    """The layers as `pyproject.toml` declares them, the uppermost first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    text = []
    for contract in contracts:
        text.append(f"- **{contract['name']}.**")
        if contract["type"] == "layers":
            text += ["", "    ```text", *(f"    {layer}" for layer in contract["layers"]), "    ```", ""]
        else:
            text[-1] += f" `{'`, `'.join(contract['source_modules'])}` may not import "
            text[-1] += f"`{'`, `'.join(contract['forbidden_modules'])}`."
    return "\n".join(text)


def table() -> str:
    """The rooms, each with the first line of what it says of itself, from the lowest up."""
    rows = [f"| `{name}/` | {purpose} |" for name, purpose in described().items()]
    return "\n".join(["| room | what it is for |", "|---|---|", *rows])


def described() -> dict[str, str]:
    """What each room says of itself, from the lowest up; "" for one that says nothing."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    declared = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    order = [name.strip() for layer in reversed(declared) for name in layer.split("|")]
    found = {}
    for name in order:
        module = PACKAGE / name / "__init__.py"
        if module.is_file():
            purpose = ast.get_docstring(ast.parse(module.read_text("utf-8"))) or ""
            found[name] = " ".join(purpose.split("\n\n")[0].split())
    return found
