"""The report in a browser: it behaves as people expect."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reports.conftest import HOSTILE

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
    driver.set_script_timeout(300)  # axe-core looks at each element, and machines may be busy
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


@in_browser
def test_serves_the_keyboard_alone(browser: Any, page: Path) -> None:
    from selenium.webdriver.common.keys import Keys

    browser.set_window_size(1280, 900)
    browser.get(page.as_uri())

    # The way leads over every control in the order of the page, and each shows that it has the focus.
    about = """
        const here = document.activeElement, look = getComputedStyle(here);
        const place = [...document.querySelectorAll('*')].indexOf(here);
        const seen = look.outlineStyle !== 'none' && parseFloat(look.outlineWidth) >= 2;
        return [place, here.tagName, here.textContent.trim(), seen && here.getBoundingClientRect().left >= 0];
    """
    way: list[tuple[int, str, str, bool]] = []
    while len(way) < 400:
        browser.switch_to.active_element.send_keys(Keys.TAB)
        found = tuple(browser.execute_script(about))
        if found[1] == "BODY" or (way and found[0] <= way[0][0]):
            break
        way.append(found)
    assert way[0][2] == "Skip to the summary"
    places = [place for place, _, _, _ in way]
    assert places == sorted(places)
    assert {"A", "BUTTON", "INPUT", "SUMMARY"} <= {tag for _, tag, _, _ in way}
    layers = browser.find_elements("css selector", "details.layer > summary")
    assert len([tag for _, tag, text, _ in way if tag == "SUMMARY" and "role" in text]) == len(layers)
    assert all(seen for _, _, _, seen in way), [found for found in way if not found[3]]

    button = browser.find_element("css selector", "#table-models th button")
    button.send_keys(Keys.ENTER)
    heading = browser.find_element("css selector", "#table-models th")
    assert heading.get_attribute("aria-sort") == "ascending"
    button.send_keys(Keys.SPACE)
    assert heading.get_attribute("aria-sort") == "descending"
    assert cells(browser, "table-models", 0) == sorted(cells(browser, "table-models", 0), reverse=True)

    summary = browser.find_element("css selector", "details.layer > summary")
    summary.send_keys(Keys.ENTER)
    assert summary.find_element("xpath", "..").get_attribute("open") is not None
    link = browser.find_element("css selector", "#summary a[href^='#layer']")
    link.send_keys(Keys.ENTER)
    target = browser.find_element("css selector", str(link.get_dom_attribute("href")))
    assert target.get_attribute("open") is not None


@in_browser
def test_fits_on_paper(browser: Any, page: Path, hostile_page: Path) -> None:
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        for each in (page, hostile_page):
            browser.set_window_size(700, 900)  # about what a page of A4 has between its margins
            browser.get(each.as_uri())
            browser.execute_script("dispatchEvent(new Event('beforeprint'))")
            width = browser.execute_script("return document.documentElement.clientWidth")
            wide = "[...document.querySelectorAll('table, img, p')].map((e) => e.getBoundingClientRect().right)"
            assert max(browser.execute_script(f"return {wide}")) <= width
            hidden = "nav, .tools, button.copy, details.sql"
            shown = f"[...document.querySelectorAll('{hidden}')].filter((e) => e.checkVisibility())"
            assert browser.execute_script(f"return {shown}.length") == 0
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@in_browser
def test_pictures_can_be_read_on_a_phone(browser: Any, page: Path) -> None:
    browser.set_window_size(500, 800)
    browser.get(page.as_uri())
    browser.execute_script("for (const each of document.querySelectorAll('details.layer')) each.open = true")
    sizes = browser.execute_script("return [...document.images].map((i) => i.width / i.naturalWidth)")
    assert min(sizes) > 0.6
