"""Prints each dependency at the least version that pyproject.toml allows, as pip's constraints: `name==version`."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parent.parent / "pyproject.toml"
_FLOOR = re.compile(r"([A-Za-z0-9_.-]+)>=([0-9][0-9.]*)")


def floors(text: str) -> list[str]:
    """The constraints of a pyproject.toml. Raises ValueError for a dependency that has no floor."""
    found = []
    for dependency in tomllib.loads(text)["project"]["dependencies"]:
        match = _FLOOR.fullmatch(dependency)
        if match is None:
            raise ValueError(f"{dependency!r} is not name>=version")
        found.append(f"{match[1]}=={match[2]}")
    return found


if __name__ == "__main__":
    print("\n".join(floors(PROJECT.read_text("utf-8"))))
