"""The report of models that were run: what their layers gave, and gradients."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

import wexport
from tests import running
from tests.reports.conftest import HOSTILE, Parsed
from tests.tables import write_table

DEAD = (2, 5)


def sick() -> Iterator[dict[str, Any]]:
    """Two models; in the first, two units of `dense` give nothing, and a gradient is NaN."""
    for row in running.rows():
        if row["model"] == running.MODELS[0]:
            if (row["kind"], row["layer"]) == ("activation", "dense"):
                row["values"][:, list(DEAD)] = 0
                row["layer_config"] = {"activation": "relu"}
            if (row["kind"], row["layer"], row["role"]) == ("gradient", "lstm", "kernel"):
                row["values"][0, 0] = np.nan
        yield row


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return wexport.report(write_table(folder / "t.parquet", sick()), folder / "r.html")


def section(page: Path, anchor: str) -> str:
    """The part of a page below a heading, as HTML."""
    text = page.read_text()
    start = text.index(f'id="{anchor}"')
    end = text.find("</section>", start)
    return text[start:end]


def words(html: str) -> str:
    return " ".join(" ".join(Parsed(html).words).split())


def test_it_says_what_the_queries_say(page: Path) -> None:
    text, table = words(section(page, "running")), page.with_name("t.parquet")
    assert "what is said here holds for those inputs" in text
    for query in ("outputs", "gradients"):
        found = wexport.query(query, table).to_pylist()
        assert found
        for row in found:
            assert row["slot"] is None or row["slot"] in text
            assert row["seen"] is None or row["seen"] in text
        assert f"wexport query {query} --sql" in text


def test_its_findings_are_among_all_findings_and_lead_to_the_layer(page: Path) -> None:
    html = section(page, "findings")
    text = words(html)
    assert "2 of 9 units zero for all 4 inputs: 2, 5" in text
    assert "1 value NaN" in text
    found = wexport.check(page.with_name("t.parquet"))
    assert {"outputs", "gradients"} <= {each.query for each in found}
    for each in found:
        assert each.seen in text
    # An output has no place among the layers' weights: it leads to its layer's first tensor.
    names = {attributes["id"] for _, attributes in Parsed(page.read_text()).tags if "id" in attributes}
    targets = {each[1:] for _, attributes in Parsed(html).tags if (each := attributes.get("href"))}
    assert targets
    assert targets <= names
    layers = page.read_text()
    place = re.search(r'<a href="#(layer-\d+)">[^<]*dense/output', html)
    assert place is not None, "the dead units' finding is a link"
    heading = layers[layers.index(f'id="{place[1]}"') :][:400]
    assert "dense/kernel" in heading


def test_gradients_of_kernels_are_drawn_by_depth(page: Path) -> None:
    pictures = [attributes for tag, attributes in Parsed(section(page, "running")).tags if tag == "img"]
    (picture,) = pictures
    assert "Root mean square of the gradients of kernels" in str(picture["alt"])
    assert "rms of the gradients [loss/weight]" in unquote(str(picture["src"]))


def test_what_is_said_of_weights_is_of_weights_alone(page: Path, tmp_path: Path) -> None:
    """Rows of a run change nothing in the parts about weights."""
    alone = [row for row in sick() if row["kind"] == "weight"]
    other = wexport.report(write_table(tmp_path / "t.parquet", alone), tmp_path / "r.html")
    for anchor in ("architectures", "closeness"):  # models and layers have the findings of outputs and gradients, too
        mine, theirs = (words(section(each, anchor)) for each in (page, other))
        assert mine.replace(str(page.parent), "") == theirs.replace(str(tmp_path), ""), anchor
    mine, theirs = (words(section(each, "layers")).split() for each in (page, other))
    assert [line for line in difflib.ndiff(theirs, mine) if line[0] != " "] == ["+ nan", "+ dead", "+ units"]


@pytest.mark.parametrize("kinds", [("weight",), ("weight", "activation"), ("weight", "gradient")])
def test_what_was_not_run_is_not_there(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    rows = [row for row in running.rows() if row["kind"] in kinds]
    page = wexport.report(write_table(tmp_path / "t.parquet", rows), tmp_path / "r.html")
    text = page.read_text()
    assert ('id="running"' in text) == (len(kinds) > 1)
    for kind, query in (("activation", "outputs"), ("gradient", "gradients")):
        assert (f"wexport query {query}" in text) == (kind in kinds)


@pytest.mark.parametrize("kind", ["activation", "gradient"])
def test_a_table_of_nothing_but_a_run_has_a_page(tmp_path: Path, kind: str) -> None:
    rows = [row for row in sick() if row["kind"] == kind]
    page = wexport.report(write_table(tmp_path / "t.parquet", rows), tmp_path / "r.html")
    seen = {"activation": "2 of 9 units zero for all 4 inputs: 2, 5", "gradient": "1 value NaN"}[kind]
    assert seen in words(section(page, "running"))
    assert seen in words(section(page, "findings"))


def test_gradients_without_a_kernel_have_no_picture(tmp_path: Path) -> None:
    rows = [row for row in running.rows() if row["kind"] != "gradient" or row["role"] == "input"]
    page = wexport.report(write_table(tmp_path / "t.parquet", rows), tmp_path / "r.html")
    assert "<img" not in section(page, "running")
    assert "lstm/input" in words(section(page, "running"))


def test_gradients_of_zero_are_told_without_a_picture(tmp_path: Path) -> None:
    """None is above zero, where the picture's scale is logarithmic."""
    rows = list(running.rows())
    for row in rows:
        if row["kind"] == "gradient":
            row["values"] = np.zeros_like(row["values"])
    page = wexport.report(write_table(tmp_path / "t.parquet", rows), tmp_path / "r.html")
    assert "no value moves the loss" in words(section(page, "running"))


def test_of_many_rows_some_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    rows = [
        {
            "model": f"m{model:02}",
            "layer": f"l{layer:02}",
            "role": "output",
            "kind": "activation",
            "values": [[1.0, 2.0]],
        }
        for model in range(20)
        for layer in range(30)
    ]
    table = write_table(tmp_path / "t.parquet", rows)
    text = words(section(wexport.report(table, tmp_path / "r.html"), "running"))
    shown = len(re.findall(r"l\d\d/output", text))
    assert 0 < shown < 600
    assert f"{600 - shown:,} more" in text
    assert f"wexport query outputs {table} --rows 0" in text


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    rows = [
        {"model": HOSTILE, "layer": HOSTILE, "layer_class": HOSTILE, "role": role, "kind": kind, "values": [[1.0, 0.0]]}
        for kind, role in (("weight", "kernel"), ("gradient", "kernel"), ("activation", "output"))
    ]
    page = wexport.report(write_table(tmp_path / "t.parquet", rows), tmp_path / "r.html")
    parsed = Parsed(page.read_text())
    assert not [attributes for tag, attributes in parsed.tags if tag == "img" and "onerror" in attributes]
    assert HOSTILE in words(section(page, "running"))
