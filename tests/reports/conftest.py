"""The pages that tests of the report look at."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

import pytest

import wexport
from tests.conftest import EXAMPLES
from tests.tables import write_table

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the examples, with their metrics."""
    folder = tmp_path_factory.mktemp("report")
    wexport.ingest(EXAMPLES, folder / "weights.parquet")
    return wexport.report(folder / "weights.parquet", folder / "report.html", metrics=EXAMPLES / "metrics.csv")


@pytest.fixture(scope="session")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of models and layers whose names are markup, one of them sick."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [
        {"model": model, "slot": slot, "layer": slot, "layer_class": "Dense", "role": "kernel", "values": values}
        for model in (HOSTILE, "b</script><script>alert(2)</script>", "$\\frac{")
        for slot, values in ((HOSTILE, [[1.0, float("nan")], [0.5, 2.0]]), ("plain", [[0.1, 0.2], [0.3, -0.4]]))
    ]
    return wexport.report(write_table(folder / "weights.parquet", rows), folder / "report.html")


class Parsed(HTMLParser):
    """Tags with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)
