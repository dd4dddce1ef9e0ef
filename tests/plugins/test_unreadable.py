"""What no reader reads is told in one line, with the way out."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import wexport
from tests.conftest import EXAMPLES, ROOT
from wexport.errors import ReadError

CASES = ROOT.parent / "shared" / "cases"
H5 = (EXAMPLES / "cnn_seed_1.h5").read_bytes()


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, w=np.ones(1000))
    return file.getvalue()


def zipped(**members: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in members.items():
            archive.writestr(name.replace("__", "/"), text)
    return file.getvalue()


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102400\n"
FILES: dict[str, tuple[str, bytes, str, str]] = {
    "pointer": ("m.safetensors", POINTER, "a Git LFS pointer to a file of 102,400 bytes", "git lfs pull"),
    "page": ("m.h5", b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>", "a web page", "download"),
    "message": ("m.pt", b"Invalid username or password.", "a short text: 'Invalid username or password.'", "download"),
    "line ends": ("m.h5", H5.replace(b"\r\n", b"\n"), "converted as if it were text", "binary mode"),
    "more line ends": ("m.h5", H5.replace(b"\n", b"\r\n"), "converted as if it were text", "binary mode"),
    "line ends as Git makes them": (
        "m.h5",
        H5.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"),
        "converted as if it were text",
        "binary mode",
    ),
    "characters": ("m.h5", H5.decode("utf-8", "replace").encode(), "converted as if it were text", "binary mode"),
    "cut zip": ("m.npz", npz()[:4000], "cut short", "save it again"),
    "cut archive": ("m.pt", npz()[:4000], "cut short", "save it again"),
    "other zip": (
        "m.zip",
        zipped(word__document="x", b="y"),
        "a zip of no known model; it holds b, word/document",
        "unpack",
    ),
    "pickle": ("m.pkl", pickle.dumps({"a": [1, 2]}), "a pickle", "never run"),
    "old pickle": ("m.pkl", pickle.dumps({"a": [1, 2]}, 0), "a pickle", "never run"),
    "arrays": ("m.pkl", pickle.dumps({"a": np.ones(3)}), "with objects of numpy", "numpy.savez"),
    "paddle": ("m.pdparams", pickle.dumps({"w": 1, "StructuredToParameterName@@": {}}), "PaddlePaddle", "paddle.load"),
    "tflite": ("m.tflite", struct.pack("<I", 28) + b"TFL3" + bytes(20), "a TFLite model", "converted from"),
    "msgpack": ("flax_model.msgpack", b"\x81\xa6params\x81\xa5dense\x80", "msgpack", "safetensors.flax"),
    "darknet": ("yolo.weights", struct.pack("<iiiq", 0, 2, 5, 32) + bytes(40), "darknet", "ONNX or PyTorch"),
    "core ml": ("m.mlmodel", b"\x08\x05\x12\x10" + bytes(20), "Core ML", "coremltools"),
    "gzip": ("m.h5.gz", gzip.compress(H5), "compressed with gzip", "gunzip"),
    "zeros": ("m.h5", bytes(10_000), "zero bytes", "download"),
    "ggml": ("m.bin", b"lmgg" + bytes(60), "before GGUF", "convert"),
    "table": ("m.parquet", b"PAR1" + bytes(60), "a Parquet table", "wexport query"),
}


@pytest.mark.parametrize("case", FILES)
def test_it_is_said_what_it_is(tmp_path: Path, case: str) -> None:
    name, content, what, way = FILES[case]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ReadError) as raised:
        wexport.inspect(path)
    said = f"{raised.value} {raised.value.hint}"
    assert str(raised.value).startswith(f"{path}: is ")
    assert "\n" not in said
    assert what in said
    assert way in said


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
@pytest.mark.parametrize("name", ["trunc.h5", "trunc.npz", "trunc_1000.pt", "trunc_20000.pt", "trunc_23000.pt"])
def test_what_is_cut_short_is_told_so(name: str) -> None:
    with pytest.raises(ReadError, match="is cut short"):
        wexport.inspect(CASES / "truncated" / name)


def test_a_file_that_is_open_for_writing_is_not_damaged(tmp_path: Path) -> None:
    path = tmp_path / "m.h5"
    with h5py.File(path, "w", libver="latest") as file:
        file["w"] = np.ones(4)
        file.flush()
        with pytest.raises(ReadError, match="is open for writing") as raised:
            wexport.inspect(path)
    assert "damaged" not in str(raised.value)
    assert wexport.inspect(path).result.tensors == 1


def test_in_a_folder_they_are_passed_over(tmp_path: Path) -> None:
    for name in ("page", "pickle", "tflite"):
        (tmp_path / f"{name}.txt").write_bytes(FILES[name][1])
    (tmp_path / "model.h5").write_bytes(H5)
    result = wexport.ingest([tmp_path], tmp_path / "t.parquet")
    assert {model.model: model.status for model in result.models if model.status != "skipped"} == {"model": "ok"}
