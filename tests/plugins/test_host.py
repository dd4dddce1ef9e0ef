"""Loading, isolating and choosing readers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import wexport
from tests import warm_commands
from tests.conftest import EXAMPLES
from wexport.files.source import Source
from wexport.plugins import host as plugins

GOOD = """
import numpy as np, wexport
def sniff(source):
    return 0.9 if source.head.startswith(b"TOY1") else 0.0
def open_toy(source):
    values = np.frombuffer(source.read_at(4, source.size - 4), "<f4")
    return wexport.Model(format="toy", tensors=[wexport.Tensor.of_array("values", values)])
@wexport.hookimpl
def wexport_readers():
    return [wexport.Reader(name="toy", reads="toys", sniff=sniff, open=open_toy, suffixes=(".toy",))]
"""


def plugin(folder: Path, text: str, name: str = "my_plugin.py") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def toy(folder: Path) -> Path:
    path = folder / "a.toy"
    path.write_bytes(b"TOY1" + np.arange(5, dtype="<f4").tobytes())
    return path


def test_the_shipped_readers_load() -> None:
    infos = plugins.load().infos
    assert [info.state for info in infos if info.origin == "shipped"] == ["ok", "ok", "ok"]
    assert {"keras-h5", "keras-v3", "hdf5"} <= {reader.name for info in infos for reader in info.readers}


def test_a_plugin_file_reads_its_format(tmp_path: Path) -> None:
    result = wexport.ingest(toy(tmp_path), tmp_path / "out.parquet", plugins=(str(plugin(tmp_path, GOOD)),))
    assert result.models[0].status == "ok"
    assert (result.models[0].reader, result.models[0].parameters) == ("toy", 5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("import does_not_exist", "does_not_exist"),
        ("raise RuntimeError('at import')", "at import"),
        ("def broken(:", "SyntaxError"),
        (GOOD.replace("def wexport_readers", "def wexport_reader"), "wexport_reader"),
        (GOOD.replace("@wexport.hookimpl", ""), "hookimpl"),
        (GOOD.replace("return [wexport.Reader(", "return [dict("), "where a wexport.Reader is due"),
        (GOOD.replace('name="toy"', 'name="hdf5"'), "hdf5"),
        (GOOD.replace("def wexport_readers():", "def wexport_readers(extra):"), "extra"),
    ],
)
def test_a_broken_plugin_is_named_with_its_reason_and_harms_nothing(tmp_path: Path, text: str, reason: str) -> None:
    loaded = plugins.load([plugin(tmp_path, text)])
    info = loaded.infos[-1]
    assert (info.name, info.state) == ("my_plugin", "broken")
    assert reason in info.reason
    assert "hdf5" in {reader.name for reader in loaded.readers}
    result = wexport.ingest(EXAMPLES / "lstm.h5", tmp_path / "out.parquet", plugins=(str(plugin(tmp_path, text)),))
    assert result.models[0].status == "ok"


def test_entry_points_load_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("good", GOOD), ("bad", "raise OSError('no disk')")):
        plugin(tmp_path, text, f"wexport_{name}.py")
        info = tmp_path / f"wexport_{name}-1.5.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: wexport-{name}\nVersion: 1.5\n")
        (info / "entry_points.txt").write_text(f"[wexport]\n{name} = wexport_{name}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    infos = {info.name: info for info in plugins.load().infos}
    assert (infos["good"].state, infos["good"].version, infos["good"].origin) == ("ok", "1.5", "wexport-good")
    assert (infos["bad"].state, infos["bad"].reason) == ("broken", "OSError: no disk")


def test_the_surest_reader_wins_and_a_tie_names_both(tmp_path: Path) -> None:
    other = GOOD.replace('name="toy"', 'name="other"')
    loaded = plugins.load([plugin(tmp_path, GOOD), plugin(tmp_path, other.replace("0.9", "0.8"), "other.py")])
    with Source(toy(tmp_path)) as source:
        assert loaded.choose(source).name == "toy"
        assert loaded.choose(source, "other").name == "other"
        tied = plugins.load([plugin(tmp_path, GOOD), plugin(tmp_path, other, "tied.py")])
        with pytest.raises(wexport.UnknownFormatError, match="toy and other") as caught:
            tied.choose(source)
    assert "--reader toy" in caught.value.hint


def test_a_reader_that_fails_while_sniffing_is_noted_and_the_others_decide(tmp_path: Path) -> None:
    loaded = plugins.load(
        [
            plugin(
                tmp_path,
                GOOD.replace("return 0.9", "raise ValueError('oops')\n    return 0.9").replace(
                    "raise ValueError('oops')\n    return 0.9 if", "return 1 / 0 if"
                ),
            )
        ]
    )
    with Source(toy(tmp_path)) as source:
        with pytest.raises(wexport.UnknownFormatError):
            loaded.choose(source)
        assert "reader toy failed while looking" in loaded.notes[0]


def test_an_unknown_reader_is_told_with_the_known_ones(tmp_path: Path) -> None:
    with Source(toy(tmp_path)) as source, pytest.raises(wexport.PluginError, match="no reader 'nonsense'") as caught:
        plugins.load().choose(source, "nonsense")
    assert "hdf5" in caught.value.hint


@pytest.mark.parametrize("fault", ["raise ValueError('in open')", "return 5", "import os; os._exit(1)"])
def test_a_reader_that_fails_in_open_costs_its_file_only(tmp_path: Path, fault: str) -> None:
    bad = plugin(tmp_path, GOOD.replace("    values = np", f"    {fault}\n    values = np"))
    result = wexport.ingest([toy(tmp_path), EXAMPLES / "lstm.h5"], tmp_path / "out.parquet", plugins=(str(bad),))
    assert [model.status for model in result.models] == ["failed", "ok"]
    assert "a.toy" in result.models[0].reason


@pytest.mark.parametrize(
    ("chunks", "why"), [("[values[:2], 1 / 0]", "ZeroDivisionError"), ("iter([values])", "4 values are missing")]
)
def test_a_bad_tensor_is_named_and_the_others_are_kept(tmp_path: Path, chunks: str, why: str) -> None:
    bad = f"wexport.Tensor(name='bad', shape=(9,), dtype='float32', chunks=lambda limit: {chunks})"
    path = plugin(tmp_path, GOOD.replace("tensors=[", f"tensors=[{bad}, "))
    result = wexport.ingest(toy(tmp_path), tmp_path / "out.parquet", plugins=(str(path),)).models[0]
    assert (result.status, result.tensors) == ("partial", 1)
    assert result.problems[0].name == "bad"
    assert why in result.problems[0].detail


def test_plugins_are_listed_as_json(tmp_path: Path) -> None:
    found = json.loads(warm_commands.run("plugins", "--json", "--plugin", plugin(tmp_path, GOOD)).stdout)
    assert found[-1]["name"] == "my_plugin"
    assert found[-1]["readers"][0]["suffixes"] == [".toy"]
