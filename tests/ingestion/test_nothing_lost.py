"""Nothing stale, left over or lost: what a table holds is what the files say now, or it is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import wexport
from tests import warm_commands
from wexport.files.locks import locked
from wexport.files.stamps import stamp
from wexport.ingestion import inputs

WriteH5 = Callable[..., Path]


def ended(result: wexport.ingestion.pipeline.IngestResult) -> dict[str, str]:
    return {model.model: model.status for model in result.models}


def models(table: Path) -> list[str]:
    return sorted(wexport.query("SELECT DISTINCT model FROM weights", table)["model"].to_pylist())


def mean(table: Path, model: str) -> float:
    return float(wexport.query(f"SELECT mean FROM weights WHERE model = '{model}'", table)["mean"].to_pylist()[0])


# -- stale -------------------------------------------------------------------------------------------------------------


def test_a_shard_that_changes_changes_the_model(tmp_path: Path) -> None:
    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"w": "m-1.safetensors"}}))
    shard = tmp_path / "m-1.safetensors"
    shard.write_bytes(b"one")
    before = stamp(index)
    assert [Path(each[0]).name for each in before] == [index.name, shard.name]
    assert stamp(index) == before
    kept = shard.stat()
    shard.write_bytes(b"two")
    os.utime(shard, ns=(kept.st_atime_ns, kept.st_mtime_ns))  # of the same size and time
    changed = stamp(index)
    assert changed != before
    shard.unlink()
    assert stamp(index) != changed
    assert stamp(tmp_path / "none") == []


def test_a_file_of_the_same_size_and_time_is_read_again(tmp_path: Path, write_h5: WriteH5) -> None:
    file = write_h5("in/a.h5", w=np.ones(3))
    for out in (tmp_path / "parts", tmp_path / "t.parquet"):
        shutil.rmtree(out, ignore_errors=True)
        write_h5("in/a.h5", w=np.ones(3))
        kept = file.stat()
        wexport.compare(tmp_path / "in", out=f"{out}/" if out.suffix == "" else out)
        write_h5("in/a.h5", w=np.full(3, 2.0))
        os.utime(file, ns=(kept.st_atime_ns, kept.st_mtime_ns))
        assert file.stat().st_size == kept.st_size
        wexport.compare(tmp_path / "in", out=out)
        assert mean(out, "a") == 2.0


def test_a_table_that_was_copied_does_not_look_fresh(tmp_path: Path, write_h5: WriteH5) -> None:
    write_h5("in/a.h5", w=np.ones(3))
    wexport.compare(tmp_path / "in", out=tmp_path / "t.parquet")
    write_h5("in/a.h5", w=np.full(3, 2.0))
    shutil.copy(tmp_path / "t.parquet", tmp_path / "copy.parquet")  # newer than the model
    wexport.compare(tmp_path / "in", out=tmp_path / "copy.parquet")
    assert mean(tmp_path / "copy.parquet", "a") == 2.0


# -- left over ---------------------------------------------------------------------------------------------------------


def test_what_is_left_of_a_file_that_is_gone_is_told_and_pruned(tmp_path: Path, write_h5: WriteH5) -> None:
    write_h5("in/a.h5", w=np.ones(3))
    b = write_h5("in/b.h5", w=np.ones(3))
    for out, append in ((tmp_path / "parts", False), (tmp_path / "t.parquet", True)):
        write_h5("in/b.h5", w=np.ones(3))
        wexport.ingest(tmp_path / "in", f"{out}/" if not append else out)
        b.unlink()
        result = wexport.ingest(tmp_path / "in", out, append=append)
        assert [(left.model, left.why, left.pruned) for left in result.left] == [("b", "its file is gone", False)]
        assert models(out) == ["a", "b"]
        result = wexport.ingest(tmp_path / "in", out, append=append, prune=True)
        assert [(left.model, left.pruned) for left in result.left] == [("b", True)]
        assert models(out) == ["a"]
        assert not wexport.ingest(tmp_path / "in", out, append=append).left


def test_a_file_keeps_its_name_when_siblings_come(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "parts"
    write_h5("in/x.h5", w=np.ones(3))
    wexport.ingest(tmp_path / "in", f"{out}/")
    write_h5("in/x.hdf5", w=np.zeros(3))
    result = wexport.ingest(tmp_path / "in", out)
    assert ended(result) == {"x": "unchanged", "x.hdf5": "ok"}
    assert models(out) == ["x", "x.hdf5"]
    assert not result.left


def test_a_file_under_another_name_is_there_twice_and_told(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "parts"
    write_h5("in/x.h5", w=np.ones(3))
    wexport.ingest(tmp_path / "in", f"{out}/")
    result = wexport.ingest(tmp_path / "in", out, name="new_{stem}")
    assert [(left.model, left.why) for left in result.left] == [
        ("x", "its file is there as new_x now, so it is there twice")
    ]
    wexport.ingest(tmp_path / "in", out, name="new_{stem}", prune=True)
    assert models(out) == ["new_x"]


def test_a_model_that_fails_now_is_told_to_be_there_as_it_was(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "parts"
    file = write_h5("in/x.h5", w=np.ones(3))
    wexport.ingest(tmp_path / "in", f"{out}/")
    file.write_bytes(file.read_bytes()[:100])
    result = wexport.ingest(tmp_path / "in", out)
    assert ended(result) == {"x": "failed"}
    assert ["as it was before" in left.why for left in result.left] == [True]
    wexport.ingest(tmp_path / "in", out, prune=True)
    assert not list(out.glob("*.parquet"))


def test_a_model_whose_name_begins_with_a_dot_is_found(tmp_path: Path, write_h5: WriteH5) -> None:
    file = write_h5(".h.h5", w=np.ones(3))
    wexport.ingest(file, f"{tmp_path / 'parts'}/")
    assert models(tmp_path / "parts") == [".h"]
    wexport.ingest(file, tmp_path / ".h.parquet")
    assert models(tmp_path / ".h.parquet") == [".h"]


def test_a_part_is_not_replaced_by_another_file_of_its_name(tmp_path: Path, write_h5: WriteH5) -> None:
    out = f"{tmp_path / 'parts'}/"
    first = write_h5("x/m.h5", w=np.ones(3))
    wexport.ingest(first, out)
    other = write_h5("y/m.h5", w=np.zeros(3))
    result = wexport.ingest(other, out)
    assert ended(result) == {"m": "failed"}
    assert "holds a model 'm' already, read from" in result.models[0].reason
    assert mean(tmp_path / "parts", "m") == 1.0
    first.unlink()  # it has moved
    assert ended(wexport.ingest(other, out)) == {"m": "ok"}


# -- two writers -------------------------------------------------------------------------------------------------------


def test_pruning_is_done_before_the_table_is_given_back(
    tmp_path: Path, write_h5: WriteH5, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl")
    out, a, b = tmp_path / "t.parquet", write_h5("in/a.h5", w=np.ones(3)), write_h5("in/b.h5", w=np.ones(3))
    wexport.ingest([a, b], out)
    b.unlink()
    from wexport.ingestion import left_overs

    rewrite, refused = left_overs._rewrite, []

    def and_another(table: Path, models: set[str]) -> None:
        with pytest.raises(wexport.TableError, match="is being written by"), locked(table):
            pass
        refused.append(table)
        rewrite(table, models)

    monkeypatch.setattr(left_overs, "_rewrite", and_another)
    wexport.ingest(a, out, append=True, prune=True)
    assert refused == [out]
    assert models(out) == ["a"]


def test_a_part_that_another_process_writes_fails_and_the_others_are_written(tmp_path: Path, write_h5: WriteH5) -> None:
    pytest.importorskip("fcntl")
    write_h5("in/a.h5", w=np.ones(3))
    write_h5("in/b.h5", w=np.ones(3))
    out = tmp_path / "parts"
    out.mkdir()
    with locked(out / "a.parquet"):
        result = wexport.ingest(tmp_path / "in", out)
    assert ended(result) == {"a": "failed", "b": "ok"}
    assert "is being written by process" in result.models[0].reason
    assert models(out) == ["b"]


def test_a_second_writer_is_refused_and_told_who_writes(tmp_path: Path, write_h5: WriteH5) -> None:
    pytest.importorskip("fcntl")
    out = tmp_path / "t.parquet"
    file = write_h5("a.h5", w=np.ones(3))
    with locked(out), pytest.raises(wexport.TableError, match=rf"is being written by process {os.getpid()} on "):
        wexport.ingest(file, out, append=True)
    wexport.ingest(file, out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "t.parquet"]


def test_a_lock_goes_with_its_holder(tmp_path: Path, write_h5: WriteH5) -> None:
    pytest.importorskip("fcntl")
    out = tmp_path / "t.parquet"
    code = "import os, sys\nfrom pathlib import Path\nfrom wexport.files.locks import locked\n"
    code += "with locked(Path(sys.argv[1])):\n    os._exit(0)\n"
    subprocess.run([sys.executable, "-c", code, str(out)], check=True, timeout=60)
    assert [path.name for path in tmp_path.iterdir()] == [".t.parquet.wexport.lock"]
    wexport.ingest(write_h5("a.h5", w=np.ones(3)), out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5", "t.parquet"]


# -- omissions ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def deep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to make deep ones in, which Python could not remove."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    os.chdir("/")
    subprocess.run(["rm", "-rf", str(tmp_path)], check=True)


@pytest.mark.skipif(os.name != "posix", reason="folders of other systems")
def test_a_folder_too_deep_to_be_listed_is_told(deep: Path) -> None:
    top = os.open(".", os.O_RDONLY)
    try:
        for _ in range(30):  # paths of some 6,000 characters; none may have more than 4,096
            os.mkdir("d" * 200)  # noqa: PTH102
            os.chdir("d" * 200)
    finally:
        os.fchdir(top)
        os.close(top)
    found = inputs.expand([deep])
    assert [item.unread for item in found] == ["File name too long"]
    result = wexport.ingest(deep, deep / "t.parquet")
    assert [model.status for model in result.models] == ["failed"]
    assert "the folder cannot be read: File name too long" in result.models[0].reason


@pytest.mark.skipif(os.name != "posix", reason="folders of other systems")
def test_a_folder_of_a_thousand_levels_is_walked(deep: Path) -> None:
    for _ in range(1200):
        os.mkdir("d")  # noqa: PTH102
        os.chdir("d")
    Path("m.h5").touch()
    os.chdir(deep)
    assert [item.path.name for item in inputs.expand(["d"])] == ["m.h5"]


PLUGIN = """
import os, pathlib, signal
import numpy as np
import wexport

def sniff(source):
    return source.head.startswith(b"ODD")

def opened(source):
    mark = pathlib.Path(str(source.path) + ".seen")
    first = not mark.exists()
    mark.touch()
    text = source.head.decode()
    if "killed" in text and (first or "always" in text):
        os.kill(os.getpid(), signal.SIGKILL)
    if "changes" in text and (first or "always" in text):
        with open(source.path, "a") as file:
            file.write(".")
    return wexport.Model(format="odd", tensors=[wexport.Tensor.of_array("w", np.ones(3, "f4"))])

@wexport.hookimpl
def wexport_readers():
    return [wexport.Reader(name="odd", reads="", sniff=sniff, open=opened)]
"""


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    return tmp_path / "plugin.py"


@pytest.mark.parametrize("folder", [False, True])
@pytest.mark.parametrize("word", ["killed", "changes"])
def test_who_is_not_to_blame_is_tried_again_once(tmp_path: Path, odd: Path, word: str, folder: bool) -> None:
    out = tmp_path / "parts" if folder else tmp_path / "t.parquet"
    (tmp_path / "a.odd").write_text(f"ODD {word}")
    (tmp_path / "b.odd").write_text("ODD")
    files = [tmp_path / "a.odd", tmp_path / "b.odd"]
    result = wexport.ingest(files, f"{out}/" if folder else out, plugins=[str(odd)])
    assert ended(result) == {"a": "ok", "b": "ok"}
    assert wexport.query("SELECT model, count(*) AS rows FROM weights GROUP BY ALL ORDER BY ALL", out).to_pylist() == [
        {"model": "a", "rows": 1},
        {"model": "b", "rows": 1},
    ]


@pytest.mark.parametrize(
    ("word", "said", "way"),
    [
        ("killed", "died of SIGKILL", "nothing says that the file is to blame"),
        ("changes", "was changed while it was read", "once it is all written"),
    ],
)
def test_a_second_time_it_is_told_why(tmp_path: Path, odd: Path, word: str, said: str, way: str) -> None:
    (tmp_path / "a.odd").write_text(f"ODD {word} always")
    (tmp_path / "b.odd").write_text("ODD")
    files = [tmp_path / "a.odd", tmp_path / "b.odd"]
    result = wexport.ingest(files, tmp_path / "t.parquet", plugins=[str(odd)])
    assert ended(result) == {"a": "failed", "b": "ok"}
    assert said in result.models[0].reason
    assert way in result.models[0].hint
    assert models(tmp_path / "t.parquet") == ["b"]


def test_a_model_of_which_half_is_missing_is_told_each_time(tmp_path: Path, write_h5: WriteH5) -> None:
    import h5py

    file = write_h5("in/a.h5", w=np.ones(3))
    with h5py.File(file, "a") as h5:
        h5["elsewhere"] = h5py.ExternalLink("other.h5", "w")
    for _ in range(2):
        run = warm_commands.run("ingest", file, "--out", f"{tmp_path / 'parts'}/")
        assert run.returncode == 1, run.stderr
        assert "partial" in run.stdout
        assert "warning:" in run.stderr


def test_compare_reads_again_what_was_not_whole_and_nothing_else(tmp_path: Path, write_h5: WriteH5) -> None:
    import h5py

    write_h5("in/a.h5", w=np.ones(3))
    write_h5("in/b.h5", w=np.ones(3))
    with h5py.File(tmp_path / "in" / "a.h5", "a") as h5:
        h5["elsewhere"] = h5py.ExternalLink("other.h5", "w")
    out = tmp_path / "t.parquet"
    for expected in ({"a": "partial", "b": "ok"}, {"a": "partial"}, {"a": "partial"}):
        found = wexport.compare(tmp_path / "in", out=out)
        assert found.ingested is not None
        assert ended(found.ingested) == expected
        assert len(found.models) == 2
    with h5py.File(tmp_path / "in" / "a.h5", "a") as h5:
        del h5["elsewhere"]
    again = wexport.compare(tmp_path / "in", out=out).ingested
    assert again is not None
    assert ended(again) == {"a": "ok"}
    assert wexport.compare(tmp_path / "in", out=out).ingested is None


# -- limits ------------------------------------------------------------------------------------------------------------


def test_limits_grow_with_what_is_there_and_not_with_holes(tmp_path: Path) -> None:
    from wexport.ingestion.messages import FileTask
    from wexport.ingestion.reading import more_memory
    from wexport.readers.hdf5.links import most_links

    full, hollow = tmp_path / "full", tmp_path / "hollow"
    full.write_bytes(os.urandom(4 << 20))
    with hollow.open("wb") as file:
        file.truncate(4 << 30)
    assert more_memory(FileTask(full)) > 60 << 20
    assert more_memory(FileTask(hollow)) < 1 << 20
    assert most_links(1_000) < most_links(10 << 20)


def test_memory_that_is_too_little_says_how_to_give_more(tmp_path: Path, write_h5: WriteH5) -> None:
    if sys.platform != "linux":
        pytest.skip("no limit of private memory")
    file = write_h5("a.h5", w=np.ones(1 << 20))
    (found,) = wexport.ingest(file, tmp_path / "t.parquet", memory=1 << 20).models
    assert (found.status, found.failure) == ("failed", "memory")
    assert "--memory" in found.hint
    assert wexport.ingest(file, tmp_path / "t.parquet", memory=1 << 30).models[0].status == "ok"


def test_an_index_of_too_many_files_is_refused_at_once(tmp_path: Path) -> None:
    from wexport.files import shards

    index = tmp_path / "m.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {f"w{n}": f"{n}.safetensors" for n in range(20_000)}}))
    assert shards.parts(index) == []
    with pytest.raises(wexport.BudgetError, match="names 20,000 files"):
        shards.read_index(index)


def test_a_folder_whose_name_is_too_long_is_refused(tmp_path: Path, write_h5: WriteH5) -> None:
    file = write_h5("a.h5", w=np.ones(3))
    with pytest.raises(wexport.TableError, match="the name is too long"):
        wexport.ingest(file, f"{tmp_path / ('x' * 300)}/")


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
@pytest.mark.parametrize("out", [b"caf\xe9.parquet", b"caf\xe9/"])
def test_a_place_that_could_not_be_read_is_refused_before_any_work(
    tmp_path: Path, write_h5: WriteH5, monkeypatch: pytest.MonkeyPatch, out: bytes
) -> None:
    write_h5("a.h5", w=np.ones(3))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(wexport.TableError, match="not UTF-8"):
        wexport.ingest("a.h5", os.fsdecode(out))
    assert os.listdir(tmp_path) == ["a.h5"]  # noqa: PTH208
    wexport.ingest("a.h5", "t.parquet")
    Path("t.parquet").rename(os.fsdecode(b"caf\xe9.parquet"))
    with pytest.raises(wexport.TableError, match="not UTF-8"):
        wexport.connect(os.fsdecode(b"caf\xe9.parquet"))
