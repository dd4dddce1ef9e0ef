"""The screen of `wexport browse`, driven by keys as a user would."""

from __future__ import annotations

import asyncio
import html
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import wexport
from tests.conftest import EXAMPLES
from tests.reports.conftest import HOSTILE
from tests.tables import write_table
from wexport.queries import asking

pytest.importorskip("textual")
from wexport.browsing.app import Browser
from wexport.browsing.held import Held

MODELS = [EXAMPLES / name for name in ("cnn_seed_1.h5", "cnn_seed_2.h5", "gru.h5", "lstm.h5")]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("browse") / "weights.parquet"
    wexport.ingest(MODELS, path)
    return path


def driven(table: Path, steps: Callable[[Browser, Any], Awaitable[None]], size: tuple[int, int] = (80, 24)) -> None:
    """Carries out the steps on a screen of that size."""

    async def run() -> None:
        with asking.session(table) as session:
            app = Browser(Held(session), table.name)
            async with app.run_test(size=size) as pilot:
                await pilot.pause()
                await steps(app, pilot)

    asyncio.run(run())


def screen(app: Browser) -> str:
    """What the screen shows, line by line."""
    texts = re.findall(r'<text [^>]*y="([\d.]+)"[^>]*>([^<]*)</text>', app.export_screenshot())
    lines: dict[str, str] = {}
    for y, text in texts:
        lines[y] = lines.get(y, "") + html.unescape(text).replace("\xa0", " ")
    return "\n".join(lines.values())


def test_models_tensors_and_the_first_of_them_are_shown_with_the_keys(table: Path) -> None:
    async def steps(app: Browser, pilot: Any) -> None:
        text = screen(app)
        for part in ("4 models of", "cnn_seed_1", "lstm", "12 tensors", "3x3x", "kernel", "█"):
            assert part in text, part
        for key in ("space", "mark a model", "find a slot", "quit"):
            assert key in text, key

    driven(table, steps)


def test_gates_have_their_histograms(table: Path) -> None:
    async def steps(app: Browser, pilot: Any) -> None:
        await pilot.press("ctrl+end", "tab", "down")
        await pilot.pause()
        text = screen(app)
        assert "lstm/recurrent_kernel" in text
        for gate in "ifco":
            assert f"gate {gate}" in text

    driven(table, steps, (110, 80))


def test_two_marked_models_stand_side_by_side(table: Path) -> None:
    expected = wexport.similarity(table).pairs()  # the two seeds differ
    assert expected.num_rows

    async def steps(app: Browser, pilot: Any) -> None:
        await pilot.press("space", "down", "space", "down", "down", "tab", "down")
        await pilot.pause()
        assert app.marked == ["cnn_seed_1", "cnn_seed_2"]
        text = screen(app)
        assert "cnn_seed_1 has no such slot" in text  # the cursor is on a slot of the LSTM
        await pilot.press("shift+tab")
        await pilot.press("ctrl+home")
        await pilot.pause()
        text = screen(app)
        assert "cosine " in text
        assert text.count("value_count") == 1
        await pilot.press("space")
        assert app.marked == ["cnn_seed_2"]
        assert app.compared == ["cnn_seed_1"]

    driven(table, steps, (110, 50))


def test_the_third_mark_takes_that_of_the_first(table: Path) -> None:
    async def steps(app: Browser, pilot: Any) -> None:
        await pilot.press("space", "down", "space", "down", "space")
        assert app.marked == ["cnn_seed_2", "gru"]

    driven(table, steps)


def test_slots_are_found_by_a_part_of_their_name(table: Path) -> None:
    async def steps(app: Browser, pilot: Any) -> None:
        await pilot.press("slash", *"BIAS", "enter")
        await pilot.pause()
        assert "of 12 tensors" in screen(app)
        assert "kernel" not in screen(app).replace("find", "")
        await pilot.press("escape")
        await pilot.pause()
        assert "12 of 12 tensors" in screen(app)
        await pilot.press("slash", *"nothing")
        await pilot.pause()
        assert "no slot has that in its name" in screen(app)

    driven(table, steps, (100, 30))


def test_names_are_text_and_no_markup(tmp_path: Path) -> None:
    names = {"model": "[red]a[/]", "slot": "[b]x/kernel", "layer": HOSTILE, "role": "kernel"}
    table = write_table(tmp_path / "t.parquet", [names | {"values": [[1.0, float("nan")]]}])

    async def steps(app: Browser, pilot: Any) -> None:
        text = screen(app)
        assert "[red]a[/]" in text
        assert "[b]x/kernel" in text
        assert "1 NaN or Inf" in text

    driven(table, steps, (130, 40))


def test_a_small_screen_and_a_table_of_nothing_harm_nothing(table: Path, tmp_path: Path) -> None:
    async def steps(app: Browser, pilot: Any) -> None:
        await pilot.press("tab", "tab", "space", "slash", "escape")
        assert app.is_running

    driven(table, steps, (40, 12))
    driven(write_table(tmp_path / "t.parquet", []), steps)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, stdin=subprocess.DEVNULL)


def test_without_a_terminal_it_says_what_it_needs(table: Path) -> None:
    found = run("-m", "wexport", "browse", str(table))
    assert found.returncode == 2
    assert "browse needs a terminal" in found.stderr


def test_without_textual_it_says_what_to_install() -> None:
    code = "import sys; sys.modules['textual'] = None\nfrom wexport.__main__ import main\nmain()"
    found = run("-c", code.replace("\nmain()", "\nsys.argv[1:] = ['browse', 'x.parquet']\nmain()"))
    assert found.returncode == 3
    assert found.stderr == (
        "error: to browse a table needs Textual, which is not installed\n  pip install 'wexport[browse]'\n"
    )


def test_help_does_not_wait_for_it() -> None:
    found = run("-c", "import sys, wexport.cli; print('textual' in sys.modules, 'wexport.browsing' in sys.modules)")
    assert found.stdout == "False False\n"
