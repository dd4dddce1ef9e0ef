"""Models of an object store: what is asked of it, what is made of that, and what is told where it fails."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import wexport
from tests.buckets import Bucket, bucket
from tests.conftest import DATA
from wexport.files import remote

Write = Callable[..., Path]


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    with bucket(monkeypatch) as found:
        yield found


def model(write_h5: Write, seed: int, size: int = 50) -> Path:
    return write_h5(f"{seed}.h5", w=np.random.default_rng(seed).normal(size=(size, 4)).astype("f4"))


def table(path: Path) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(path, columns=["model", "source", "content_hash"]).to_pylist()
    return {row["model"]: (row["source"], row["content_hash"]) for row in rows}


def test_a_bucket_gives_what_its_files_give(store: Bucket, write_h5: Write, tmp_path: Path) -> None:
    for number, key in enumerate(["runs/a b.h5", "runs/x%2Fy.h5", "runs/sub/ü#1.h5", "other/z.h5", "runs/.h/n.h5"]):
        store.put(key, model(write_h5, number))
    store.put("runs/notes.txt", b"hello")
    store.way.clear()
    result = wexport.ingest("s3://models/runs/**/*.h5", tmp_path / "t.parquet")
    assert [each.status for each in result.models] == ["ok"] * 3
    found = table(tmp_path / "t.parquet")
    assert {name: source for name, (source, _) in found.items()} == {
        "a b": "s3://models/runs/a b.h5",
        "x%2Fy": "s3://models/runs/x%2Fy.h5",
        "sub/ü#1": "s3://models/runs/sub/ü#1.h5",
    }
    local = wexport.ingest([tmp_path / "0.h5", tmp_path / "2.h5"], tmp_path / "local.parquet")
    assert local.rows == 2
    assert {found["a b"][1], found["sub/ü#1"][1]} == {
        digest for _, digest in table(tmp_path / "local.parquet").values()
    }
    # One list and one request a file, and no byte twice.
    assert len(store.way.gets()) == 3
    assert len(store.way.requests) == 4
    sizes = sum(len(store.get(key)) for key in store.keys("runs/") if key.endswith(".h5") and "/.h" not in key)
    assert store.way.bytes < sizes + 10_000


def test_what_is_unchanged_is_listed_and_not_read(store: Bucket, write_h5: Write, tmp_path: Path) -> None:
    for number in range(4):
        store.put(f"runs/{number}.h5", model(write_h5, number))
    out = tmp_path / "parts"
    out.mkdir()
    wexport.ingest("s3://models/runs/", out)
    store.put("runs/2.h5", model(write_h5, 20))
    store.way.clear()
    result = wexport.ingest("s3://models/runs/", out)
    assert [each.status for each in result.models] == ["unchanged", "unchanged", "ok", "unchanged"]
    assert store.way.gets() == ["/models/runs/2.h5"]
    assert not result.left


def test_a_root_names_models_alike_whatever_is_read_at_a_time(store: Bucket, write_h5: Write, tmp_path: Path) -> None:
    for key in ("runs/a/1.h5", "runs/a/2.h5", "runs/b/1.h5"):
        store.put(key, model(write_h5, len(key)))
    out = tmp_path / "t.parquet"
    wexport.ingest("s3://models/runs/a/*.h5", out, root="s3://models/runs/")
    wexport.ingest("s3://models/runs/b/1.h5", out, append=True)
    assert sorted(table(out)) == ["a/1", "a/2", "b/1"]
    with pytest.raises(wexport.UsageError, match="names its models from s3://models/runs, not from"):
        wexport.ingest("s3://models/runs/b/1.h5", out, append=True, root="s3://models")
    with pytest.raises(wexport.UsageError, match=r"s3://models/runs/b/1.h5: is not in s3://models/x"):
        wexport.ingest("s3://models/runs/b/1.h5", tmp_path / "u.parquet", root="s3://models/x")


def test_a_large_file_comes_in_ranges(
    store: Bucket, write_h5: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "SMALL_BYTES", 100_000)
    monkeypatch.setattr(remote, "RANGE_BYTES", 64_000)
    path = model(write_h5, 1, 40_000)
    store.put("big.h5", path)
    store.way.clear()
    wexport.ingest("s3://models/big.h5", tmp_path / "t.parquet")
    wexport.ingest(path, tmp_path / "local.parquet")
    assert table(tmp_path / "t.parquet")["big"][1] == table(tmp_path / "local.parquet")["1"][1]
    assert len(store.way.gets()) == -(-path.stat().st_size // 64_000)
    assert store.way.bytes <= 1.02 * path.stat().st_size


@pytest.mark.parametrize("fault", [500, 503, "slow", "cut"])
def test_what_fails_for_a_moment_is_asked_again(
    store: Bucket, write_h5: Write, tmp_path: Path, fault: int | str
) -> None:
    paths = [model(write_h5, number, 5000) for number in range(3)]
    for path in paths:
        store.put(f"runs/{path.name}", path)
    failed: set[str] = set()

    def once(method: str, path: str, wanted: str | None) -> int | str | None:
        if method == "GET" and path not in failed:
            failed.add(path)
            return fault
        return None

    store.way.fail = once
    result = wexport.ingest("s3://models/runs/*.h5", tmp_path / "t.parquet")
    assert [each.status for each in result.models] == ["ok"] * 3, [each.reason for each in result.models]
    wexport.ingest(paths, tmp_path / "local.parquet")
    assert [digest for _, digest in table(tmp_path / "t.parquet").values()] == [
        digest for _, digest in table(tmp_path / "local.parquet").values()
    ]


def test_what_stays_broken_costs_its_file_alone(store: Bucket, write_h5: Write, tmp_path: Path) -> None:
    for number in range(3):
        store.put(f"runs/{number}.h5", model(write_h5, number, 5000))
    store.put("runs/3.h5", b"\x89HDF\r\n\x1a\n" + bytes(100))
    store.way.fail = lambda method, path, wanted: "cut" if method == "GET" and path.endswith("/1.h5") else None
    result = wexport.ingest("s3://models/runs/*.h5", tmp_path / "t.parquet")
    assert [each.status for each in result.models] == ["ok", "failed", "ok", "failed"]
    assert result.models[1].reason.startswith("s3://models/runs/1.h5: ")
    assert "\n" not in result.models[1].reason
    assert result.models[3].reason.startswith("s3://models/runs/3.h5: ")
    assert "/tmp" not in result.models[3].reason
    assert sorted(table(tmp_path / "t.parquet")) == ["0", "2"]


def test_a_file_that_changes_while_it_is_read_is_read_again(store: Bucket, write_h5: Write, tmp_path: Path) -> None:
    old, new = model(write_h5, 1), model(write_h5, 2)
    store.put("m.h5", old)
    changed = threading.Event()

    def change(method: str, path: str, wanted: str | None) -> None:
        if method == "GET" and "list-type" not in path and not changed.is_set():
            changed.set()
            store.put("m.h5", new)

    store.way.fail = change
    result = wexport.ingest("s3://models/m.h5", tmp_path / "t.parquet")
    assert [each.status for each in result.models] == ["ok"]
    wexport.ingest(new, tmp_path / "local.parquet")
    assert table(tmp_path / "t.parquet")["m"][1] == table(tmp_path / "local.parquet")["2"][1]


def test_a_file_that_always_changes_fails(store: Bucket, write_h5: Write, tmp_path: Path) -> None:
    paths = [model(write_h5, number) for number in range(2)]
    store.put("m.h5", paths[0])
    count = iter(range(100))

    def change(method: str, path: str, wanted: str | None) -> None:
        if method == "GET" and "list-type" not in path:
            store.put("m.h5", paths[next(count) % 2])

    store.put("m.h5", paths[1])
    store.way.fail = change
    result = wexport.ingest("s3://models/m.h5", tmp_path / "t.parquet")
    assert [each.reason for each in result.models] == ["s3://models/m.h5: was changed while it was read, twice"]
    assert not (tmp_path / "t.parquet").exists()


def test_what_cannot_be_is_told_in_a_line(store: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.put("m.h5", b"x")
    with pytest.raises(wexport.MissingFileError, match="there is no bucket s3://no-such-bucket"):
        wexport.ingest("s3://no-such-bucket/**/*.h5", tmp_path / "t.parquet")
    with pytest.raises(wexport.MissingFileError, match=r"s3://models/none\.h5: does not exist"):
        wexport.ingest("s3://models/none.h5", tmp_path / "t.parquet")
    with pytest.raises(wexport.UsageError, match=r"s3://models/\*\.pt: matches no file"):
        wexport.ingest("s3://models/*.pt", tmp_path / "t.parquet")
    store.way.fail = lambda method, path, wanted: 403
    with pytest.raises(wexport.ReadError, match="the store does not let it be read: 403 Forbidden") as refused:
        wexport.ingest("s3://models/*.h5", tmp_path / "t.parquet")
    assert "AWS_ACCESS_KEY_ID" in refused.value.hint
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    remote._store.cache_clear()
    with pytest.raises(wexport.ReadError, match=r"s3://models/m\.h5: the store cannot be reached"):
        wexport.inspect("s3://models/m.h5")


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import sys

    remote._store.cache_clear()
    monkeypatch.setitem(sys.modules, "obstore", None)
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(wexport.UsageError, match="what reads object storage is not installed") as error:
        wexport.ingest("s3://models/m.h5", tmp_path / "t.parquet")
    assert error.value.hint == "pip install 'wexport[cloud]'"


def test_inspect_diff_and_relate_take_uris(store: Bucket, write_h5: Write) -> None:
    a, b = (store.put(f"{number}.h5", model(write_h5, number)) for number in (1, 2))
    assert [row["tensor"] for row in wexport.inspect(a).rows] == ["w"]
    found = wexport.diff(a, b)
    assert not found.same
    assert (str(found.a.path), str(found.b.path)) == (a, b)
    assert wexport.diff(a, a).same
    with pytest.raises(wexport.MissingModelError, match=r"s3://models/3\.h5: does not exist"):
        wexport.diff(a, "s3://models/3.h5")
    store.put("4.h5", b"text")
    with pytest.raises(wexport.ReadError, match=r"^s3://models/4\.h5: "):
        wexport.diff(a, "s3://models/4.h5")


def test_what_lies_beside_a_model_is_read_with_it(store: Bucket, tmp_path: Path) -> None:
    """A folder of Keras', whose config is a file of its own."""
    folder = tmp_path / "saved" / "mine"
    folder.mkdir(parents=True)
    import zipfile

    first = sorted((DATA / "keras3").rglob("*.keras"))[0]
    zipfile.ZipFile(first).extractall(folder)
    for path in folder.iterdir():
        store.put(f"saved/mine/{path.name}", path)
    wexport.ingest(f"{store.uri}/saved/**/*.h5", tmp_path / "t.parquet", root=f"{store.uri}/saved")
    wexport.ingest(folder, tmp_path / "local.parquet", root=tmp_path / "saved")
    columns = ["model", "slot", "layer", "layer_class", "role", "content_hash", "source_bytes"]
    one, other = (
        pq.read_table(tmp_path / name, columns=columns).to_pylist() for name in ("t.parquet", "local.parquet")
    )
    assert one == other
    assert {row["model"] for row in one} == {"mine"}


def test_a_web_server_gives_files_and_no_lists(
    store: Bucket, write_h5: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model(write_h5, 1)

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        address = f"http://127.0.0.1:{server.server_port}"
        assert len(wexport.inspect(f"{address}/1.h5").rows) == 1
        with pytest.raises(wexport.MissingModelError, match="does not exist"):
            wexport.inspect(f"{address}/2.h5")
        with pytest.raises(wexport.UsageError, match="has a query"):
            wexport.ingest(f"{address}/1.h5?token=x", tmp_path / "t.parquet")
    finally:
        server.shutdown()
        server.server_close()


def test_a_file_uri_is_a_path(write_h5: Write, tmp_path: Path) -> None:
    path = model(write_h5, 1)
    uri = f"file://{str(path).replace('1.h5', '%31.h5')}"
    assert wexport.ingest(uri, tmp_path / "t.parquet").models[0].source == path
    assert len(wexport.inspect(uri).rows) == 1
    with pytest.raises(wexport.UsageError, match="names another machine"):
        wexport.inspect("file://host/1.h5")
