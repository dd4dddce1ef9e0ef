"""Models of real exporters, against what the frameworks said of their weights and what the onnx package reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx_files import MODELS, canonical, digest, opened, said, values
from wexport_onnx import READER

import wexport
import wexport.testing
from wexport.reading import slot_names

EXPORTED = sorted(path.name for path in MODELS.glob("*.onnx") if path.with_suffix(".json").exists())
ALL = sorted(path.name for path in MODELS.glob("*.onnx"))


class TestTorch(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "torch_images_script.onnx"


class TestTorchDynamo(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "torch_words_dynamo.onnx"


class TestTf2onnx(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "tf2onnx_words.onnx"


class TestQuantised(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "quantised_qdq.onnx"


class TestKeras(wexport.testing.ReaderTests):
    reader = READER
    path = MODELS / "keras_images.onnx"
    values: ClassVar[Any] = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in onnx.load(path).graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    }


# What an export does not keep as a weight of its own; everything else the framework has must be found.
FOLDED = {
    # Keras' own exporter turns a normalisation into differences and products, and reshapes this bias as it runs.
    "keras_images.onnx": {("BatchNormalization", role) for role in ("gamma", "beta", "moving_mean", "moving_variance")}
    | {("DepthwiseConv2D", "bias")},
}


@pytest.mark.parametrize("name", EXPORTED)
def test_every_weight_of_the_framework_is_found_in_its_own_layout(name: str) -> None:
    with opened(MODELS / name, external_data=True) as model:
        found = {
            (tensor.layer_class, tensor.role, tensor.direction, digest(canonical(tensor)))
            for tensor in model.tensors
            if tensor.layout is not None
        }
    folded = FOLDED.get(name, set())
    due = {
        (w["class"], w["role"], w["direction"], w["sha256"])
        for w in said(name)
        if (w["class"], w["role"]) not in folded
    }
    assert due
    assert due <= found


@pytest.mark.parametrize("name", EXPORTED)
def test_layers_go_by_the_framework_s_names(name: str) -> None:
    layers = {weight["sha256"]: weight["layer"] for weight in said(name)}
    with opened(MODELS / name, external_data=True) as model:
        told = [
            (tensor.layer, layers[digest(canonical(tensor))])
            for tensor in model.tensors
            if tensor.layout is not None and digest(canonical(tensor)) in layers
        ]
    # tf2onnx names recurrent nodes by numbers, Keras' own exporter all of them.
    numbered = {None} if name.startswith(("tf2onnx_words", "keras")) else set()
    # Two layers stacked in one module of torch's are its l0 and l1, as in the names of its parameters.
    names = [(layer and layer.removesuffix("/l0").removesuffix("/l1"), expected) for layer, expected in told]
    assert all(layer == expected or layer in numbered for layer, expected in names)
    assert name.startswith("keras") or any(layer == expected for layer, expected in told)


@pytest.mark.parametrize("name", ALL)
def test_values_are_those_that_the_onnx_package_reads(name: str) -> None:
    expected = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(MODELS / name).graph.initializer}
    with opened(MODELS / name, external_data=True) as model:
        whole = [tensor for tensor in model.tensors if tensor.name in expected]
        parts = {tensor.name.partition("[")[0] for tensor in model.tensors if tensor.name not in expected}
        left_out = {skipped.name for skipped in model.skipped}
        for tensor in whole:
            due = dequantised(tensor, expected)
            np.testing.assert_allclose(values(tensor), due, rtol=1e-6, atol=0, err_msg=tensor.name)
    assert whole
    missing = expected.keys() - {tensor.name for tensor in whole} - parts - left_out
    assert not missing
    assert all(expected[name].dtype.kind in "ib" or not expected[name].shape for name in left_out & expected.keys())


def dequantised(tensor: wexport.Tensor, stored: dict[str, Any]) -> Any:
    """What is stored under a tensor's name, or what its scale and zero point make of it by plain NumPy."""
    said = (tensor.layer_config or {}).get("quantised")
    codes = stored[tensor.name]
    if said is None:
        return codes
    scale = stored[said["scale"]].astype(np.float32) * stored.get(said.get("factor"), np.float32(1))
    zero_point = stored[said["zero_point"]] if said["zero_point"] else 0
    around = [1] * codes.ndim
    if scale.size > 1:
        around[said["axis"]] = -1
        scale, zero_point = scale.reshape(around), np.asarray(zero_point).reshape(around)
    return (codes.astype(np.float32) - zero_point) * scale


def test_slots_are_those_of_keras_models() -> None:
    with opened(MODELS / "tf2onnx_words.onnx") as model:
        slots = slot_names(model.tensors)
    sides = ("kernel", "recurrent_kernel", "bias")
    assert slots == [
        "embedding/embeddings",
        *(f"bidirectional/{side}/{role}" for side in ("forward", "backward") for role in sides),
        *(f"bidirectional_1/{side}/{role}" for side in ("forward", "backward") for role in sides),
        *(f"lstm/{role}" for role in sides),
        "dense/kernel",
        "dense/bias",
        "conv1d/kernel",
        "conv1d/bias",
        *(f"gru/{role}" for role in sides),
    ]


def test_slots_are_those_of_torch_s_own_files() -> None:
    """The modules' names, as a state dict has them, so that a model and its export are joined by slot."""
    found = {name: slot_names(read(MODELS / f"torch_{name}_script.onnx").tensors) for name in ("images", "words")}
    assert {"conv1/kernel", "bn1/moving_mean", "block/0/kernel", "fc1/bias"} <= set(found["images"])
    assert {"lstm/l0/forward/kernel", "lstm/l1/backward/bias", "gru/recurrent_kernel"} <= set(found["words"])


def test_who_wrote_it() -> None:
    told = {name: (model.framework, model.framework_version) for name in ALL for model in [read(MODELS / name)]}
    assert told["torch_images_script.onnx"] == ("torch", "2.13.0")
    assert told["tf2onnx_words.onnx"][0] == "tf2onnx"


def read(path: Path) -> wexport.Model:
    with opened(path) as model:
        return model


def test_statistics_are_not_trained_and_of_the_rest_nobody_knows() -> None:
    trained = {tensor.role: tensor.trainable for tensor in read(MODELS / "torch_images_script.onnx").tensors}
    assert trained["moving_mean"] is trained["moving_variance"] is False
    assert trained["gamma"] is trained["kernel"] is None


@pytest.mark.parametrize("how", ["qdq", "operators", "dynamic"])
def test_figures_of_quantised_weights_are_those_of_values(how: str) -> None:
    """All three are of one model, whose weights, in float, are at most one step of a scale away."""
    with opened(MODELS / "torch_images_script.onnx") as model:
        whole = {tensor.shape: wexport.stats.measure(tensor) for tensor in model.tensors if tensor.role == "kernel"}
    compared = 0
    with opened(MODELS / f"quantised_{how}.onnx") as model:
        for tensor in model.tensors:
            if tensor.role == "kernel" and tensor.dtype == "int8" and tensor.shape in whole:
                assert tensor.value_dtype == "float32"
                figures = wexport.stats.measure(tensor)
                assert figures.mean == pytest.approx(whole[tensor.shape].mean, abs=0.01)
                assert figures.abs_max == pytest.approx(whole[tensor.shape].abs_max, abs=0.01)
                compared += 1
    assert compared >= 3


def test_quantised_weights_are_integers_with_their_scales() -> None:
    tensors = {tensor.name: tensor for tensor in read(MODELS / "quantised_qdq.onnx").tensors}
    kernel, scale = tensors["conv1.weight_quantized"], tensors["conv1.weight_scale"]
    assert (kernel.dtype, kernel.role, kernel.layer_class) == ("int8", "kernel", "Conv2D")
    assert (scale.role, scale.slot_leaf, scale.layer) == ("scale", "kernel_scale", kernel.layer)
    operators = {tensor.name: tensor for tensor in read(MODELS / "quantised_operators.onnx").tensors}
    assert operators["conv1.weight_quantized"].layer_class == "QLinearConv"
    assert operators["conv1.weight_quantized"].role == "kernel"
    dynamic = {tensor.name: tensor for tensor in read(MODELS / "quantised_dynamic.onnx").tensors}
    assert dynamic["onnx::MatMul_34_quantized"].layer_class == "MatMulInteger"


@pytest.mark.parametrize("one", ["torch_words_script.onnx"])
def test_two_exports_of_one_model_are_the_same(one: str) -> None:
    found = wexport.diff(MODELS / one, MODELS / "torch_words_dynamo.onnx")
    same = {each.a.role for each in found.tensors if each.status == "identical" and each.a and each.b}
    assert same >= {"kernel", "recurrent_kernel", "bias", "embeddings", "gamma", "beta"}
    assert not [each for each in found.tensors if each.status == "changed"]
