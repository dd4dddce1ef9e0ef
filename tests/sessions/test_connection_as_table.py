"""What `connect` gives stands for its table wherever a path does, with the files and kinds that it was given."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import wexport
from tests.conftest import ROOT

EXAMPLES = ROOT / "wexport" / "examples"


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("table") / "weights.parquet"
    wexport.ingest([EXAMPLES / "cnn_seed_1.h5", EXAMPLES / "cnn_seed_2.h5"], out)
    return out


@pytest.fixture
def connection(table: Path) -> Iterator[wexport.Connection]:
    with wexport.connect(table) as found:
        yield found


def at_work() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


def drawn(table: Any) -> list[float]:
    from matplotlib.figure import Figure

    [mesh] = wexport.plot.heatmap(table, "dense/kernel", model="cnn_seed_1", ax=Figure().subplots())
    return mesh.get_array().ravel().tolist()  # type: ignore[union-attr, no-any-return]


ASKED: dict[str, Callable[[Any], Any]] = {
    "query": lambda table: wexport.query("models", table).to_pylist(),
    "sql": lambda table: wexport.query("SELECT slot, mean FROM weights ORDER BY model, slot", table).to_pylist(),
    "python form": lambda table: wexport.query("similarity", table).to_pylist(),
    "check": wexport.check,
    "similarity": lambda table: wexport.similarity(table).matrix.tolist(),
    "compare": lambda table: wexport.compare(table).clusters.to_pylist(),
    "plot": drawn,
}


@pytest.mark.parametrize("ask", ASKED.values(), ids=ASKED)
def test_it_answers_as_the_path_does(table: Path, connection: wexport.Connection, ask: Callable[[Any], Any]) -> None:
    assert ask(connection) == ask(table)


def test_a_report_is_the_same(table: Path, connection: wexport.Connection, tmp_path: Path) -> None:
    pages = [wexport.report(given, tmp_path / f"{number}.html") for number, given in enumerate((table, connection))]
    assert pages[0].read_bytes() == pages[1].read_bytes()


def test_files_and_kinds_go_with_it(table: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("model,label\ncnn_seed_1,a\ncnn_seed_2,b\n")
    labelled = "SELECT DISTINCT label FROM weights JOIN labels USING (model) ORDER BY label"
    with wexport.connect(table, {"labels": tmp_path / "labels.csv"}) as connection:
        assert wexport.query(labelled, connection)["label"].to_pylist() == ["a", "b"]
    count = "SELECT count(*) AS n FROM weights"
    with wexport.connect(table, kinds=["gradient"]) as connection:
        assert wexport.query(count, connection)["n"].to_pylist() == [0]
        assert wexport.query(count, connection, kinds=["gradient"])["n"].to_pylist() == [0]
        for ask in (
            lambda: wexport.query(count, connection, kinds=["activation"]),
            lambda: wexport.check(connection),
            lambda: wexport.compare(connection),
            lambda: wexport.plot.figure("histogram", connection, kinds=["activation"], slot="dense/kernel"),
        ):
            with pytest.raises(wexport.UsageError, match=r"connection is of|cannot be checked|has no weights"):
                ask()


def test_its_table_is_found_from_elsewhere(table: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(table.parent)
    with wexport.connect("weights.parquet") as connection:
        monkeypatch.chdir(tmp_path)
        assert wexport.query("models", connection).num_rows == 2


def test_one_process_answers_all_and_goes_with_it(table: Path) -> None:
    wexport.query("models", table)  # what children are forked from is there now
    before = at_work()
    connection = wexport.connect(table)
    for _ in range(3):
        wexport.query("models", connection)
    (child,) = at_work() - before
    connection.close()
    assert not child.is_running()
    assert wexport.query("models", connection).num_rows == 2  # a new one
    (child,) = at_work() - before
    del connection
    gc.collect()
    assert not child.is_running()


@pytest.mark.parametrize("wrong", [None, 5, object()])
def test_what_is_no_table_is_told(wrong: Any) -> None:
    for ask in (lambda: wexport.query("models", wrong), lambda: wexport.check(wrong), lambda: wexport.compare(wrong)):
        with pytest.raises(wexport.UsageError, match="is not a table"):
            ask()
