"""Makes the pictures of the pages: `python -m docs.make_pictures`, with wexport[test] and wexport-keras installed.

Runs the gallery as its test does, on the example models that ship with wexport, and keeps the files that its commands
make. The page of the report is photographed by headless Chromium (Debian: chromium and chromium-driver).
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from tests.docs.pages import rewritten

DOCS = Path(__file__).parent
GALLERY = DOCS / "gallery.md"
PHOTOGRAPHED = ("report.png", "layer.png")
"""What no command of a page makes."""
_SHOWN = re.compile(r"!\[[^\]]+\]\((?P<path>[^)]*pictures/[^)]+)\)")


def shown(text: str) -> list[str]:
    """The pictures that a page shows, as it names them."""
    return [found["path"] for found in _SHOWN.finditer(text)]


def photograph(page: Path, out: Path, *, width: int, height: int, layer: str = "") -> None:
    """The top of the report, or an opened layer, as a browser shows it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("headless", "no-sandbox", "disable-gpu", "hide-scrollbars", "disable-background-networking"):
        options.add_argument(f"--{argument}")
    browser = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get(page.as_uri())
        if layer:
            browser.execute_script(
                "const here = [...document.querySelectorAll('details.layer')]"
                ".find((each) => each.querySelector('strong').textContent === arguments[0]);"
                "location.hash = here.id",
                layer,
            )
        browser.execute_script("return Promise.all([...document.images].map((each) => each.decode()))")
        browser.save_screenshot(str(out))
    finally:
        browser.quit()


def smaller(path: Path) -> None:
    """Few colours are enough for plots and pages, and make a quarter of the file."""
    from PIL import Image  # comes with matplotlib

    with Image.open(path) as picture:
        picture.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rewritten(GALLERY.read_text(), folder)
        photograph(folder / "report.html", folder / "report.png", width=1120, height=1160)
        photograph(folder / "report.html", folder / "layer.png", width=1120, height=1130, layer="dense/kernel")
        for path in shown(GALLERY.read_text()):
            picture = folder / Path(path).name
            smaller(picture)
            shutil.copyfile(picture, DOCS / path)
            print(f"{path}: {picture.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
