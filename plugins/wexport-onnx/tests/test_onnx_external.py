"""Values in files beside the model: left out unless asked for, and then only in its own folder."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper
from onnx.external_data_helper import set_external_data
from onnx_files import MODELS, graph, opened, values, weights

import wexport

KERNEL = weights(3, 5)


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    code = [sys.executable, "-c", "from wexport.cli import main; main()"]
    return subprocess.run([*code, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("torch_outside.onnx", "torch_outside.bin"):
        shutil.copy(MODELS / name, folder / name)
    return folder / "torch_outside.onnx"


def test_they_are_left_out_and_the_way_to_them_is_told(outside: Path) -> None:
    result = command("inspect", outside)
    assert result.returncode == 3
    assert "stored in torch_outside.bin: --external-data reads them" in result.stderr
    (model,) = wexport.ingest([outside], outside.parent / "t.parquet").models
    assert model.status == "failed"
    assert "--external-data" in model.reason
    assert len(model.problems) > 10


def test_asked_for_they_are_read(outside: Path, tmp_path: Path) -> None:
    inside = wexport.inspect(MODELS / "torch_words_script.onnx").rows
    assert [row["content_hash"] for row in wexport.inspect(outside, external_data=True).rows] == [
        row["content_hash"] for row in inside
    ]
    assert wexport.diff(outside, MODELS / "torch_words_script.onnx", external_data=True).same
    (model,) = wexport.ingest([outside], tmp_path / "t.parquet", external_data=True).models
    assert (model.status, model.tensors) == ("ok", len(inside))
    assert "embedding" in command("inspect", outside, "--external-data").stdout
    assert command("diff", outside, outside, "--external-data").returncode == 0
    assert command("ingest", outside, "--out", tmp_path / "u.parquet", "--external-data").returncode == 0


def test_a_table_remembers_it_and_never_counts_as_up_to_date(outside: Path, tmp_path: Path) -> None:
    parts = f"{tmp_path}/parts/"
    for _ in range(2):
        (model,) = wexport.ingest([outside], parts, external_data=True).models
        assert model.status == "ok"  # nobody knows whether the other file has changed
    wexport.ingest([outside], tmp_path / "t.parquet", external_data=True)
    with pytest.raises(wexport.TableError, match="external_data"):
        wexport.ingest([MODELS / "torch_words_script.onnx"], tmp_path / "t.parquet", append=True)


def external(path: Path, location: str, **options: Any) -> Path:
    """A model with one kernel that is said to stand at `location`."""
    model = onnx.load_from_string(graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": KERNEL}))
    (tensor,) = model.graph.initializer
    set_external_data(tensor, location, **options)
    tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    return path


def test_in_a_folder_below_and_at_an_offset(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "w.bin").write_bytes(bytes(7) + KERNEL.tobytes() + bytes(9))
    with opened(external(tmp_path / "m.onnx", "below/w.bin", offset=7, length=60), external_data=True) as model:
        np.testing.assert_array_equal(values(model.tensors[0]), KERNEL)


def link(path: Path) -> str:
    (path / "link").symlink_to("/etc/passwd")
    return "link"


def folder_link(path: Path) -> str:
    (path / "up").symlink_to(path.parent)
    (path.parent / "secret").write_bytes(bytes(60))
    return "up/secret"


def pipe(path: Path) -> str:
    os.mkfifo(path / "pipe")
    return "pipe"


def short(path: Path) -> str:
    (path / "short").write_bytes(bytes(59))
    return "short"


def folder(path: Path) -> str:
    (path / "folder").mkdir()
    return "folder"


REFUSED: dict[str, tuple[Callable[[Path], str], str]] = {
    "an absolute path": (lambda path: "/etc/passwd", "does not lie in the model's own folder"),
    "upwards": (lambda path: "../other.bin", "does not lie in the model's own folder"),
    "upwards from below": (lambda path: "a/../../other.bin", "does not lie in the model's own folder"),
    "upwards on Windows": (lambda path: "..\\other.bin", "does not lie in the model's own folder"),
    "a drive": (lambda path: "C:\\other.bin", "does not lie in the model's own folder"),
    "no name": (lambda path: "", "does not lie in the model's own folder"),
    "a null": (lambda path: "a\0b", "does not lie in the model's own folder"),
    "a link outside": (link, "is a link that leads out"),
    "a link on the way": (folder_link, "is a link that leads out"),
    "a pipe": (pipe, "is not a regular file"),
    "a folder": (folder, "is not a regular file"),
    "too short": (short, "which has 59 bytes"),
    "nothing": (lambda path: "nowhere.bin", "is not there"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_leads_elsewhere_is_refused_by_name(tmp_path: Path, name: str) -> None:
    place, reason = REFUSED[name]
    inner = tmp_path / "models"
    inner.mkdir()
    (tmp_path / "other.bin").write_bytes(bytes(60))
    path = external(inner / "m.onnx", place(inner))
    (model,) = wexport.ingest([path], tmp_path / "t.parquet", external_data=True).models
    assert model.status == "failed"
    assert reason in model.reason
    assert "m.onnx" in model.reason


@pytest.mark.parametrize(
    "options", [{"offset": -1}, {"offset": 1 << 62}, {"length": 59}, {"length": 1 << 62}, {"offset": 1, "length": 60}]
)
def test_places_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, int]) -> None:
    (tmp_path / "w.bin").write_bytes(KERNEL.tobytes())
    path = external(tmp_path / "m.onnx", "w.bin", **options)
    with opened(path, external_data=True) as model:
        assert not model.tensors
        (skipped,) = model.skipped
    assert skipped.problem


def test_values_in_both_places_are_refused(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(KERNEL.tobytes())
    path = external(tmp_path / "m.onnx", "w.bin")
    model = onnx.load_from_string(path.read_bytes())
    model.graph.initializer[0].raw_data = KERNEL.tobytes()
    path.write_bytes(model.SerializeToString())
    with opened(path, external_data=True) as read:
        assert "names another file" in read.skipped[0].detail


def test_many_files_are_open_one_at_a_time(tmp_path: Path) -> None:
    node = helper.make_node("Own", ["x", *(f"w{number}" for number in range(1500))], ["y"], domain="own")
    model = onnx.load_from_string(graph([node], {f"w{number}": weights(2) for number in range(1500)}))
    for number, tensor in enumerate(model.graph.initializer):
        (tmp_path / f"{number}.bin").write_bytes(tensor.raw_data)
        set_external_data(tensor, f"{number}.bin")
        tensor.ClearField("raw_data")
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    with opened(path, external_data=True) as read:
        assert len(read.tensors) == 1500
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        open_already = max(int(path.name) for path in Path("/dev/fd").iterdir())
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(open_already + 64, hard), hard))
        try:
            for tensor in read.tensors:
                values(tensor)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
