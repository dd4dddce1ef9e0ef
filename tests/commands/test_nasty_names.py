"""Names that try to do something, over all that wexport prints, writes and draws."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import unicodedata
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

import wexport
from tests.nasty_names import NASTY
from tests.tables import write_table
from wexport.cli import cli
from wexport.table.text import printable

NAMES = list(NASTY.values())
NO_RENDERING = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
pytestmark = pytest.mark.filterwarnings("ignore:Glyph")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of each name, whose layers, class, run and tensors have nasty names too; some are sick."""
    return made(tmp_path_factory.mktemp("nasty"), NAMES)


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of fewer models, the name of each being several nasty ones: pictures take their time."""
    return made(tmp_path_factory.mktemp("short"), ["".join(NAMES[place::6]) for place in range(6)])


def made(folder: Path, names: Sequence[str]) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for number, name in enumerate(names):
        for place, layer in enumerate((name, names[number - 1], "plain")):
            sick = (number + place) % 7 == 0
            said = {"model": name, "slot": f"{layer}/kernel", "layer": layer, "role": "kernel", "run": name}
            said |= {"layer_class": name[:100] if place else "Dense", "step": number, "framework": name[:50]}
            said |= {"format": name[:50], "source": f"{name}.h5", "dtype": "float32"}
            values = np.full((4, 6), np.nan) if sick else rng.normal(0, 1, (4, 6))
            rows.append({**said, "values": values})
    return write_table(folder / "t.parquet", rows)


def run(capsys: pytest.CaptureFixture[str], *arguments: object, ends: Sequence[int] = (0,)) -> str:
    code = 0
    try:
        cli.main([str(each) for each in arguments], standalone_mode=False)
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    assert code in ends, said.err
    assert not steering(said.err)
    return said.out


def steering(text: str) -> set[str]:
    """The characters in a text that move a cursor, turn its direction or are not seen."""
    return {each for each in text if unicodedata.category(each) in NO_RENDERING and each != "\n"}


def test_the_table_holds_all_names_as_they_are(table: Path) -> None:
    assert pq.read_table(table, columns=["model"])["model"].unique().to_pylist() == [printable(name) for name in NAMES]


@pytest.mark.parametrize("query", ["models", "layers", "health", "tensors"])
@pytest.mark.parametrize("width", ["80", "200"])
def test_the_terminal(
    table: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, query: str, width: str
) -> None:
    monkeypatch.setenv("COLUMNS", width)
    assert not steering(run(capsys, "query", query, table))


def test_csv(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(
        capsys,
        "query",
        "SELECT model, mean, [model] AS listed, {'a': model} AS inside FROM weights",
        table,
        "--format",
        "csv",
    )
    assert not steering(text)
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 3 * len(NAMES)
    for row in rows:
        for cell in (row["model"], row["listed"], row["inside"]):
            assert not re.match(r"\s*[=@\uff1d\uff20]", cell)
            assert not re.match(r"\s*[-+]", cell) or re.fullmatch(r"\s*[-+][\d.]+(e[-+]?\d+)?", cell)
    assert min(float(row["mean"]) for row in rows if row["mean"]) < 0  # numbers are numbers
    assert {row["model"] for row in rows} >= {"'" + NASTY["minus"], "plain" if "plain" in NAMES else NASTY["SQL"]}


def test_json_has_them_as_they_are(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "query", "SELECT DISTINCT model FROM weights", table, "--format", "json")
    assert not steering(text)
    assert {row["model"] for row in json.loads(text)} == {printable(name) for name in NAMES}


def test_markdown(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "query", "SELECT DISTINCT model, 'x' AS last FROM weights", table, "--format", "markdown")
    assert not steering(text)
    lines = text.splitlines()
    assert len(lines) == 2 + len(NAMES)
    for line in lines[2:]:
        plain = re.sub(r"\\.", "", line)  # what is escaped is text
        assert plain.count("|") == 3
        assert not re.search(r"[`\[\]<]", plain)


def test_findings_as_junit_and_in_the_terminal(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = run(capsys, "check", table, "--format", "junit", ends=(0, 1))
    cases = list(ElementTree.fromstring(text).iter("testcase"))
    assert len(cases) > len(NAMES) / 7
    assert not steering("".join(each for each in ElementTree.fromstring(text).itertext()))
    assert not any(steering(value) for case in cases for value in case.attrib.values())
    assert not steering(run(capsys, "check", table, ends=(0, 1)))


class Page(HTMLParser):
    """What a browser would take for tags, and where they lead."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_report(short: Path, tmp_path: Path) -> None:
    text = wexport.report(short, tmp_path / "report.html").read_text("utf-8")
    assert not steering(text.replace("\t", " "))
    tags = Page(text).found
    assert {tag for tag, _ in tags if tag in ("script", "iframe", "object", "embed", "form", "base")} <= {"script"}
    assert not any(name.startswith("on") for _, attributes in tags for name in attributes)
    pictures = [attributes.get("src") or "" for tag, attributes in tags if tag == "img"]
    assert all(source.startswith("data:image/") for source in pictures)
    links = [attributes.get("href") or "" for tag, attributes in tags if tag == "a"]
    assert all(link.startswith("#") for link in links)
    assert "{{ 7 * 7 }}{% raw %}" in text  # nothing was worked out


@pytest.mark.parametrize("suffix", ["svg", "png"])
def test_pictures(short: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]) -> None:
    for kind in ("histogram", "heatmap", "scatter"):
        out = tmp_path / f"{kind}.{suffix}"
        more = ["--slot", "plain/kernel"] if kind == "histogram" else []
        run(capsys, "plot", kind, short, "-o", out, *more)
        if suffix == "svg":
            tags = {each.tag.rpartition("}")[2] for each in ElementTree.parse(out).iter()}
            assert not tags & {"script", "a", "foreignObject"}
            leads = [value for each in ElementTree.parse(out).iter() for key, value in each.items() if "href" in key]
            assert all(lead.startswith(("#", "data:image/png;base64,")) for lead in leads)
            assert not steering(out.read_text("utf-8"))


def test_files_of_such_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As inputs, and as parts of a folder, whose names come from them."""
    folder = tmp_path / "models"
    folder.mkdir()
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["w"] = np.ones(3)
    for name in NAMES:
        if "\0" not in name and name.strip() and not name.startswith("."):  # those are hidden
            cut = name.replace("/", "_").encode()[:150].decode(errors="ignore")
            shutil.copy(tmp_path / "x.h5", folder / f"{cut}.h5")
    text = run(capsys, "ingest", folder, "--out", f"{tmp_path / 'parts'}/")
    assert not steering(text)
    found = wexport.query("SELECT DISTINCT model FROM weights", tmp_path / "parts")["model"].to_pylist()
    assert len(found) == len(list(folder.iterdir()))
    for path in sorted(folder.iterdir())[::4]:
        assert not steering(run(capsys, "inspect", path))
    first, second = sorted(folder.iterdir())[:2]
    assert not steering(run(capsys, "diff", first, second, ends=(0, 1)))


@pytest.mark.parametrize("out", ["", " ", "."])
@pytest.mark.parametrize(
    "command",
    [
        "ingest {h5} --out",
        "query models {table} --format csv --out",
        "plot histogram {table} -o",
        "report {table} -o",
        "check {table} --format junit --out",
    ],
)
def test_an_output_without_a_name_is_refused(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, command: str
) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["w"] = np.ones(3)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    words = [word.format(h5=tmp_path / "a.h5", table=table) for word in command.split()]
    if out == "." and words[0] == "ingest":
        pytest.skip("a folder of parts")
    if out == " " and words[0] != "plot":
        pytest.skip("a name like any other")
    with pytest.raises((wexport.UsageError, wexport.TableError)):
        cli.main([*words, out], standalone_mode=False)
    assert not list((tmp_path / "work").iterdir())
