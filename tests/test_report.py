"""The report: one file that says what the table does, and in a browser behaves as people expect."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

import wexport
from tests.conftest import EXAMPLES
from tests.tables import write_table
from wexport.errors import TableError, UsageError

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of the examples, with their metrics."""
    folder = tmp_path_factory.mktemp("report")
    wexport.ingest(EXAMPLES, folder / "weights.parquet")
    return wexport.report(folder / "weights.parquet", folder / "report.html", metrics=EXAMPLES / "metrics.csv")


@pytest.fixture(scope="module")
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


def test_the_old_page_stays_when_there_is_no_new_one(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old")
    with pytest.raises(TableError):
        wexport.report(tmp_path / "nothing.parquet", tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text() == "old"
    with pytest.raises(UsageError, match="its folder does not exist"):
        wexport.report(tmp_path / "nothing.parquet", tmp_path / "nowhere" / "report.html")


# -- in a browser ------------------------------------------------------------------------------------------------------

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
in_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and its driver are not here")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium without a network."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("headless", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"):
        options.add_argument(f"--{argument}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.execute_cdp_cmd("Network.enable", {})
    offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
    driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
    yield driver
    driver.quit()


def cells(browser: Any, table: str, column: int) -> list[str]:
    """The visible texts of a column."""
    script = """
        const rows = [...document.getElementById(arguments[0]).tBodies[0].rows].filter((row) => !row.hidden);
        return rows.map((row) => row.cells[arguments[1]].textContent);
    """
    found: list[str] = browser.execute_script(script, table, column)
    return found


@in_browser
def test_opens_without_errors(browser: Any, page: Path) -> None:
    browser.get(page.as_uri())
    assert browser.title == "17 models compared"
    assert browser.get_log("browser") == []
    sizes = browser.execute_script(
        "return [...document.images].map((i) => i.decode().then(() => i.naturalWidth, () => 0))"
        ".reduce((all, one) => all.then((found) => one.then((width) => [...found, width])), Promise.resolve([]))"
    )
    assert sizes
    assert min(sizes) > 0


@in_browser
def test_sorts_by_number_and_by_text(browser: Any, page: Path) -> None:
    browser.get(page.as_uri())
    buttons = browser.find_elements("css selector", "#table-models th button")
    names = [button.text for button in buttons]
    place = names.index("parameters")
    buttons[place].click()
    numbers = [int(text.replace(",", "")) for text in cells(browser, "table-models", place)]
    assert numbers == sorted(numbers)
    buttons[place].click()
    assert [int(text.replace(",", "")) for text in cells(browser, "table-models", place)] == numbers[::-1]
    heading = browser.find_elements("css selector", "#table-models th")[place]
    assert heading.get_attribute("aria-sort") == "descending"
    buttons[0].click()
    assert cells(browser, "table-models", 0) == sorted(cells(browser, "table-models", 0))


@in_browser
def test_filters(browser: Any, page: Path) -> None:
    browser.get(page.as_uri())
    box = browser.find_element("css selector", "input[data-filters=table-models]")
    box.send_keys("SEED float32")
    assert cells(browser, "table-models", 0) == [f"cnn_seed_{n}" for n in range(1, 6)]
    assert "5 of 17 rows" in browser.find_element("css selector", "#models [role=status]").text
    box.clear()
    box.send_keys("nothing at all")
    assert cells(browser, "table-models", 0) == []


@in_browser
def test_a_finding_leads_to_its_layer_and_opens_it(browser: Any, page: Path) -> None:
    browser.get(page.as_uri())
    assert not browser.find_elements("css selector", "details.layer[open]")
    link = browser.find_element("css selector", "#table-findings td a")
    place = link.text
    browser.execute_script("arguments[0].click()", link)
    (opened,) = browser.find_elements("css selector", "details.layer[open]")
    assert place in opened.text
    assert opened.find_element("css selector", "img").is_displayed()


@in_browser
def test_hostile_names_run_nothing(browser: Any, hostile_page: Path) -> None:
    browser.get(hostile_page.as_uri())
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.querySelectorAll('img[onerror]').length") == 0
    assert HOSTILE in cells(browser, "table-models", 0)


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_has_no_serious_accessibility_fault(browser: Any, page: Path, scheme: str, width: int) -> None:
    axe = pytest.importorskip("axe_core_python.selenium").Axe()
    features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
    browser.set_window_size(width, 900)
    browser.get(page.as_uri())
    browser.execute_script("for (const each of document.querySelectorAll('details')) each.open = true")
    faults = axe.run(browser)["violations"]
    serious = [fault for fault in faults if fault["impact"] in ("serious", "critical")]
    assert not serious, json.dumps([(fault["id"], fault["nodes"][0]["html"][:200]) for fault in serious], indent=1)
    # Only tables scroll sideways, never the page.
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth + 1")


@in_browser
def test_prints_with_layers_open(browser: Any, page: Path) -> None:
    browser.get(page.as_uri())
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    closed = browser.find_elements("css selector", "details.layer:not([open])")
    assert not closed


def test_the_policy_names_the_style_and_script(page: Path) -> None:
    policy = next(
        str(attributes["content"])
        for tag, attributes in Parsed(page.read_text()).tags
        if attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert "default-src 'none'" in policy
    assert len(re.findall(r"'sha256-[A-Za-z0-9+/=]{44}'", policy)) == 2
    assert "unsafe" not in policy
