"""Hooks: each docstring's plugin works as written; what plugins add reaches the table and is told when it is faulty."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import wexport
from tests import warm_commands
from tests.conftest import DATA, EXAMPLES, ROOT
from wexport import hookspecs
from wexport.files.source import Source
from wexport.plugins.host import load
from wexport.plugins.signatures import looks_like

COMMAND = [sys.executable, "-m", "wexport"]


def run(*arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
    found = warm_commands.run(*arguments)
    assert "Traceback" not in found.stdout + found.stderr
    assert found.returncode == code, found.stderr
    return found


def documented(hook: str, folder: Path) -> str:
    """The plugin in a hook's docstring, as a file."""
    lines = inspect.cleandoc(getattr(hookspecs, hook).__doc__).splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("    import "))
    end = next((number for number in range(start, len(lines)) if lines[number] and lines[number][0] != " "), len(lines))
    path = folder / f"{hook}.py"
    path.write_text("\n".join(line[4:] for line in lines[start:end]))
    return str(path)


def written(folder: Path, text: str, name: str = "mine.py") -> str:
    path = folder / name
    path.write_text(f"import numpy as np\nimport wexport\n{text}")
    return str(path)


def rows(path: Path, *plugins: str) -> dict[str, dict[str, Any]]:
    return {row["slot"]: row for row in wexport.inspect(path, plugins=plugins).rows}


# -- readers -----------------------------------------------------------------------------------------------------------


def test_the_documented_reader_reads(tmp_path: Path) -> None:
    values = np.arange(7, dtype="<f4")
    (tmp_path / "a.toy").write_bytes(b"TOY1" + (7).to_bytes(4, "little") + values.tobytes())
    (row,) = rows(tmp_path / "a.toy", documented("wexport_readers", tmp_path)).values()
    assert (row["mean"], row["value_count"]) == (3.0, 7)


# -- meaning -----------------------------------------------------------------------------------------------------------

SCALED = """
def open_(source):
    def tensor(index, *shape, **said):
        array = np.arange(float(np.prod(shape))).reshape(shape)
        name = f"scaled_{index // 2}/{index % 2}"
        return wexport.Tensor.of_array(name, array, layer_class="ScaledDense", variable_index=index % 2, **said)
    said = dict(role="bias", trainable=False)
    return wexport.Model(format="s", tensors=[tensor(0, 3, 4), tensor(1, 4), tensor(2, 4, 2), tensor(3, 2, **said)])

@wexport.hookimpl
def wexport_readers():
    return [wexport.Reader(name="s", reads="", sniff=lambda source: source.head[:4] == b"SCAL", open=open_)]
"""


@pytest.fixture
def scaled(tmp_path: Path) -> tuple[Path, str]:
    """A file with a layer class of one's own, and its reader, which says the last tensor to be a frozen bias."""
    path = tmp_path / "a.scaled"
    path.write_bytes(b"SCAL")
    return path, written(tmp_path, SCALED, "scaled.py")


def test_the_documented_meaning_fills_in_what_the_reader_left_out_and_no_more(
    tmp_path: Path, scaled: tuple[Path, str]
) -> None:
    path, reader = scaled
    without = rows(path, reader)
    assert [row["role"] for row in without.values()] == ["unknown", "unknown", "unknown", "bias"]
    found = rows(path, reader, documented("wexport_meaning", tmp_path))
    assert [(row["tensor"], row["role"], row["trainable"], row["unit_axes"]) for row in found.values()] == [
        ("scaled_0/0", "kernel", True, (1,)),
        ("scaled_0/1", "scale", True, None),
        ("scaled_1/0", "kernel", True, (1,)),
        ("scaled_1/1", "bias", False, None),
    ]
    assert found["scaled/kernel"]["unit_count"] == 4
    for one, other in zip(without.values(), found.values(), strict=True):
        assert one["content_hash"] == other["content_hash"]


def test_a_user_s_word_for_three_vectors_agrees_with_the_file_that_tells(tmp_path: Path) -> None:
    """A `.weights.h5` cannot tell which three vectors of four a BatchNormalization has; who made the model can."""
    told = rows(DATA / "keras3" / "cnn.keras")
    three = [row["role"] for slot, row in told.items() if slot.startswith("batch_normalization_1/")]
    assert len(three) == 3
    mine = written(
        tmp_path,
        f"ROLES = {three!r}\n"
        "@wexport.hookimpl\ndef wexport_meaning(tensor, model):\n"
        "    if model.format == 'weights-h5' and tensor.layer == 'batch_normalization_1':\n"
        "        return wexport.Meaning(role=ROLES[tensor.variable_index])\n",
    )
    found = rows(DATA / "keras3" / "cnn.weights.h5", mine)
    assert {
        slot: (row["role"], row["content_hash"])
        for slot, row in found.items()
        if slot.startswith("batch_normalization_1/")
    } == {
        slot: (row["role"], row["content_hash"])
        for slot, row in told.items()
        if slot.startswith("batch_normalization_1/")
    }


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("wexport.Meaning(role='weights')", "role 'weights' is not a word of wexport.reading.roles.ROLES"),
        ("wexport.Meaning(layout=wexport.Layout(permutation=(0, 0, 0)))", "permutation"),
        ("wexport.Meaning(layout='oihw')", "layout is str where a wexport.Layout is due"),
        ("wexport.Meaning(trainable='yes')", "trainable is 'yes'"),
        ("'kernel'", "wexport_meaning returned str where a wexport.Meaning is due"),
        ("1 / 0", "ZeroDivisionError"),
        ("exit(3)", "SystemExit"),
    ],
)
def test_a_faulty_answer_is_told_once_and_changes_nothing(
    tmp_path: Path, scaled: tuple[Path, str], answer: str, told: str
) -> None:
    path, reader = scaled
    (tmp_path / "b.scaled").write_bytes(b"SCAL")
    mine = written(tmp_path, f"@wexport.hookimpl\ndef wexport_meaning(tensor):\n    return {answer}\n")
    result = wexport.ingest([path, tmp_path / "b.scaled"], tmp_path / "w.parquet", plugins=(reader, mine), jobs=1)
    assert [model.status for model in result.models] == ["ok", "ok"]
    (note,) = [note for model in result.models for note in model.notes]
    assert note.startswith("plugin mine cannot tell meanings: ")
    assert told in note
    assert [row["role"] for row in rows(path, reader, mine).values()] == ["unknown", "unknown", "unknown", "bias"]


def test_diff_uses_the_same_meaning(tmp_path: Path, scaled: tuple[Path, str]) -> None:
    path, reader = scaled
    found = wexport.diff(path, path, plugins=(reader, documented("wexport_meaning", tmp_path)))
    assert [tensor.side.role for tensor in found.tensors] == ["kernel", "scale", "kernel", "bias"]


# -- statistics --------------------------------------------------------------------------------------------------------


def extras(table: Path) -> dict[str, dict[str, float] | None]:
    found = pq.read_table(table, columns=["slot", "extra"])
    maps = found["extra"].to_pylist(maps_as_pydicts="strict")
    return dict(zip(found["slot"].to_pylist(), maps, strict=True))


def test_the_documented_statistic_is_in_the_table_and_in_a_query(tmp_path: Path) -> None:
    table = tmp_path / "w.parquet"
    wexport.ingest(EXAMPLES / "lstm.h5", table, plugins=(documented("wexport_statistics", tmp_path),))
    found = extras(table)
    for row in wexport.inspect(EXAMPLES / "lstm.h5").rows:
        values = np.array(row["sample"]["value"]).reshape(row["canonical_shape"])  # all of them, they are few
        if values.ndim < 2:
            assert found[row["slot"]] is None
        else:
            expected = np.linalg.norm(values) ** 2 / np.linalg.norm(values, 2) ** 2
            extra = found[row["slot"]]
            assert extra is not None
            assert extra["stable_rank"] == pytest.approx(expected, rel=1e-12)
    sql = "select extra['stable_rank'] as rank, extra['none'] as none from weights order by slot"
    answer = wexport.query(sql, table).to_pylist()
    assert [row["rank"] for row in answer] == [(found[slot] or {}).get("stable_rank") for slot in sorted(found)]
    assert {row["none"] for row in answer} == {None}
    printed = json.loads(
        run("query", "select extra from weights where slot = 'dense/kernel'", table, "--format", "json").stdout
    )
    assert printed[0]["extra"].keys() == {"stable_rank"}


def test_a_statistic_sees_the_canonical_layout(tmp_path: Path, scaled: tuple[Path, str]) -> None:
    path, reader = scaled
    mine = written(
        tmp_path,
        "@wexport.hookimpl\ndef wexport_meaning(tensor):\n"
        "    if len(tensor.shape) == 2:\n"
        "        gates = dict(gates=('i', 'f'), gate_axis=1) if tensor.shape[0] == 4 else {}\n"
        "        return wexport.Meaning(role='kernel', layout=wexport.Layout(permutation=(1, 0), **gates))\n"
        "def second(values, tensor):\n"
        "    assert values.dtype == np.float64 and not values.flags.writeable\n"
        "    return values[1, 0] if values.ndim == 2 else None\n"
        "@wexport.hookimpl\ndef wexport_statistics():\n"
        "    return [wexport.Statistic(name='second', doc='the value at (1, 0)', of=second),\n"
        "            wexport.Statistic(name='size', doc='values', of=lambda v, t: v.size, max_values=4)]\n",
    )
    wexport.ingest(path, tmp_path / "w.parquet", plugins=(reader, mine))
    assert list(extras(tmp_path / "w.parquet").values()) == [
        {"second": 1.0},
        {"size": 4.0},
        {"second": 1.0},
        {"size": 2.0},
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("float('nan')", "it is nan"),
        ("-np.inf", "it is -inf"),
        ("1 / 0", "ZeroDivisionError"),
        ("'three'", "ValueError"),
        ("np.ones(2)", "TypeError"),
        ("1j", "TypeError"),
        ("exit(3)", "SystemExit"),
        ("np.ones(1 << 28).sum()", "MemoryError"),
        ("values.fill(0)", "read-only"),
    ],
)
def test_a_statistic_that_is_no_number_is_null_and_told_once(tmp_path: Path, value: str, told: str) -> None:
    mine = written(
        tmp_path,
        "@wexport.hookimpl\ndef wexport_statistics():\n"
        f"    return [wexport.Statistic(name='bad', doc='', of=lambda values, tensor: {value}),\n"
        "            wexport.Statistic(name='good', doc='', of=lambda values, tensor: values.sum())]\n",
    )
    files = [EXAMPLES / "lstm.h5", EXAMPLES / "gru.h5"]
    result = wexport.ingest(files, tmp_path / "w.parquet", plugins=(mine,), jobs=1)
    assert [model.status for model in result.models] == ["ok", "ok"]
    (note,) = [note for model in result.models for note in model.notes]
    assert note.startswith("statistic bad of plugin mine is NULL for some: ")
    assert told in note
    found = pq.read_table(tmp_path / "w.parquet", columns=["extra"])["extra"].to_pylist(maps_as_pydicts="strict")
    assert {tuple(extra) for extra in found} == {("good",)}


def test_the_table_says_what_its_statistics_are_and_is_not_mixed_with_others(tmp_path: Path) -> None:
    table, parts = tmp_path / "w.parquet", tmp_path / "parts"
    parts.mkdir()
    text = (
        "@wexport.hookimpl\ndef wexport_statistics():\n"
        "    return [wexport.Statistic(name='sum', doc='the sum', unit='weight', of=lambda v, t: v.sum())]\n"
    )
    mine = written(tmp_path, text)
    wexport.ingest(EXAMPLES / "lstm.h5", table, plugins=(mine,))
    kept = json.loads(pq.read_schema(table).metadata[b"wexport"])["options"]["plugins"]["mine"]
    assert kept["statistics"] == {"sum": {"doc": "the sum", "unit": "weight"}}
    assert kept["version"].startswith("sha256:")
    for plugins in ((), (written(tmp_path, text.replace("v.sum()", "v.max()"), "other.py"),)):
        with pytest.raises(wexport.TableError, match="options"):
            wexport.ingest(EXAMPLES / "gru.h5", table, append=True, plugins=plugins)
    wexport.ingest(EXAMPLES / "gru.h5", table, append=True, plugins=(mine,))
    assert len(extras(table)) > 0
    # A part is written anew when the statistic is another one, and else left.
    for change, status in (("", "ok"), ("", "unchanged"), ("# changed\n", "ok")):
        mine = written(tmp_path, change + text)
        assert wexport.ingest(EXAMPLES / "lstm.h5", parts, plugins=(mine,)).models[0].status == status


def test_parts_with_and_without_statistics_are_asked_together(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    wexport.ingest(EXAMPLES / "lstm.h5", tmp_path / "parts", plugins=(documented("wexport_statistics", tmp_path),))
    wexport.ingest(EXAMPLES / "gru.h5", tmp_path / "parts")
    sql = "select model, count(extra['stable_rank']) as n from weights group by model order by model"
    assert wexport.query(sql, tmp_path / "parts").to_pylist() == [{"model": "gru", "n": 0}, {"model": "lstm", "n": 3}]


# -- queries -----------------------------------------------------------------------------------------------------------


def test_the_documented_query_is_listed_described_and_run(tmp_path: Path) -> None:
    mine, table = documented("wexport_queries", tmp_path), tmp_path / "w.parquet"
    wexport.ingest([EXAMPLES / "lstm.h5", EXAMPLES / "cnn_seed_1.h5"], table)
    listed = run("query", "--plugin", mine).stdout
    assert "wexport_queries\n  widest         Which layers of each model have most units?" in listed
    assert "unit_count" in run("query", "widest", "--about", "--plugin", mine).stdout
    assert "QUALIFY" in run("query", "widest", "--sql", "--plugin", mine).stdout
    found = json.loads(run("query", "widest", table, "-p", "top=1", "--plugin", mine, "--format", "json").stdout)
    assert [row["unit_count"] for row in found] == [16, 12]
    assert wexport.query("widest", table, {"top": 1}, plugins=[mine]).to_pylist() == found
    assert len(wexport.query("widest", table, plugins=[mine])) == 3 + 2


def test_a_query_of_no_loaded_plugin_is_told(tmp_path: Path) -> None:
    assert "there is no query 'widest'" in run("query", "widest", tmp_path, code=2).stderr
    broken = written(tmp_path, "import does_not_exist")
    assert "does_not_exist" in run("query", "widest", tmp_path, "--plugin", broken, code=3).stderr


def test_a_folder_of_queries_reads_and_writes_no_more_than_wexport_s_own(tmp_path: Path) -> None:
    folder = tmp_path / "sql"
    folder.mkdir()
    head = "-- {}: What?\n-- Columns\n--   a  b\n-- How to read it\n--   c\n-- What it does not prove\n--   d\n"
    (folder / "count_them.sql").write_text(head.format("count_them") + "SELECT count(*) AS a FROM tensors;")
    (folder / "steal.sql").write_text(head.format("steal") + f"SELECT * FROM read_text('{__file__}');")
    mine = written(
        tmp_path,
        f"import pathlib\n@wexport.hookimpl\ndef wexport_queries():\n    return [pathlib.Path({str(folder)!r})]\n",
    )
    wexport.ingest(EXAMPLES / "lstm.h5", tmp_path / "w.parquet")
    assert wexport.query("count_them", tmp_path / "w.parquet", plugins=[mine]).to_pylist() == [{"a": 5}]
    with pytest.raises(wexport.QueryError):
        wexport.query("steal", tmp_path / "w.parquet", plugins=[mine])


# -- what is listed ----------------------------------------------------------------------------------------------------


def test_plugins_lists_what_each_gives(tmp_path: Path) -> None:
    hooks = [name for name in vars(hookspecs) if name.startswith("wexport_")]
    files = [documented(hook, tmp_path) for hook in hooks]
    found = json.loads(run("plugins", "--json", *(f"--plugin={file}" for file in files)).stdout)[-len(files) :]
    assert [each["state"] for each in found] == ["ok"] * len(files)
    assert [each["hooks"] for each in found] == [[hook] for hook in hooks]
    by_hook = dict(zip(hooks, found, strict=True))
    assert [each["name"] for each in by_hook["wexport_readers"]["readers"]] == ["toy"]
    assert [each["name"] for each in by_hook["wexport_statistics"]["statistics"]] == ["stable_rank"]
    assert [each["name"] for each in by_hook["wexport_queries"]["queries"]] == ["widest"]
    text = run("plugins", *(f"--plugin={file}" for file in files)).stdout
    for word in ("stable_rank", "widest", "wexport_meaning", "TOY1 files"):
        assert word in text


# -- formats that are known and not installed --------------------------------------------------------------------------

HEADS = {
    "npy": (b"\x93NUMPY\x01\x00v\x00", "wexport-npz"),
    "gguf": (b"GGUF\x03\x00\x00\x00", "wexport-gguf"),
    "safetensors": ((60).to_bytes(8, "little") + b'{"w":{"dtype":"F32"', "wexport-safetensors"),
    "safetensors, indented": ((60).to_bytes(8, "little") + b'{ "__metadata__"', "wexport-safetensors"),
    "safetensors index": (b'{"metadata": {"total_size": 4}, "weight_map": {"a": "b"}}', "wexport-safetensors"),
    "npz": (b"PK\x03\x04" + bytes(26) + b"dense/kernel.npy\x93NUMPY", "wexport-npz"),
    "torch": (b"PK\x03\x04" + bytes(26) + b"archive/data.pkl", "wexport-torch"),
    "torch, newer": (b"PK\x03\x04" + bytes(26) + b"model/.format_version", "wexport-torch"),
    "torch, legacy": (bytes.fromhex("80028a0a6cfc9c46f9206aa85019") + b".", "wexport-torch"),
    "onnx": (b"\x08\x08\x12\x07pytorch", "wexport-onnx"),
    "checkpoint": (bytes.fromhex("000006080121") + bytes(100) + bytes.fromhex("57fb808b247547db"), "wexport-tf"),
}


@pytest.mark.parametrize("what", HEADS)
def test_a_known_format_that_is_not_installed_gets_its_install_line(tmp_path: Path, what: str) -> None:
    content, package = HEADS[what]
    (tmp_path / "model.bin").write_bytes(content)
    loaded = load()
    loaded.infos = [info for info in loaded.infos if info.origin == "shipped"]
    with Source(tmp_path / "model.bin") as source, pytest.raises(wexport.UnknownFormatError) as caught:
        loaded.choose(source)
    assert caught.value.hint == f"pip install {package}"


def test_a_known_format_whose_plugin_is_broken_gets_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_gguf.py").write_text("import does_not_exist")
    info = tmp_path / "wexport_gguf-9.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: wexport-gguf\nVersion: 9.0\n")
    (info / "entry_points.txt").write_text("[wexport]\ngguf = broken_gguf\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"GGUF\x03\x00\x00\x00")
    with Source(tmp_path / "model.bin") as source, pytest.raises(wexport.UnknownFormatError) as caught:
        load().choose(source)
    assert "looks like a GGUF model, and wexport-gguf, which reads it, is broken: needs the module does_not" in str(
        caught.value
    )


KEPT = sorted((ROOT / "plugins").glob("wexport-*/tests/models.zip"))
ENDINGS = (".onnx", ".pt", ".ckpt", ".gguf", ".index")


@pytest.mark.parametrize("archive", KEPT, ids=lambda path: path.parts[-3])
def test_real_files_of_formats_that_are_not_installed_are_known(tmp_path: Path, archive: Path) -> None:
    seen = 0
    with zipfile.ZipFile(archive) as files:
        for name in files.namelist():
            if name.endswith(ENDINGS):
                (tmp_path / "model.bin").write_bytes(files.read(name))
                with Source(tmp_path / "model.bin") as source:
                    found = looks_like(source)
                assert found is not None, name
                assert found[1] == archive.parts[-3], name
                seen += 1
    assert seen


@pytest.mark.parametrize(
    "content", [b"nothing", b"{}", b'{"a": 1}', bytes(100), b"PK\x03\x04" + bytes(40), b"\x08\x00\x00"]
)
def test_other_files_get_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.bin").write_bytes(content)
    with Source(tmp_path / "model.bin") as source, pytest.raises(wexport.UnknownFormatError) as caught:
        load().choose(source)
    assert "pip install" not in caught.value.hint


# -- several plugins with one hook -------------------------------------------------------------------------------------

TELLS = """
import wexport

@wexport.hookimpl{how}
def wexport_meaning(tensor):
    return wexport.Meaning(role="{role}")
"""


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ("", "", "beta"),
        ("(tryfirst=True)", "", "alpha"),
        ("", "(trylast=True)", "alpha"),
        ("(trylast=True)", "", "beta"),
    ],
)
def test_they_are_asked_in_pluggys_order(tmp_path: Path, first: str, second: str, told: str) -> None:
    """The last that was loaded comes first, as with pluggy, unless one says otherwise."""
    (tmp_path / "one.py").write_text(TELLS.format(how=first, role="alpha"))
    (tmp_path / "two.py").write_text(TELLS.format(how=second, role="beta"))
    plugins = load([tmp_path / "one.py", tmp_path / "two.py"])
    assert [info.state for info in plugins.infos[-2:]] == ["ok", "ok"], plugins.infos
    model = wexport.Model(format="x", tensors=[wexport.Tensor.of_array("w", np.ones(3))])
    assert [tensor.role for tensor in plugins.completed(model)] == [told]


@pytest.mark.parametrize("how", ["wrapper", "hookwrapper"])
def test_a_wrapper_is_refused(tmp_path: Path, how: str) -> None:
    path = tmp_path / "around.py"
    path.write_text(f"import wexport\n@wexport.hookimpl({how}=True)\ndef wexport_meaning(tensor):\n    yield\n")
    info = load([path]).infos[-1]
    assert (info.state, info.hooks) == ("broken", ())
    assert "wexport_meaning is a wrapper around the hooks of other plugins" in info.reason


def test_what_is_broken_is_not_called(tmp_path: Path) -> None:
    (tmp_path / "whole.py").write_text(TELLS.format(how="", role="alpha"))
    (tmp_path / "broken.py").write_text(TELLS.format(how="", role="beta") + "\ndef wexport_readesr(): ...\n")
    (tmp_path / "late.py").write_text(TELLS.format(how="", role="beta").replace("(tensor)", "(tensor, odd)"))
    plugins = load([tmp_path / f"{name}.py" for name in ("whole", "broken", "late")])
    assert [info.state for info in plugins.infos[-3:]] == ["ok", "broken", "broken"]
    model = wexport.Model(format="x", tensors=[wexport.Tensor.of_array("w", np.ones(3))])
    assert [tensor.role for tensor in plugins.completed(model)] == ["alpha"]
