"""What the graph proves of an initialiser, by graphs that the onnx package makes and runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from onnx_files import canonical, graph, opened, values, weights
from wexport_onnx import paths

import wexport

node = helper.make_node


def read(path: Path, nodes: Sequence[Any], initializers: dict[str, Any], **options: Any) -> dict[str, wexport.Tensor]:
    path = path / "model.onnx"
    path.write_bytes(graph(nodes, initializers, **options))
    with opened(path) as model:
        read = {tensor.name: wexport.Tensor.of_array(tensor.name, values(tensor)) for tensor in model.tensors}
        return {tensor.name: replace(tensor, chunks=read[tensor.name].chunks) for tensor in model.tensors}


def told(tensors: dict[str, wexport.Tensor]) -> dict[str, tuple[str | None, str]]:
    return {name: (tensor.layer_class, tensor.role) for name, tensor in tensors.items()}


@pytest.mark.parametrize("transposed", [False, True])
def test_a_gemm_is_a_dense_layer_in_either_order(tmp_path: Path, transposed: bool) -> None:
    kernel, bias = weights(3, 5), weights(5)
    stored = kernel.T if transposed else kernel
    found = read(tmp_path, [node("Gemm", ["x", "w", "b"], ["y"], transB=int(transposed))], {"w": stored, "b": bias})
    assert told(found) == {"w": ("Dense", "kernel"), "b": ("Dense", "bias")}
    np.testing.assert_array_equal(canonical(found["w"]), kernel)
    layout = found["w"].layout
    assert layout is not None
    assert (layout.unit_axes, layout.input_axes) == ((1,), (0,))


@pytest.mark.parametrize("options", [{"alpha": 0.5}, {"beta": 2.0}, {"transA": 1}])
def test_a_gemm_that_computes_something_else_keeps_its_name(tmp_path: Path, options: dict[str, Any]) -> None:
    found = read(tmp_path, [node("Gemm", ["x", "w", "b"], ["y"], **options)], {"w": weights(3, 5), "b": weights(5)})
    assert told(found) == {"w": ("Gemm", "kernel"), "b": ("Gemm", "bias")}
    assert found["w"].layout is not None
    assert found["w"].layout.unit_axes == (1,)


@pytest.mark.parametrize("order", [("h", "b"), ("b", "h")])
@pytest.mark.parametrize("shape", [(5,), (1, 5), (1, 1, 5)])
def test_what_is_added_to_a_product_is_its_bias(tmp_path: Path, order: tuple[str, str], shape: tuple[int, ...]) -> None:
    nodes = [node("MatMul", ["x", "w"], ["h"]), node("Add", list(order), ["y"])]
    found = read(tmp_path, nodes, {"w": weights(3, 5), "b": weights(*shape)})
    assert told(found) == {"w": ("Dense", "kernel"), "b": ("Dense", "bias")}
    assert canonical(found["b"]).shape == (5,)


NO_BIAS: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "of another length": ([node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])], (3,)),
    "a single number": ([node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])], (1,)),
    "one for each row": ([node("MatMul", ["x", "w"], ["h"]), node("Add", ["h", "b"], ["y"])], (5, 1)),
    "behind another operator": (
        [node("MatMul", ["x", "w"], ["h"]), node("Relu", ["h"], ["r"]), node("Add", ["r", "b"], ["y"])],
        (5,),
    ),
    "added to a copy": (
        [
            node("MatMul", ["x", "w"], ["h"]),
            node("Add", ["h", "b"], ["a"]),
            node("Mul", ["a", "h"], ["y"]),
        ],
        (5,),
    ),
    "behind a change of shape": (
        [node("MatMul", ["x", "w"], ["h"]), node("Flatten", ["h"], ["f"]), node("Add", ["f", "b"], ["y"])],
        (5,),
    ),
}


@pytest.mark.parametrize("name", NO_BIAS)
def test_what_need_not_be_a_bias_is_none(tmp_path: Path, name: str) -> None:
    nodes, shape = NO_BIAS[name]
    found = read(tmp_path, nodes, {"w": weights(3, 5), "b": weights(*shape)})
    assert told(found) == {"w": ("Dense", "kernel"), "b": ("Add", "unknown")}


@pytest.mark.parametrize(
    ("perm", "shape"), [((0, 2, 3, 1), (4,)), ((0, 2, 3, 1), (1, 1, 1, 4)), ((0, 1, 3, 2), (4, 1, 1))]
)
def test_a_bias_is_followed_through_a_transposition(
    tmp_path: Path, perm: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    nodes = [
        node("Conv", ["x", "w"], ["h"]),
        node("Transpose", ["h"], ["t"], perm=perm),
        node("Add", ["t", "b"], ["y"]),
    ]
    kernel, bias = weights(4, 3, 2, 2), weights(*shape)
    assert told(read(tmp_path, nodes, {"w": kernel, "b": bias}))["b"] == ("Conv2D", "bias")
    nodes[1] = node("Transpose", ["h"], ["t"], perm=(1, 0, 2, 3))
    assert told(read(tmp_path, nodes, {"w": kernel, "b": bias}))["b"] == ("Add", "unknown")


CHAINS: dict[str, tuple[list[Any], tuple[int, ...] | None]] = {
    "as it is": ([node("Identity", ["w"], ["v"])], (0, 1)),
    "of another type": ([node("Cast", ["w"], ["v"], to=TensorProto.FLOAT)], (0, 1)),
    "transposed": ([node("Transpose", ["w"], ["v"])], (1, 0)),
    "transposed twice": ([node("Transpose", ["w"], ["u"]), node("Transpose", ["u"], ["v"], perm=[1, 0])], (0, 1)),
    "reshaped": ([node("Flatten", ["w"], ["v"])], (0, 1)),
    "transposed and reshaped": ([node("Transpose", ["w"], ["u"]), node("Flatten", ["u"], ["v"])], (1, 0)),
    "of a shape that is not known": ([node("Reshape", ["w", "s"], ["v"])], None),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_kernel_is_followed_to_where_it_is_used(tmp_path: Path, name: str) -> None:
    chain, order = CHAINS[name]
    kernel = weights(4, 4)
    (tensor,) = read(tmp_path, [*chain, node("MatMul", ["x", "v"], ["y"])], {"w": kernel}).values()
    assert tensor.role == "kernel"
    if order is None:
        assert (tensor.layer_class, tensor.layout) == ("MatMul", None)
    else:
        assert tensor.layer_class == "Dense"
        np.testing.assert_array_equal(canonical(tensor), kernel.transpose(order))


def test_a_transposed_convolution_s_kernel(tmp_path: Path) -> None:
    kernel = weights(2, 3, 4, 5)
    nodes = [node("Transpose", ["w"], ["v"], perm=[3, 2, 0, 1]), node("Conv", ["x", "v"], ["y"])]
    (tensor,) = read(tmp_path, nodes, {"w": kernel}).values()
    np.testing.assert_array_equal(canonical(tensor), kernel)  # TensorFlow's own order, which is Keras'


def test_weights_on_the_left_have_no_known_layout(tmp_path: Path) -> None:
    (tensor,) = read(tmp_path, [node("MatMul", ["w", "x"], ["y"])], {"w": weights(3, 5)}).values()
    assert (tensor.layer_class, tensor.role, tensor.layout) == ("MatMul", "kernel", None)


def test_two_constants_multiplied_are_no_layer(tmp_path: Path) -> None:
    found = read(tmp_path, [node("MatMul", ["a", "b"], ["y"])], {"a": weights(3, 5), "b": weights(5, 3)})
    assert told(found) == {"a": ("MatMul", "unknown"), "b": ("MatMul", "unknown")}


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("window", [(3,), (3, 2), (2, 3, 4)])
def test_convolutions(tmp_path: Path, groups: int, window: tuple[int, ...]) -> None:
    kernel = weights(8, 4 // groups, *window)
    found = read(tmp_path, [node("Conv", ["x", "w"], ["y"], group=groups)], {"w": kernel})["w"]
    dimensions = len(window)
    if groups == 4 and dimensions < 3:
        assert found.layer_class == f"DepthwiseConv{dimensions}D"
        expected = np.moveaxis(kernel.reshape(4, 2, *window), (0, 1), (-2, -1))
    else:
        assert found.layer_class == f"Conv{dimensions}D"
        expected = np.moveaxis(kernel, (0, 1), (-1, -2))
    np.testing.assert_array_equal(canonical(found), expected)


def test_transposed_convolutions_in_groups_are_none_of_keras(tmp_path: Path) -> None:
    found = read(tmp_path, [node("ConvTranspose", ["x", "w"], ["y"], group=2)], {"w": weights(4, 3, 2, 2)})["w"]
    assert (found.layer_class, found.role, found.layout) == ("ConvTranspose", "kernel", None)


def test_embeddings_are_looked_up_by_what_goes_in(tmp_path: Path) -> None:
    table = weights(7, 3)
    assert told(read(tmp_path, [node("Gather", ["w", "x"], ["y"])], {"w": table}))["w"] == ("Embedding", "embeddings")
    fixed = read(tmp_path, [node("Gather", ["w", "i"], ["y"])], {"w": table, "i": np.array([1, 2])})
    assert told(fixed) == {"w": ("Gather", "unknown")}
    other = read(tmp_path, [node("Gather", ["w", "x"], ["y"], axis=1)], {"w": table})
    assert told(other)["w"] == ("Gather", "unknown")
    integers = read(tmp_path, [node("Gather", ["w", "x"], ["y"])], {"w": np.zeros((4, 2), np.int64), "v": table})
    assert "w" not in integers


def recurrent_model(op: str, direction: str, **options: Any) -> tuple[list[Any], dict[str, Any]]:
    blocks = {"LSTM": 4, "GRU": 3, "RNN": 1}[op]
    sides = 2 if direction == "bidirectional" else 1
    initializers = {
        "w": weights(sides, blocks * 3, 2),
        "r": weights(sides, blocks * 3, 3),
        "b": weights(sides, 2 * blocks * 3),
    }
    return [node(op, ["x", "w", "r", "b"], ["y"], hidden_size=3, direction=direction, **options)], initializers


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def keras_lstm(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Keras' equations, for a sequence of (inputs,) vectors: the last state."""
    h = c = np.zeros(recurrent.shape[0])
    for step in x:
        i, f, g, o = np.split(step @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h


def keras_gru(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    """Keras' equations, with `reset_after` where there are two biases."""
    h = np.zeros(recurrent.shape[0])
    after = bias.ndim == 2
    for step in x:
        z, r, new = np.split(step @ kernel + (bias[0] if after else bias), 3)
        hz, hr, hnew = np.split(recurrent, 3, 1)
        bz, br, bnew = np.split(bias[1], 3) if after else (0, 0, 0)
        z, r = sigmoid(z + h @ hz + bz), sigmoid(r + h @ hr + br)
        new = np.tanh(new + (r * (h @ hnew + bnew) if after else (r * h) @ hnew))
        h = z * h + (1 - z) * new
    return h


def keras_rnn(x: Any, kernel: Any, recurrent: Any, bias: Any) -> Any:
    h = np.zeros(recurrent.shape[0])
    for step in x:
        h = np.tanh(step @ kernel + h @ recurrent + bias)
    return h


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize(("op", "before"), [("LSTM", None), ("GRU", 0), ("GRU", 1), ("RNN", None)])
def test_recurrent_layers_compute_with_keras_equations_what_onnx_computes(
    tmp_path: Path, op: str, before: int | None, direction: str
) -> None:
    options = {} if before is None else {"linear_before_reset": before}
    nodes, initializers = recurrent_model(op, direction, **options)
    tensors = list(read(tmp_path, nodes, initializers).values())
    both = direction == "bidirectional"
    assert [(t.role, t.direction) for t in tensors] == [
        (role, side)
        for side in (("forward", "backward") if both else (None,))
        for role in ("kernel", "recurrent_kernel", "bias")
    ]
    assert {t.layer_class for t in tensors} == {"SimpleRNN" if op == "RNN" else op}
    x = weights(5, 1, 2)
    model = graph(nodes, initializers).replace(b"", b"")
    (y,) = ReferenceEvaluator(model).run(None, {"x": x})  # (steps, directions, batch, units)
    equations = {"LSTM": keras_lstm, "GRU": keras_gru, "RNN": keras_rnn}[op]
    for side in range(2 if both else 1):
        backwards = direction == "reverse" or side == 1
        arrays = [canonical(tensor).astype(float) for tensor in tensors[3 * side : 3 * side + 3]]
        sequence = x[::-1, 0] if backwards else x[:, 0]
        np.testing.assert_allclose(
            equations(sequence, *arrays), y[0 if backwards else -1, side, 0], rtol=1e-4, atol=1e-6
        )


def test_a_recurrent_layer_that_does_not_fit_together_is_unknown(tmp_path: Path) -> None:
    nodes, initializers = recurrent_model("LSTM", "forward")
    initializers["r"] = weights(1, 12, 4)
    assert {tensor.role for tensor in read(tmp_path, nodes, initializers).values()} == {"unknown"}


def test_peepholes_and_first_states_are_unknown(tmp_path: Path) -> None:
    nodes, initializers = recurrent_model("LSTM", "forward")
    nodes[0].input.extend(["", "h", "", "p"])
    found = read(tmp_path, nodes, {**initializers, "h": weights(1, 1, 3), "p": weights(1, 9)})
    assert (found["h"].role, found["p"].role, found["w"].role) == ("unknown", "unknown", "kernel")
    assert {found[name].layer_index for name in found} == {0}


def test_normalisations(tmp_path: Path) -> None:
    names = ["scale", "shift", "mean", "variance"]
    vectors = {name: weights(4) for name in names}
    found = read(tmp_path, [node("BatchNormalization", ["x", *names], ["y"])], vectors)
    assert [tensor.role for tensor in found.values()] == ["gamma", "beta", "moving_mean", "moving_variance"]
    for op in ("InstanceNormalization", "LayerNormalization", "GroupNormalization"):
        found = read(tmp_path, [node(op, ["x", *names[:2]], ["y"])], {name: weights(4) for name in names[:2]})
        assert told(found) == {"scale": (op, "gamma"), "shift": (op, "beta")}


def test_a_weight_used_twice_stands_once_and_a_copy_by_another_name_by_its_own(tmp_path: Path) -> None:
    tied = [node("Gather", ["w", "x"], ["e"]), node("Transpose", ["w"], ["t"]), node("MatMul", ["e", "t"], ["y"])]
    assert told(read(tmp_path, tied, {"w": weights(7, 3)})) == {"w": ("Embedding", "embeddings")}
    names = ["one.weight", "one.bias", "one.running_mean", "one.running_var"]
    shared = [
        node("Identity", ["one.weight"], ["one.running_var"]),
        node("BatchNormalization", ["x", *names], ["y"]),
    ]
    found = read(tmp_path, shared, {name: weights(4) for name in names[:3]})
    assert found["one.running_var"].role == "moving_variance"
    np.testing.assert_array_equal(canonical(found["one.running_var"]), canonical(found["one.weight"]))


def test_constants_count_as_initialisers_do(tmp_path: Path) -> None:
    kernel, shift = (numpy_helper.from_array(weights(3, 5)), numpy_helper.from_array(weights(5)))
    nodes = [
        node("Constant", [], ["w"], value=kernel),
        node("Constant", [], ["s"], value=shift),
        node("MatMul", ["x", "w"], ["h"]),
        node("Sub", ["h", "s"], ["y"]),
    ]
    assert told(read(tmp_path, nodes, {})) == {"w": ("Dense", "kernel"), "s": ("Sub", "unknown")}


def test_graphs_within_a_graph_see_what_is_stored_around_them(tmp_path: Path) -> None:
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, None)
    branches = {
        name: helper.make_graph(
            [node("MatMul", ["x", "outer"], ["h"]), node("Add", ["h", "inner"], ["o"])],
            name,
            [],
            [out],
            [numpy_helper.from_array(weights(5), "inner")],
        )
        for name in ("then", "else")
    }
    nodes = [node("If", ["c"], ["y"], name="choose", then_branch=branches["then"], else_branch=branches["else"])]
    found = read(tmp_path, nodes, {"outer": weights(3, 5), "c": np.array(True)})
    assert told(found) == {
        "outer": ("Dense", "kernel"),
        "choose/else_branch/inner": ("Dense", "bias"),
        "choose/then_branch/inner": ("Add", "unknown"),  # the second to use that kernel: no layer of its own
    }


def test_functions_of_the_model_are_looked_into(tmp_path: Path) -> None:
    function = helper.make_function(
        "own", "Linear", ["a", "k", "s"], ["z"],
        [node("MatMul", ["a", "k"], ["m"]), node("Add", ["m", "s"], ["z"])],
        [helper.make_opsetid("", 21)],
    )  # fmt: skip
    call = node("Linear", ["x", "w", "b"], ["y"], domain="own")
    found = read(tmp_path, [call], {"w": weights(3, 5), "b": weights(5)}, functions=[function])
    assert told(found) == {"w": ("Dense", "kernel"), "b": ("Dense", "bias")}


def test_an_operator_of_somebody_s_own_keeps_its_name_and_tells_nothing(tmp_path: Path) -> None:
    found = read(
        tmp_path, [node("Conv", ["x", "w", "i"], ["y"], domain="own")], {"w": weights(3, 5), "i": np.arange(3)}
    )
    assert told(found) == {"w": ("Conv", "unknown"), "i": ("Conv", "unknown")}


def test_what_tells_an_operator_how_to_work_is_left_out_by_name(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph([node("Reshape", ["x", "shape"], ["y"])], {"shape": np.array([1, -1])}))
    with opened(path) as model:
        assert not model.tensors
        assert [(skipped.what, skipped.name) for skipped in model.skipped] == [
            ("integers that are not weights", "shape")
        ]


def test_a_constant_of_a_formula_is_left_out_by_name_and_a_parameter_is_not(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    nodes = [node("Add", ["x", "eps"], ["a"]), node("Mul", ["a", "head.temperature"], ["b"])]
    nodes += [node("QuantizeLinear", ["b", "step", "zero"], ["y"])]
    one = np.float32(1)
    path.write_bytes(graph(nodes, {"eps": one, "head.temperature": one, "step": one, "zero": np.int8(0)}))
    with opened(path) as model:
        assert {tensor.name: tensor.kind for tensor in model.tensors} == dict.fromkeys(
            ["head.temperature", "step", "zero"], "array"
        )
        assert [(skipped.what, skipped.name) for skipped in model.skipped] == [("constants of formulas", "eps")]


NAMES = [
    (paths.of_parameters, ["layer1.0.conv1.weight"], ("layer1", "0", "conv1")),
    (paths.of_parameters, ["onnx::Conv_12", "fc.bias"], ("fc",)),
    (paths.of_parameters, ["weight"], ()),
    (paths.of_parameters, ["a.b/c.weight:0"], ()),
    (paths.of_module_scope, "/layer1/layer1.0/conv1/Conv", ("layer1", "0", "conv1")),
    (paths.of_module_scope, "/layers.0/attn/MatMul", ("layers", "0", "attn")),
    (paths.of_module_scope, "/Relu", ()),
    (paths.of_module_scope, "Conv_12", ()),
    (paths.of_scopes, ["sequential/conv2d/BiasAdd"], ("sequential", "conv2d")),
    (paths.of_scopes, ["sequential/conv2d_transpose/BiasAdd/ReadVariableOp:0"], ("sequential", "conv2d_transpose")),
    (paths.of_scopes, ["sequential/up/conv2d_transpose/ReadVariableOp:0"], ("sequential", "up")),
    (paths.of_scopes, ["m/sep/separable_conv2d/depthwise"], ("m", "sep")),
    (paths.of_scopes, ["m/bn/FusedBatchNormV3/ReadVariableOp_1:0"], ("m", "bn")),
    (paths.of_scopes, ["m/bn/ReadVariableOp_1:0"], ("m", "bn")),
    (paths.of_scopes, ["m/dense/Tensordot/MatMul"], ("m", "dense")),
    (paths.of_scopes, ["StatefulPartitionedCall/m/dense/MatMul"], ("m", "dense")),
    (paths.of_scopes, ["Conv__99", "const_fold_opt__133"], ()),
    (paths.of_scopes, ["some/own/name"], ()),
]


@pytest.mark.parametrize(("rule", "name", "expected"), NAMES)
def test_layers_are_told_from_names_as_exporters_make_them(rule: Any, name: Any, expected: tuple[str, ...]) -> None:
    assert rule(name) == expected
