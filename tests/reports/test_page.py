"""The report: one file that says what the table does."""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import unquote

import pytest

import wexport
from tests.conftest import EXAMPLES
from tests.reports.conftest import HOSTILE, Parsed
from tests.tables import write_table
from wexport.errors import TableError, UsageError


def test_needs_no_other_file(page: Path) -> None:
    parsed = Parsed(page.read_text())
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base"), tag
        source = attributes.get("src")
        assert source is None or source.startswith("data:image/svg+xml,"), (tag, source)
        target = attributes.get("href")
        assert target is None or target.startswith("#"), (tag, target)
        assert not [name for name in attributes if name.startswith("on")]
    assert len([tag for tag, _ in parsed.tags if tag == "script"]) == 1


def test_links_lead_somewhere_and_names_are_unique(page: Path) -> None:
    tags = Parsed(page.read_text()).tags
    names = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(names) == len(set(names))
    for _, attributes in tags:
        if (target := attributes.get("href")) is not None:
            assert target[1:] in names, target


def test_says_what_the_table_and_the_checks_say(page: Path) -> None:
    text = " ".join(Parsed(page.read_text()).words)
    models = wexport.query("models", page.with_name("weights.parquet"))
    assert f"{models.num_rows} models with {sum(models['parameters'].to_pylist()):,} parameters in all" in text
    for finding in wexport.check(page.with_name("weights.parquet")):
        assert finding.seen in text
    rank = wexport.query(
        "rank", page.with_name("weights.parquet"), files={"metrics": EXAMPLES / "metrics.csv"}
    ).to_pylist()
    assert f"By the metrics, {rank[0]['model']} comes first" in text
    assert "weights alone do not tell" in text


def test_pictures_are_described(page: Path) -> None:
    pictures = [attributes for tag, attributes in Parsed(page.read_text()).tags if tag == "img"]
    assert len(pictures) > 10
    assert all(attributes["alt"] for attributes in pictures)


def test_the_words_in_pictures_are_those_that_were_drawn(page: Path, tmp_path: Path) -> None:
    table = page.with_name("weights.parquet")
    wexport.plot.save(wexport.plot.figure("similarity", table), tmp_path / "drawn.svg")
    words = [
        " ".join(text.split()) for text in re.findall(r"<text[^>]*>([^<]+)<", (tmp_path / "drawn.svg").read_text())
    ]
    assert "run/weights.08-0.42" in words
    pictures = [unquote(str(attributes["src"])) for tag, attributes in Parsed(page.read_text()).tags if tag == "img"]
    (shown,) = [each for each in pictures if "Similarity of 17 models" in each]
    assert [" ".join(text.split()) for text in re.findall(r"<text[^>]*>([^<]+)<", shown)] == words


def test_hostile_names_stay_text(hostile_page: Path) -> None:
    parsed = Parsed(hostile_page.read_text())
    assert not [attributes for tag, attributes in parsed.tags if tag == "img" and "onerror" in attributes]
    assert len([tag for tag, _ in parsed.tags if tag == "script"]) == 1
    assert HOSTILE in "".join(parsed.words)


def test_the_same_table_gives_the_same_page(page: Path, tmp_path: Path) -> None:
    again = wexport.report(page.with_name("weights.parquet"), tmp_path / "r.html", metrics=EXAMPLES / "metrics.csv")
    assert again.read_bytes() == page.read_bytes()


def test_one_model_alone_has_a_page(tmp_path: Path) -> None:
    wexport.ingest(EXAMPLES / "lstm.h5", tmp_path / "one.parquet")
    text = wexport.report(tmp_path / "one.parquet", tmp_path / "r.html").read_text()
    assert "1 model with 772 parameters" in text


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    rows = [
        {"model": f"m{model:03}", "slot": f"l{slot:03}/kernel", "role": "kernel", "values": [model, slot, 1.5]}
        for model in range(30)
        for slot in range(110)
    ]
    text = wexport.report(write_table(tmp_path / "t.parquet", rows), tmp_path / "r.html").read_text()
    assert "100 of 110 tensors are shown" in text
    assert "20 of the 30 models" in text
    assert len(text) < 3_000_000


OLD = '<!doctype html>\n<meta name="generator" content="wexport 0.1.0">'


def test_the_old_page_stays_when_there_is_no_new_one(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(OLD)
    with pytest.raises(TableError):
        wexport.report(tmp_path / "nothing.parquet", tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == OLD
    with pytest.raises(UsageError, match=r"the folder .*nowhere does not exist"):
        wexport.report(tmp_path / "nothing.parquet", tmp_path / "nowhere" / "report.html")


def test_the_policy_names_the_style_and_script(page: Path) -> None:
    policy = next(
        str(attributes["content"])
        for tag, attributes in Parsed(page.read_text()).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/=]{44}'", policy)) == 2
    assert "unsafe" not in policy
