"""Numbers that a graph keeps in its nodes, and what it computes of constants: each is told once, or named."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_files import canonical, graph, opened, values, weights

import wexport

CASES = Path(__file__).parents[4] / "shared" / "cases" / "onnx_constants"


def node(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> Any:
    return helper.make_node(op, inputs, outputs, **attributes)


def constant(name: str, array: Any) -> Any:
    return node("Constant", [], [name], value=numpy_helper.from_array(np.asarray(array)))


class Kept(wexport.Tensor):
    """A tensor with its values, for when its file is closed."""

    array: Any

    @classmethod
    def of(cls, tensor: wexport.Tensor) -> Kept:
        kept = cls(**{field.name: getattr(tensor, field.name) for field in dataclasses.fields(tensor)})
        object.__setattr__(kept, "array", values(tensor))
        return kept


def read(path: Path, nodes: list[Any], initializers: dict[str, Any], **options: Any) -> wexport.Model:
    file = path / "model.onnx"
    file.write_bytes(graph(nodes, initializers, **options))
    with opened(file) as model:
        return dataclasses.replace(model, tensors=[Kept.of(tensor) for tensor in model.tensors])


def told(model: wexport.Model) -> dict[str, tuple[str | None, str]]:
    return {tensor.name: (tensor.layer_class, tensor.role) for tensor in model.tensors}


UNITS = 3


def lstm() -> tuple[list[Any], dict[str, Any]]:
    """What torch's exporter leaves of an LSTM that is not folded: gates sliced and joined in another order."""
    held = {"w": weights(4 * UNITS, 5), "r": weights(4 * UNITS, UNITS), "gamma": weights(UNITS), "beta": weights(UNITS)}
    held |= {f"s{number}": np.array([number * UNITS]) for number in range(5)} | {"axis": np.array([0])}
    nodes = []
    for key in "wr":
        for part, (begin, end) in {"i": ("s0", "s1"), "o": ("s3", "s4"), "fc": ("s1", "s3")}.items():
            nodes.append(node("Slice", [key, begin, end, "axis"], [f"{key}_{part}"]))
        nodes.append(node("Concat", [f"{key}_i", f"{key}_o", f"{key}_fc"], [f"{key}_c"], axis=0))
        nodes.append(node("Unsqueeze", [f"{key}_c", "axis"], [f"{key}_u"]))
    nodes += [
        node("LSTM", ["x", "w_u", "r_u"], ["h"], hidden_size=UNITS),
        node("Mul", ["h", "gamma"], ["m"]),
        node("Add", ["m", "beta"], ["y"]),
    ]
    return nodes, held


@pytest.mark.parametrize("where", ["nodes", "initialisers"])
def test_a_kernel_that_is_joined_of_slices_is_told_as_the_kernel(tmp_path: Path, where: str) -> None:
    nodes, held = lstm()
    if where == "nodes":
        model = read(tmp_path, [*(constant(*item) for item in held.items()), *nodes], {})
    else:
        model = read(tmp_path, nodes, held)
    assert told(model) == {
        "w": ("LSTM", "kernel"),
        "r": ("LSTM", "recurrent_kernel"),
        "gamma": ("Mul", "unknown"),
        "beta": ("Add", "unknown"),
    }
    kernel = model.tensors[0]
    i, f, c, o = np.split(held["w"], 4)
    np.testing.assert_array_equal(kernel.array.reshape(4 * UNITS, 5), np.concatenate([i, o, f, c]))
    assert kernel.layout is not None
    assert kernel.layout.gates == ("i", "o", "f", "c")
    assert {skipped.name for skipped in model.skipped} == {"s0", "s1", "s2", "s3", "s4", "axis"}
    assert sum(tensor.size for tensor in model.tensors) == sum(held[name].size for name in ("w", "r", "gamma", "beta"))


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not here")
def test_constants_and_initialisers_are_the_same_model() -> None:
    found = [wexport.inspect(CASES / f"{name}.onnx") for name in ("constants", "inits")]
    assert [each.result.parameters for each in found] == [432, 432]
    assert [row["content_hash"] for row in found[0].rows] == [row["content_hash"] for row in found[1].rows]
    assert wexport.diff(CASES / "constants.onnx", CASES / "inits.onnx").same


def test_what_is_stored_is_told_whole_where_a_part_of_it_is_used(tmp_path: Path) -> None:
    table = weights(6, 4)
    nodes = [
        node("Slice", ["w", "begin", "end"], ["v"]),
        node("MatMul", ["x", "v"], ["y"]),
    ]
    model = read(tmp_path, nodes, {"w": table, "begin": np.array([1]), "end": np.array([5])})
    (tensor,) = model.tensors
    np.testing.assert_array_equal(tensor.array, table)


def test_parts_that_are_all_used_are_layers_of_their_own(tmp_path: Path) -> None:
    joined = weights(4, 9)
    nodes = [node("Split", ["w"], ["q", "k", "v"], axis=1, num_outputs=3)]
    nodes += [node("MatMul", ["x", name], [f"y{name}"]) for name in "qkv"]
    model = read(tmp_path, nodes, {"w": joined})
    assert told(model) == dict.fromkeys("qkv", ("Dense", "kernel"))
    for tensor, part in zip(model.tensors, np.split(joined, 3, 1), strict=True):
        np.testing.assert_array_equal(tensor.array, part)


def test_a_product_of_constants_is_the_kernel_and_its_factor_is_named(tmp_path: Path) -> None:
    kernel, mask = weights(4, 3), np.array([[1, 0, 1]], np.float32)
    model = read(
        tmp_path, [node("Mul", ["w", "m"], ["p"]), node("MatMul", ["x", "p"], ["y"])], {"w": kernel, "m": mask}
    )
    (tensor,) = model.tensors
    assert (tensor.name, tensor.role) == ("w", "kernel")
    np.testing.assert_array_equal(tensor.array, kernel * mask)
    ((what, name, detail),) = [(each.what, each.name, each.detail) for each in model.skipped]
    assert (what, name, detail) == ("factor or offset that is part of another tensor", "m", "w")


def test_a_constant_that_many_layers_use_is_told_once(tmp_path: Path) -> None:
    nodes = [constant("w", weights(3, 3)), *(node("MatMul", ["x", "w"], [f"y{number}"]) for number in range(3))]
    assert list(told(read(tmp_path, nodes, {}))) == ["w"]


def test_lists_of_numbers_are_tensors(tmp_path: Path) -> None:
    nodes = [
        node("Constant", [], ["v"], value_floats=[0.5, 1.5, -2.0]),
        node("Constant", [], ["e"], value_float=1e-5),
        node("Constant", [], ["n"], value_ints=[1, 3]),
        node("Mul", ["x", "v"], ["m"]),
        node("Reshape", ["m", "n"], ["r"]),
        node("Add", ["r", "e"], ["y"]),
    ]
    model = read(tmp_path, nodes, {})
    assert told(model) == {"v": ("Mul", "unknown")}
    assert {skipped.name: skipped.what for skipped in model.skipped} == {
        "e": "constants of formulas",
        "n": "integers that are not weights",
    }


def test_coefficients_of_other_domains_are_tensors(tmp_path: Path) -> None:
    regressor = helper.make_node(
        "LinearRegressor", ["x"], ["y"], name="fit", domain="ai.onnx.ml", coefficients=[0.25, -1.0], intercepts=[3.0]
    )
    found = {tensor.name: tensor.array.tolist() for tensor in read(tmp_path, [regressor], {}).tensors}
    assert found == {"fit/coefficients": [0.25, -1.0], "fit/intercepts": [3.0]}


def test_a_function_keeps_constants_too(tmp_path: Path) -> None:
    scaled = helper.make_function(
        "own",
        "Scaled",
        ["a"],
        ["b"],
        [constant("s", weights(4)), node("Mul", ["a", "s"], ["b"])],
        [helper.make_opsetid("", 21)],
    )
    calls = [helper.make_node("Scaled", [a], [b], name=b, domain="own") for a, b in (("x", "h"), ("h", "y"))]
    found = told(read(tmp_path, calls, {}, functions=[scaled]))
    assert list(found.values()) == [("Mul", "unknown")]  # stored once, however often it is called


def test_folds_without_end_end(tmp_path: Path) -> None:
    """Each sum is of the one before it twice: 2^200 additions, if nothing were remembered."""
    nodes = [node("Add", [f"w{number}", f"w{number}"], [f"w{number + 1}"]) for number in range(200)]
    model = read(tmp_path, [*nodes, node("MatMul", ["x", "w60"], ["y"])], {"w0": weights(2, 2)})
    assert [tensor.size for tensor in model.tensors] == [4]


def test_indices_outside_of_a_table_are_no_fold(tmp_path: Path) -> None:
    nodes = [node("Gather", ["w", "i"], ["v"]), node("MatMul", ["x", "v"], ["y"])]
    assert list(told(read(tmp_path, nodes, {"w": weights(3, 3), "i": np.array([0, 7])}))) == ["w"]


# -- against the reference ---------------------------------------------------------------------------------------------

SHAPE = (4, 6)


@st.composite
def chains(draw: st.DrawFn) -> list[Any]:
    """Nodes that make `v` of `w`, moving numbers about."""
    nodes, name, shape = [], "w", SHAPE
    for number in range(draw(st.integers(1, 4))):
        out = f"c{number}"
        kind = draw(st.sampled_from(["split", "transpose", "reshape", "slices", "gather"]))
        if kind == "split":
            axis = draw(st.integers(0, 1))
            nodes.append(node("Split", [name], [f"{out}a", f"{out}b"], axis=axis, num_outputs=2))
            nodes.append(node("Concat", [f"{out}b", f"{out}a"], [out], axis=axis))
        elif kind == "transpose":
            nodes.append(node("Transpose", [name], [out], perm=[1, 0]))
            shape = shape[::-1]
        elif kind == "reshape":
            rows = draw(st.sampled_from([2, 3, 4, 6, 8, 12]))
            shape = (rows, 24 // rows)
            nodes += [constant(f"{out}s", np.array(shape)), node("Reshape", [name, f"{out}s"], [out])]
        elif kind == "slices":
            step = draw(st.sampled_from([-1, 1]))
            begin, end = (0, shape[1]) if step == 1 else (-1, -shape[1] - 1)
            keys = {"b": begin, "e": end, "a": 1, "t": step}
            nodes += [constant(f"{out}{key}", np.array([value])) for key, value in keys.items()]
            nodes.append(node("Slice", [name, *(f"{out}{key}" for key in keys)], [out]))
        else:
            order = draw(st.permutations(range(shape[0])))
            nodes += [constant(f"{out}i", np.array(order)), node("Gather", [name, f"{out}i"], [out], axis=0)]
        name = out
    return [*nodes, node("Identity", [name], ["v"])]


@settings(max_examples=60, deadline=None)
@given(nodes=chains())
def test_folds_are_what_the_reference_computes(tmp_path_factory: pytest.TempPathFactory, nodes: list[Any]) -> None:
    path = tmp_path_factory.mktemp("folds")
    kernel = weights(*SHAPE)
    (tensor,) = read(path, [*nodes, node("MatMul", ["x", "v"], ["y"])], {"w": kernel}).tensors
    assert tensor.role == "kernel"
    graph_ = helper.make_graph(
        nodes,
        "folds",
        [helper.make_tensor_value_info("w", TensorProto.FLOAT, SHAPE)],
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, None)],
    )
    (expected,) = ReferenceEvaluator(helper.make_model(graph_, opset_imports=[helper.make_opsetid("", 21)])).run(
        None, {"w": kernel}
    )
    assert sorted(tensor.array.ravel()) == sorted(kernel.ravel())
    if tensor.layout is not None:
        object.__setattr__(tensor, "chunks", wexport.Tensor.of_array("v", tensor.array).chunks)
        np.testing.assert_array_equal(canonical(tensor), expected)


# -- quantised ---------------------------------------------------------------------------------------------------------


def dequantised(codes: Any, scale: Any, zero_point: Any, **attributes: Any) -> Any:
    graph_ = helper.make_graph(
        [node("DequantizeLinear", ["q", "s", "z"], ["v"], **attributes)],
        "values",
        [],
        [helper.make_tensor_value_info("v", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in zip("qsz", (codes, scale, zero_point), strict=True)],
    )
    (found,) = ReferenceEvaluator(helper.make_model(graph_, opset_imports=[helper.make_opsetid("", 21)])).run(None, {})
    return found


@pytest.mark.parametrize(
    ("groups", "attributes"),
    [((), {}), ((6,), {"axis": 1}), ((4,), {"axis": 0}), ((2, 6), {"axis": 0, "block_size": 2})],
    ids=["one scale", "a column each", "a row each", "blocks"],
)
def test_figures_are_of_values_and_not_of_codes(tmp_path: Path, groups: tuple[int, ...], attributes: Any) -> None:
    codes = np.arange(24, dtype=np.uint8).reshape(4, 6)
    scale = np.abs(weights(*groups)) + np.float32(0.1)
    zero_point = np.full(groups, 3, np.uint8)
    nodes = [node("DequantizeLinear", ["q", "s", "z"], ["v"], **attributes), node("MatMul", ["x", "v"], ["y"])]
    found = {tensor.role: tensor for tensor in read(tmp_path, nodes, {"q": codes, "s": scale, "z": zero_point}).tensors}
    assert (found["kernel"].dtype, found["kernel"].value_dtype) == ("uint8", "float32")
    np.testing.assert_allclose(
        found["kernel"].array, dequantised(codes, scale, zero_point, **attributes), rtol=1e-6, atol=1e-7
    )
    np.testing.assert_array_equal(found["scale"].array, scale)


@pytest.mark.parametrize("zeros", [False, True])
@pytest.mark.parametrize("bits", [4, 8])
def test_codes_that_are_packed_in_blocks(tmp_path: Path, zeros: bool, bits: int) -> None:
    rows, columns, block = 3, 40, 16
    groups = -(-columns // block)
    codes = np.random.default_rng(1).integers(0, 1 << bits, (rows, groups * block)).astype(np.uint8)
    scale = np.abs(weights(rows, groups)) + np.float32(0.1)
    zero_point = np.random.default_rng(2).integers(0, 1 << bits, (rows, groups)).astype(np.uint8)
    held = {"b": pack(codes, bits).reshape(rows, groups, -1), "s": scale.reshape(-1)}
    inputs = ["x", "b", "s"]
    if zeros:
        held["z"] = pack(zero_point, bits).reshape(-1)
        inputs.append("z")
    matrix = helper.make_node(
        "MatMulNBits", inputs, ["y"], domain="com.microsoft", K=columns, N=rows, bits=bits, block_size=block
    )
    found = {tensor.role: tensor for tensor in read(tmp_path, [matrix], held).tensors}
    kernel = found["kernel"]
    assert (kernel.shape, kernel.dtype, kernel.layer_class) == ((rows, columns), f"uint{bits}", "Dense")
    offset = zero_point.repeat(block, 1) if zeros else 1 << bits - 1
    expected = (codes.astype(np.float32) - offset) * scale.repeat(block, 1)
    np.testing.assert_allclose(kernel.array, expected[:, :columns], rtol=1e-6)


def pack(codes: Any, bits: int) -> Any:
    """Rows of codes in bytes, the first in the lowest bits."""
    per_byte = 8 // bits
    short = -codes.shape[1] % per_byte
    spread = np.pad(codes, ((0, 0), (0, short))).reshape(len(codes), -1, per_byte)
    return np.bitwise_or.reduce(spread << np.arange(0, 8, bits, dtype=np.uint8), -1).astype(np.uint8)


def test_a_scale_that_does_not_fit_leaves_the_codes(tmp_path: Path) -> None:
    codes = np.arange(24, dtype=np.int8).reshape(4, 6)
    nodes = [node("DequantizeLinear", ["q", "s"], ["v"], axis=1), node("MatMul", ["x", "v"], ["y"])]
    found = read(tmp_path, nodes, {"q": codes, "s": weights(5)})
    (kernel,) = [tensor for tensor in found.tensors if tensor.role == "kernel"]
    assert kernel.value_dtype is None
    np.testing.assert_array_equal(kernel.array, codes)


def test_every_number_of_a_file_is_told_or_named(tmp_path: Path) -> None:
    """Conservation: what the onnx package finds in initialisers and constants, by name."""
    nodes, held = lstm()
    file = tmp_path / "model.onnx"
    file.write_bytes(graph([*(constant(*item) for item in held.items()), *nodes], {"spare": weights(3)}))
    model = onnx.load(file)
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for each in model.graph.node:
        if each.op_type == "Constant":
            stored[each.output[0]] = each.attribute[0].t
    with opened(file) as found:
        names = {tensor.name for tensor in found.tensors} | {skipped.name for skipped in found.skipped}
        rows = sum(tensor.size for tensor in found.tensors)
    assert stored.keys() <= names
    floats = [numpy_helper.to_array(tensor) for tensor in stored.values() if tensor.data_type == TensorProto.FLOAT]
    assert rows == sum(array.size for array in floats)
