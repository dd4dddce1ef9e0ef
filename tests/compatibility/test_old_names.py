"""What had another name goes on by it, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

import wexport
from tests.conftest import ROOT
from tests.warm_commands import run

EXAMPLES = ROOT / "wexport" / "examples"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("old") / "weights.parquet"
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"], out)
    return out


def test_seconds_is_timeout_now(table: Path) -> None:
    for ask in (
        lambda **limit: wexport.query("models", table, **limit),
        lambda **limit: wexport.check(table, **limit),
        lambda **limit: wexport.similarity(table, **limit),
    ):
        with pytest.warns(DeprecationWarning, match="seconds is called timeout now") as said:
            ask(seconds=60.0)  # type: ignore[no-untyped-call]
        assert said[0].filename == __file__
    with pytest.raises(TypeError, match="got timeout twice"):
        wexport.query("models", table, seconds=1.0, timeout=1.0)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["diff", str(EXAMPLES / "lstm.h5"), str(EXAMPLES / "lstm.h5"), "--rtol=0.1"], "--relative-tolerance"),
        (["query", "SELECT count(*) FROM weights", "TABLE", "--kind", "weight"], "--kinds"),
    ],
)
def test_options_go_on_by_their_old_names(table: Path, arguments: list[str], told: str) -> None:
    arguments = [str(table) if argument == "TABLE" else argument for argument in arguments]
    found = run(*arguments)
    assert found.returncode == 0, found.stderr
    assert f"is called {told} now" in found.stderr


def test_what_comes_after_the_options_is_not_touched(table: Path) -> None:
    found = run("query", "--format=csv", "--", "SELECT 1", table)
    assert (found.returncode, found.stdout.split()) == (0, ["1", "1"]), found.stderr
