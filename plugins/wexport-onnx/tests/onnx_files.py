"""What the tests of this package share: the models that exporters wrote, and small graphs made by the onnx package."""

from __future__ import annotations

import atexit
import hashlib
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from wexport_onnx import READER

import wexport

MODELS = Path(tempfile.mkdtemp(prefix="wexport-onnx-tests-"))
atexit.register(shutil.rmtree, MODELS, ignore_errors=True)
zipfile.ZipFile(Path(__file__).parent / "models.zip").extractall(MODELS)
RNG = np.random.default_rng(0)


@contextmanager
def opened(path: Path, external_data: bool = False) -> Iterator[wexport.Model]:
    with wexport.Source(path, external_data=external_data) as source:
        yield READER.open(source)


def values(tensor: wexport.Tensor, limit: int = 1 << 20) -> np.ndarray[Any, Any]:
    """The tensor as it is stored."""
    parts = [chunk.copy() for chunk in tensor.chunks(limit)]
    return np.concatenate(parts).reshape(tensor.shape) if parts else np.empty(tensor.shape)


def canonical(tensor: wexport.Tensor) -> np.ndarray[Any, Any]:
    """The tensor in Keras' layout, by plain NumPy."""
    array = values(tensor)
    layout = tensor.layout
    assert layout is not None, tensor.name
    array = array.reshape(layout.view or array.shape)
    array = array.transpose(layout.permutation or range(array.ndim))
    if layout.gates:
        blocks = dict(zip(layout.gates, np.split(array, len(layout.gates), layout.gate_axis), strict=True))
        order = "ifco" if len(blocks) == 4 else "zrh"
        array = np.concatenate([blocks[gate] for gate in order], layout.gate_axis)
    return array


def digest(array: np.ndarray[Any, Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array, "<f4").tobytes()).hexdigest()


def said(name: str) -> list[dict[str, Any]]:
    """What the framework said of the weights of a model."""
    weights: list[dict[str, Any]] = json.loads((MODELS / name).with_suffix(".json").read_text())["weights"]
    return weights


def graph(
    nodes: Sequence[Any], initializers: dict[str, Any], *, opset: int = 21, functions: Sequence[Any] = ()
) -> bytes:
    """A model of these nodes; `x` goes in and `y` comes out. Initialisers are arrays or TensorProtos."""
    x, y = (helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in "xy")
    tensors = [
        value if isinstance(value, onnx.TensorProto) else numpy_helper.from_array(np.asarray(value), name)
        for name, value in initializers.items()
    ]
    model = helper.make_model(
        helper.make_graph(list(nodes), "graph", [x], [y], tensors),
        opset_imports=[helper.make_opsetid("", opset)],
        functions=list(functions),
        producer_name="tests",
    )
    return model.SerializeToString()


def weights(*shape: int) -> np.ndarray[Any, Any]:
    return RNG.normal(size=shape).astype(np.float32)


def varint(number: int) -> bytes:
    """A number as protobuf writes it."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    return bytes([*found, number])
