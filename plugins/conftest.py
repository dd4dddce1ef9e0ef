"""Tests of a plugin's package run where it is installed with what it needs; the header says which are left out."""

from __future__ import annotations

import importlib.metadata
from functools import cache
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@cache
def installed(package: str) -> bool:
    """Whether the distribution of that name is installed: `wexport-onnx` for the folder of that name."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the folder of a package that is not installed."""
    inside = collection_path.relative_to(HERE).parts
    return True if inside and inside[0].startswith("wexport-") and not installed(inside[0]) else None


def pytest_report_header(config: pytest.Config) -> str | None:
    """Name what is not tested."""
    missing = [folder.name for folder in sorted(HERE.glob("wexport-*")) if not installed(folder.name)]
    return f"not installed, so not tested: {', '.join(missing)}" if missing else None
