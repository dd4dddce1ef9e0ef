"""Nothing is lost: the bytes of numbers in a file are those of its tensors and of what is left out by name.

What is in a file is counted here without wexport, by the library of the format or by its own headers. Each reader has a
file with something in it that is not a parameter: optimizer state, settings, tables of codes, text.
"""

from __future__ import annotations

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import wexport
from tests.conftest import DATA, EXAMPLES, ROOT
from wexport.plugins import host

PLUGINS = host.load()
RNG = np.random.default_rng(0)


def told(path: Path) -> tuple[int, set[str]]:
    """Bytes of tensors and of what is left out, and the names of both."""
    with wexport.Source(path) as source:
        model = PLUGINS.choose(source).open(source)
        rows = [tensor for tensor in model.tensors if tensor.name not in model.aliases]
        size = sum(tensor.stored_bytes for tensor in rows) + sum(skipped.size for skipped in model.skipped)
        assert all(skipped.name for skipped in model.skipped)
        return size, {tensor.name for tensor in model.tensors} | {skipped.name for skipped in model.skipped}


def member(archive: str, name: str, folder: Path) -> Path:
    """A file of a plugin's own test models."""
    with zipfile.ZipFile(ROOT / "plugins" / archive) as models:
        names = [each for each in models.namelist() if each == name or each.startswith(f"{name}/")]
        for each in names:
            models.extract(each, folder)
    return folder / name


def needs(plugin: str) -> None:
    if not any(info.origin == plugin and info.state == "ok" for info in PLUGINS.infos):
        pytest.skip(f"{plugin} is not installed")


# -- HDF5 --------------------------------------------------------------------------------------------------------------


def in_hdf5(path: Path) -> tuple[int, set[str]]:
    sizes: dict[Any, int] = {}
    names: set[str] = set()

    def look(name: str, thing: Any) -> None:
        if isinstance(thing, h5py.Dataset) and (thing.dtype.kind in "fiu" or thing.dtype.kind == "V"):
            sizes[h5py.h5o.get_info(thing.id).addr] = thing.size * thing.dtype.itemsize
            names.add(name)

    with h5py.File(path) as file:
        file.visititems(look)
    return sum(sizes.values()), names


HDF5 = sorted([*EXAMPLES.glob("*.h5"), *DATA.glob("keras3/**/*.h5"), *DATA.glob("tfkeras215/**/*.h5")])


@pytest.mark.parametrize("path", HDF5[::3], ids=lambda path: path.name)
def test_hdf5(path: Path) -> None:
    assert told(path)[0] == in_hdf5(path)[0]


@pytest.mark.parametrize("path", sorted(DATA.glob("keras3/**/*.keras"))[::3], ids=lambda path: path.name)
def test_keras(path: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        weights = Path(archive.extract("model.weights.h5", tmp_path))
    assert told(path)[0] == in_hdf5(weights)[0]


def test_hdf5_with_links_and_objects_that_are_no_numbers(tmp_path: Path) -> None:
    path = tmp_path / "raw.h5"
    with h5py.File(path, "w") as file:
        file["a/w"] = RNG.normal(size=(3, 4))
        file["b/w"] = file["a/w"]
        file["again"] = file["a"]
        file["words"] = np.array([b"one", b"two"])
        file["pairs"] = np.zeros(3, [("x", "f4"), ("y", "i4")])
        file["text"] = "no numbers"
    size, names = told(path)
    assert size >= 3 * 4 * 8 + 3 * 8
    assert {"a/w", "b/w", "again", "words", "pairs", "text"} <= names


# -- the plugins' formats ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz(tmp_path: Path, save: Callable[..., None]) -> None:
    needs("wexport-npz")
    arrays = {"w": RNG.normal(size=(3, 5)), "n": np.arange(4), "half": np.ones(3, "f2"), "on": np.array([True, False])}
    save(tmp_path / "m.npz", **arrays, words=np.array(["a", "b"]))
    size, names = told(tmp_path / "m.npz")
    assert size == sum(array.nbytes for array in arrays.values())
    assert names == {*arrays, "words"}


def test_safetensors(tmp_path: Path) -> None:
    needs("wexport-safetensors")
    header: dict[str, Any] = {}
    data = b""
    tensors = {
        "l.weight": ("F32", [4, 3], 48),
        "l.bias": ("BF16", [4], 8),
        "q.weight": ("F8_E4M3", [2, 8], 16),
        "q.weight_scale": ("F32", [2, 1], 8),
        "c": ("C64", [3], 24),
        "x_blocks": ("U8", [2, 3, 16], 96),
        "x_scales": ("U8", [2, 3], 6),
    }
    for name, (dtype, shape, size) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + size]}
        data += bytes(RNG.integers(0, 100, size, np.uint8))
    text = json.dumps(header).encode()
    (tmp_path / "m.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)
    assert told(tmp_path / "m.safetensors")[0] == len(data)


@pytest.mark.parametrize("name", ["cnn.pt", "transformer.pt", "tied.pt", "checkpoint.pt", "lightning.ckpt", "gan.pt"])
def test_torch(tmp_path: Path, name: str) -> None:
    needs("wexport-torch")
    path = member("wexport-torch/tests/models.zip", name, tmp_path)
    with zipfile.ZipFile(path) as archive:
        stored = sum(info.file_size for info in archive.infolist() if "/data/" in info.filename)
    assert told(path)[0] == stored


@pytest.mark.parametrize("name", ["pruned.pt", "run/checkpoint-4/optimizer.pt", "program.pt2"])
def test_torch_in_other_layouts(tmp_path: Path, name: str) -> None:
    needs("wexport-torch")
    path = member("wexport-torch/tests/layouts.zip", name, tmp_path)
    with zipfile.ZipFile(path) as archive:
        stored = sum(
            info.file_size
            for info in archive.infolist()
            if "/data/" in info.filename and not info.filename.endswith((".json", "model.pt"))
        )
    assert told(path)[0] == stored


@pytest.mark.parametrize("name", ["one_process", "two_processes"])
def test_torch_distributed(tmp_path: Path, name: str) -> None:
    """Each `.distcp` file is a row of zips, of which the payload is what lies in their folders `data`."""
    needs("wexport-torch")
    folder = member("wexport-torch/tests/layouts.zip", name, tmp_path)
    size, names = told(folder / ".metadata")
    reference = member("wexport-torch/tests/layouts.zip", f"{name}.ref.pt", tmp_path)
    with zipfile.ZipFile(reference) as archive:
        stored = sum(info.file_size for info in archive.infolist() if "/data/" in info.filename)
    moments = 6 * 5 * 4 if name == "two_processes" else 0
    assert size == stored + moments
    assert name == "one_process" or {"optimizer", "epoch"} <= names


def in_onnx(message: Any) -> Iterator[Any]:
    """Every TensorProto of numbers anywhere in a model: initializers, attributes of nodes, of graphs within graphs."""
    for descriptor, value in message.ListFields():
        if descriptor.message_type is None:
            continue
        for each in [value] if hasattr(value, "ListFields") else value:
            if descriptor.message_type.name != "TensorProto":
                yield from in_onnx(each)
            elif each.data_type != 8:  # text
                yield each


def test_onnx(tmp_path: Path) -> None:
    needs("wexport-onnx")
    onnx = pytest.importorskip("onnx")
    from onnx import numpy_helper

    with zipfile.ZipFile(ROOT / "plugins/wexport-onnx/tests/models.zip") as archive:
        archive.extractall(tmp_path)
    models = sorted(tmp_path.rglob("*.onnx"))
    assert len(models) > 5
    for path in models:
        stored = sum(numpy_helper.to_array(each, str(path.parent)).nbytes for each in in_onnx(onnx.load(path)))
        with wexport.Source(path, external_data=True) as source:
            model = PLUGINS.choose(source).open(source)
        rows = sum(each.stored_bytes for each in model.tensors if each.name not in model.aliases)
        assert rows + sum(skipped.size for skipped in model.skipped) == stored, path.name


def test_gguf(tmp_path: Path) -> None:
    """Blocks count with their scales; so does what cannot be decoded."""
    needs("wexport-gguf")
    gguf = pytest.importorskip("gguf")
    with zipfile.ZipFile(ROOT / "plugins/wexport-gguf/tests/models.zip") as archive:
        archive.extractall(tmp_path)
    models = sorted(tmp_path.rglob("*.gguf"))
    assert len(models) > 3
    for path in models:
        stored = gguf.GGUFReader(path).tensors
        size, names = told(path)
        assert size == sum(int(tensor.n_bytes) for tensor in stored), path.name
        assert {tensor.name for tensor in stored} <= names, path.name


def test_tensorflow(tmp_path: Path) -> None:
    needs("wexport-tf")
    with zipfile.ZipFile(ROOT / "plugins/wexport-tf/tests/models.zip") as archive:
        archive.extractall(tmp_path)
    indexes = sorted(tmp_path.rglob("*.index"))
    assert indexes
    for index in indexes:
        stored = sum(file.stat().st_size for file in index.parent.glob(f"{index.stem}.data-*"))
        with wexport.Source(index) as source:
            model = PLUGINS.choose(source).open(source)
        if any(skipped.problem for skipped in model.skipped):
            continue  # one is divided into columns, which is told
        if b"OBJECT_GRAPH" in index.read_bytes():  # the text of which names are made
            assert 0 < told(index)[0] < stored, index.name
        else:
            assert told(index)[0] == stored, index.name
