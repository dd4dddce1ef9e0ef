"""Every type of tensor, in every way that ONNX stores it, against what the onnx package reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx_files import RNG, graph, opened, values, varint
from wexport_onnx import wire

from wexport import measuring

NUMBERS = [
    name
    for name in TensorProto.DataType.keys()  # noqa: SIM118  # an enum of protobuf's, which is not a mapping
    if name not in ("UNDEFINED", "STRING", "COMPLEX64", "COMPLEX128") and not name.startswith("FLOAT6")
]
SMALL = ("INT4", "UINT4", "INT2", "UINT2", "FLOAT4E2M1")


def some(kind: str, shape: tuple[int, ...] = (3, 5)) -> Any:
    """Values of every sign and size, in the type's own NumPy form."""
    dtype = helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(kind))
    spread = RNG.normal(size=shape) * 10.0 ** RNG.integers(-2, 2, shape)
    if dtype.kind == "b":
        return spread > 0
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return RNG.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    if kind in SMALL and "INT" in kind:
        low, high = {"INT4": (-8, 7), "UINT4": (0, 15), "INT2": (-2, 1), "UINT2": (0, 3)}[kind]
        return RNG.integers(low, high, shape, endpoint=True).astype(dtype)
    return (np.abs(spread) if kind == "FLOAT8E8M0" else spread).astype(np.float32).astype(dtype)


def typed(kind: str, array: Any) -> TensorProto:
    """A tensor with its values in the typed field of its type."""
    number = TensorProto.DataType.Value(kind)
    tensor = TensorProto(name="w", data_type=number, dims=array.shape)
    flat = array.reshape(-1)
    if kind == "FLOAT":
        tensor.float_data.extend(flat.tolist())
    elif kind == "DOUBLE":
        tensor.double_data.extend(flat.tolist())
    elif kind == "INT64":
        tensor.int64_data.extend(flat.tolist())
    elif kind in ("UINT32", "UINT64"):
        tensor.uint64_data.extend(flat.tolist())
    elif kind in SMALL:
        tensor.int32_data.extend(numpy_helper.from_array(array).raw_data)  # several in each, as in the bytes
    elif flat.dtype.kind in "iub":
        tensor.int32_data.extend(int(value) for value in flat)
    else:
        tensor.int32_data.extend(flat.view(f"u{flat.itemsize}").tolist())
    return tensor


def check(path: Path, tensor: TensorProto, expected: Any) -> None:
    path = path / "model.onnx"
    node = helper.make_node("Conv", ["x", "w"], ["y"], domain="own")
    path.write_bytes(graph([node], {"w": tensor}))
    with opened(path) as model:
        assert [(skipped.what, skipped.detail) for skipped in model.skipped] == []
        (found,) = model.tensors
        for limit in (1, 3, 16, 1 << 20):
            read = values(found, limit)
            assert read.shape == expected.shape
            assert read.astype(expected.dtype).tobytes() == expected.tobytes()
        assert measuring.measure(found).value_count == expected.size


@pytest.mark.parametrize("kind", NUMBERS)
def test_raw_values(tmp_path: Path, kind: str) -> None:
    array = some(kind)
    tensor = numpy_helper.from_array(array, "w")
    assert tensor.raw_data
    assert tensor.data_type == TensorProto.DataType.Value(kind)
    check(tmp_path, tensor, numpy_helper.to_array(tensor))


@pytest.mark.parametrize("kind", NUMBERS)
def test_typed_values(tmp_path: Path, kind: str) -> None:
    array = some(kind)
    tensor = typed(kind, array)
    assert not tensor.HasField("raw_data")
    expected = numpy_helper.to_array(tensor)
    assert expected.tobytes() == array.tobytes()
    check(tmp_path, tensor, expected)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1,), (1, 1, 1)])
@pytest.mark.parametrize("kind", ["FLOAT", "BFLOAT16", "INT4", "FLOAT4E2M1"])
def test_scalars_and_empty_axes(tmp_path: Path, kind: str, shape: tuple[int, ...]) -> None:
    tensor = numpy_helper.from_array(np.asarray(some(kind, shape)), "w")
    check(tmp_path, tensor, numpy_helper.to_array(tensor))


def test_types_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    tensors = {kind: numpy_helper.from_array(some(kind), kind) for kind in NUMBERS}
    path.write_bytes(graph([helper.make_node("Own", ["x", *tensors], ["y"], domain="own")], tensors))
    with opened(path) as model:
        named = {tensor.name: tensor.dtype for tensor in model.tensors}
    assert named == {kind: str(helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(kind))) for kind in NUMBERS}


def test_what_is_no_number_is_named_and_left_out(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    tensors = {
        "words": helper.make_tensor("words", TensorProto.STRING, [1], [b"a"]),
        "c": numpy_helper.from_array(np.ones(2, np.complex64), "c"),
        "w": numpy_helper.from_array(np.ones(2, np.float32), "w"),
        "six": TensorProto(name="six", data_type=27, dims=[4], raw_data=bytes(3)),
    }
    model = onnx.load_from_string(graph([helper.make_node("Own", ["x", *tensors], ["y"])], tensors))
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(numpy_helper.from_array(np.ones(1, np.float32), "few"))
    path.write_bytes(model.SerializeToString())
    with opened(path) as read:
        assert [tensor.name for tensor in read.tensors] == ["w"]
        left_out = {skipped.name: (skipped.what, skipped.problem) for skipped in read.skipped}
    assert left_out == {
        "words": ("strings", False),
        "c": ("complex numbers", False),
        "few": ("sparse tensor", True),
        "six": ("floats of 6 bits", True),
    }


@given(st.lists(st.integers(0, (1 << 64) - 1), max_size=40), st.integers(1, 40))
def test_numbers_of_any_length_are_unpacked(numbers: list[int], step: int) -> None:
    data = b"".join(varint(number) for number in numbers)
    found: list[int] = []
    rest = b""
    for start in range(0, len(data), step):
        rest += data[start : start + step]
        some, taken = wire.unpack(rest)
        found += some.tolist()
        rest = rest[taken:]
    assert found == numbers
    assert not rest
