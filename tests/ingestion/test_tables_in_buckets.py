"""Tables of an object store: written whole or not at all, and asked where they are."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import wexport
from tests.buckets import Bucket, bucket
from wexport.files import cached

Write = Callable[..., Path]
MODELS = "select model from weights order by model"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Bucket]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with bucket(monkeypatch) as found:
        yield found


def model(write_h5: Write, seed: int) -> Path:
    return write_h5(f"m/{seed}.h5", w=np.random.default_rng(seed).normal(size=(20, 4)).astype("f4"))


def models(table: str) -> list[str]:
    found: list[str] = wexport.query(MODELS, table)["model"].to_pylist()
    return found


def test_a_table_is_made_once_and_asked_by_its_uri(store: Bucket, write_h5: Write, tmp_path: Path) -> None:
    out = f"{store.uri}/t/weights.parquet"
    paths = [model(write_h5, number) for number in range(3)]
    result = wexport.ingest(paths, out, root=tmp_path / "m")
    assert (result.out, result.rows, result.written) == (out, 3, True)
    assert models(out) == ["0", "1", "2"]
    with pytest.raises(wexport.TableError, match=f"{out}: exists already"):
        wexport.ingest(paths, out)
    wexport.ingest(paths[:2], out, overwrite=True)
    assert models(out) == ["0", "1"]
    wexport.ingest(model(write_h5, 7), out, append=True, name="seven")
    assert models(out) == ["0", "1", "seven"]
    assert [row["model"] for row in wexport.query("models", out).to_pylist()] == ["0", "1", "seven"]
    assert wexport.check(out) is not None
    with wexport.connect(out) as connection:
        assert len(connection.ask(MODELS)) == 3
    page = wexport.report(out, tmp_path / "r.html")
    assert out in page.read_text()
    wexport.plot.histogram(out)


def test_a_table_is_fetched_once(store: Bucket, write_h5: Write) -> None:
    out = f"{store.uri}/weights.parquet"
    wexport.ingest(model(write_h5, 1), out)
    store.way.clear()
    for _ in range(2):
        models(out)
    assert store.way.gets() == []  # not even once: what was written is known
    store.put("other.parquet", store.get("weights.parquet"))
    for _ in range(2):
        models(f"{store.uri}/other.parquet")
    assert store.way.gets() == ["/models/other.parquet"]


def test_a_folder_of_parts_grows_and_shrinks(store: Bucket, write_h5: Write, tmp_path: Path) -> None:
    out = f"{store.uri}/parts/"
    paths = [model(write_h5, number) for number in range(3)]
    folder = tmp_path / "m"
    wexport.ingest(folder, out)
    assert store.keys("parts/") == ["parts/0.parquet", "parts/1.parquet", "parts/2.parquet"]
    store.way.clear()
    assert [each.status for each in wexport.ingest(folder, out).models] == ["unchanged"] * 3
    assert [method for method, _ in store.way.requests] == ["GET"]  # the list
    paths[1].write_bytes(model(write_h5, 9).read_bytes())
    (folder / "9.h5").unlink()
    store.way.clear()
    assert [each.status for each in wexport.ingest(folder, out).models] == ["unchanged", "ok", "unchanged"]
    assert [path for method, path in store.way.requests if method == "PUT"] == ["/models/parts/1.parquet"]
    paths[0].unlink()
    result = wexport.ingest(folder, out, prune=True)
    assert [left.pruned for left in result.left] == [True]
    assert models(out) == ["1", "2"]
    assert models(f"{store.uri}/parts/*.parquet") == ["1", "2"]
    # From a machine that has no cache.
    cache = tmp_path / "cache"
    cache.rename(tmp_path / "gone")
    assert models(f"{store.uri}/parts") == ["1", "2"]


def test_of_two_writers_one_wins_whole(store: Bucket, write_h5: Write) -> None:
    out = f"{store.uri}/weights.parquet"
    paths = [model(write_h5, number) for number in range(4)]
    meeting = threading.Barrier(2)

    def both(method: str, path: str, wanted: str | None) -> None:
        if method == "PUT" and meeting.n_waiting < 2:
            meeting.wait(30)

    for append in (False, True):
        store.way.fail = both
        ended: list[object] = []

        def write(path: Path, append: bool = append, ended: list[object] = ended) -> None:
            try:
                ended.append(wexport.ingest(path, out, append=append))
            except wexport.WexportError as error:
                ended.append(str(error))

        threads = [threading.Thread(target=write, args=(path,)) for path in paths[2 * append : 2 * append + 2]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        store.way.fail = None
        told = [each for each in ended if isinstance(each, str)]
        assert len(told) == 1, ended
        assert told[0].startswith(out)
        assert len(models(out)) == 1 + append


def test_nothing_is_put_where_nothing_could_be_read(store: Bucket, tmp_path: Path) -> None:
    (tmp_path / "x.h5").write_bytes(b"text")
    result = wexport.ingest(tmp_path / "x.h5", f"{store.uri}/weights.parquet")
    assert not result.written
    assert store.keys() == []
    with pytest.raises(wexport.MissingTableError, match="there is no such table"):
        models(f"{store.uri}/weights.parquet")
    with pytest.raises(wexport.TableError, match="a web server takes no tables"):
        wexport.ingest(tmp_path / "x.h5", "https://localhost/weights.parquet")


def test_a_put_that_fails_is_told_and_leaves_what_was(store: Bucket, write_h5: Write) -> None:
    out = f"{store.uri}/weights.parquet"
    wexport.ingest(model(write_h5, 1), out)
    store.way.fail = lambda method, path, wanted: 403 if method == "PUT" else None
    with pytest.raises(wexport.OutputError, match="the store does not let it be written"):
        wexport.ingest(model(write_h5, 2), out, append=True)
    store.way.fail = None
    assert models(out) == ["1"]


def test_the_cache_forgets_what_nobody_reads(
    store: Bucket, write_h5: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = f"{store.uri}/weights.parquet"
    wexport.ingest(model(write_h5, 1), out)
    models(out)
    monkeypatch.setattr(cached, "KEPT_SECONDS", -1.0)
    wexport.ingest(model(write_h5, 2), out, overwrite=True)
    models(out)
    assert len(list((tmp_path / "cache" / "wexport" / "files").iterdir())) <= 1


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
@pytest.mark.parametrize("at", [1, 3])
def test_a_killed_job_loses_and_repeats_nothing(store: Bucket, write_h5: Write, tmp_path: Path, at: int) -> None:
    for number in range(5):
        store.put(f"runs/{number}.h5", model(write_h5, number))
    out = f"{store.uri}/parts/"
    command = [sys.executable, "-m", "wexport", "ingest", f"{store.uri}/runs/", "--out", out, "--jobs", "1"]
    started: list[subprocess.Popen[bytes]] = []
    puts: list[str] = []

    def kill(method: str, path: str, wanted: str | None) -> int | None:
        if method != "PUT":
            return None
        puts.append(path)
        if len(puts) < at:
            return None
        started[0].kill()
        return 503  # this one does not arrive either

    store.way.fail = kill
    started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    assert started[0].wait(120) == -signal.SIGKILL
    store.way.fail = None
    assert len(store.keys("parts/")) < 5
    subprocess.run(command, check=True, capture_output=True)
    assert models(out) == [str(number) for number in range(5)]


def test_parts_are_joined_where_they_are(store: Bucket, write_h5: Write, tmp_path: Path) -> None:
    for number in range(2):
        model(write_h5, number)
    out = f"{store.uri}/weights.parquet"
    wexport.ingest(tmp_path / "m", f"{store.uri}/parts/")
    assert wexport.compact(f"{store.uri}/parts/", out) == out
    assert models(out) == ["0", "1"]
    with pytest.raises(wexport.TableError, match=f"{out}: exists already"):
        wexport.compact(f"{store.uri}/parts/", out)
    assert wexport.compact(f"{store.uri}/parts/*.parquet", out, overwrite=True) == out
    with pytest.raises(wexport.TableError, match="is a folder, and parts are joined into one file"):
        wexport.compact(f"{store.uri}/parts/", f"{store.uri}/parts/")
