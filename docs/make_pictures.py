"""Makes the pictures that the README shows: python docs/make_pictures.py, in an environment with wexport[test].

Runs the commands that stand beside the pictures in README.md, on the example models that ship with wexport. The page of
the report is photographed by headless Chromium (Debian: chromium and chromium-driver).
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parent
README = DOCS.parent / "README.md"
_COMMANDS = re.compile(r"<!-- pictures -->\n```\n(?P<commands>.*?)```", re.DOTALL)
_SHOWN = re.compile(r"!\[[^\]]+\]\((?P<path>docs/[^)]+)\)")


def commands(text: str) -> list[list[str]]:
    """The commands that the README gives for its pictures, as arguments."""
    lines = [line for found in _COMMANDS.finditer(text) for line in found["commands"].splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("wexport ")]


def shown(text: str) -> list[str]:
    """The pictures that the README shows, as paths from the top of the project."""
    return [found["path"] for found in _SHOWN.finditer(text)]


def run(folder: Path) -> None:
    """Run the README's commands in a folder, after those that make the models and the table."""
    here = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": here + os.pathsep + os.environ["PATH"]}
    first = [["wexport", "demo", "models"], ["wexport", "ingest", "models", "--out", "weights.parquet"]]
    for command in [*first, *commands(README.read_text())]:
        subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)


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
    from PIL import Image

    with Image.open(path) as picture:
        picture.convert("RGB").quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run(folder)
        photograph(folder / "report.html", folder / "report.png", width=1120, height=1160)
        photograph(folder / "report.html", folder / "layer.png", width=1120, height=1130, layer="dense/kernel")
        for path in shown(README.read_text()):
            picture = folder / Path(path).name
            smaller(picture)
            (DOCS.parent / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(picture, DOCS.parent / path)
            print(f"{path}: {picture.stat().st_size / 1000:.0f} KB")


if __name__ == "__main__":
    main()
