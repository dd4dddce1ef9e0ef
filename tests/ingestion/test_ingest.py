"""The main job, through its public call: real processes, real files."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import h5py
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest

import wexport
from tests.conftest import EXAMPLES
from wexport.plugins import host as plugins
from wexport.table.schema import COLUMNS

WriteH5 = Callable[..., Path]


def rows(table: Path, columns: str = "*", where: str = "true") -> list[tuple[Any, ...]]:
    target = f"{table}/*.parquet" if table.is_dir() else str(table)
    return duckdb.sql(f"select {columns} from read_parquet('{target}') where {where}").fetchall()


def models(table: Path) -> list[str]:
    return sorted({model for (model,) in rows(table, "model")})


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.endswith(".partial")]


def test_a_row_a_tensor_that_duckdb_reads(tmp_path: Path, write_h5: WriteH5) -> None:
    w = np.arange(12, dtype="f4").reshape(3, 4)
    out = tmp_path / "weights.parquet"
    result = wexport.ingest(write_h5("a.h5", **{"layer/w": w, "layer/b": np.zeros(4, "f4")}), out)
    assert result.rows == 2
    assert [model.status for model in result.models] == ["ok"]
    found = rows(out, "model, tensor, shape, dtype, value_count, mean, l2_norm, kind", "tensor = 'layer/w'")
    assert found == [("a", "layer/w", [3, 4], "float32", 12, 5.5, pytest.approx(np.sqrt((w**2).sum())), "array")]


def test_the_table_has_just_the_columns_of_the_schema_each_with_doc(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest(write_h5("a.h5", w=np.ones(3)), out)
    schema = pq.read_schema(out)
    assert schema.names == [column.name for column in COLUMNS]
    assert all(schema.field(name).metadata[b"doc"] for name in schema.names)
    stored = json.loads(schema.metadata[b"wexport"])
    assert stored["wexport_version"] == wexport.__version__
    assert stored["options"] == {"detail": "full", "optimizer": False}
    wexport.ingest(write_h5("a.h5", w=np.ones(3)), out, external_data=True)
    stored = json.loads(pq.read_schema(out).metadata[b"wexport"])
    assert stored["options"] == {"detail": "full", "optimizer": False, "external_data": True}


def test_undefined_is_null(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest(write_h5("a.h5", nan=np.full(3, np.nan), empty=np.empty((0, 2)), constant=np.ones(5)), out)
    by_name = {row[0]: row[1:] for row in rows(out, "tensor, mean, std, skewness, q50, zero_fraction, nan_count")}
    assert by_name["nan"] == (None, None, None, None, 0.0, 3)
    assert by_name["empty"] == (None, None, None, None, None, 0)
    assert by_name["constant"] == (1.0, 0.0, None, 1.0, 0.0, 0)


def test_a_bad_file_costs_nothing_else(tmp_path: Path, write_h5: WriteH5) -> None:
    good = [write_h5(f"good{n}.h5", w=np.full(4, n)) for n in range(5)]
    bad = tmp_path / "bad.h5"
    bad.write_bytes(good[0].read_bytes()[:300])
    out = tmp_path / "weights.parquet"
    result = wexport.ingest([good[0], bad, *good[1:]], out)
    assert [model.status for model in result.models] == ["ok", "failed", "ok", "ok", "ok", "ok"]
    assert "bad.h5" in result.models[1].reason
    assert "Traceback" not in result.models[1].reason
    assert models(out) == ["good0", "good1", "good2", "good3", "good4"]


def test_nothing_readable_leaves_the_old_table(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest(write_h5("a.h5", w=np.ones(3)), out)
    before = out.read_bytes()
    bad = tmp_path / "bad.h5"
    bad.write_text("nothing")
    result = wexport.ingest(bad, out)
    assert not result.written
    assert result.models[0].status == "failed"
    assert out.read_bytes() == before
    assert not leftovers(tmp_path)


def test_what_holds_no_numbers_is_counted_and_named(tmp_path: Path) -> None:
    path = tmp_path / "mixed.h5"
    with h5py.File(path, "w") as file:
        file["w"] = np.ones(3)
        file["words"] = ["a", "b"]
        file["more"] = ["c"]
        file["pairs"] = np.zeros(2, [("x", "f4"), ("y", "i4")])
    result = wexport.ingest(path, tmp_path / "weights.parquet")
    assert result.models[0].status == "ok"
    assert result.models[0].left_out == {"string": ["more", "words"], "compound": ["pairs"]}


def test_in_a_folder_what_is_no_model_is_passed_over(tmp_path: Path, write_h5: WriteH5) -> None:
    write_h5("models/a.h5", w=np.ones(3))
    write_h5("models/b.bin", w=np.ones(3))
    (tmp_path / "models" / "notes.txt").write_text("epoch,loss\n1,0.5\n")
    (tmp_path / "models" / "broken.h5").write_text("not a model")
    out = tmp_path / "weights.parquet"
    result = wexport.ingest(tmp_path / "models", out)
    assert {model.source.name: model.status for model in result.models} == {
        "a.h5": "ok",
        "b.bin": "ok",
        "notes.txt": "skipped",
        "broken.h5": "failed",
    }
    assert models(out) == ["a", "b"]


def test_content_decides_not_the_suffix(tmp_path: Path, write_h5: WriteH5) -> None:
    path = write_h5("really_hdf5.keras", w=np.ones(3))
    assert wexport.ingest(path, tmp_path / "out.parquet").models[0].status == "ok"


@pytest.mark.parametrize("name", ["x.npy", "x.npz", "x.safetensors", "x.gguf"])
def test_a_known_format_gets_its_install_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "x.npy":
        np.save(path, np.ones(3))
    elif name == "x.npz":
        np.savez(path, w=np.ones(3))
    elif name == "x.gguf":
        path.write_bytes(b"GGUF" + bytes(100))
    else:
        header = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'
        path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    # Without the plugins that this environment may have.
    with wexport.Source(path) as source, pytest.raises(wexport.UnknownFormatError) as caught:
        plugins.Plugins().choose(source)
    assert re.fullmatch(r"pip install wexport-(npz|safetensors|gguf)", caught.value.hint)


# -- adding to a table ---------------------------------------------------------------------------------------------


def test_append_adds_and_replaces(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "weights.parquet"
    a, b = write_h5("a.h5", w=np.ones(3)), write_h5("b.h5", w=np.ones(3))
    wexport.ingest([a, b], out)
    write_h5("a.h5", w=np.full(3, 7.0))
    wexport.ingest([a, write_h5("c.h5", w=np.ones(3))], out, append=True)
    assert sorted(rows(out, "model, mean")) == [("a", 7.0), ("b", 1.0), ("c", 1.0)]


def test_append_keeps_the_old_rows_of_a_model_that_can_no_longer_be_read(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "weights.parquet"
    a = write_h5("a.h5", w=np.ones(3))
    wexport.ingest(a, out)
    a.write_text("broken now")
    result = wexport.ingest([a, write_h5("b.h5", w=np.ones(3))], out, append=True)
    assert [model.status for model in result.models] == ["failed", "ok"]
    assert models(out) == ["a", "b"]


def test_append_refuses_another_file_of_the_same_name(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest(write_h5("x/m.h5", w=np.ones(3)), out)
    before = out.read_bytes()
    with pytest.raises(wexport.TableError, match="has a model 'm' already") as caught:
        wexport.ingest(write_h5("y/m.h5", w=np.ones(3)), out, append=True)
    assert "--name" in caught.value.hint
    assert out.read_bytes() == before
    wexport.ingest(tmp_path / "y" / "m.h5", out, append=True, name="{parent}/{stem}")
    assert models(out) == ["m", "y/m"]


def test_append_refuses_other_options_and_other_files(tmp_path: Path, write_h5: WriteH5) -> None:
    out = tmp_path / "weights.parquet"
    a = write_h5("a.h5", w=np.ones(3))
    wexport.ingest(a, out)
    with pytest.raises(wexport.TableError, match="detail"):
        wexport.ingest(a, out, append=True, detail="summary")
    foreign = tmp_path / "foreign.parquet"
    duckdb.sql(f"copy (select 1 as x) to '{foreign}'")
    with pytest.raises(wexport.TableError, match="is not a table that wexport wrote"):
        wexport.ingest(a, foreign, append=True)


def test_a_folder_of_parts_skips_what_has_not_changed(tmp_path: Path, write_h5: WriteH5) -> None:
    a, b = write_h5("in/a.h5", w=np.ones(3)), write_h5("in/sub/b c.h5", w=np.ones(3))
    out = tmp_path / "parts"
    first = wexport.ingest(tmp_path / "in", f"{out}/")
    assert [model.status for model in first.models] == ["ok", "ok"]
    assert len(list(out.glob("*.parquet"))) == 2
    second = wexport.ingest(tmp_path / "in", out)
    assert [model.status for model in second.models] == ["unchanged", "unchanged"]
    assert not second.written
    os.utime(b, ns=(1, 1))
    third = wexport.ingest(tmp_path / "in", out)
    assert [model.status for model in third.models] == ["unchanged", "ok"]
    assert [model.status for model in wexport.ingest([a, b], out, detail="summary").models] == ["ok", "ok"]
    assert models(out) == ["a", "sub/b c"]


def test_a_file_that_changes_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    plugin = tmp_path / "touch.py"
    plugin.write_text(
        "import os, numpy as np, wexport\n"
        "def open_it(source):\n"
        "    if os.stat(source.path).st_mtime > 1:\n"
        "        os.utime(source.path, (1, 1))\n"
        "    return wexport.Model(format='t', tensors=[wexport.Tensor.of_array('w', np.ones(3))])\n"
        "@wexport.hookimpl\n"
        "def wexport_readers():\n"
        "    return [wexport.Reader(name='touch', reads='', open=open_it, sniff=lambda s: s.head[:5] == b'TOUCH')]\n"
    )
    (tmp_path / "a1.touch").write_bytes(b"TOUCH")
    for status in ("ok", "unchanged"):
        result = wexport.ingest(
            tmp_path / "a1.touch", f"{tmp_path}/parts/", plugins=(str(plugin),), series="(?P<run>a)(?P<step>1)"
        )
        assert (result.models[0].status, result.models[0].run, result.models[0].step) == (status, "a", 1)


def test_summary_leaves_out_the_bulk_and_nothing_else(tmp_path: Path, write_h5: WriteH5) -> None:
    path = write_h5("a.h5", w=np.random.default_rng(0).normal(size=(64, 64)))
    wexport.ingest(path, tmp_path / "full.parquet")
    wexport.ingest(path, tmp_path / "summary.parquet", detail="summary")
    full, summary = (pq.read_table(tmp_path / f"{name}.parquet").to_pylist()[0] for name in ("full", "summary"))
    assert summary["sample"] is None
    assert full["sample"] is not None
    for name in ("sample", "grid", "units"):
        del full[name], summary[name]
    assert full == summary


# -- whatever happens ----------------------------------------------------------------------------------------------


def wexport_process(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "wexport", *map(str, arguments)]
    options.setdefault("preexec_fn", heed_ctrl_c)
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def heed_ctrl_c() -> None:
    """A job in the background of a shell ignores it, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def slow_reader(folder: Path, seconds: float) -> Path:
    """A reader that takes its time, so that there is something to interrupt."""
    plugin = folder / "slow.py"
    plugin.write_text(
        "import time, numpy as np, wexport\n"
        "def open_slow(source):\n"
        f"    time.sleep({seconds})\n"
        "    return wexport.Model(format='slow', tensors=[wexport.Tensor.of_array('w', np.ones(1000))])\n"
        "@wexport.hookimpl\n"
        "def wexport_readers():\n"
        "    return [wexport.Reader(name='slow', reads='', open=open_slow, sniff=lambda s: s.head[:4] == b'SLOW')]\n"
    )
    return plugin


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_stopping_it_leaves_the_old_table_and_no_process(tmp_path: Path, write_h5: WriteH5, number: int) -> None:
    out = tmp_path / "weights.parquet"
    wexport.ingest(write_h5("a.h5", w=np.ones(3)), out)
    before = out.read_bytes()
    for n in range(200):
        (tmp_path / f"{n}.slow").write_bytes(b"SLOW")
    process = wexport_process("ingest", tmp_path / "*.slow", "--out", out, "--plugin", slow_reader(tmp_path, 1))
    deadline = time.monotonic() + 60
    while not (children := psutil.Process(process.pid).children(recursive=True)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert children
    time.sleep(1)
    begun = time.monotonic()
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert time.monotonic() - begun < 30, "to the end it would have been 100 seconds at the least"
    gone, alive = psutil.wait_procs(children, timeout=30)
    assert not alive
    assert len(gone) == len(children)
    assert out.read_bytes() == before
    if number != signal.SIGKILL:
        assert process.returncode == 130
        assert not leftovers(tmp_path)
        assert "Traceback" not in errors


def test_a_full_disk_is_told_and_the_old_table_stays(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    out = tmp_path / "weights.parquet"
    wexport.ingest(EXAMPLES / "lstm.h5", out)
    before = out.read_bytes()

    def limit() -> None:
        # A file-size limit fails as a full disk does: the write itself returns an error.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    process = wexport_process("ingest", EXAMPLES, "--out", out, preexec_fn=limit)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3
    assert str(out) in errors
    assert "Traceback" not in errors
    assert out.read_bytes() == before
    assert not leftovers(tmp_path)


def test_a_crash_in_the_middle_of_a_file_takes_its_rows_back(tmp_path: Path, write_h5: WriteH5) -> None:
    plugin = tmp_path / "crash.py"
    plugin.write_text(
        "import os, numpy as np, wexport\n"
        "def die(limit):\n"
        "    os._exit(3)\n"
        "    yield\n"
        "def open_it(source):\n"
        "    good = [wexport.Tensor.of_array(f'w{n}', np.ones(40_000)) for n in range(60)]\n"
        "    bad = wexport.Tensor(name='x', shape=(1,), dtype='float32', chunks=die)\n"
        "    return wexport.Model(format='c', tensors=[*good, bad])\n"
        "@wexport.hookimpl\n"
        "def wexport_readers():\n"
        "    return [wexport.Reader(name='crash', reads='', open=open_it, sniff=lambda s: s.head[:5] == b'CRASH')]\n"
    )
    bad = tmp_path / "bad.crash"
    bad.write_bytes(b"CRASH")
    out = tmp_path / "weights.parquet"
    result = wexport.ingest([bad, write_h5("a.h5", w=np.ones(3))], out, plugins=(str(plugin),))
    assert [model.status for model in result.models] == ["failed", "ok"]
    assert "exit code 3" in result.models[0].reason
    assert models(out) == ["a"]


def test_a_time_out_names_the_file_and_the_way_out(tmp_path: Path, write_h5: WriteH5) -> None:
    (tmp_path / "x.slow").write_bytes(b"SLOW")
    result = wexport.ingest(
        [tmp_path / "x.slow", write_h5("a.h5", w=np.ones(3))],
        tmp_path / "out.parquet",
        plugins=(str(slow_reader(tmp_path, 300)),),
        timeout=5.0,
    )
    assert [model.status for model in result.models] == ["failed", "ok"]
    assert "x.slow" in result.models[0].reason
    assert "--timeout" in result.models[0].hint


def test_large_files_are_shared_and_give_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.h5"
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for n in range(30):
            file[f"w{n:02}"] = rng.normal(size=(n + 1, 500)).astype("f4")
    wexport.ingest(path, tmp_path / "one.parquet")
    monkeypatch.setattr("wexport.ingestion.reading.LARGE_BYTES", 100_000)
    wexport.ingest(path, tmp_path / "many.parquet", jobs=2)
    one, many = (pq.read_table(tmp_path / f"{name}.parquet") for name in ("one", "many"))
    assert one.equals(many)


def test_the_order_of_rows_does_not_depend_on_who_finishes_first(tmp_path: Path) -> None:
    for n in range(12):
        shutil.copy(EXAMPLES / "lstm.h5", tmp_path / f"m{n:02}.h5")
    wexport.ingest(tmp_path, tmp_path / "a.parquet", jobs=2)
    first = rows(tmp_path / "a.parquet", "model, slot")
    assert [model for model, _ in first] == sorted(model for model, _ in first)


def test_a_script_without_a_main_guard_may_call_it(tmp_path: Path, write_h5: WriteH5) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import wexport\n"
        f"result = wexport.ingest({str(write_h5('a.h5', w=np.ones(3)))!r}, {str(tmp_path / 'out.parquet')!r})\n"
        "wexport.inspect(result.models[0].source)\n"
        "print(result.rows, callable(wexport.ingest), callable(wexport.inspect))\n"
    )
    found = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert found.stdout == "1 True True\n"
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detail": "most"}, "detail"),
        ({"jobs": 0}, "jobs"),
        ({"timeout": 0}, "timeout"),
        ({"nonsense": 1}, "nonsense"),
        ({"series": "("}, "series"),
    ],
)
def test_arguments_that_make_no_sense(tmp_path: Path, write_h5: WriteH5, options: dict[str, Any], message: str) -> None:
    with pytest.raises(wexport.UsageError, match=message):
        wexport.ingest(write_h5("a.h5", w=np.ones(3)), tmp_path / "out.parquet", **options)


def test_a_folder_that_does_not_exist_is_told_before_any_work(tmp_path: Path, write_h5: WriteH5) -> None:
    with pytest.raises(wexport.TableError, match="does not exist"):
        wexport.ingest(write_h5("a.h5", w=np.ones(3)), tmp_path / "no" / "out.parquet")
